"""Measure Popularity, EASE and MF-ALS on data sets: what any trained model should be read beside.

python experiments/baselines.py --data=ml-100k,lastfm=../shared/data/splits/lastfm.parquet --output=runs/baselines.json
python experiments/baselines.py --systems=mf_als --als_confidence=3,10,30 --als_regularization=10,30,100,300

EASE's lambda, and the confidence, lambda and epoch of MF-ALS, are those of their grids with the best validation NDCG;
test is looked at once. Their seconds are those of the whole grid, its validations included. MF-ALS is tuned as Rendle
et al. 2022 do: lambda grows with a row's weight (exponent 1), and both it and the weight of what was observed are
searched. Its lists are masked like all others, also under a protocol that leaves validation items in them.
"""

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from data_sets import data_sets_of
from launch import launch
from tables import print_metrics

from hlr_jax import EvalOptions, TrainOptions, UserError, create_model, fit, load_dataset
from hlr_jax.data.interactions import Dataset
from hlr_jax.data.pairs import Pairs
from hlr_jax.errors import pick
from hlr_jax.evaluation.evaluate import evaluate_ranker
from hlr_jax.evaluation.ranking import Ranking, rank
from hlr_jax.evaluation.yardsticks import EASE_GRID, evaluate_ease, popularity_ranker
from hlr_jax.files import write_json

_DATA = flags.DEFINE_list("data", ["ml-100k"], "data sets of the registry, or NAME=FILE of user, item, split columns")
_GRID = flags.DEFINE_list("grid", [f"{value:g}" for value in EASE_GRID], "values of EASE's lambda")
_CONFIDENCE = flags.DEFINE_list("als_confidence", ["3", "10", "30", "100"], "MF-ALS: weights of an observed pair")
_REGULARIZATION = flags.DEFINE_list("als_regularization", ["10", "30", "100", "300"], "MF-ALS: values of lambda")
_DIM = flags.DEFINE_integer("als_dim", 128, "MF-ALS: D", lower_bound=1)
_EPOCHS = flags.DEFINE_integer("als_epochs", 16, "MF-ALS: the most iterations; 4 without a better one end it")
_K = flags.DEFINE_integer("k", 10, "length of the lists", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", "", "JSON file to write")

Found = tuple[str, dict[str, Any]]


def popularity(dataset: Dataset, options: EvalOptions) -> Found:
    """Return the name that is shown and the figures."""
    return "Popularity", evaluate_ranker(popularity_ranker(dataset, options.k), dataset, "test", options).metrics


def ease(dataset: Dataset, options: EvalOptions) -> Found:
    """Return the same of EASE with the best lambda."""
    strength, found = evaluate_ease(dataset, options, _numbers("grid", _GRID.value))
    return f"EASE ({strength:g})", found.metrics | {"lambda": strength}


def mf_als(dataset: Dataset, options: EvalOptions) -> Found:
    """Return the same of MF-ALS with the best confidence, lambda and epoch."""
    training = TrainOptions(num_epochs=_EPOCHS.value, patience=4)
    grid = itertools.product(
        _numbers("als_confidence", _CONFIDENCE.value), _numbers("als_regularization", _REGULARIZATION.value)
    )
    best: tuple[float, Any] = (-1.0, None)
    for confidence, strength in grid:
        model = create_model(
            "mf_als", embed_dim=_DIM.value, confidence=confidence, regularization=strength, frequency_exponent=1.0
        )
        fitted = fit(dataset, model, training, options, quiet=True)
        value = fitted.history[fitted.best_epoch - 1][f"valid_ndcg@{options.k}"]
        print(
            f"MF-ALS, confidence {confidence:g}, lambda {strength:g}: {value:.4f} on valid, epoch {fitted.best_epoch}"
        )
        best = max(best, (value, (model, fitted.params, confidence, strength)), key=lambda one: one[0])
    model, params, confidence, strength = best[1]

    def ranker(users: np.ndarray, seen: Pairs, near: Pairs) -> Ranking:
        sizes = {"num_users": dataset.num_users, "num_items": dataset.num_items}
        return rank(model, params, users, seen, near=near, k=options.k, **sizes)

    metrics = evaluate_ranker(ranker, dataset, "test", options).metrics
    return f"MF-ALS ({confidence:g}, {strength:g})", metrics | {
        "confidence": confidence,
        "lambda": strength,
        "embed_dim": _DIM.value,
    }


SYSTEMS = {"popularity": popularity, "ease": ease, "mf_als": mf_als}
_SYSTEMS = flags.DEFINE_list("systems", ["popularity", "ease"], f"which of {', '.join(SYSTEMS)}")


def main() -> None:
    """Run the command."""
    for flag in (_GRID, _CONFIDENCE, _REGULARIZATION):
        _numbers(flag.name, flag.value)
    systems = [SYSTEMS[pick(name, tuple(SYSTEMS), "system of --systems:")] for name in _SYSTEMS.value]
    options, found = EvalOptions(k=_K.value, select_by="ndcg"), {}
    for name, path in data_sets_of(_DATA.value).items():
        dataset = load_dataset("" if path else name, path=path, split="given" if path else "random")
        rows = {}
        for system in systems:
            start = time.perf_counter()
            shown, metrics = system(dataset, options)
            rows[shown] = metrics | {"fit_seconds": time.perf_counter() - start}
        print_metrics(rows)
        found[name] = rows
        if _OUTPUT.value:
            write_json(Path(_OUTPUT.value), found)


def _numbers(flag: str, given: list[str]) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in given)
    except ValueError:
        raise UserError(f"--{flag} must be numbers, got {','.join(given)}") from None
    if not numbers or min(numbers) <= 0:
        raise UserError(f"--{flag} needs numbers above 0")
    return numbers


if __name__ == "__main__":
    launch(main)
