"""Metrics of top-K lists, in float64 NumPy: per user, over the catalogue, and over cohorts of users."""

import numpy as np

from hlr_jax.data.interactions import Interactions

Metrics = dict[str, np.ndarray]


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


def per_user_metrics(hits: np.ndarray, num_relevant: np.ndarray, k: int) -> Metrics:
    """Return each metric of each user: hits [users, L] with L <= k and num_relevant [users] >= 1 -> [users].

    With rel_i = 1 for a hit at rank i (from 1) and T = min(k, num_relevant):

    - ``ndcg``: sum rel_i / log2(1 + i), divided by that of T hits at the top (the authors' "global" one).
    - ``map``: sum rel_i precision@i / T; ``map_over_k``: the same divided by k (the authors' denominator).
    - ``mrr``: 1 / rank of the first hit; ``rr_sum``: the sum of 1 / rank of all hits (the authors' "MRR", up to 2.93).
    - ``precision``, ``recall``, ``hit_rate``: hits / k, hits / num_relevant, whether there is one.
    """
    length = hits.shape[1]
    rank = np.arange(1, length + 1, dtype=np.float64)
    found = hits.astype(np.float64)
    total = found.sum(axis=1)
    gain = found @ (1.0 / np.log2(1.0 + rank))
    ideal = np.cumsum(1.0 / np.log2(1.0 + np.arange(1, k + 1, dtype=np.float64)))
    reachable = np.minimum(k, num_relevant)
    precision_sum = (found * np.cumsum(found, axis=1) / rank).sum(axis=1)
    reciprocal = found / rank
    return {
        "ndcg": gain / ideal[reachable - 1],
        "map": precision_sum / reachable,
        "mrr": reciprocal.max(axis=1, initial=0.0),
        "precision": total / k,
        "recall": total / num_relevant,
        "hit_rate": (total > 0).astype(np.float64),
        "map_over_k": precision_sum / k,
        "rr_sum": reciprocal.sum(axis=1),
    }


def catalogue_metrics(items: np.ndarray, popularity: np.ndarray) -> dict[str, float]:
    """Return what lists [users, K] do to the catalogue, given each item's number of training users [I].

    - ``median_popularity``: the median popularity of the distinct recommended items, each once (the released code's).
    - ``shown_popularity``: the same over all places of all lists, each item as often as it is shown.
    - ``coverage``: distinct recommended items / I.
    - ``gini``: of the exposure of all I items: 0 where all are shown equally often, near 1 where few are.
    """
    exposure = np.bincount(items[items >= 0].ravel(), minlength=len(popularity))
    shown = exposure > 0
    if not shown.any():
        return {"median_popularity": 0.0, "shown_popularity": 0.0, "coverage": 0.0, "gini": 0.0}
    count, ordered = len(exposure), np.sort(exposure).astype(np.float64)
    rank = np.arange(1, count + 1)
    return {
        "median_popularity": float(np.median(popularity[shown])),
        "shown_popularity": float(np.median(np.repeat(popularity, exposure))),
        "coverage": float(shown.mean()),
        "gini": float((2 * rank - count - 1) @ ordered / (count * ordered.sum())),
    }


def cohort_statistics(per_user: Metrics, num_cohorts: int, seed: int) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation of each metric over disjoint random cohorts of users of equal size."""
    size = len(next(iter(per_user.values())))
    cohorts = np.array_split(np.random.default_rng(seed).permutation(size), num_cohorts)
    return {
        name: {"mean": float(np.mean(means)), "std": float(np.std(means))}
        for name, values in per_user.items()
        for means in [[values[cohort].mean() for cohort in cohorts if len(cohort)]]
    }
