"""Measure what this machine does: triplets/s, users/s, compile time and memory, and data preparation.

taskset -c 0 python experiments/benchmark.py --what=train,rank      # one core, as the reference figures were taken
python experiments/benchmark.py --what=seeds --num_seeds=4     # several seeds at once against one, all cores
python experiments/benchmark.py --what=prepare,planted

Prints a table and appends JSON lines to --output. Times are medians of repeated runs in one process.
"""

import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
from absl import flags
from launch import describe_devices, devices_for_seeds, launch
from rich.console import Console
from rich.table import Table

import hlr_jax
from hlr_jax import Dataset, TrainOptions
from hlr_jax.errors import pick
from hlr_jax.evaluation.evaluate import known_at
from hlr_jax.evaluation.ranking import rank
from hlr_jax.training.learners import create_learner

PARTS = ("train", "rank", "seeds", "prepare", "planted")
_WHAT = flags.DEFINE_list("what", ["train", "rank"], f"any of {', '.join(PARTS)}")
_MODELS = flags.DEFINE_list("models", ["cml", "hlr"], "models to train and rank with")
_DATA = flags.DEFINE_string("data", "planted-5949x2810x571531", "a data set of the registry, or a planted world")
_SPLIT_FILE = flags.DEFINE_string("split_file", "", "a file of user, item, split columns, instead of --data")
_NUM_SEEDS = flags.DEFINE_integer("num_seeds", 4, "seeds that `seeds` trains at once", lower_bound=2)
_REPEATS = flags.DEFINE_integer("repeats", 3, "timed epochs, or timed rankings", lower_bound=1)
_ROWS = flags.DEFINE_integer("rows", 20_000_000, "rows of the ratings.csv that `prepare` generates", lower_bound=1000)
_OUTPUT = flags.DEFINE_string("output", "", "JSON lines file to append to")

# The authors' own, with B = 1000, D = 100 and one negative.
SETTINGS: dict[str, dict[str, Any]] = {
    "adacml": {"max_history": 50},
    "hlr": {"max_history": 50, "num_memories": 20, "variant": "reference"},
    "hlrpp": {"max_history": 50, "num_memories": 20, "variant": "reference"},
}


def timed(work: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Return the seconds of the first call, compilation included, and the median of the others."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(work())
        seconds.append(time.perf_counter() - start)
    return seconds[0], float(np.median(seconds[1:]))


def peak_memory() -> float:
    """Return the process's peak resident memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def bench_train(dataset: Dataset, name: str, seeds: int = 1) -> dict[str, Any]:
    """Time whole epochs of some seeds: sampling, gradients, Adam and projection in one compiled call."""
    model = hlr_jax.create_model(name, **SETTINGS.get(name, {}))
    learner = create_learner(dataset, model, TrainOptions(batch_size=1000), range(seeds))
    state, epoch = learner.init(), 0

    def work() -> jax.Array:
        nonlocal state, epoch
        epoch += 1
        state, loss = learner.run_epoch(state, epoch)
        return loss

    first, steady = timed(work, _REPEATS.value)
    return {
        "what": "train", "model": name, "triplets_per_s": learner.triplets_per_epoch / steady,
        "seconds": steady, "compile_seconds": first - steady,
    }  # fmt: skip


def bench_seeds(dataset: Dataset, name: str, seeds: int) -> dict[str, Any]:
    """Compare an epoch of several seeds at once with an epoch of one."""
    one, many = (bench_train(dataset, name, count)["seconds"] for count in (1, seeds))
    return {
        "what": "seeds", "model": name, "num_seeds": seeds, "seconds_of_one": one, "seconds_of_all": many,
        "ratio": many / one,
    }  # fmt: skip


def bench_rank(dataset: Dataset, name: str, users: int = 200) -> dict[str, Any]:
    """Time the ranking of all items for some users, top-K and masking included."""
    model = hlr_jax.create_model(name, **SETTINGS.get(name, {}))
    params = model.init(jax.random.key(0), dataset.num_users, dataset.num_items)
    chosen = np.arange(min(users, dataset.num_users))
    seen = known_at(dataset, "test")

    def work() -> Any:
        return rank(model, params, chosen, seen, num_users=dataset.num_users, num_items=dataset.num_items, k=10)

    first, steady = timed(work, _REPEATS.value)
    return {
        "what": "rank", "model": name, "users_per_s": len(chosen) / steady, "ms_per_user": 1e3 * steady / len(chosen),
        "seconds": steady, "compile_seconds": first - steady,
    }  # fmt: skip


def bench_prepare(rows: int) -> dict[str, Any]:
    """Time a ratings.csv like MovieLens 20M's to prepared splits; the file is generated and not timed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.csv"
        world = hlr_jax.planted_world(max(rows // 144, 50), 27_000 if rows > 10**6 else 500, rows // 2)
        rng = np.random.default_rng(0)
        twice = np.tile(np.stack(world.pairs), 2)  # the second copy gets other users: 2 x rows / 2 rows in all
        twice[0, rows // 2 :] += world.pairs.user.max() + 1
        frame = {"userId": twice[0], "movieId": twice[1], "rating": rng.integers(1, 11, twice.shape[1]) / 2}
        frame["timestamp"] = rng.integers(8 * 10**8, 15 * 10**8, twice.shape[1])
        pl.DataFrame(frame).write_csv(path)
        del world, twice, frame
        before, start = peak_memory(), time.perf_counter()
        dataset = hlr_jax.load_dataset(
            path=str(path), format="movielens-csv", threshold=4.0, k_core=10, cache=False, log=lambda _: None
        )
        seconds = time.perf_counter() - start
    return {
        "what": "prepare", "rows": rows, "seconds": seconds, "interactions": len(dataset.train.user),
        "peak_mib_before": before,
    }  # fmt: skip


def bench_planted() -> dict[str, Any]:
    """Time a planted world of the paper's MovieLens size."""
    start = time.perf_counter()
    world = hlr_jax.planted_world(129_757, 11_508, 9_900_000)
    return {"what": "planted", "rows": len(world.pairs.user), "seconds": time.perf_counter() - start}


def measurements() -> Iterator[dict[str, Any]]:
    """Yield one record per measurement asked for."""
    wanted = [pick(what, PARTS, "part of --what:") for what in _WHAT.value]
    if "prepare" in wanted:  # first, so that its peak of memory is its own
        yield bench_prepare(_ROWS.value)
    if "planted" in wanted:
        yield bench_planted()
    if {"train", "rank", "seeds"} & set(wanted):
        if _SPLIT_FILE.value:
            dataset = hlr_jax.load_dataset(path=_SPLIT_FILE.value, split="given")
        else:
            dataset = hlr_jax.load_dataset(_DATA.value)
        for name in _MODELS.value:
            if "train" in wanted:
                yield bench_train(dataset, name)
            if "seeds" in wanted:
                yield bench_seeds(dataset, name, _NUM_SEEDS.value)
            if "rank" in wanted:
                yield bench_rank(dataset, name)


def main() -> None:
    """Run the command."""
    if "seeds" in _WHAT.value:
        devices_for_seeds(_NUM_SEEDS.value)
    print(f"devices: {describe_devices()}", flush=True)
    table = Table("what", "figure", "value")
    for record in measurements():
        record |= {"peak_mib": peak_memory(), "jax": jax.__version__, "device": describe_devices()}
        for name, value in record.items():
            if isinstance(value, float):
                table.add_row(f"{record['what']} {record.get('model', '')}", name, f"{value:,.2f}")
        if _OUTPUT.value:
            with Path(_OUTPUT.value).open("a") as file:
                file.write(json.dumps(record) + "\n")
    Console().print(table)


if __name__ == "__main__":
    launch(main)
