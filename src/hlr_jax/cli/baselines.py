"""Measure Popularity, EASE and MF-ALS on data sets: what any trained model should be read beside.

hlr-jax baselines --data=ml-100k,lastfm=../shared/data/splits/lastfm.parquet --output=runs/baselines.json
hlr-jax baselines --systems=mf_als --als_confidence=3,10,30 --als_regularization=10,30,100,300
hlr-jax baselines --train_splits=train+valid

EASE's lambda, and the confidence, lambda and epoch of MF-ALS, are those of their grids with the best validation NDCG;
test is looked at once. `fit_seconds` are those of the whole grid, of its validations and of the test. MF-ALS is tuned
as Rendle et al. 2022 do: lambda grows with a row's weight (exponent 1), and both it and the weight of what was observed
are searched. Its lists are masked like all others, also under a protocol that leaves validation items in them.

With --train_splits=train+valid what was chosen is fitted anew on both before test; `refit.py` does that with trained
runs.
"""

import itertools
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from hlr_jax import (
    Dataset,
    EvalOptions,
    InputError,
    Metrics,
    TrainOptions,
    create_model,
    errors,
    files,
    load_dataset,
    train_model,
)
from hlr_jax.cli.support.data_sets import data_sets_of
from hlr_jax.cli.support.tables import print_metrics
from hlr_jax.data.dataset import TRAIN_SPLITS
from hlr_jax.data.interactions import Interactions
from hlr_jax.evaluation import baselines
from hlr_jax.evaluation.evaluate import evaluate_ranker, relevant_of
from hlr_jax.ranking.inputs import ranking_inputs
from hlr_jax.ranking.rank import rank
from hlr_jax.types import Ranking

_DATA = flags.DEFINE_list("data", ["ml-100k"], "data sets of the registry, or NAME=FILE of user, item, split columns")
_EASE_GRID = flags.DEFINE_list(
    "ease_regularization", [f"{value:g}" for value in baselines.EASE_GRID], "EASE: values of lambda"
)
_CONFIDENCE = flags.DEFINE_list("als_confidence", ["3", "10", "30", "100"], "MF-ALS: weights of an observed pair")
_REGULARIZATION = flags.DEFINE_list("als_regularization", ["10", "30", "100", "300"], "MF-ALS: values of lambda")
_DIM = flags.DEFINE_integer("als_dim", 128, "MF-ALS: D", lower_bound=1)
_EPOCHS = flags.DEFINE_integer("als_epochs", 16, "MF-ALS: the most iterations; 4 without a better one end it")
_TRAIN_ON = flags.DEFINE_enum("train_splits", "train", TRAIN_SPLITS[:2], "splits that are fitted to before test")
_K = flags.DEFINE_integer("k", 10, "length of the lists", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", "", "JSON file to write")

Measured = tuple[str, Metrics, dict[str, Any]]
"""What validation chose, for people; the metrics on test; and what validation chose, by name."""


def popularity(dataset: Dataset, options: EvalOptions) -> Measured:
    """Return the metrics on test of the items that most users have met."""
    final = dataset.trained_on(_TRAIN_ON.value)
    ranker = baselines.popularity_ranker(final, options.longest)
    return "", evaluate_ranker(ranker, final, "test", options).metrics, {}


def ease(dataset: Dataset, options: EvalOptions) -> Measured:
    """Return the best lambda, and the metrics of EASE with it."""
    strength, evaluation = baselines.evaluate_ease(dataset, options, _numbers(_EASE_GRID), _TRAIN_ON.value)
    return f" ({strength:g})", evaluation.metrics, {"lambda": strength}


def mf_als(dataset: Dataset, options: EvalOptions) -> Measured:
    """Return the best confidence and lambda, and the metrics of MF-ALS with them at its best iteration.

    Raises:
      InputError: no interactions to choose or to measure by, a value out of range, or a loss that is never finite.
    """
    for split in ("valid", "test"):
        relevant_of(dataset, split)
    training = TrainOptions(num_epochs=_EPOCHS.value, patience=4)
    fits = []
    for confidence, strength in itertools.product(_numbers(_CONFIDENCE), _numbers(_REGULARIZATION)):
        model = create_model(
            "mf_als", embed_dim=_DIM.value, confidence=confidence, regularization=strength, frequency_exponent=1.0
        )
        fitted = train_model(dataset, model, training, options, quiet=True)
        assert fitted.best_value is not None  # there is something to choose by
        chosen = f" ({confidence:g},{strength:g})"
        print(f"MF-ALS{chosen}: NDCG@{options.ks[0]} {fitted.best_value:.4f} on valid, iteration {fitted.best_epoch}")
        searched = {"confidence": confidence, "lambda": strength, "embed_dim": _DIM.value}
        fits.append((fitted.best_value, chosen, searched, model, fitted))
    _, chosen, searched, model, best = max(fits, key=lambda candidate: candidate[0])
    final = dataset.trained_on(_TRAIN_ON.value)
    if final is not dataset:
        best = train_model(final, model, replace(training, num_epochs=best.best_epoch), options, quiet=True)

    def ranker(users: np.ndarray, seen: Interactions, near: Interactions) -> Ranking:
        inputs = ranking_inputs(model, seen, near, (final.num_users, final.num_items))
        return rank(model, best.params, users, inputs, options.longest)

    return chosen, evaluate_ranker(ranker, final, "test", options).metrics, searched


SYSTEMS = {"popularity": ("Popularity", popularity), "ease": ("EASE", ease), "mf_als": ("MF-ALS", mf_als)}
_SYSTEMS = flags.DEFINE_list("systems", ["popularity", "ease"], f"which of {', '.join(SYSTEMS)}")


def main() -> None:
    """Run the command."""
    for flag in (_EASE_GRID, _CONFIDENCE, _REGULARIZATION):
        _numbers(flag)
    systems = [SYSTEMS[errors.pick(name, tuple(SYSTEMS), "system of --systems:")] for name in _SYSTEMS.value]
    options = EvalOptions(k=_K.value, monitor="ndcg")
    by_data: dict[str, dict[str, Any]] = {}
    for name, path in data_sets_of(_DATA.value).items():
        dataset = load_dataset("" if path else name, path=path, split="given" if path else "random")
        by_data[name] = {}
        shown = {}
        for system, measure in systems:
            start = time.perf_counter()
            chosen, metrics, settings = measure(dataset, options)
            settings |= {"train_splits": _TRAIN_ON.value, "fit_seconds": time.perf_counter() - start}
            by_data[name][system] = metrics.to_json() | settings
            shown[system + chosen] = metrics
        print_metrics(shown)
        if _OUTPUT.value:
            files.write_json(Path(_OUTPUT.value), by_data)


def _numbers(flag: flags.FlagHolder[list[str]]) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in flag.value)
    except ValueError:
        numbers = (math.nan,)
    if not numbers or not all(map(math.isfinite, numbers)):
        raise InputError(f"--{flag.name} must be numbers, got {','.join(flag.value)}")
    if min(numbers) <= 0:
        raise InputError(f"--{flag.name} needs numbers above 0")
    return numbers
