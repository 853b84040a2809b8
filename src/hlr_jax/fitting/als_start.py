"""Starts training from MF-ALS: its factors become points whose distances rank like the products of factors.

Item factors y become q = (y / R, sqrt(1 - |y|^2 / R^2)) with R = max |y|, so that every |q| is 1. User factors x become
p = (s x, 0). Then |p - q|^2 = s^2 |x|^2 + 1 - (2 s / R) x . y, which decreases in x . y for any s.

Users who are made from their items have no x. Their equation, (Y^T Y + lambda I) x = c sum_j y_j for a confidence c
that its left side leaves out, is linear in the items. Source vectors are s c (Y^T Y + lambda I)^-1 y_j.

s sets the confidence of the ranking. A softmax of distances at temperature t is one of b x . y with b = 2 s / (R t).
This b maximizes the likelihood of validation. The score of the square loss is the product p . q itself, so b = s / R,
found by least squares.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError
from hlr_jax.models.base import Model
from hlr_jax.models.mf_als import mf_als
from hlr_jax.objectives import READS
from hlr_jax.training.als import factorize
from hlr_jax.training.learner import key_of
from hlr_jax.training.options import Run, TrainOptions
from hlr_jax.types import Params

_PAIRS = 2**24  # user-item scores in memory to compute the likelihood of validation: 64 MiB
_SPAN = 100.0  # b is searched within this factor of 1 / the standard deviation of scores
_NOTHING = 1e-6  # shorter factors than this count as zero


class Factors(NamedTuple):
    """The factors of MF-ALS: users x [U, d] and items y [I, d], float64."""

    user: np.ndarray
    item: np.ndarray

    @property
    def radius(self) -> float:
        """R, the length of the longest item."""
        return float(np.linalg.norm(self.item, axis=1).max())


def check_als(model: Model) -> None:
    """Check that a model can start from factors.

    Raises:
      InputError: the model is solved for itself, its items are their own source vectors, or vectors have one dimension.
    """
    if model.solver is not None:
        raise InputError(f"train.start=als: {model.title} itself is solved by ALS; leave train.start out")
    if model.history_users is not None and model.history_users.source == "item":
        raise InputError("train.start=als needs source vectors other than the items': set model.tied=false")
    if _num_factors(model) < 1:
        raise InputError(
            "train.start=als uses one dimension for the lengths of items: set model.embed_dim to 2 or more"
        )


class VanishedFactors(InputError):
    """The regularization of MF-ALS shrinks its factors to zero, so training can't start from them."""


def als_params(
    model: Model, dataset: Dataset, options: TrainOptions, runs: Sequence[Run], log: Callable[[str], None] = print
) -> Params:
    """Return the parameters [S, ...] of runs that start from MF-ALS with D - 1 factors.

    Each seed is solved for once, for all its temperatures. Memories are zero, so that no relation moves a user: the
    lists of CML, LRML, HLR and HLR++ are those of MF-ALS. The lists of AdaCML and TransCF differ, because they have
    relations without memories. So do those of CML with users made from their items.

    Args:
      model: the model to train.
      dataset: the data set to train on.
      options: ``start_*`` are the settings of the solver.
      runs: S runs.
      log: receives a log line.

    Raises:
      VanishedFactors: the regularization shrinks the factors to zero.
    """
    solved = {}
    for seed in dict.fromkeys(run.seed for run in runs):
        factors = solve(dataset, dataset.train, options, _num_factors(model), seed)
        solved[seed] = factors, _sharpness(model, dataset, options, factors, seed)
    log(f"starts from {options.start_iterations} iterations of MF-ALS with {_num_factors(model)} factors")
    rows = [_start(model, dataset, options, run, *solved[run.seed], log) for run in runs]
    stacked: dict[str, Any] = {name: np.stack([params[name] for params in rows]) for name in rows[0]}
    return stacked


def solve(dataset: Dataset, train: Interactions, options: TrainOptions, num_factors: int, seed: int) -> Factors:
    """Return the factors of MF-ALS with the settings ``start_*``, as training MF-ALS with this seed does.

    Raises:
      VanishedFactors: the regularization shrinks them to zero.
    """
    solver = mf_als(
        embed_dim=num_factors, confidence=options.start_confidence, regularization=options.start_regularization,
        frequency_exponent=options.start_frequency_exponent,
    )  # fmt: skip
    sizes = dataset.num_users, dataset.num_items
    params = factorize(solver, train, *sizes, num_iterations=options.start_iterations, seed=seed)
    factors = Factors(np.asarray(params["user"], np.float64), np.asarray(params["item"], np.float64))
    if factors.radius < _NOTHING:
        raise VanishedFactors(
            f"train.start_regularization={options.start_regularization:g} shrinks the factors to zero: lower it, or "
            "raise train.start_confidence"
        )
    return factors


def embedded(factors: Factors) -> tuple[np.ndarray, np.ndarray]:
    """Return users (x, 0) [U, d + 1] and items (y / R, sqrt(1 - |y|^2 / R^2)) [I, d + 1] of length 1.

    Example:
      >>> users, items = embedded(Factors(np.array([[3.0]]), np.array([[4.0], [2.4]])))
      >>> users.tolist(), items.tolist()
      ([[3.0, 0.0]], [[1.0, 0.0], [0.6, 0.8]])
    """
    inside = factors.item / factors.radius
    rest = np.sqrt(np.maximum(1 - np.sum(inside**2, axis=1, keepdims=True), 0))
    return np.pad(factors.user, ((0, 0), (0, 1))), np.concatenate([inside, rest], axis=1)


def _start(
    model: Model, dataset: Dataset, options: TrainOptions, run: Run, factors: Factors, sharpness: float,
    log: Callable[[str], None],
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the parameters that a run starts from; those that MF-ALS lacks, such as keys, are random."""
    fresh = model.init(key_of(run.seed, 0), dataset.num_users, dataset.num_items)
    params = {name: np.asarray(array) for name, array in fresh.items()}
    # The unit of b: for the square loss the score is the product, half of the decrease of the squared distance.
    units: dict[tuple[str, ...], float] = {("margin",): run.margin, ("confidence",): 2.0}
    unit = units.get(READS.get(options.objective, ()), run.temperature)
    moved, items = embedded(_moved(model, options, factors))
    length = min(dict(model.options).get("radius") or 1.0, 1.0)  # a smaller ball of items
    items *= length
    moved *= options.start_scale * sharpness * unit * factors.radius / (2 * length)
    longest = float(np.linalg.norm(moved, axis=1).max())
    radius = dict(model.options).get("user_radius") if model.history_users is None else None
    if radius and longest > radius:
        log(f"model.user_radius={radius:g} shortens all users: their best lengths are up to {longest:.2g}")
        moved *= radius / longest
    name = "user" if model.history_users is None else model.history_users.source
    params |= {name: moved.astype(np.float32), "item": items.astype(np.float32)}
    if "memories" in params:
        params["memories"] = np.zeros_like(params["memories"])
    return params


def _moved(model: Model, options: TrainOptions, factors: Factors) -> Factors:
    """Return the factors with the rows that s scales in place of users: users, or the source vectors [I, d]."""
    if model.history_users is None:
        return factors
    gram = factors.item.T @ factors.item + options.start_regularization * np.eye(factors.item.shape[1])
    return factors._replace(user=options.start_confidence * np.linalg.solve(gram, factors.item.T).T)


def _users(model: Model, moved: np.ndarray, some: np.ndarray, known: Interactions) -> np.ndarray:
    """Return x of some users [n] with these items: their scaled rows, or pooled from them."""
    if model.history_users is None:
        return moved[some]
    sums = np.zeros((len(some), moved.shape[1]))
    np.add.at(sums, known.user, moved[known.item])
    return np.asarray(model.history_users.pool(jnp.asarray(sums), jnp.asarray(known.degrees(len(some)))), np.float64)


def _sharpness(model: Model, dataset: Dataset, options: TrainOptions, factors: Factors, seed: int) -> float:
    """Return b, the factor of the scores x . y that maximizes the likelihood of held-out interactions.

    They are those of validation. Without validation, a tenth of the training interactions is held out, and the factors
    are solved without it.
    """
    train, held = dataset.train, dataset.valid
    if not len(held):
        is_held = np.random.default_rng(0).random(len(train)) < 0.1
        train, held = train.where(~is_held), train.where(is_held)
        factors = solve(dataset, train, options, factors.item.shape[1], seed)
    everyone = np.random.default_rng(0).permutation(np.flatnonzero(held.degrees()))
    some = np.sort(everyone[: max(1, _PAIRS // dataset.num_items)])
    known = train.of_users(some)
    users = _users(model, _moved(model, options, factors).user, some, known)
    scores, held = users @ factors.item.T, held.of_users(some)
    if options.objective == "square":
        return least_squares_factor(scores, known, held, options.confidence)
    return likeliest_factor(scores, known, held)


def likeliest_factor(scores: np.ndarray, known: Interactions, held: Interactions) -> float:
    """Return the b that maximizes the likelihood of ``held`` under softmaxes of b times the scores [n, I].

    Each held-out item competes with the items that are neither training nor held-out items of its user. The mean
    negative log-likelihood is convex in b, so its slope has at most one zero. With the standard deviation d of the
    scores, the search is limited to a range around 1 / d, and may return an end of it. If no held-out item has a
    competitor, the result is 1 / d.
    """
    from scipy.optimize import brentq

    middle = 1 / ((float(scores.std()) if scores.size else 1.0) or 1.0)
    row, of_held = held.user, scores[held.user, held.item]
    others = scores.astype(np.float32)
    for pairs in (known, held):
        others[pairs.user, pairs.item] = -np.inf
    has_others = np.isfinite(others.max(axis=1))[row]
    row, of_held = row[has_others], of_held[has_others]
    finite = np.where(np.isfinite(others), others, 0)

    def slope(log_factor: float) -> float:
        factor = math.exp(log_factor)
        highest = np.maximum(others.max(axis=1), -np.finfo(np.float32).max)
        weights = np.exp(np.float32(factor) * (others - highest[:, None]))
        total = np.maximum(weights.sum(axis=1, dtype=np.float64), np.finfo(np.float64).tiny)
        mean = np.einsum("ui,ui->u", weights, finite) / total
        odds = np.exp(np.clip(factor * (of_held - highest[row]), -700, 700)) / total[row]
        return float(np.mean((mean[row] - of_held) / (1 + odds)))

    low, high = math.log(middle / _SPAN), math.log(middle * _SPAN)
    if not len(row):
        return middle
    if slope(low) >= 0:
        return math.exp(low)
    return math.exp(high if slope(high) <= 0 else brentq(slope, low, high, xtol=1e-4))


def least_squares_factor(scores: np.ndarray, known: Interactions, held: Interactions, confidence: float) -> float:
    """Return the b that minimizes the sum of c (1 - b x)^2 over the scores x of ``held`` and (b x)^2 over the others.

    Example:
      >>> nothing = Interactions(np.zeros(0, int), np.zeros(0, int))
      >>> least_squares_factor(np.array([[2.0, 1.0]]), nothing, Interactions(np.array([0]), np.array([0])), 3.0)
      0.46153846153846156
    """
    others, of_held = scores.copy(), scores[held.user, held.item]
    for pairs in (known, held):
        others[pairs.user, pairs.item] = 0
    squares = np.sum(others**2) + confidence * np.sum(of_held**2)
    return float(max(confidence * of_held.sum() / squares, 1 / _SPAN)) if squares else 1.0


def _num_factors(model: Model) -> int:
    """Return D - 1."""
    return jax.eval_shape(lambda: model.init(jax.random.key(0), 1, 1))["item"].shape[1] - 1
