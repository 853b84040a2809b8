#!/usr/bin/env bash
# Time to quality of all systems on a fixed split, with settings that validation chose; on one core: taskset -c 0 bash ...
#
#   SPLITS=... PEERS=peers/bin/python RECBOLE=peers-recbole/bin/python \
#       bash experiments/quality.sh movielens-1m runs/quality.jsonl
#
# PEERS and RECBOLE: the Pythons of docs/results/benchmarks/README.md; without one, its systems are left out.
# MODELS: the metric models, each from random points and from MF-ALS; PYTHON: of hlr_jax.
set -euo pipefail
data=$1 output=$2
models=${MODELS-cml history hlr adacml} python=${PYTHON:-python} peers=${PEERS:-} recbole=${RECBOLE:-}
curve=$(dirname "$0")/curve.py

case $data in
  movielens-1m)
    als="factors=128 confidence=10 regularization=100" ease=1000
    cornac="factors=128 rate=0.02 regularization=0.01 epochs=300 every=10"
    bpr="factors=128 rate=0.003 regularization=1e-5 batch_size=8192" ;;
  lastfm)
    als="factors=512 confidence=50 regularization=20" ease=10
    cornac="factors=128 rate=0.1 regularization=0.002 epochs=400 every=10"
    bpr="factors=128 rate=0.001 regularization=0" ;;
  *)
    echo "no settings for \"$data\": movielens-1m or lastfm" >&2
    exit 2 ;;
esac

runs=()
add() { runs+=("--beside=$1: $2 $curve $3"); }
for budget in 1 5 10 20 40 0; do add auto "$python" "auto \$SPLIT_FILE budget=$budget"; done
if [ -n "$peers" ]; then
  add "ALS (implicit)" "$peers" "implicit_als \$SPLIT_FILE $als"
  add "EASE (SciPy)" "$peers" "ease \$SPLIT_FILE regularization=$ease"
  add "BPR (Cornac)" "$peers" "cornac_bpr \$SPLIT_FILE $cornac"
fi
if [ -n "$recbole" ]; then add "BPR (RecBole)" "$recbole" "recbole_bpr \$SPLIT_FILE $bpr"; fi
for model in $models; do
  for start in als random; do
    add "$model from $start" "$python" "metric_model \$SPLIT_FILE model=$model start=$start"
  done
done
"$python" "$(dirname "$0")/benchmark.py" --what=quality --split_file="$SPLITS/$data.parquet" --output="$output" "${runs[@]}"
