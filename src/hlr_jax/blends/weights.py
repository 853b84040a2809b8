"""The weights of a blend, chosen on validation: few values, no more parts than pay, and what choosing them costs."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement, permutations
from typing import Any

import numpy as np

from hlr_jax.blended_systems import Blend
from hlr_jax.blends.candidates import Candidates
from hlr_jax.data.dataset import Dataset
from hlr_jax.evaluation.evaluate import interactions_at, relevant_of, validation_users
from hlr_jax.evaluation.metrics import METRICS, Hits, find_hits, standard_error
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.ranking.population import trained_population
from hlr_jax.scorers.base import histories_of
from hlr_jax.types import Params

_UNITS = 10  # that weights are whole numbers of: steps of 0.1
_COARSE = 2  # units of a step where there are more parts than _FEW
_FEW = 3
_HALVINGS = 5  # of the users, to see what weights are worth on others
_BEST = 100  # items of each part that are candidates, beside K

Point = tuple[int, ...]
"""The weight of each part in units."""


@dataclass(frozen=True)
class BlendWeights:
    """Weights that validation has chosen, and how much they can be trusted.

    Attributes:
      weights: by label; 0 for a part that is left out.
      metric: what they were chosen by, such as ``valid_ndcg@10``.
      users: whose lists it is the mean of.
      value: of the blend.
      alone: of each part alone, by label.
      best_part: the label of the best part alone.
      lead: how much better the blend is than the best part: the mean difference over users.
      lead_error: the standard error of ``lead``, paired over users.
      held_out: the value on users that the weights were not chosen on: on each half of the users with the weights that
        the same search chooses on the other half, the mean over several random halvings.
      tried: blends that were measured.

    Example:
      >>> alone = {"ease": 0.30, "cml": 0.28}
      >>> chosen = hlr_jax.BlendWeights(
      ...     {"ease": 0.6, "cml": 0.4}, "valid_ndcg@10", users=60, value=0.33, alone=alone, best_part="ease",
      ...     lead=0.03, lead_error=0.01, held_out=0.32, tried=11,
      ... )
      >>> chosen.leads  # by more than two standard errors
      True
    """

    weights: dict[str, float]
    metric: str
    users: int
    value: float
    alone: dict[str, float]
    best_part: str
    lead: float
    lead_error: float
    held_out: float
    tried: int

    @property
    def leads(self) -> bool:
        """Whether the blend is ahead of its best part by more than two standard errors."""
        return self.lead > 2 * self.lead_error

    def to_json(self) -> dict[str, Any]:
        """Return all of it, JSON-like."""
        return vars(self) | {"leads": self.leads}


def fit_weights(blend: Blend, params: Params, dataset: Dataset, evaluation: EvalOptions | None = None) -> BlendWeights:
    """Choose the weights of a blend's parts on validation.

    Up to three parts: all weights that are multiples of 0.1. More parts: multiples of 0.2, and from the best on weight
    moves from one part to another by 0.1 as long as that helps. Of equals the one with the fewest parts is taken.

    Args:
      blend: the parts; their weights are not read.
      params: their parameters, by label.
      dataset: whose validation interactions choose.
      evaluation: ``monitor`` chooses; where it is ``loss``, which a blend has not, NDCG does.

    Raises:
      InputError: no validation interactions, or see ``scores``.

    Example:
      >>> parts = {name: hlr_jax.fit(data, name, quiet=True) for name in ("ease", "popularity")}
      >>> blend = hlr_jax.Blend({name: hlr_jax.Part(part.model, 0.5) for name, part in parts.items()})
      >>> chosen = hlr_jax.fit_weights(blend, {name: part.params for name, part in parts.items()}, data)
      >>> chosen.metric, sum(chosen.weights.values())
      ('valid_ndcg@10', 1.0)
    """
    evaluation = (evaluation or EvalOptions()).of_lists
    measured = _Measured(Blend.equal(blend.parts), params, dataset, evaluation)
    labels, everyone = list(blend.parts), np.ones(measured.users, bool)
    vertices = {label: _vertex(row, len(labels)) for row, label in enumerate(labels)}
    best_part = max(labels, key=lambda label: measured(vertices[label]).mean())
    point = _search(measured, len(labels), everyone)
    lead = measured(point) - measured(vertices[best_part])
    sign = 1 if evaluation.higher_is_better else -1
    return BlendWeights(
        weights=measured.weights(point),
        metric=evaluation.monitor_name,
        users=measured.users,
        value=sign * float(measured(point).mean()),
        alone={label: sign * float(measured(vertex).mean()) for label, vertex in vertices.items()},
        best_part=best_part,
        lead=float(lead.mean()),
        lead_error=standard_error(lead),
        held_out=sign * _held_out(measured, len(labels)),
        tried=len(measured.values),
    )


class _Measured:
    """The monitored metric of each user by blends of the same parts, so that higher is better; each is made once."""

    def __init__(self, blend: Blend, params: Params, dataset: Dataset, evaluation: EvalOptions):
        relevant, known = relevant_of(dataset, "valid"), interactions_at(dataset, "valid")
        chosen = validation_users(dataset, evaluation)
        self._places = np.flatnonzero(relevant.degrees()) if chosen is None else chosen
        self._relevant, self._num_items, self._evaluation = relevant, dataset.num_items, evaluation
        population = trained_population(blend, params, dataset, known)
        seen = histories_of(known, dataset.num_users, dataset.num_items)
        best, limit = _BEST + evaluation.monitored[1], evaluation.memory_limit_mib
        self._candidates = Candidates.of(blend, population, self._places, seen, best, limit)
        self.users = len(self._places)
        self.values: dict[Point, np.ndarray] = {}

    def weights(self, point: Point) -> dict[str, float]:
        """Return weights by label."""
        labels = self._candidates.blend.parts
        return {label: units / _UNITS for label, units in zip(labels, point, strict=True)}

    def __call__(self, point: Point) -> np.ndarray:
        """Return the metric of each user [n]."""
        if point not in self.values:
            name, k = self._evaluation.monitored
            items = self._candidates.lists(self.weights(point), k)
            hits, counts = find_hits(items, self._places, self._relevant, self._num_items)
            value = METRICS[name](Hits(hits.astype(np.float64), counts, k))
            self.values[point] = value if self._evaluation.higher_is_better else -value
        return self.values[point]


def _held_out(measured: _Measured, count: int) -> float:
    """Return what the weights that some users choose are worth on the others."""
    value, rng = 0.0, np.random.default_rng(0)
    for _ in range(_HALVINGS):
        half = rng.permutation(measured.users) % 2 == 0
        # A single user has no other half.
        first, second = (_search(measured, count, some if some.any() else ~some) for some in (half, ~half))
        value += float(np.where(half, measured(second), measured(first)).mean()) / _HALVINGS
    return value


def _search(measured: _Measured, count: int, some: np.ndarray) -> Point:
    """Return the best weights of ``count`` parts by some of the users [n] (bool)."""

    def merit(point: Point) -> tuple[float, int]:
        return float(measured(point)[some].mean()), -int(np.count_nonzero(point))

    best = max(_simplex(count, 1 if count <= _FEW else _COARSE), key=merit)
    while count > _FEW and (better := max(_moves(best), key=merit)) != best:
        best = better
    return best


def _vertex(row: int, count: int) -> Point:
    return tuple(_UNITS if place == row else 0 for place in range(count))


def _simplex(count: int, step: int) -> Iterator[Point]:
    """Yield every point of ``count`` weights that are whole numbers of ``step`` units."""
    for drawn in combinations_with_replacement(range(count), _UNITS // step):
        yield tuple(step * drawn.count(row) for row in range(count))


def _moves(point: Point) -> Iterator[Point]:
    """Yield the point, and those that differ by one unit of one part that another one has."""
    yield point
    for giver, taker in permutations(range(len(point)), 2):
        if point[giver]:
            yield tuple(units - (row == giver) + (row == taker) for row, units in enumerate(point))
