"""Whether memory keys find the relation types that a planted world was made of."""

import numpy as np
import polars as pl

from hlr_jax.analysis.attention import Attended
from hlr_jax.analysis.pairs import item_pairs
from hlr_jax.data.synthetic import SyntheticWorld
from hlr_jax.errors import InputError, check_range


def normalized_mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mutual information of two labellings [n] over the mean of their entropies; 0 if one has one label."""
    if len(np.unique(a)) < 2 or len(np.unique(b)) < 2:
        return 0.0
    _, a = np.unique(a, return_inverse=True)
    _, b = np.unique(b, return_inverse=True)
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(a))
    by_a, by_b = joint.sum(axis=1), joint.sum(axis=0)
    there = joint > 0
    information = np.sum(joint[there] * np.log(joint[there] / np.outer(by_a, by_b)[there]))
    return float(2 * information / -(np.sum(by_a * np.log(by_a)) + np.sum(by_b * np.log(by_b))))


def planted_types(world: SyntheticWorld, item_cluster: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the relation type of unordered pairs of items [P], -1 for none.

    Keys cannot tell the direction of a pair, so a type counts whichever way it leads; of two, the lower one.
    """
    forth, back = (world.relation_of[item_cluster[a], item_cluster[b]] for a, b in ((first, second), (second, first)))
    return np.where((forth >= 0) & (back >= 0), np.minimum(forth, back), np.maximum(forth, back))


def key_by_type(sample: Attended, world: SyntheticWorld) -> pl.DataFrame:
    """Return how often pairs of each planted type address each key most: ``type``, ``key``, ``pairs``, and the
    ``mean_weight`` of pairs of the type on the key.
    """
    pairs = item_pairs(sample)
    types = planted_types(world, world.item_cluster, pairs.first, pairs.second)
    first = pairs.weights.argmax(axis=1)
    return pl.DataFrame(
        [
            {
                "type": int(kind),
                "key": key,
                "pairs": int(((types == kind) & (first == key)).sum()),
                "mean_weight": float(pairs.weights[types == kind, key].mean()),
            }
            for kind in np.unique(types[types >= 0])
            for key in range(pairs.weights.shape[1])
        ]
    )


def relation_recovery(
    sample: Attended, world: SyntheticWorld, *, permutations: int = 500, seed: int = 0
) -> pl.DataFrame:
    """Return how much the key that a pair of items addresses most tells of the pair's planted type.

    Only pairs that have a type take part. For the baseline, the items exchange their clusters at random, which keeps
    the pairs, their keys and how often each item stands in one.

    Args:
      sample: of interactions of the world's data set.
      world: what that was made from (``planted.synthetic_world_of``).
      permutations: of the baseline.
      seed: of the permutations.

    Returns:
      One row: ``pairs``; ``nmi``, the normalised mutual information; ``chance`` and ``chance_high``, the mean and the
      95 % quantile of the permutations; ``p``, the share of them with at least this value, never below
      1 / (1 + permutations).

    Raises:
      InputError: the world is of another size, or no pair has a type.
    """
    check_range("analysis", permutations=(permutations, 1, 10**6))
    pairs = item_pairs(sample)
    if int(pairs.second.max(initial=0)) >= len(world.item_cluster):
        raise InputError(f"the planted world has {len(world.item_cluster)} items, the sample more; make the same world")
    key = pairs.weights.argmax(axis=1)

    def information(item_cluster: np.ndarray) -> tuple[int, float]:
        types = planted_types(world, item_cluster, pairs.first, pairs.second)
        return int((types >= 0).sum()), normalized_mutual_information(key[types >= 0], types[types >= 0])

    count, nmi = information(world.item_cluster)
    if not count:
        raise InputError("no pair of items in the sample has a planted type; draw more interactions")
    rng = np.random.default_rng(seed)
    chance = np.array([information(rng.permutation(world.item_cluster))[1] for _ in range(permutations)])
    return pl.DataFrame(
        {
            "pairs": [count],
            "nmi": [nmi],
            "chance": [chance.mean()],
            "chance_high": [np.quantile(chance, 0.95)],
            "p": [(1 + int((chance >= nmi - 1e-12).sum())) / (1 + permutations)],
        }
    )
