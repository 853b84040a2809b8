"""Categories of items, such as genres or your own tags, and their frequency in the pairs that address each key."""

from pathlib import Path

import numpy as np
import polars as pl

from hlr_jax.analysis.attention import Attended, item_pairs, top_pairs
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.reading.files import read_texts
from hlr_jax.errors import InputError, check_range
from hlr_jax.files import expanded

_TABLES = (".csv", ".tsv", ".parquet")
_LEVELS = 10  # of popularity; items of one level exchange categories
_SHRINKAGE = 10.0  # added to both counts of a lift


def read_categories(path: str | Path) -> pl.DataFrame:
    """Return a frame of ``item`` and ``category``, a row for each category of an item, from CSV, TSV or Parquet.

    Raises:
      InputError: the file is absent, has another format, or lacks one of the columns.
    """
    path = expanded(path)
    if path.suffix not in _TABLES:
        raise InputError(f"{path}: unknown file extension; categories are read from {', '.join(_TABLES)}")
    return read_texts(path, ("item", "category")).drop_nulls()


def item_categories(
    dataset: Dataset, categories: pl.DataFrame | None = None, *, least: int = 5
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the sorted names [C] of the categories of at least ``least`` items, and the membership of items [I, C].

    ``categories`` has a row for each ``item`` (original id, as is or as text) and ``category``; None: the genres.

    Raises:
      InputError: no item has a category.
    """
    items = pl.DataFrame({"item": dataset.item_ids.cast(pl.String), "code": np.arange(dataset.num_items)})
    if categories is not None:
        if not isinstance(categories, pl.DataFrame) or not {"item", "category"} <= set(categories.columns):
            raise InputError("categories: a polars DataFrame with columns item and category is needed")
        rows = categories.select(pl.col("item", "category").cast(pl.String)).join(items, on="item")
    else:
        genres = pl.repeat("", len(items), eager=True) if dataset.titles is None else dataset.titles["genres"]
        rows = items.with_columns(category=genres.str.split(" ")).explode("category").filter(pl.col("category") != "")
    rows = rows.unique(["code", "category"])
    names = rows.group_by("category").len().filter(pl.col("len") >= least)["category"].sort()
    if names.is_empty():
        raise InputError(
            f"{dataset.name}: no category has {least} items or more; "
            "give item and category in a frame (read_categories reads one from a file)"
        )
    rows = rows.filter(pl.col("category").is_in(names.implode()))
    member = np.zeros((dataset.num_items, len(names)), bool)
    member[rows["code"].to_numpy(), names.search_sorted(rows["category"]).to_numpy()] = True
    return tuple(names), member


def key_categories(
    sample: Attended,
    dataset: Dataset,
    categories: pl.DataFrame | None = None,
    *,
    least: int = 10,
    permutations: int = 500,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the categories of the items in the pairs that address each key most, compared with all pairs.

    A pair has two places, and each of its items counts in one with all its categories. A permutation test decides
    whether an excess may be chance: items of about equal popularity (tenths) exchange their categories, and all counts
    are computed again. The permutations keep the pairs and the frequency of each item in them. So a key whose pairs are
    only popular items has no significant category.

    Args:
      sample: of interactions.
      dataset: gives popularity, and genres where ``categories`` is None.
      categories: a row for each ``item`` and ``category``.
      least: the minimum of ``count`` in a row.
      permutations: their number.
      seed: of the permutations.

    Returns:
      A frame, for each key the largest lift first:

      - ``key``, ``category``
      - ``count``: the places with the category among the pairs that address the key most
      - ``expected``: the count by its share of all places
      - ``lift``: (count + 10) / (expected + 10), which keeps small counts near 1
      - ``p_adjusted``: the share of permutations in which the largest standardized excess of any key and category
        reaches this one's. That adjusts for all keys and categories (Westfall and Young 1993). It is never below
        1 / (1 + permutations).

    Raises:
      InputError: there are no categories, or a setting is out of range.
    """
    check_range("analysis", least=(least, 0, 10**9), permutations=(permutations, 1, 10**6))
    names, member = item_categories(dataset, categories)
    pairs = item_pairs(sample)
    both = np.stack([pairs.first, pairs.second], axis=1)
    # Row n: the frequency of each item in the pairs of key n; the last row: in all pairs.
    chosen = [*top_pairs(pairs), np.arange(len(both))]
    filled = np.stack([np.bincount(both[places].ravel(), minlength=len(member)) for places in chosen])
    present = np.flatnonzero(filled[-1])
    filled, member = filled[:, present].astype(np.float64), member[present].astype(np.float64)
    counts, places = filled @ member, filled.sum(axis=1, keepdims=True)
    expected = places[:-1] * counts[-1] / places[-1]
    lift = (counts[:-1] + _SHRINKAGE) / (expected + _SHRINKAGE)
    popularity = dataset.train.item_degrees(dataset.num_items)[present]
    p_adjusted = _adjusted_p(filled, member, popularity, permutations, seed)
    key, category = np.indices(lift.shape).reshape(2, -1)
    frame = pl.DataFrame(
        {
            "key": key,
            "category": [names[place] for place in category],
            "count": counts[:-1].ravel().astype(np.int64),
            "expected": expected.ravel(),
            "lift": lift.ravel(),
            "p_adjusted": p_adjusted.ravel(),
        }
    )
    return frame.filter(pl.col("count") >= least).sort(["key", "lift", "category"], descending=[False, True, False])


def _adjusted_p(
    filled: np.ndarray, member: np.ndarray, popularity: np.ndarray, permutations: int, seed: int
) -> np.ndarray:
    """Return [N, C], from frequencies of items in the pairs of keys and in all [N + 1, I], and membership [I, C]."""
    rng = np.random.default_rng(seed)
    ranked = np.argsort(popularity, kind="stable")
    levels = np.array_split(ranked, min(_LEVELS, len(ranked)))

    def excess(member: np.ndarray) -> np.ndarray:
        share = filled @ member / filled.sum(axis=1, keepdims=True)
        return share[:-1] - share[-1]

    def exchanged() -> np.ndarray:
        moved = np.empty_like(member)
        moved[ranked] = member[np.concatenate([rng.permutation(level) for level in levels])]
        return moved

    permuted = np.stack([excess(exchanged()) for _ in range(permutations)])
    mean, deviation = permuted.mean(axis=0), np.maximum(permuted.std(axis=0), 1e-12)
    largest = ((permuted - mean) / deviation).max(axis=(1, 2))
    as_large = (largest[:, None, None] >= (excess(member) - mean) / deviation - 1e-9).sum(axis=0)
    return (1 + as_large) / (1 + permutations)
