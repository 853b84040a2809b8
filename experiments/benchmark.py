"""Measure the speed of training, ranking, seeds, kernels, growth, devices and data preparation, and time to quality.

taskset -c 0 python experiments/benchmark.py --models=all --interactions=50000 --output=runs/speed.jsonl   # one core
python experiments/benchmark.py --what=growth,devices --plots=runs/plots
python experiments/benchmark.py --what=train --models=hlr --train=batch=users,negatives=per_user,num_negatives=64
python experiments/benchmark.py --models=hlr --beside='python other.py' --beside_pattern='([0-9.]+) triplets/s'
python experiments/benchmark.py --what=prepare,planted
python experiments/benchmark.py --what=quality --split_file=$SPLITS/movielens-1m.parquet --plots=runs/plots \\
    --beside='auto: python experiments/curve.py auto $SPLIT_FILE budget=5' \\
    --beside='EASE: python experiments/curve.py ease $SPLIT_FILE regularization=1000'

Times are medians of the runs after the first. Comparisons run in turn, round after round. The command prints tables,
appends a JSON line per measurement to --output, and writes plots of growth, meshes and quality to --plots.
docs/results/benchmarks/README.md describes every field.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from absl import flags
from benchmarks.beside import Beside, in_fresh_process
from benchmarks.devices import MOST, bench_devices
from benchmarks.growth import bench_growth
from benchmarks.kernels import bench_kernels
from benchmarks.machine import device_peak_mib, environment, peak_mib
from benchmarks.plots import draw, require_matplotlib
from benchmarks.preparing import bench_prepare, bench_synthetic
from benchmarks.quality import bench_quality, check_quality
from benchmarks.ranking import bench_rank
from benchmarks.report import PARTS, print_tables, write
from benchmarks.settings import Settings, check, load, parsed
from benchmarks.training import bench_seeds, bench_train

from hlr_jax import Dataset, InputError, errors, sharding
from hlr_jax.cli.support.launch import launch

_DEFAULT = Settings()
_WHAT = flags.DEFINE_list("what", ["train", "rank"], f"parts to measure: {', '.join(PARTS)}")
_MODELS = flags.DEFINE_list("models", list(_DEFAULT.models), "models to measure, or all")
_DATA = flags.DEFINE_string("data", _DEFAULT.data, "a data set of the registry, or a synthetic one")
_SPLIT_FILE = flags.DEFINE_string("split_file", "", "a file of user, item, split columns, instead of --data")
_INTERACTIONS = flags.DEFINE_integer(
    "interactions",
    0,
    "shorten epochs to users with about this many interactions in total; 0: whole epochs",
    lower_bound=0,
)
_TRAIN = flags.DEFINE_list("train", [], "options of training, such as batch_size=1000,num_negatives=4")
_MODEL = flags.DEFINE_list("model", [], "options of the models that have them, such as embed_dim=50,max_history=10")
_USERS = flags.DEFINE_integer("users", _DEFAULT.users, "number of users to rank for", lower_bound=1)
_NUM_SEEDS = flags.DEFINE_integer(
    "num_seeds", _DEFAULT.num_seeds, "number of seeds that `seeds` trains at once", lower_bound=2
)
_REPEATS = flags.DEFINE_integer("repeats", _DEFAULT.repeats, "timed runs after the first", lower_bound=1)
_SECONDS = flags.DEFINE_float(
    "seconds", 0.0, "stop repeating after this many seconds and three runs; 0: never", lower_bound=0.0
)
_ROWS = flags.DEFINE_integer(
    "rows", _DEFAULT.rows, "rows of the ratings.csv that `prepare` generates", lower_bound=1000
)
_BESIDE = flags.DEFINE_multi_string(
    "beside", [], "COMMAND or LABEL: COMMAND, a shell command to time in turn with each training and ranking; for "
    "`quality`, a system to measure, which reads $SPLIT_FILE; may be repeated",
)  # fmt: skip
_PATTERN = flags.DEFINE_string(
    "beside_pattern",
    "",
    "regular expression whose group is a command's rate, in units per second; without it, wall time",
)
_ISOLATE = flags.DEFINE_bool(
    "isolate", False, "measure each item in a new process, so that its peak of memory is its own"
)
_OUTPUT = flags.DEFINE_string("output", "", "JSON lines file to append to")
_PLOTS = flags.DEFINE_string("plots", "", "folder for plots of growth, meshes and quality (needs the extra `plots`)")
_READ = flags.DEFINE_string("read", "", "show and plot the records of this JSON lines file without measuring")
_CHILD = flags.DEFINE_bool("child", False, "internal: measure in this process")

# Parts that are measured for each model, and parts that need a process of their own, because their number of devices
# differs or they measure the peak of memory.
_BY_MODEL = ("train", "rank", "seeds", "growth", "devices")
_ALWAYS_APART = ("seeds", "devices", "prepare")


def settings_of_flags() -> Settings:
    """Return the settings of the command line."""
    given = Settings(
        _MODELS.value, _DATA.value, _SPLIT_FILE.value, _INTERACTIONS.value, _REPEATS.value, _SECONDS.value,
        _USERS.value, _NUM_SEEDS.value, _ROWS.value, parsed(_TRAIN.value, "train"), parsed(_MODEL.value, "model"),
        _BESIDE.value, _PATTERN.value, _ISOLATE.value,
    )  # fmt: skip
    Beside.of(given)
    if "quality" in _WHAT.value:
        check_quality(given)
    return check(given)


def measure(part: str, model: str, settings: Settings, dataset: Callable[[], Dataset]) -> Iterator[dict[str, Any]]:
    """Yield the records of one part, for one model where the part has models."""
    if part == "train":
        yield bench_train(settings, dataset(), model)
    elif part == "rank":
        yield bench_rank(settings, dataset(), model)
    elif part == "seeds":
        yield bench_seeds(settings, dataset(), model)
    elif part == "kernels":
        yield from bench_kernels(settings, dataset())
    elif part == "growth":
        yield from bench_growth(settings, model)
    elif part == "devices":
        yield from bench_devices(settings, model)
    elif part == "prepare":
        yield bench_prepare(settings.rows)
    else:
        yield bench_synthetic()


def complete(record: dict[str, Any], settings: Settings, before: float) -> dict[str, Any]:
    """Return a record with memory, its data, and the environment."""
    record |= {"peak_mib": peak_mib(), "peak_mib_before": record.get("peak_mib_before", before)}
    record["peak_of"] = "its own process" if _CHILD.value else "the process so far"
    if (of_device := device_peak_mib()) is not None:
        record["device_peak_mib"] = of_device
    if later := record.pop("later", None):
        record |= later()
    if record["what"] in ("train", "rank", "seeds"):
        record["data"] = settings.split_file or settings.data
    if settings.train or settings.model:
        record["options"] = settings.train | settings.model
    return record | environment()


def in_this_process(part: str, model: str, settings: Settings, data: list[Dataset]) -> Iterator[dict[str, Any]]:
    """Measure one item in this process; ``data`` keeps the data set for the next."""

    def dataset() -> Dataset:
        if not data:
            data.append(load(settings))
        return data[0]

    before = peak_mib()
    for record in measure(part, model, settings, dataset):
        yield complete(record, settings, before)


def apart(part: str, model: str, settings: Settings) -> list[dict[str, Any]]:
    """Measure one item in a new process, with as many devices of a CPU as the part needs."""
    devices = {"seeds": min(settings.num_seeds, sharding.available_cores()), "devices": MOST}
    arguments = [f"--what={part}"] + [f"--models={model}"] * bool(model)
    return in_fresh_process(arguments, {"JAX_NUM_CPU_DEVICES": str(devices[part])} if part in devices else None)


def records(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield all requested records."""
    data: list[Dataset] = []
    for part in _WHAT.value:
        if part == "quality":  # its commands are processes of their own
            yield from (record | environment() for record in bench_quality(settings))
            continue
        for model in settings.models if part in _BY_MODEL else ("",):
            if not _CHILD.value and (_ISOLATE.value or part in _ALWAYS_APART):
                yield from apart(part, model, settings)
            else:
                yield from in_this_process(part, model, settings, data)


def main() -> None:
    """Run the command."""
    if _PLOTS.value:
        require_matplotlib()
    if _READ.value:
        try:
            shown = [json.loads(line) for line in Path(_READ.value).read_text().splitlines()]
        except json.JSONDecodeError as problem:
            raise InputError(f"{_READ.value}: not a file of JSON lines: {problem}") from None
    else:
        for part in _WHAT.value:
            errors.pick(part, PARTS, "part of --what:")
        settings = settings_of_flags()
        print(", ".join(f"{name}: {value}" for name, value in environment().items()), flush=True)
        shown = []
        for record in records(settings):
            shown.append(record)
            if _OUTPUT.value:
                write(Path(_OUTPUT.value), record)
    print_tables(shown)
    if _PLOTS.value:
        for path in draw(shown, Path(_PLOTS.value)):
            print(path)


if __name__ == "__main__":
    launch(main)
