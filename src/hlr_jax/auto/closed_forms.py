"""Searches settings of closed-form systems on validation; each point takes about a second on MovieLens-1M."""

from collections.abc import Callable

import numpy as np

from hlr_jax.auto.search import Climb, Point, scaled, to_next
from hlr_jax.data.dataset import Dataset
from hlr_jax.evaluation.evaluate import values_on_valid
from hlr_jax.evaluation.metrics import standard_error
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.models.mf_als import mf_als
from hlr_jax.scorers.base import State
from hlr_jax.scorers.ease import Ease, SolvedEase, ease_weights
from hlr_jax.scorers.item_knn import ALL, ItemKNN, similarities
from hlr_jax.scorers.item_matrix import gram_matrix
from hlr_jax.training.als import factorize

MayContinue = Callable[[], bool]

_STRENGTHS = tuple(float(f"{digit}e{power}") for power in range(-1, 5) for digit in (1, 2, 5))
_DROPOUTS = (0.0, 0.2, 0.4, 0.6)
_DENSE = 0.01  # density from which users with many items should have less weight in EASE
_PER_DENSITY = 2000.0  # lambda for confidence 20, per unit of density
_FIRST_DIM = 128
_ITERATIONS = 6  # enough to compare regularizations


def search_ease(dataset: Dataset, evaluation: EvalOptions, may_continue: MayContinue = lambda: True) -> SolvedEase:
    """Return EASE with the settings that validate best: lambda, dropout and the user exponent.

    Raises:
      InputError: the catalog is too large for EASE.
    """
    Ease(regularization=(1.0, 2.0)).check_memory(dataset.num_items)
    lists, kept = evaluation.of_lists, list[tuple[float, SolvedEase]]()

    def measure(point: Point) -> float:
        state: State = {"weights": ease_weights(gram.copy(), point["regularization"], point["dropout"])}
        ease = SolvedEase(**point, **state)
        value = lists.merit(float(values_on_valid(ease, state, dataset, lists).mean()))
        if not kept or value > kept[0][0]:  # keeps only the weights of the best point, as the climb does
            kept[:] = [(value, ease)]
        return value

    per_item, is_dense = len(dataset.train) / dataset.num_items, _density(dataset) > _DENSE
    strength = _nearest(_STRENGTHS, 2 * per_item if is_dense else per_item)
    start = {"regularization": strength, "dropout": 0.4, "user_exponent": 0.5 if is_dense else 0.0}
    gram = gram_matrix(dataset, start["user_exponent"])
    Climb(measure, start, may_continue).along(to_next("regularization", _STRENGTHS), to_next("dropout", _DROPOUTS))
    return kept[0][1]


def search_item_knn(dataset: Dataset, evaluation: EvalOptions, may_continue: MayContinue = lambda: True) -> ItemKNN:
    """Return ItemKNN with the settings that validate best: shrink, and the number of matches.

    Raises:
      InputError: the catalog is too large for ItemKNN.
    """
    space = ItemKNN()
    space.check_memory(dataset.num_items)
    lists, counts = evaluation.of_lists, gram_matrix(dataset)

    def measure(point: Point) -> float:
        state: State = {"similarities": similarities(counts.copy(), point["shrink"])}
        return lists.merit(float(values_on_valid(ItemKNN(**point), state, dataset, lists).mean()))

    climb = Climb(measure, {"best_matches": ALL, "shrink": 10.0}, may_continue)  # ALL makes scores one product
    return ItemKNN(**climb.along(to_next("shrink", space.shrink), to_next("best_matches", space.best_matches)).best)


def search_mf_als(
    dataset: Dataset, evaluation: EvalOptions, max_dim: int, seed: int = 0, may_continue: MayContinue = lambda: True
) -> Point:
    """Return the best settings of MF-ALS: lambda, the confidence and D.

    D doubles as long as the gain exceeds a standard error over users; lambda is searched again for each D.
    """
    lists, values = evaluation.of_lists, dict[tuple, np.ndarray]()  # per user, by point

    def measure(point: Point) -> float:
        model, sizes = mf_als(**point), (dataset.num_users, dataset.num_items)
        params = factorize(model, dataset.train, *sizes, num_iterations=_ITERATIONS, seed=seed)
        each = values_on_valid(model, params, dataset, lists)
        values[tuple(point.values())] = each
        return lists.merit(float(each.mean()))

    # Confidence and regularization interact: data sets differ in how much lambda a higher confidence needs.
    more_regularized, both, more_confident = (
        scaled(2.0, "regularization"),
        scaled(2.0, "confidence", "regularization"),
        scaled(2.0, "confidence"),
    )
    start = {
        "confidence": 20.0,
        "regularization": _nearest(_STRENGTHS, _PER_DENSITY * _density(dataset)),
        "embed_dim": min(_FIRST_DIM, max_dim),
    }
    climb = Climb(measure, start, may_continue).along(more_regularized, both, more_confident)
    while (dim := 2 * climb.best["embed_dim"]) <= max_dim and may_continue():
        wider = Climb(measure, climb.best | {"embed_dim": dim}, may_continue)
        noise = standard_error(values[tuple(wider.best.values())] - values[tuple(climb.best.values())])
        if wider.best_value - climb.best_value <= noise:
            break
        climb = wider.along(scaled(0.5, "regularization"))  # a larger D mostly needs a smaller lambda
    return climb.best


def _density(dataset: Dataset) -> float:
    return len(dataset.train) / (dataset.num_users * dataset.num_items)


def _nearest(values: tuple[float, ...], wanted: float) -> float:
    return min(values, key=lambda value: abs(np.log(value / wanted)))
