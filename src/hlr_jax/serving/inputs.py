"""What people hand in: ids of users or items, and histories of people who are new."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from hlr_jax.data.frames import is_frame, read_frame
from hlr_jax.data.ids import UNKNOWN, IdIndex, texts_of
from hlr_jax.data.options import DataOptions
from hlr_jax.data.reading.files import read_ids as read_column
from hlr_jax.data.reading.files import read_interactions
from hlr_jax.errors import InputError

_TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")


def read_ids(path: Path, role: str) -> pl.Series:
    """Return the ids in a file, as text; ``role`` is ``user`` or ``item``.

    A ``.csv``, ``.tsv``, ``.parquet``, ``.jsonl`` or ``.ndjson`` file has a column called ``role`` or only one column;
    any other file has an id in each line. Blank lines are passed over.

    Raises:
      InputError: no such file, no such column, no ids, or not readable; names the file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix in _TABLES:
            return read_column(path, role).cast(pl.String)
        else:
            lines = path.read_text(encoding="utf-8").splitlines()
            frame = pl.DataFrame({role: [line.strip() for line in lines]}, schema={role: pl.String})
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    except pl.exceptions.PolarsError as problem:
        raise InputError(f"{path}: {str(problem).splitlines()[0]}") from None
    if role not in frame.columns and frame.width != 1:
        raise InputError(f'{path}: no column "{role}" (it has: {", ".join(frame.columns)})')
    ids = frame[role if role in frame.columns else frame.columns[0]].cast(pl.String)
    ids = ids.filter(ids.is_not_null() & (ids != ""))
    if not len(ids):
        raise InputError(f"{path}: no {role} ids")
    return ids


def read_choice(value: str, role: str, index: IdIndex, on_unknown: str = "error") -> pl.Series:
    """Return the ids that an option names: the ids themselves, divided by commas, or those in a file: ``@FILE``.

    What exists as an id is an id, whatever it looks like: a comma, a slash or an @ may be part of it.

    Args:
      value: of the option.
      role: ``user`` or ``item``.
      index: finds the ids that exist.
      on_unknown: unless it is ``error``, ids that do not exist are returned too.

    Raises:
      InputError: see ``read_ids``; an empty option, or an unknown id.
    """
    if index.find(pl.Series([value]))[0] != UNKNOWN:
        return pl.Series([value])
    ids = pl.Series([part.strip() for part in value.split(",") if part.strip()], dtype=pl.String)
    unknown = ids.filter(pl.Series(index.find(ids) == UNKNOWN))
    if value.startswith("@") and len(unknown) == len(ids):
        return read_ids(Path(value[1:]).expanduser(), role)
    if not len(ids):
        raise InputError(f"no {role} ids; pass id,id or @FILE")
    if len(unknown) and on_unknown == "error":
        raise InputError(
            f'{len(unknown):,} of {len(ids):,} {role}s are unknown, such as "{unknown[0]}"; a file of ids is @FILE'
        )
    return ids


def of_single_users(given: Any) -> bool:
    """Return whether items are given for single users: as a frame, or as a dict."""
    return isinstance(given, Mapping) or is_frame(given)


def read_pairs(given: Any, what: str) -> pl.DataFrame:
    """Return the columns ``user`` and ``item`` of a frame, or of a dict with the items of each user: ``{7: [1, 2]}``.

    The frame is one of polars, pandas, Arrow: see ``read_frame``.

    Raises:
      InputError: neither, a missing column, or a value that is no id.
    """
    if not isinstance(given, Mapping):
        return read_frame(given, {"user": "user", "item": "item"}, where=what).rows
    users, items = texts_of(given, what), [texts_of(of_user, what) for of_user in given.values()]
    frame = pl.DataFrame({"user": users, "item": pl.Series(items, dtype=pl.List(pl.String))})
    return frame.explode("item").drop_nulls()


def read_people(given: Any) -> pl.DataFrame:
    """Return the columns ``user`` and ``item`` of people who are new: see ``read_pairs``, or the items of one person.

    That person is called ``"new"``.

    Raises:
      InputError: see ``read_pairs``; a value that is no id.
    """
    return read_pairs(given if of_single_users(given) else {"new": given}, "histories")


def read_histories(path: Path) -> pl.DataFrame:
    """Return the columns ``user`` and ``item`` of a CSV, TSV, Parquet or NDJSON file.

    Raises:
      InputError: everything that can be wrong with such a file; names it and the line.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return read_interactions(path, DataOptions()).rows
