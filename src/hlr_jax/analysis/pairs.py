"""The pairs of items of a sample, each once: what addresses the memory keys.

The weights of the memories (eq. 2-3) for a candidate v and a neighbor j are a softmax over q_v * q_j . k_n. They know
nothing of the user, and v and j may change places; so what addresses a key are unordered pairs of items.
"""

from typing import NamedTuple

import numpy as np

from hlr_jax.analysis.attention import Attended
from hlr_jax.errors import InputError

TOP_SHARE = 0.05


class ItemPairs(NamedTuple):
    """The distinct unordered pairs of items (candidate, neighbor) of a sample of interactions.

    Attributes:
      first, second: [P] codes, ``first`` below ``second``.
      times: [P], in how many interactions of the sample a pair was met.
      weights: [P, N], the memory weights, which are the same wherever a pair is met.
    """

    first: np.ndarray
    second: np.ndarray
    times: np.ndarray
    weights: np.ndarray


def check_pairs(sample: Attended) -> None:
    """Check that a sample has pairs of items.

    Raises:
      InputError: no user in it has another item.
    """
    if not sample.mask.any():
        raise InputError("no user of the sample has a second item, so no pair of items addresses a key")


def item_pairs(sample: Attended) -> ItemPairs:
    """Return the distinct pairs of items in a sample, by their codes.

    Raises:
      InputError: there are none.
    """
    check_pairs(sample)
    candidate = np.broadcast_to(sample.item[:, None], sample.mask.shape)[sample.mask].astype(np.int64)
    neighbor = sample.neighbors[sample.mask].astype(np.int64)
    low, high = np.minimum(candidate, neighbor), np.maximum(candidate, neighbor)
    base = int(high.max(initial=0)) + 1
    pairs, where, times = np.unique(low * base + high, return_index=True, return_counts=True)
    return ItemPairs(pairs // base, pairs % base, times, sample.memory_weights[sample.mask][where])


def top_pairs(pairs: ItemPairs, share: float = TOP_SHARE) -> np.ndarray:
    """Return the places [N, T] of the pairs that address each key most, the largest weight first.

    T is ``share`` of the pairs, at least one.
    """
    count = min(len(pairs.first), max(1, round(share * len(pairs.first))))
    return np.argsort(-pairs.weights, axis=0, kind="stable")[:count].T
