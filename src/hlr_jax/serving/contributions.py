"""The contribution of each item of a user's history to the scores of items, for any system; reasons are made of these.

Every contribution is relative to what the history item adds to the mean item of the catalog. What it adds to all
scores equally does not change a ranking. A contribution may be negative.

- A scorer computes its own contributions (``Scorer.parts``).
- Those of a model are in ``model_reasons``.
- The score of a blend is sum_p w_p (s_p - mean) / std, so part p adds its own contribution times w_p / std.
  Contributions add up over the items of the history and over the parts.

``docs/guides/reasons.md`` has the formulas.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hlr_jax.blended_systems import Blend
from hlr_jax.data.dataset import Dataset
from hlr_jax.models.base import Model
from hlr_jax.ranking.population import Population
from hlr_jax.ranking.scores import part_scores, scores
from hlr_jax.scorers.base import Scorer
from hlr_jax.serving.model_reasons import Arrays, histories_in, model_contributions, reads_history
from hlr_jax.systems import System

_LEAST_SPREADS = 0.01
_LEAST_TIMES = 2.0
_BLOCK = 256  # users whose scores of all items are in memory at once


@dataclass(frozen=True, eq=False)
class Contributions:
    """The contributions of one user's history to the scores of T items.

    Attributes:
      items: codes of the history [H] that the system reads; for a blend, of all its parts.
      values: [H, T], in units of the score.
      spread: the standard deviation of the user's scores over the catalog.
      arrays: everything a model computes from its history, by name, including its attention; see
        ``model_reasons.Arrays``.
      shares: for a blend, by label, each part's share [T] of the sum of the parts' positive scores.
      parts: for a blend, by label, the contributions in each part, in units of its own score.
    """

    items: np.ndarray
    values: np.ndarray
    spread: float
    arrays: Arrays = field(default_factory=dict)
    shares: dict[str, np.ndarray] = field(default_factory=dict)
    parts: dict[str, "Contributions"] = field(default_factory=dict)

    @property
    def weights(self) -> np.ndarray:
        """The share [H, T] of each item in the sum of positive contributions; negative for items that lower a score."""
        raised = np.maximum(self.values, 0).sum(axis=0)
        return self.values / np.maximum(raised, np.finfo(np.float32).tiny)

    @property
    def stands_out(self) -> np.ndarray:
        """Whether an item of the history is a reason to show [H, T].

        Its contribution is at least 0.01 standard deviations of the user's scores, and at least twice the mean absolute
        contribution of the other items of the history.
        """
        sizes = np.abs(self.values)
        others = (sizes.sum(axis=0) - sizes) / max(len(sizes) - 1, 1)
        least = max(_LEAST_SPREADS * self.spread, np.finfo(np.float32).tiny)
        return (self.values >= least) & (self.values >= _LEAST_TIMES * others)


def contributions(
    system: System, population: Population, dataset: Dataset, places: np.ndarray, targets: np.ndarray, seed: int = 0
) -> Iterator[Contributions]:
    """Yield the contributions of each user's history to the scores of some items.

    Args:
      system: a model, a scorer or a blend.
      population: the population of the users, with the parameters.
      dataset: the data set that the system was trained on.
      places: [n], rows of the users in the population.
      targets: [n, T], codes of items.
      seed: for sampling histories longer than a model reads; the parts of a blend have seeds of their own.

    Raises:
      InputError: see ``ranking.scores.scores``.
    """
    for start in range(0, len(places), _BLOCK):
        block = slice(start, start + _BLOCK)
        yield from _of_block(system, population, dataset, places[block], targets[block], seed)


def _of_block(
    system: System, population: Population, dataset: Dataset, places: np.ndarray, targets: np.ndarray, seed: int
) -> list[Contributions]:
    if isinstance(system, Blend):
        return _of_blend(system, population, dataset, places, targets)
    spreads = scores(system, population, places, dataset.num_items, seed=seed).std(axis=1)
    return _of_single(system, population, dataset, places, targets, seed, spreads)


def _of_single(
    system: Model | Scorer, population: Population, dataset: Dataset, places: np.ndarray, targets: np.ndarray,
    seed: int, spreads: np.ndarray,
) -> list[Contributions]:  # fmt: skip
    """Return the contributions in a single system, whose scores have these standard deviations [n]."""
    found: Iterable[Arrays]
    if not explains(system):
        nothing: Arrays = {"items": np.zeros(0, np.int32), "values": np.zeros((0, targets.shape[1]))}
        found = [nothing] * len(places)
    elif isinstance(system, Model):
        found = model_contributions(system, population, dataset, places, targets, seed)
    else:
        found = _of_scorer(system, population, dataset, places, targets)
    return [
        Contributions(arrays["items"], arrays["values"], float(spread), arrays)
        for arrays, spread in zip(found, spreads, strict=True)
    ]


def explains(system: Model | Scorer) -> bool:
    """Return whether a single system can compute the contribution of each item of a history."""
    return reads_history(system) if isinstance(system, Model) else system.explains


def _of_scorer(
    scorer: Scorer, population: Population, dataset: Dataset, places: np.ndarray, targets: np.ndarray
) -> Iterator[Arrays]:
    all_items = np.arange(dataset.num_items)
    for items, wanted in zip(histories_in(population.met, population.rows[places]), targets, strict=True):
        parts = scorer.parts(population.params, items, all_items)
        yield {"items": items, "values": parts[:, wanted] - parts.mean(axis=1, keepdims=True)}


def _of_blend(
    blend: Blend, population: Population, dataset: Dataset, places: np.ndarray, targets: np.ndarray
) -> list[Contributions]:
    total: Any = np.float32(0)
    raised, found = {}, {}
    for label, part in blend.parts.items():
        standard, spreads = part_scores(blend, label, population, places, dataset.num_items)
        standard *= np.float32(part.weight)
        total, raised[label] = total + standard, np.maximum(np.take_along_axis(standard, targets, axis=1), 0)
        given = population.parts[label], dataset, places, targets, part.seed, spreads
        found[label] = _of_single(part.system, *given)
    whole = np.maximum(sum(raised.values()), np.finfo(np.float32).tiny)
    return [
        _joined(
            blend,
            {label: each[place] for label, each in found.items()},
            {label: (values / whole)[place] for label, values in raised.items()},
            float(spread),
        )
        for place, spread in enumerate(np.std(total, axis=1))
    ]


def _joined(
    blend: Blend, parts: dict[str, Contributions], shares: dict[str, np.ndarray], spread: float
) -> Contributions:
    """Combine the contributions in the parts into those in the blend, for one user."""
    items = np.unique(np.concatenate([each.items for each in parts.values()]))
    values = np.zeros((len(items), len(next(iter(shares.values())))))
    for label, each in parts.items():
        if each.spread > 0:
            values[np.searchsorted(items, each.items)] += blend.parts[label].weight / each.spread * each.values
    return Contributions(items, values, spread, shares=shares, parts=parts)
