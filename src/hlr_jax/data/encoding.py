"""Encodes rows of ids as rows of codes: distinct pairs, sorted, reduced to the k-core."""

from typing import Any

import numpy as np
import polars as pl

from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError

SPLITS = ("train", "valid", "test")


def encode(frame: pl.DataFrame, where: str) -> tuple[pl.DataFrame, pl.Series, pl.Series]:
    """Replace ids by codes in the order of the ids, sort the rows by user and item, and drop duplicate pairs.

    The earliest of several duplicates is kept. The result does not depend on the order of the rows.

    Returns:
      Rows with int32 ``user`` and ``item``, and ``timestamp`` and ``split`` (0, 1, 2) where the frame has them; the id
      of each user code; the id of each item code.

    Raises:
      InputError: a pair is in two splits, or a split has an unknown name.
    """
    user_ids, item_ids = (frame[role].unique().sort() for role in ("user", "item"))
    order = [column for column in ("user", "item", "timestamp", "split") if column in frame.columns]
    rows = frame.with_columns(pl.col("user", "item").rank("dense").cast(pl.Int32) - 1)
    if "split" in order:
        names = frame["split"].cast(pl.String)
        unknown = names.filter(~names.is_in(list(SPLITS)))
        if len(unknown):
            raise InputError(f'{where}: column "split" holds "{unknown[0]}"; it must be one of {", ".join(SPLITS)}')
        rows = rows.with_columns(names.replace_strict(list(SPLITS), [0, 1, 2], return_dtype=pl.Int8))
    rows = rows.select(order).sort(order)
    repeated = pl.all_horizontal(pl.col("user", "item").eq_missing(pl.col("user", "item").shift()))
    if "split" in order:
        clashes = rows.filter(repeated & (pl.col("split") != pl.col("split").shift()))
        if len(clashes):
            user, item = user_ids[clashes["user"][0]], item_ids[clashes["item"][0]]
            raise InputError(f"{where}: the pair of user {user} and item {item} is in two splits; keep one")
    return rows.filter(~repeated), user_ids, item_ids


def k_core(rows: pl.DataFrame, k: int, where: str) -> pl.DataFrame:
    """Drop users and items with fewer than ``k`` interactions, repeatedly, until all have at least ``k``.

    Raises:
      InputError: no interactions are left.
    """
    user, item = rows["user"].to_numpy(), rows["item"].to_numpy()
    keep = np.arange(len(rows))
    while k > 1:
        enough = (np.bincount(user[keep]) >= k)[user[keep]] & (np.bincount(item[keep]) >= k)[item[keep]]
        if enough.all():
            break
        keep = keep[enough]
    if not len(keep):
        raise InputError(
            f"{where}: no interaction is left after the {k}-core; pass a smaller dataset.k_core or threshold"
        )
    return rows[keep]


def renumbered(codes: np.ndarray, ids: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Return the codes renumbered from 0 without gaps, and the remaining ids."""
    present = np.zeros(len(ids), bool)
    present[codes] = True
    return (np.cumsum(present, dtype=np.int32) - np.int32(1))[codes], ids.filter(pl.Series(present))


def divided(everything: Interactions, parts: np.ndarray) -> dict[str, Any]:
    """Return the interactions of each split, given the split of each row: 0, 1 or 2."""
    return {split: everything.where(parts == code) for code, split in enumerate(SPLITS)}
