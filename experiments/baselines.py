"""Measure Popularity and EASE on data sets: what any trained model should be read beside.

python experiments/baselines.py --data=ml-100k,lastfm=../shared/data/splits/lastfm.parquet --output=runs/baselines.json

EASE's lambda is the one of --grid with the best validation NDCG; test is looked at once. Its seconds are those of the
Gram matrix and of all inverses and validations of the grid.
"""

import time
from pathlib import Path

from absl import flags
from data_sets import data_sets_of
from launch import launch
from tables import print_metrics

from hlr_jax import EvalOptions, UserError, load_dataset
from hlr_jax.evaluation.evaluate import evaluate_ranker
from hlr_jax.evaluation.yardsticks import EASE_GRID, evaluate_ease, popularity_ranker
from hlr_jax.files import write_json

_DATA = flags.DEFINE_list("data", ["ml-100k"], "data sets of the registry, or NAME=FILE of user, item, split columns")
_GRID = flags.DEFINE_list("grid", [f"{value:g}" for value in EASE_GRID], "values of EASE's lambda")
_K = flags.DEFINE_integer("k", 10, "length of the lists", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", "", "JSON file to write")


def main() -> None:
    """Run the command."""
    try:
        grid = tuple(float(value) for value in _GRID.value)
    except ValueError:
        raise UserError(f"--grid must be numbers, got {','.join(_GRID.value)}") from None
    if not grid or min(grid) <= 0:
        raise UserError("--grid needs numbers above 0")
    options, found = EvalOptions(k=_K.value), {}
    for name, path in data_sets_of(_DATA.value).items():
        dataset = load_dataset("" if path else name, path=path, split="given" if path else "random")
        popularity = evaluate_ranker(popularity_ranker(dataset, options.k), dataset, "test", options)
        start = time.perf_counter()
        strength, ease = evaluate_ease(dataset, options, grid)
        seconds = time.perf_counter() - start
        print_metrics({"Popularity": popularity.metrics, f"EASE ({strength:g})": ease.metrics})
        found[name] = {
            "Popularity": popularity.metrics, "EASE": ease.metrics | {"lambda": strength, "fit_seconds": seconds}
        }  # fmt: skip
        if _OUTPUT.value:
            write_json(Path(_OUTPUT.value), found)


if __name__ == "__main__":
    launch(main)
