"""Which genres or tags the pairs of items that address a key have more often than other pairs."""

import numpy as np
import polars as pl

from hlr_jax.analysis.attention import Attended
from hlr_jax.analysis.categories import item_categories
from hlr_jax.analysis.pairs import TOP_SHARE, item_pairs, top_pairs
from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import check_range

_LEVELS = 10  # of popularity, within which items change places
_SHRINKAGE = 10.0  # places added to both sides of a lift


def key_categories(
    sample: Attended,
    dataset: Dataset,
    categories: pl.DataFrame | None = None,
    *,
    top_share: float = TOP_SHARE,
    least: int = 10,
    permutations: int = 500,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the categories of the items in the pairs that address each key most, against all pairs.

    A pair has two places, and each of its items fills one with all its categories. ``count`` are the places with a
    category among the pairs that address the key most, ``expected`` what it would be at the category's share of all
    places, and ``lift`` is (count + 10) / (expected + 10), which keeps small counts near 1.

    Whether it may be chance is told by permutations: items of about equal popularity (tenths) exchange their
    categories, and everything is counted anew. That keeps the pairs and how often an item stands in them, which a test
    for independent draws would not, and a key that only likes popular items finds no genre in it. ``p_adjusted`` is the
    share of permutations in which the largest standardised excess of any key and category is at least this one's
    (Westfall and Young 1993), so it is adjusted for all that are looked at; it is never below 1 / (1 + permutations).

    Args:
      sample: of interactions.
      dataset: gives popularity, and genres where ``categories`` is None.
      categories: a row for each ``item`` and ``category``.
      top_share: of the distinct pairs, those with the largest weight on a key.
      least: places (``count``) that a row has at least.
      permutations: how many.
      seed: of the permutations.

    Returns:
      A frame of ``key``, ``category``, ``count``, ``expected``, ``lift`` and ``p_adjusted``, for each key the largest
      lift first.

    Raises:
      InputError: no categories, or a setting out of range.
    """
    check_range("analysis", top_share=(top_share, 1e-6, 1.0), least=(least, 0, 10**9))
    check_range("analysis", permutations=(permutations, 1, 10**6))
    names, member = item_categories(dataset, categories)
    pairs = item_pairs(sample)
    chosen = [np.concatenate([pairs.first[places], pairs.second[places]]) for places in top_pairs(pairs, top_share)]
    everywhere = np.concatenate([pairs.first, pairs.second])
    # Row n: how often each item stands in the pairs of key n; the last row: in all pairs.
    filled = np.stack([np.bincount(items, minlength=len(member)) for items in [*chosen, everywhere]])
    places = filled.sum(axis=1, keepdims=True)

    present = np.flatnonzero(filled[-1])
    filled, member = filled[:, present].astype(np.float64), member[present].astype(np.float64)
    counts = filled @ member
    expected = places[:-1] * counts[-1] / places[-1]
    lift = (counts[:-1] + _SHRINKAGE) / (expected + _SHRINKAGE)

    rng = np.random.default_rng(seed)
    popularity = dataset.train.item_degrees(dataset.num_items)[present]
    levels = np.array_split(np.argsort(popularity, kind="stable"), min(_LEVELS, len(present)))
    drawn = np.stack([_excess(filled, member[_exchanged(rng, levels)], places) for _ in range(permutations)])
    mean, deviation = drawn.mean(axis=0), np.maximum(drawn.std(axis=0), 1e-12)
    scores = (_excess(filled, member, places) - mean) / deviation
    largest = ((drawn - mean) / deviation).max(axis=(1, 2))
    as_large = (largest[:, None, None] >= scores - 1e-9).sum(axis=0)

    key, category = (array.ravel() for array in np.indices(lift.shape))
    frame = pl.DataFrame(
        {
            "key": key,
            "category": [names[place] for place in category],
            "count": counts[:-1].ravel().astype(np.int64),
            "expected": expected.ravel(),
            "lift": lift.ravel(),
            "p_adjusted": ((1 + as_large) / (1 + permutations)).ravel(),
        }
    )
    return frame.filter(pl.col("count") >= least).sort(["key", "lift", "category"], descending=[False, True, False])


def _excess(filled: np.ndarray, member: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return each category's share of the places of each key less its share of all: [N, C]."""
    share = filled @ member / places
    return share[:-1] - share[-1]


def _exchanged(rng: np.random.Generator, levels: list[np.ndarray]) -> np.ndarray:
    """Return a permutation that moves every place within its level."""
    order = np.empty(sum(map(len, levels)), np.int64)
    for level in levels:
        order[level] = rng.permutation(level)
    return order


def shared_categories(sample: Attended, dataset: Dataset, categories: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return the share of pairs whose items have a category in common: ``key``, ``shared`` among those that address the
    key most, and ``shared_of_all``.
    """
    member = item_categories(dataset, categories).member
    pairs = item_pairs(sample)
    common = (member[pairs.first] & member[pairs.second]).any(axis=1)
    top = [float(common[places].mean()) for places in top_pairs(pairs)]
    return pl.DataFrame({"key": np.arange(len(top)), "shared": top, "shared_of_all": [float(common.mean())] * len(top)})
