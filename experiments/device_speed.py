"""Measure training and ranking on a device, its own bandwidth and matrix products, and trace an epoch.

python experiments/device_speed.py --what=movielens --split_file=$SPLITS/movielens-1m.parquet

Parts:

- `movielens`: every model on that split, and HLR over batch sizes, precisions of matrix products and kernels;
- `paper`: CML and HLR on a synthetic data set of the size of the paper's MovieLens;
- `trace`: an epoch of HLR under `jax.profiler`, its time summed by kernel.

A line of JSON is appended to --output after each measurement.
experiments/gpu_check.sh runs all three.
"""

import glob
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags
from benchmarks.machine import device_peak_mib, environment
from benchmarks.measuring import time_in_turn
from benchmarks.ranking import bench_rank
from benchmarks.report import write
from benchmarks.settings import Settings, create_model, load, train_options
from benchmarks.training import bench_train, epochs

from hlr_jax import Dataset
from hlr_jax.cli.support.launch import launch
from hlr_jax.training import many_runs

_WHAT = flags.DEFINE_enum("what", "movielens", ("movielens", "paper", "trace"), "part to measure")
_SPLIT = flags.DEFINE_string("split_file", "", "a file of user, item, split columns")
_OUTPUT = flags.DEFINE_string("output", "", "JSON lines file to append to")
_TRACE = flags.DEFINE_string("trace", "", "text file for the trace")
_SMALL = flags.DEFINE_bool("small", False, "tiny sizes, for a trial on a CPU")

PAPER = "planted-129757x11508x9900000"
SIZES = {"max_history": 50, "num_memories": 20, "embed_dim": 100}


def ceilings() -> dict[str, float]:
    """Return the device's peak rates: GB/s of a copy, and TFLOP/s of products by precision."""
    size, side = (2**20, 256) if _SMALL.value else (2**28, 8192)
    block, matrix = jnp.ones(size, jnp.float32), jax.random.normal(jax.random.key(0), (side, side))
    copy = jax.jit(lambda array: array + 1)
    works: dict[str, Any] = {"copy": lambda: copy(block)}
    for precision in ("highest", "tensorfloat32", "bfloat16"):
        product = jax.jit(partial(jnp.dot, precision=precision))
        works[precision] = partial(product, matrix, matrix)
    times = {name: timing.steady_s for name, timing in time_in_turn(works, 5, 4.0).items()}
    rates = {"copy_gb_per_s": 8 * size / times.pop("copy") / 1e9}
    return rates | {f"gemm_{name}_tflop_per_s": 2 * side**3 / seconds / 1e12 for name, seconds in times.items()}


def settings_for(batch: int, users: bool = False, **model: Any) -> Settings:
    """Return the benchmark's settings at the paper's H, N and D."""
    train: dict[str, Any] = {"batch_size": batch, "optimizer": "lazy_adam"}
    if users:
        train |= {"batch": "users", "negatives": "per_user", "num_negatives": 256}
    data = "planted-500x300x15000" if _SMALL.value else PAPER
    split = "" if _SMALL.value or _WHAT.value == "paper" else _SPLIT.value
    return Settings(
        data=data, split_file=split, repeats=3, seconds=3.0, users=64 if _SMALL.value else 4096, train=train,
        model=SIZES | model,
    )  # fmt: skip


def record(fields: dict[str, Any]) -> None:
    """Show a measurement and append it to the output."""
    fields |= {"device_peak_mib": device_peak_mib()}
    speed = {name: fields.get(name) for name in ("positives_per_s", "iteration_s", "users_per_s", "gflops_per_s")}
    shown = ", ".join(f"{name} {value:,.4g}" for name, value in speed.items() if value)
    label = " ".join(str(fields.get(name, "")) for name in ("what", "model", "kernel", "precision", "batch_size"))
    print(
        f"{label}: {shown}, steady {fields.get('steady_s', 0):.4g} s, compile {fields.get('compile_s', 0):.3g} s",
        flush=True,
    )
    if _OUTPUT.value:
        write(Path(_OUTPUT.value), fields | environment())


def measured(
    dataset: Dataset, name: str, batch: int, precision: str, rank: bool = True, users: bool = False, **model: Any
) -> None:
    """Record the training, and the ranking, of one model; a failure becomes a record and does not stop the others."""
    settings, about = (
        settings_for(batch, users, **model),
        {"precision": precision, "kernel": model.get("kernel", "xla")},
    )
    about |= {"batch": "users" if users else "triplets"}
    about |= {"data": settings.split_file or settings.data, "model": name, "batch_size": batch}
    for what, bench in (("train", bench_train), ("rank", bench_rank))[: 1 + rank]:
        try:
            with jax.default_matmul_precision(precision):
                record({**bench(settings, dataset, name), **about})
        except Exception as problem:  # the others are still measured if one program fails to compile
            record({"what": what, "error": f"{type(problem).__name__}: {str(problem)[:500]}", **about})
            print(f"{what} {name}: {type(problem).__name__}: {str(problem)[:300]}", flush=True)


def bench_models() -> None:
    """Measure HLR in its variations, then every model."""
    dataset = load(settings_for(1000))
    print(f"{ceilings()}", flush=True)
    measured(dataset, "hlr", 8192, "tensorfloat32")
    measured(dataset, "hlr", 128, "tensorfloat32", rank=False, users=True)
    if jax.default_backend() == "gpu":
        measured(dataset, "hlr", 8192, "tensorfloat32", kernel="pallas")
    for batch in (1000, 65536):
        measured(dataset, "hlr", batch, "tensorfloat32", rank=False)
    for precision in ("highest", "bfloat16"):
        measured(dataset, "hlr", 8192, precision, rank=False)
    for name in ("cml", "hlrpp", "mf_als", "transcf"):
        measured(dataset, name, 8192, "tensorfloat32")
    for name in ("adacml", "lrml"):
        measured(dataset, name, 8192, "tensorfloat32", rank=False)


def bench_paper() -> None:
    """Measure HLR and CML on synthetic data of the size of the paper's MovieLens."""
    start = time.perf_counter()
    dataset = load(settings_for(8192))
    print(f"{dataset.summary()}; made in {time.perf_counter() - start:.0f} s", flush=True)
    for name in ("hlr", "cml"):
        for batch in (8192, 65536):
            measured(dataset, name, batch, "tensorfloat32", rank=batch == 8192)


def trace(path: Path) -> None:
    """Write the device's time of one epoch, summed by kernel, and its share of the epoch."""
    settings = settings_for(8192)
    dataset, options = load(settings), train_options(settings)
    learner = many_runs.create_learner(dataset, create_model("hlr", settings), options, options.runs([0]))
    work = epochs(learner)
    steady = time_in_turn({"epoch": work}, 3)["epoch"].steady_s
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(work())
        data = jax.profiler.ProfileData.from_file(glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)[0])
        lines = []
        for plane in sorted(data.planes, key=lambda plane: "GPU" not in plane.name):
            totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
            # Other lines of a device's plane repeat its kernels by module and by source.
            on_device = [line for line in plane.lines if "GPU" not in plane.name or line.name.startswith("Stream")]
            for event in (event for line in on_device for event in line.events):
                totals[event.name[:90]][0] += event.duration_ns / 1e6
                totals[event.name[:90]][1] += 1
            busy = sum(ms for ms, _ in totals.values())
            lines.append(f"{plane.name}: {busy:.1f} ms; an epoch takes {1e3 * steady:.1f} ms without the profiler")
            ordered = sorted(totals.items(), key=lambda item: -item[1][0])[:40]
            lines += [f"{ms:10.3f} ms {count:8.0f} x  {name}" for name, (ms, count) in ordered]
    path.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[:30]), flush=True)


def main() -> None:
    """Run the command."""
    if _WHAT.value == "trace":
        trace(Path(_TRACE.value or "trace.txt"))
    else:
        {"movielens": bench_models, "paper": bench_paper}[_WHAT.value]()


if __name__ == "__main__":
    launch(main)
