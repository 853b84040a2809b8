"""Measure the gain of a solved start: models from random points and from the factors of MF-ALS, on fixed splits.

python experiments/starts.py --folder=$SPLITS --splits=ml-100k,lastfm-hetrec --models=cml,history,hlr,adacml

Each line of JSON is a training: NDCG@10 of its best epoch on valid and test, the seconds of the call including
compilation, and the epochs and seconds until validation had 99 % of its best. Data is read before. ``start_valid`` is
NDCG@10 of the start itself.
"""

import json
import time
from pathlib import Path
from typing import Any

from absl import flags
from quality.settings import MODELS, STARTS, config_of

import hlr_jax
from hlr_jax.cli.support.launch import launch
from hlr_jax.data.dataset import Dataset
from hlr_jax.training.history import Record

_FOLDER = flags.DEFINE_string("folder", None, "folder of SPLIT.parquet", required=True)
_SPLITS = flags.DEFINE_list("splits", ["ml-100k", "lastfm-hetrec", "movielens-1m"], "fixed splits")
_MODELS = flags.DEFINE_list(
    "models",
    ["cml", "history", "hlr", "adacml"],
    f"models, of {', '.join(MODELS)}; history: CML with model.user=history",
)
_STARTS = flags.DEFINE_list("starts", list(STARTS), "starts of the training")
_DIM = flags.DEFINE_integer("embed_dim", 128, "dimensions D")
_SEED = flags.DEFINE_integer("seed", 0, "seed of each training")


def main() -> None:
    """Print a line of JSON for each training."""
    for split in _SPLITS.value:
        path = str(Path(_FOLDER.value) / f"{split}.parquet")
        dataset = hlr_jax.load_dataset("", path=path, split="given", log=lambda line: None)
        for model in _MODELS.value:
            for start in _STARTS.value:
                row = {"split": split, "model": model, "start": start, "embed_dim": _DIM.value, "seed": _SEED.value}
                print(json.dumps(row | _measured(dataset, split, model, start)), flush=True)


def _measured(dataset: Dataset, split: str, model: str, start: str) -> dict[str, Any]:
    config = config_of(split, model, start, _DIM.value, _SEED.value)
    began = time.perf_counter()
    done = hlr_jax.run(config, None, dataset=dataset, quiet=True, log=lambda line: None)
    seconds = time.perf_counter() - began
    (fit,) = done.fits
    epoch, after = _nearly(fit.history, fit.best_value or 0.0)
    return {
        "valid": done.metrics["valid"].value("ndcg"), "test": done.metrics["test"].value("ndcg"), "seconds": seconds,
        "best_epoch": fit.best_epoch, "epoch_99": epoch, "seconds_99": after,
        "start_valid": next((r["valid_ndcg@10"] for r in fit.history if r["epoch"] == 0), None),
    }  # fmt: skip


def _nearly(history: list[Record], best: float) -> tuple[int, float]:
    """Return the first epoch with 99 % of the best on validation, and the seconds until then."""
    seconds = 0.0
    for record in history:
        seconds += record["seconds"]
        if record["valid_ndcg@10"] >= 0.99 * best:
            break
    return record["epoch"], seconds


if __name__ == "__main__":
    launch(main)
