"""The best K items of users by a scorer, a tile of users at a time."""

import numpy as np
from scipy.sparse import csr_array

from hlr_jax.ranking.lists import NO_ITEM
from hlr_jax.scorers.base import Scorer, State
from hlr_jax.types import Ranking

_TILE = 512  # users
_COPIES = 4  # arrays as large as the scores of a tile that are alive at once, about


def rank_histories(
    scorer: Scorer,
    state: State,
    users: np.ndarray,
    histories: csr_array,
    seen: csr_array | None,
    k: int,
    allowed: np.ndarray | None = None,
    memory_limit_mib: int = 512,
    excluded: csr_array | None = None,
    candidates: csr_array | None = None,
) -> Ranking:
    """Rank all items for each of ``users`` and return their best ``k``, as ``ranking.rank.rank`` does for a model.

    Args:
      scorer: scores the items.
      state: what it has learned.
      users: [users], rows of ``histories`` and ``seen``.
      histories: [U, I], what a user is known by.
      seen: [U, I], what may not stand in their lists; None: everything may.
      k: K; lists are shorter than K only where I is.
      allowed: [I] bool, the items that may stand in a list; None: all.
      memory_limit_mib: that a tile of users may take.
      excluded: [users, I], what may not stand in the list of a single one; None: nothing.
      candidates: [users, I], what alone may; None: all items.
    """
    num_items = histories.shape[1]
    k = min(k, num_items)
    items, scores = np.empty((len(users), k), np.int32), np.empty((len(users), k), np.float32)
    tile = int(np.clip((memory_limit_mib << 20) // (4 * _COPIES * num_items), 1, _TILE))
    for start in range(0, len(users), tile):
        rows = slice(start, start + tile)
        values = scorer.scores(state, histories[users[rows]])
        for masked in (None if seen is None else seen[users[rows]], None if excluded is None else excluded[rows]):
            if masked is not None:
                values[masked.nonzero()] = -np.inf
        if allowed is not None:
            values[:, ~allowed] = -np.inf
        if candidates is not None:
            values[candidates[rows].toarray() == 0] = -np.inf
        best = best_items(values, k)
        scores[rows] = np.take_along_axis(values, best, axis=1)
        items[rows] = np.where(np.isneginf(scores[rows]), NO_ITEM, best)
    return Ranking(items, scores)


def best_items(values: np.ndarray, k: int) -> np.ndarray:
    """Return the places [n, K] of the K largest values [n, I], the largest first; of equal ones the lower place.

    That is what ``jax.lax.top_k`` returns, without sorting all values.

    Example:
      >>> best_items(np.array([[1.0, 3.0, 1.0, 2.0]]), 3)
      array([[1, 3, 0]])
    """
    least = np.partition(values, -k, axis=1)[:, -k, None]
    above, equal = values > least, values == least
    wanted = k - above.sum(axis=1)
    tied = np.flatnonzero(equal.sum(axis=1) > wanted)
    equal[tied] &= np.cumsum(equal[tied], axis=1) <= wanted[tied, None]
    places = np.nonzero(above | equal)[1].reshape(len(values), k)
    order = np.argsort(-np.take_along_axis(values, places, axis=1), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)
