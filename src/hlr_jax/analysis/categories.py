"""Categories of items: the genres that a data set brings, or tags from a file of one's own."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.readers import resolve_format, scan_table
from hlr_jax.errors import InputError, nearest

_TABLES = (".csv", ".tsv", ".parquet")


class Categories(NamedTuple):
    """Which item has which category: ``names`` [C] and ``member`` [I, C], true where it has."""

    names: tuple[str, ...]
    member: np.ndarray


def read_categories(path: str | Path) -> pl.DataFrame:
    """Return a frame of ``item`` and ``category``, a row for each category of an item, from CSV, TSV or Parquet.

    Raises:
      InputError: the file is absent, is of another kind, or lacks one of the columns.
    """
    path = Path(path).expanduser()
    if path.suffix not in _TABLES:
        raise InputError(f"{path}: its ending tells no format; categories are read from {', '.join(_TABLES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file of categories")
    try:
        frame = scan_table(path, resolve_format(path, "auto")).collect()
    except (pl.exceptions.PolarsError, OSError) as problem:
        raise InputError(f"{path}: not readable: {str(problem).splitlines()[0]}") from None
    for column in ("item", "category"):
        if column not in frame.columns:
            raise InputError(f'{path}: no column "{column}"{nearest(column, frame.columns)}')
    return frame.select(pl.col("item", "category").cast(pl.String)).drop_nulls()


def item_categories(dataset: Dataset, categories: pl.DataFrame | None = None, *, least: int = 5) -> Categories:
    """Return the categories of a data set's items that at least ``least`` of them have, in the order of their names.

    Args:
      dataset: gives the items, and their genres where ``categories`` is None.
      categories: a row for each ``item`` (original id, as it is or as text) and ``category``.
      least: items of a category.

    Raises:
      InputError: no item has a category.
    """
    items = pl.DataFrame({"item": dataset.item_ids.cast(pl.String), "code": np.arange(dataset.num_items)})
    if categories is not None:
        rows = categories.select(pl.col("item", "category").cast(pl.String)).join(items, on="item")
    elif dataset.titles is not None:
        genres = dataset.titles["genres"].fill_null("").str.split(" ")
        rows = items.with_columns(category=genres).explode("category").filter(pl.col("category") != "")
    else:
        rows = pl.DataFrame(schema={"code": pl.Int64, "category": pl.String})
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
    return Categories(tuple(names), member)


def has_categories(dataset: Dataset, categories: pl.DataFrame | None = None) -> bool:
    """Return whether there is anything to read: a frame, or genres in the data set."""
    return categories is not None or (dataset.titles is not None and bool((dataset.titles["genres"] != "").any()))
