"""What a start that is solved for is worth: models from random points and from the factors of MF-ALS, on fixed splits.

python experiments/starts.py --folder=$SPLITS --splits=ml-100k,lastfm-hetrec --models=cml,history,hlr,adacml

Each line of JSON is a training: NDCG@10 of its best epoch on valid and test, the seconds of the call, compilation among
them, and the epochs and seconds until validation had 99 % of its best. Data is read before. ``start_valid`` is NDCG@10
of the start itself.
"""

import json
import time
from pathlib import Path
from typing import Any

from absl import flags

import hlr_jax
from hlr_jax.cli.support.launch import launch
from hlr_jax.configs.tuned import DATA_SETS
from hlr_jax.data.dataset import Dataset
from hlr_jax.training.history import Record

_FOLDER = flags.DEFINE_string("folder", None, "of SPLIT.parquet", required=True)
_SPLITS = flags.DEFINE_list("splits", ["ml-100k", "lastfm-hetrec", "movielens-1m"], "fixed splits")
_MODELS = flags.DEFINE_list("models", ["cml", "history", "hlr", "adacml"], "history: CML of model.user=history")
_STARTS = flags.DEFINE_list("starts", ["random", "als"], "what training starts from")
_DIM = flags.DEFINE_integer("embed_dim", 128, "D")
_SEED = flags.DEFINE_integer("seed", 0, "of each training")

_MODEL_OPTIONS: dict[str, dict[str, Any]] = {
    "history": {"name": "cml", "user": "history", "count_exponent": 0.5},
    "hlr": {"num_memories": 4, "max_history": 10},
    "hlrpp": {"num_memories": 4, "max_history": 10, "max_item_users": 10},
    "lrml": {"num_memories": 5},
    "adacml": {"max_history": 10},
}
_CONFIDENCE_AND_REGULARIZATION = {
    "ml-100k": (10.0, 50.0), "lastfm-hetrec": (20.0, 50.0), "movielens-1m": (10.0, 100.0), "lastfm": (50.0, 5.0),
    "amazon-book": (20.0, 5.0), "citeulike-a": (50.0, 5.0),
}  # fmt: skip
_TRIPLETS = {"batch_size": 1000, "num_negatives": 63}
_USERS = {"batch": "users", "batch_size": 64, "negatives": "all"}  # for users who are made from their items
_OF_START: dict[str, dict[str, Any]] = {
    "random": {"learning_rate": 5e-3, "ema_decay": 0.9, "num_epochs": 60, "patience": 5},
    "als": {"learning_rate": 3e-4, "warmup": 1.0, "ema_decay": 0.5, "num_epochs": 20, "patience": 3},
}


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
    options = {"name": model, "embed_dim": _DIM.value} | _MODEL_OPTIONS.get(model, {})
    train = (_USERS if model == "history" else _TRIPLETS) | _OF_START[start]
    train |= {"start": start, "objective": "sampled_softmax", "temperature": DATA_SETS[split]["temperature"]}
    if start == "als":
        options |= {} if model == "history" else {"user_radius": 0.0}
        confidence, regularization = _CONFIDENCE_AND_REGULARIZATION[split]
        train |= {"start_confidence": confidence, "start_regularization": regularization}
    config = {"model": options, "train": train, "eval": {"monitor": "ndcg"}, "seed": _SEED.value}
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
