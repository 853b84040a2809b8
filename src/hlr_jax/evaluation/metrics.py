"""Metrics of top-K lists, in float64 NumPy: per user, over the catalogue, and over cohorts of users."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError

PerUser = dict[str, np.ndarray]
"""Each metric of each user [users]."""


def find_hits(
    items: np.ndarray, users: np.ndarray, relevant: Interactions, num_items: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compare lists with what the users really chose.

    Args:
      items: [users, K] recommended items, -1 for none.
      users: [users].
      relevant: sorted interactions.
      num_items: I.

    Returns:
      hits [users, K], bool; and the number of relevant items of each user [users].
    """
    keys = relevant.user.astype(np.int64) * num_items + relevant.item
    wanted = users[:, None].astype(np.int64) * num_items + items
    place = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    hits = (keys[place] == wanted) & (items >= 0) if len(keys) else np.zeros(items.shape, bool)
    counts = np.bincount(relevant.user, minlength=int(users.max(initial=-1)) + 1)[users]
    return hits, counts


class Hits(NamedTuple):
    """What a metric of a user's list is computed from.

    Attributes:
      at_rank: [users, L], 1 for a hit and 0 else, as float64; L <= k.
      num_relevant: [users], at least 1.
      k: K.
    """

    at_rank: np.ndarray
    num_relevant: np.ndarray
    k: int

    @property
    def rank(self) -> np.ndarray:
        """The ranks [L], from 1."""
        return np.arange(1, self.at_rank.shape[1] + 1, dtype=np.float64)

    @property
    def reachable(self) -> np.ndarray:
        """T = min(k, num_relevant) [users]."""
        return np.minimum(self.k, self.num_relevant)

    @property
    def precision_sum(self) -> np.ndarray:
        """The sum of precision@i over the ranks i of hits [users]."""
        return (self.at_rank * np.cumsum(self.at_rank, axis=1) / self.rank).sum(axis=1)


Metric = Callable[[Hits], np.ndarray]
"""A metric of each user's list: hits -> its values [users]."""


def _ndcg(hits: Hits) -> np.ndarray:
    gain = hits.at_rank @ (1.0 / np.log2(1.0 + hits.rank))
    ideal = np.cumsum(1.0 / np.log2(1.0 + np.arange(1, hits.k + 1, dtype=np.float64)))
    return gain / ideal[hits.reachable - 1]


METRICS: dict[str, Metric] = {
    "ndcg": _ndcg,
    "map": lambda hits: hits.precision_sum / hits.reachable,
    "mrr": lambda hits: (hits.at_rank / hits.rank).max(axis=1, initial=0.0),
    "precision": lambda hits: hits.at_rank.sum(axis=1) / hits.k,
    "recall": lambda hits: hits.at_rank.sum(axis=1) / hits.num_relevant,
    "hit_rate": lambda hits: (hits.at_rank.sum(axis=1) > 0).astype(np.float64),
    "map_over_k": lambda hits: hits.precision_sum / hits.k,
    "rr_sum": lambda hits: (hits.at_rank / hits.rank).sum(axis=1),
}
"""The metrics of a user's list; ``MEANINGS`` says what each is."""

MEANINGS = {
    "ndcg": 'sum rel_i / log2(1 + i), divided by that of T hits at the top (the authors\' "global" one)',
    "map": "sum rel_i precision@i / T",
    "mrr": "1 / rank of the first hit",
    "precision": "hits / k",
    "recall": "hits / num_relevant",
    "hit_rate": "whether there is a hit",
    "map_over_k": "map with k for T (the authors' denominator)",
    "rr_sum": 'the sum of 1 / rank of all hits (the authors\' "MRR", up to 2.93)',
    "median_popularity": "median popularity of the recommended items, each once (as the authors' code has it)",
    "shown_popularity": "the same over all places of all lists, each item as often as it is shown",
    "coverage": "distinct recommended items / I",
    "gini": "of the exposure of all I items: 0 where all are shown equally often, near 1 where few are",
}
"""What each metric is. rel_i = 1 for a hit at rank i, from 1, and T = min(k, num_relevant)."""
LOWER_IS_BETTER = {"loss", "median_popularity", "shown_popularity", "gini"}
"""What is better when it is smaller; every other metric is better when it is larger."""

_CATALOGUE = tuple(name for name in MEANINGS if name not in METRICS)
_OWN = (*MEANINGS, "loss")


def register_metric(name: str, function: Metric, *, higher_is_better: bool = True) -> None:
    """Add a metric of one's own to every evaluation, and to what ``eval.monitor`` takes.

    Raises:
      InputError: a metric of this package has the name.

    Example:
      >>> hlr_jax.register_metric("first_hit", lambda hits: hits.at_rank[:, 0])
      >>> 0 <= hlr_jax.evaluate(model, params, data).metrics.value("first_hit") <= 1
      True
    """
    if name in _OWN:
        raise InputError(f'"{name}" is a metric of this package; register yours under another name')
    METRICS[name], MEANINGS[name] = function, str(function.__doc__ or "").partition("\n")[0]
    (LOWER_IS_BETTER.discard if higher_is_better else LOWER_IS_BETTER.add)(name)


def per_user_metrics(hits: np.ndarray, num_relevant: np.ndarray, k: int) -> PerUser:
    """Return each metric of each user: hits [users, L] with L <= k and num_relevant [users] >= 1 -> [users]."""
    given = Hits(hits.astype(np.float64), num_relevant, k)
    return {name: metric(given) for name, metric in METRICS.items()}


def catalogue_metrics(items: np.ndarray, popularity: np.ndarray) -> dict[str, float]:
    """Return what lists [users, K] do to the catalogue, given each item's number of training users [I].

    Where all lists are empty there is nothing to measure but the coverage: the others are NaN.
    """
    exposure = np.bincount(items[items >= 0].ravel(), minlength=len(popularity))
    shown = exposure > 0
    if not shown.any():
        return dict.fromkeys(_CATALOGUE, math.nan) | {"coverage": 0.0}
    count, ordered = len(exposure), np.sort(exposure).astype(np.float64)
    rank = np.arange(1, count + 1)
    return {
        "median_popularity": float(np.median(popularity[shown])),
        "shown_popularity": float(np.median(np.repeat(popularity, exposure))),
        "coverage": float(shown.mean()),
        "gini": float((2 * rank - count - 1) @ ordered / (count * ordered.sum())),
    }


def standard_error(values: np.ndarray) -> float:
    """Return the standard error of the mean of values [n]; 0 of a single one, whose spread is unknown.

    Example:
      >>> standard_error(np.array([0.0, 0.2]))
      0.1
    """
    count = len(values)
    return float(values.std(ddof=1) / np.sqrt(count)) if count > 1 else 0.0


def cohort_statistics(per_user: PerUser, num_cohorts: int, seed: int) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation of each metric over disjoint random cohorts of users of equal size."""
    size = len(next(iter(per_user.values())))
    cohorts = np.array_split(np.random.default_rng(seed).permutation(size), num_cohorts)
    return {
        name: (float(np.mean(means)), float(np.std(means)))
        for name, values in per_user.items()
        for means in [[values[cohort].mean() for cohort in cohorts if len(cohort)]]
    }
