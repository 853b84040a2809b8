"""Relation vectors of interactions: which are alike, and whether alike ones have to do with the same categories."""

import numpy as np
import polars as pl

from hlr_jax.analysis.attention import Attended
from hlr_jax.analysis.categories import item_categories
from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import InputError, check_range

_ROWS = 512  # whose cosines with all others are in memory together


def nearest_relations(sample: Attended, dataset: Dataset, *, k: int = 5, apart: bool = True) -> pl.DataFrame:
    """Return for each interaction the k others with the most similar relation vectors.

    Args:
      sample: of interactions.
      dataset: gives ids and titles.
      k: at most.
      apart: whether interactions of the same user or the same item are left out: they share p_u or q_v, so that their
        relations are alike for a reason that says nothing.

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
            "title": [dataset.title(int(code)) for code in item],
            "rank": rank + 1,
            "other_user": dataset.user_ids.gather(sample.user[other]),
            "other_item": dataset.item_ids.gather(sample.item[other]),
            "other_title": [dataset.title(int(code)) for code in sample.item[other]],
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
    for start in range(0, len(rows), _ROWS):
        here = slice(start, min(start + _ROWS, len(rows)))
        similarity = rows[here] @ rows.T
        similarity[_excluded(sample, here, apart)] = -np.inf
        places[here] = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        cosines[here] = np.take_along_axis(similarity, places[here], axis=1)
    return places, cosines


def _excluded(sample: Attended, here: slice, apart: bool) -> np.ndarray:
    """Return for the interactions of a slice which of all are no partners: [rows, B]."""
    if apart:
        return (sample.user[here, None] == sample.user) | (sample.item[here, None] == sample.item)
    return np.arange(len(sample.user))[here, None] == np.arange(len(sample.user))


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
    """Return how probable it is that two interactions with the most similar relation vectors share a category.

    After the released code of Tran et al. 2021 (``analyse``): each interaction and the one whose relation is nearest by
    cosine match if their categories meet. There an interaction's categories are those that both its user and its item
    have; data with tags of users are rare, so here they are its item's. Only interactions whose item has a category
    take part.

    Args:
      sample: of interactions; the authors take them from test.
      dataset: gives genres where ``categories`` is None.
      categories: a row for each ``item`` and ``category``.
      vectors: [B, D], compared in place of the relations, such as the vectors of the items.
      apart: whether the nearest must be of another user and another item, and the random partner too. The authors' need
        not be; but the same item always matches itself.
      resamples: of the bootstrap and of the random partners.
      seed: of both.

    Returns:
      One row: ``interactions``; ``nearest``: the probability, with ``low`` and ``high``, the 95 % interval of a
      bootstrap over users; ``random``: that of random partners, ``random_low`` and ``random_high`` the middle 95 % of
      their draws; ``p``: the share of draws that match at least as often as the nearest do, never below
      1 / (1 + resamples).

    Raises:
      InputError: no categories, no two interactions to compare, or zero vectors.
    """
    check_range("analysis", resamples=(resamples, 1, 10**6))
    member = item_categories(dataset, categories, least=1).member
    with_some = np.flatnonzero(member[sample.item].any(axis=1))
    chosen = sample._replace(user=sample.user[with_some], item=sample.item[with_some])
    places, cosines = _nearest((sample.relation if vectors is None else vectors)[with_some], chosen, 1, apart)
    paired = np.flatnonzero(cosines[:, 0] > -np.inf)
    if not len(paired):
        raise InputError("no two interactions can be compared; draw more of them")
    has = member[chosen.item]
    matched = (has[paired] & has[places[paired, 0]]).any(axis=1)

    rng = np.random.default_rng(seed)
    _, owner = np.unique(chosen.user[paired], return_inverse=True)
    size, hits = np.bincount(owner), np.bincount(owner, weights=matched)
    drawn = rng.integers(len(size), size=(resamples, len(size)))
    bootstrap = hits[drawn].sum(axis=1) / size[drawn].sum(axis=1)

    by_chance = np.empty(resamples)
    for number in range(resamples):
        partner = _random_partners(rng, chosen, paired, apart)
        by_chance[number] = (has[paired] & has[partner]).any(axis=1).mean()
    nearest = float(matched.mean())
    low, high = np.quantile(bootstrap, [0.025, 0.975])
    random_low, random_high = np.quantile(by_chance, [0.025, 0.975])
    return pl.DataFrame(
        {
            "interactions": [len(paired)],
            "nearest": [nearest],
            "low": [low],
            "high": [high],
            "random": [by_chance.mean()],
            "random_low": [random_low],
            "random_high": [random_high],
            "p": [(1 + int((by_chance >= nearest - 1e-12).sum())) / (1 + resamples)],
        }
    )


def _random_partners(rng: np.random.Generator, sample: Attended, places: np.ndarray, apart: bool) -> np.ndarray:
    """Return for each of ``places`` another interaction, uniform among those that may be its partner."""
    partner = np.empty(len(places), np.int64)
    open_ = np.arange(len(places))
    while len(open_):
        drawn = rng.integers(len(sample.user), size=len(open_))
        here = places[open_]
        if apart:
            bad = (sample.user[drawn] == sample.user[here]) | (sample.item[drawn] == sample.item[here])
        else:
            bad = drawn == here
        partner[open_] = drawn
        open_ = open_[bad]
    return partner


def principal_components(vectors: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates [B, count] of vectors [B, D] along their principal components, and each one's share of the
    variance [count]. A component points to where its largest loading is positive.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))
    shares = lengths**2 / max(float((lengths**2).sum()), 1e-300)
    return (centred @ (signs * axes).T)[:, :count], shares[:count]
