#!/usr/bin/env bash
# Tests and measures this package on a GPU, in at most six minutes, on a machine without a network.
#
#   bash experiments/gpu_check.sh [FOLDER]     # writes log.txt, speed.jsonl, trace.txt into FOLDER (runs/gpu_check)
#
# The machine needs Python 3.11 or newer with JAX for its device, Flax, Optax, safetensors, rich, SciPy, absl and pytest. Other
# packages come from a folder that git ignores (.gpu, or CARRIED=...), made on a machine with a network:
#
#   mkdir -p .gpu/wheels .gpu/splits && cp $SPLITS/movielens-1m.parquet .gpu/splits/
#   pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux2014_x86_64 \
#     -d .gpu/wheels polars polars-runtime-32 ml_collections backports.zstd && pip wheel --no-deps -w .gpu/wheels .
#
# The package's own wheel provides its metadata; the code is this checkout's. The most important parts come first, each
# with its own limit, and results are appended at once. PLATFORM=cpu tries all of it at small sizes.
set -u
cd "$(dirname "$0")/.."
out=$(mkdir -p "${1:-runs/gpu_check}" && cd "${1:-runs/gpu_check}" && pwd)
carried=${CARRIED:-.gpu}
python=${PYTHON:-python3}
platform=${PLATFORM:-gpu}
site=$(mktemp -d)
start=$(date +%s)
trap 'rm -rf "$site"' EXIT
exec > >(tee -a "$out/log.txt") 2>&1

"$python" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$site" "$carried"/wheels/*.whl || exit 1
export PYTHONPATH="$PWD/src:$PWD/experiments:$PWD/tests:$site" PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=3
export JAX_COMPILATION_CACHE_DIR=$site/cache
export JAX_PLATFORMS=$([ "$platform" = cpu ] && echo cpu || echo cuda,cpu)
small=$([ "$platform" = cpu ] && echo --small)
split=$carried/splits/movielens-1m.parquet
recipe=split path=--config.dataset.path=$split
[ "$platform" = cpu ] && recipe=planted path=
command -v nvidia-smi > /dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader

part() {  # NAME SECONDS COMMAND...
  local name=$1 limit=$2 began
  shift 2
  began=$(date +%s)
  echo "== $name (at most $limit s)"
  timeout --kill-after=5 "$limit" "$@" < /dev/null
  echo "== $name: status $?, $(($(date +%s) - began)) s, $(($(date +%s) - start)) s in total"
}

# Most of the tests' time is compilation, which several processes share.
XLA_PYTHON_CLIENT_PREALLOCATE=false part tests 80 "$python" -m pytest --noconftest -p no:cacheprovider -o addopts= \
  -o filterwarnings=default -q -rs --tb=short --numprocesses="${TEST_PROCESSES:-6}" tests/device_test.py
part speed 120 "$python" experiments/device_speed.py --what=movielens $small --split_file="$split" --output="$out/speed.jsonl"
part recipe 70 "$python" experiments/train.py --config=hlr:"$recipe" \
  ${path:+"$path"} --workdir="$(mktemp -d)" ${RECIPE_FLAGS:-}
part trace 40 "$python" experiments/device_speed.py --what=trace $small --split_file="$split" --trace="$out/trace.txt"
part paper 80 "$python" experiments/device_speed.py --what=paper $small --output="$out/speed.jsonl"
