"""Reads adjacency lists: one line per user, with its items."""

from pathlib import Path

import polars as pl

from hlr_jax.data.reading.delimited import Records, lines_of
from hlr_jax.data.reading.plain_text import check_text
from hlr_jax.errors import InputError


def read_adjacency(plain: Path, counted: bool, where: str) -> Records:
    """Read lines ``user item item ...`` or, counted, ``count item item ...`` with users numbered from 0.

    Raises:
      InputError: a line whose count differs from its number of items.
    """
    check_text(plain, where)
    users: list[str] = []
    items: list[str] = []
    places: list[int] = []
    for number, line in lines_of(plain):
        head, *rest = line.split() or [""]
        if counted and head:
            if head != str(len(rest)):
                raise InputError(f"{where}: line {number} has {len(rest)} items, but its count is {head[:20]}")
            head = str(number - 1)
        users += [head] * len(rest)
        items += rest
        places += [number] * len(rest)
    rows = pl.DataFrame({"user": users, "item": items}, schema={"user": pl.String, "item": pl.String})
    return Records(rows.lazy(), lambda row: f"line {places[row]}")
