"""Compare an update with a new training on ml-100k, with the last tenth by time as new rows.

python experiments/updating.py --path=ml-100k.inter --model=cml --seeds=1,2,3

Interactions are ratings of at least 4, 10-core. With --test=random, the command holds out a random fifth of all
interactions, and the last tenth of the others by time is new. With --test=later it holds out the last tenth by time,
and the tenth before it is new. A tenth of the old rows is for validation. Both models are trained by the default recipe
on the same interactions. Times are of one process, one after the other.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import jax.numpy as jnp
import numpy as np
import polars as pl
from absl import flags

import hlr_jax
from hlr_jax.cli.support.launch import devices_for_seeds, launch
from hlr_jax.configs.recipes import get_config
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.experiment import RunResult
from hlr_jax.fitting.start import start_of
from hlr_jax.systems import require_model
from hlr_jax.training.options import UPDATE_EPOCHS
from hlr_jax.types import Params

_PATH = flags.DEFINE_string("path", None, "file of MovieLens-100K, with a header", required=True)
_MODEL = flags.DEFINE_string("model", "cml", "model with a default recipe")
_TEST = flags.DEFINE_enum("test", "random", ["random", "later"], "interactions to hold out")
_SEEDS = flags.DEFINE_list("seeds", ["1"], "seeds of the split and of the models")
_EPOCHS = flags.DEFINE_list("num_epochs", [str(UPDATE_EPOCHS)], "epochs of the update")
_WHOLE = flags.DEFINE_bool("whole_recipe", True, "also train again with the whole recipe and all its temperatures")


def main() -> None:
    """Print a line of JSON for each method and seed."""
    devices_for_seeds(3)
    for seed in map(int, _SEEDS.value):
        with tempfile.TemporaryDirectory() as folder:
            for row in _measured(Path(folder), seed):
                print(json.dumps({"model": _MODEL.value, "test": _TEST.value, "seed": seed} | row), flush=True)


def _measured(folder: Path, seed: int) -> Iterator[dict[str, Any]]:
    rows = _divided(seed)
    rows.filter(pl.col("split").is_in(["train", "valid"])).write_parquet(folder / "yesterday.parquet")
    tomorrow, held_out = (rows.filter(split=part).select("user", "item") for part in ("tomorrow", "test"))
    config = get_config(f"{_MODEL.value}:split").to_dict() | {"seed": seed}
    config["dataset"] |= {"path": str(folder / "yesterday.parquet"), "unknown_users": "drop"}
    before, seconds = _timed(hlr_jax.run, config, folder / "before")
    old_users = before.parts.dataset.user_ids
    yield {"way": "yesterday's training", **_cost(before, seconds)}

    def measured(params: Params, dataset: Dataset) -> dict[str, Any]:
        return _quality(before, params, dataset, held_out, old_users)

    grown = None
    for epochs in map(int, _EPOCHS.value):
        output = folder / f"update-{epochs}"
        done, seconds = _timed(hlr_jax.update, folder / "before", tomorrow, output, num_epochs=epochs)
        grown = done.parts.dataset
        if epochs == int(_EPOCHS.value[0]):
            model = require_model(done.parts.model, "a warm start")
            start, _ = start_of(done.parts.train, model, None)
            assert start is not None
            params_of_all = start(grown, done.parts.train.runs([seed]), lambda line: None)
            params = {name: jnp.asarray(array[0]) for name, array in params_of_all.items()}
            yield {"way": "newcomers folded in", **measured(params, grown)}
        yield {"way": f"update, {epochs} epochs", **_cost(done, seconds), **measured(done.fits[0].params, grown)}
    chosen = before.fits[0].run.temperature
    same = config["train"] | {"temperatures": [], "temperature": chosen, "prune_after": 0}
    ways = {"anew, temperature known": same, "anew, the whole recipe": config["train"]}
    for way, train in list(ways.items())[: 1 + _WHOLE.value]:
        output = folder / way.replace(" ", "-")
        done, seconds = _timed(hlr_jax.run, config | {"train": train}, output, dataset=grown)
        yield {"way": way, **_cost(done, seconds), **measured(done.fits[0].params, done.parts.dataset)}


def _divided(seed: int) -> pl.DataFrame:
    """Return the interactions with a column ``split``: train, valid, tomorrow or test."""
    rows = pl.read_csv(_PATH.value, separator="\t", new_columns=["user", "item", "rating", "time"])
    rows, before = rows.filter(pl.col("rating") >= 4), 0
    while before != len(rows):
        before = len(rows)
        rows = rows.filter((pl.len().over("user") >= 10) & (pl.len().over("item") >= 10))
    rows, rng = rows.sort("time", "user", "item"), np.random.default_rng(seed)
    count = len(rows)
    split = np.full(count, "train", object)
    if _TEST.value == "later":
        split[count * 8 // 10 :] = "tomorrow"
        split[count * 9 // 10 :] = "test"
    else:
        split[rng.random(count) < 0.2] = "test"
        others = np.flatnonzero(split == "train")
        split[others[len(others) * 9 // 10 :]] = "tomorrow"
    split[(split == "train") & (rng.random(count) < 0.1)] = "valid"
    return rows.select("user", "item").with_columns(split=pl.Series(split.astype(str)))


def _timed(make: Callable[..., RunResult], *arguments: Any, **options: Any) -> tuple[RunResult, float]:
    start = time.perf_counter()
    return make(*arguments, **options, quiet=True, log=lambda line: None), time.perf_counter() - start


def _cost(done: RunResult, seconds: float) -> dict[str, Any]:
    """Return the seconds of a call, and those of its epochs without the compilation in the first."""
    each = {record["epoch"]: record["seconds"] for fit in done.fits for record in fit.history}
    later = [value for epoch, value in each.items() if epoch > 1] or list(each.values())
    fit = done.fits[0]
    of_epochs = sum(later) + median(later)
    return {
        "seconds": round(seconds, 2), "epochs": len(each), "seconds_of_epochs": round(of_epochs, 2),
        "best_epoch": fit.best_epoch, "temperature": fit.run.temperature,
    }  # fmt: skip


def _quality(
    run: RunResult, params: Params, dataset: Dataset, held_out: pl.DataFrame, old_users: pl.Series
) -> dict[str, Any]:
    """Return NDCG@10 over the held-out rows of users and items that the data set contains, and for which users."""
    user, item = (
        index.find(held_out[side].cast(pl.String))
        for side, index in (("user", dataset.user_index), ("item", dataset.item_index))
    )
    known = (user >= 0) & (item >= 0)
    known &= dataset.train.degrees(dataset.num_users)[user] > 0
    user, item = user[known].astype(np.int32), item[known].astype(np.int32)
    order = np.lexsort([item, user])
    data = replace(dataset, test=Interactions(user[order], item[order]))
    found = hlr_jax.evaluate(run.parts.model, params, data, options=run.parts.eval)
    ndcg, is_old = found.per_user["ndcg"].to_numpy(), found.per_user["user"].is_in(old_users.implode()).to_numpy()
    return {
        "ndcg": round(found.metrics.value("ndcg"), 4), "users": len(ndcg), "rows": len(order),
        "ndcg_of_old_users": round(float(ndcg[is_old].mean()), 4), "old_users": int(is_old.sum()),
    }  # fmt: skip


if __name__ == "__main__":
    launch(main)
