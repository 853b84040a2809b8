"""Relation vectors: the most similar ones, their common categories, and the recovery of planted relation types."""

import numpy as np
import polars as pl
from scipy.stats import entropy
from scipy.stats.contingency import crosstab

from hlr_jax.analysis.attention import Attended, item_pairs
from hlr_jax.analysis.categories import item_categories
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.synthetic import SyntheticWorld
from hlr_jax.errors import InputError, check_range

_ROWS = 512  # whose cosines with all others are in memory together
_MIDDLE = (0.025, 0.975)  # quantiles: the middle 95 %


def nearest_relations(sample: Attended, dataset: Dataset, *, k: int = 5, apart: bool = True) -> pl.DataFrame:
    """Return for each interaction the k others, at most, with the most similar relation vectors.

    With ``apart``, interactions of the same user or the same item are left out: they share p_u or q_v, which makes
    their relations similar.

    Returns:
      A frame of ``place`` (in the sample), ``user``, ``item``, ``title``, ``rank`` (from 1), ``other_user``,
      ``other_item``, ``other_title``, ``cosine``.

    Raises:
      InputError: ``k`` is out of range, or the relations are zero.
    """
    check_range("analysis", k=(k, 1, 10**6))
    places, cosines = _nearest(sample.relation, sample, min(k, len(sample.user)), apart)
    place, rank = np.nonzero(cosines > -np.inf)
    other, item = places[place, rank], sample.item[place]
    return pl.DataFrame(
        {
            "place": place,
            "user": dataset.user_ids.gather(sample.user[place]),
            "item": dataset.item_ids.gather(item),
            "title": dataset.item_titles.gather(item),
            "rank": rank + 1,
            "other_user": dataset.user_ids.gather(sample.user[other]),
            "other_item": dataset.item_ids.gather(sample.item[other]),
            "other_title": dataset.item_titles.gather(sample.item[other]),
            "cosine": cosines[place, rank],
        }
    )


def _nearest(vectors: np.ndarray, sample: Attended, k: int, apart: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return places [B, k] of the most similar vectors and their cosines [B, k], minus infinity where there is none."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not lengths.any():
        raise InputError("all relation vectors are zero: the model has none, or no user has a history")
    rows = vectors / np.maximum(lengths, 1e-12)
    places, cosines = np.empty((len(rows), k), np.int64), np.empty((len(rows), k))
    everywhere = np.arange(len(rows))
    for start in range(0, len(rows), _ROWS):
        here = slice(start, start + _ROWS)
        similarity = rows[here] @ rows.T
        similarity[_excluded(sample, everywhere[here, None], everywhere, apart)] = -np.inf
        places[here] = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        cosines[here] = np.take_along_axis(similarity, places[here], axis=1)
    return places, cosines


def _excluded(sample: Attended, places: np.ndarray, others: np.ndarray, apart: bool) -> np.ndarray:
    """Return whether interactions may not be partners, for two arrays of places that broadcast."""
    if apart:
        return (sample.user[places] == sample.user[others]) | (sample.item[places] == sample.item[others])
    return places == others


def matching_probability(
    sample: Attended,
    dataset: Dataset,
    categories: pl.DataFrame | None = None,
    *,
    vectors: np.ndarray | None = None,
    apart: bool = True,
    resamples: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the probability that two interactions with the most similar relation vectors have a common category.

    After the released code of Tran et al. 2021 (``analyse``): an interaction and the one with the nearest relation by
    cosine match if they have a common category. There, these are the categories that both the user and the item have.
    Tags of users are rare, so here they are the item's. Interactions whose item has no category are left out.

    Args:
      sample: of interactions; the authors take them from test.
      dataset: gives genres where ``categories`` is None.
      categories: a row for each ``item`` and ``category``.
      vectors: [B, D], compared instead of the relations, such as the item vectors.
      apart: whether the nearest and the random partner must be of another user and another item. The authors do not
        require it; but an item always matches itself.
      resamples: of the bootstrap and of the random partners.
      seed: of both.

    Returns:
      A frame with one row:

      - ``interactions``: their number
      - ``nearest``: the probability, with ``low`` and ``high``, the 95 % interval of a bootstrap over users
      - ``random``: that of random partners, with ``random_low`` and ``random_high``, the middle 95 % of the resamples
      - ``p``: the share of resamples that match as often as the nearest, never below 1 / (1 + resamples)

    Raises:
      InputError: there are no categories, no two interactions to compare, or all vectors are zero.
    """
    check_range("analysis", resamples=(resamples, 1, 10**6))
    _, member = item_categories(dataset, categories, least=1)
    with_some = np.flatnonzero(member[sample.item].any(axis=1))
    chosen = sample._replace(user=sample.user[with_some], item=sample.item[with_some])
    places, cosines = _nearest((sample.relation if vectors is None else vectors)[with_some], chosen, 1, apart)
    paired = np.flatnonzero(cosines[:, 0] > -np.inf)
    if not len(paired):
        raise InputError("no two interactions can be compared; sample more of them")
    has = member[chosen.item]
    matched = (has[paired] & has[places[paired, 0]]).any(axis=1)
    nearest = float(matched.mean())
    rng = np.random.default_rng(seed)
    interval = _bootstrap_interval(rng, chosen.user[paired], matched, resamples)
    partners = (_random_partners(rng, chosen, paired, apart) for _ in range(resamples))
    by_chance = np.array([(has[paired] & has[partner]).any(axis=1).mean() for partner in partners])
    p = (1 + int((by_chance >= nearest - 1e-12).sum())) / (1 + resamples)
    row = [len(paired), nearest, *interval, by_chance.mean(), *np.quantile(by_chance, _MIDDLE), p]
    names = ["interactions", "nearest", "low", "high", "random", "random_low", "random_high", "p"]
    return pl.DataFrame([row], schema=names, orient="row")


def _bootstrap_interval(rng: np.random.Generator, user: np.ndarray, matched: np.ndarray, resamples: int) -> np.ndarray:
    """Return the middle 95 % of the share that matched, over resamples of users."""
    _, owner = np.unique(user, return_inverse=True)
    size, hits = np.bincount(owner), np.bincount(owner, weights=matched)
    drawn = rng.integers(len(size), size=(resamples, len(size)))
    return np.quantile(hits[drawn].sum(axis=1) / size[drawn].sum(axis=1), _MIDDLE)


def _random_partners(rng: np.random.Generator, sample: Attended, places: np.ndarray, apart: bool) -> np.ndarray:
    """Return for each of ``places`` another interaction, uniform among those that may be its partner."""
    partner = np.empty(len(places), np.int64)
    open_ = np.arange(len(places))
    while len(open_):
        drawn = rng.integers(len(sample.user), size=len(open_))
        partner[open_] = drawn
        open_ = open_[_excluded(sample, places[open_], drawn, apart)]
    return partner


def principal_component(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the coordinates [B] of vectors [B, D] along their first principal component, and its share of variance.

    The largest loading of the component is positive.
    """
    centered = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, lengths, axes = np.linalg.svd(centered, full_matrices=False)
    sign = np.sign(axes[0, np.abs(axes[0]).argmax()])
    return centered @ (sign * axes[0]), float(lengths[0] ** 2 / max(float((lengths**2).sum()), 1e-300))


def normalized_mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mutual information of two labelings [n] over the mean of their entropies; 0 if one is constant."""
    if len(np.unique(a)) < 2 or len(np.unique(b)) < 2:
        return 0.0
    joint = crosstab(a, b).count
    by_a, by_b = joint.sum(axis=1), joint.sum(axis=0)
    return float(2 * entropy(joint, np.outer(by_a, by_b), axis=None) / (entropy(by_a) + entropy(by_b)))


def planted_types(world: SyntheticWorld, item_cluster: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the relation type of unordered pairs of items [P], -1 for none.

    Keys ignore the direction of a pair, so a type counts in either direction; of two types, the lower one.
    """
    forth, back = (world.relation_of[item_cluster[a], item_cluster[b]] for a, b in ((first, second), (second, first)))
    return np.where((forth >= 0) & (back >= 0), np.minimum(forth, back), np.maximum(forth, back))


def key_by_type(sample: Attended, world: SyntheticWorld) -> pl.DataFrame:
    """Return the number of pairs of each planted type that address each key most.

    The frame has ``type``, ``key``, ``pairs``, and the ``mean_weight`` of pairs of the type on the key.
    """
    pairs = item_pairs(sample)
    types = planted_types(world, world.item_cluster, pairs.first, pairs.second)
    first = pairs.weights.argmax(axis=1)
    rows = [
        (int(kind), key, int((first[types == kind] == key).sum()), float(pairs.weights[types == kind, key].mean()))
        for kind in np.unique(types[types >= 0])
        for key in range(pairs.weights.shape[1])
    ]
    return pl.DataFrame(rows, schema=["type", "key", "pairs", "mean_weight"], orient="row")


def relation_recovery(
    sample: Attended, world: SyntheticWorld, *, permutations: int = 500, seed: int = 0
) -> pl.DataFrame:
    """Return the mutual information of the key that a pair of items addresses most and the planted type of the pair.

    ``world`` is the source of the data set of the sample (``synthetic_world_of``). For the baseline, its items exchange
    clusters at random, which keeps the pairs, their keys and the frequency of each item. Pairs without a type are left
    out.

    Returns:
      One row: ``pairs``; ``nmi``, the normalized mutual information; ``chance`` and ``chance_high``, the mean and the
      95 % quantile of the permutations; ``p``, the share of them that reach it, never below 1 / (1 + permutations).

    Raises:
      InputError: ``world`` has fewer items than the sample, or no pair has a type.
    """
    check_range("analysis", permutations=(permutations, 1, 10**6))
    pairs = item_pairs(sample)
    if int(pairs.second.max(initial=0)) >= len(world.item_cluster):
        raise InputError(
            f"the synthetic data set has {len(world.item_cluster)} items, the sample has more; pass its own world"
        )
    key = pairs.weights.argmax(axis=1)

    def information(item_cluster: np.ndarray) -> tuple[int, float]:
        types = planted_types(world, item_cluster, pairs.first, pairs.second)
        return int((types >= 0).sum()), normalized_mutual_information(key[types >= 0], types[types >= 0])

    count, nmi = information(world.item_cluster)
    if not count:
        raise InputError("no pair of items in the sample has a planted type; sample more interactions")
    rng = np.random.default_rng(seed)
    chance = np.array([information(rng.permutation(world.item_cluster))[1] for _ in range(permutations)])
    p = (1 + int((chance >= nmi - 1e-12).sum())) / (1 + permutations)
    return pl.DataFrame(
        [{"pairs": count, "nmi": nmi, "chance": chance.mean(), "chance_high": np.quantile(chance, 0.95), "p": p}]
    )
