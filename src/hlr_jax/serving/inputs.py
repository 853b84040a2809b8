"""Reads ids and histories from frames, dicts and files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from hlr_jax.data.columns import joined
from hlr_jax.data.frames import is_frame, read_frame
from hlr_jax.data.ids import texts_of, typed_ids
from hlr_jax.data.options import DataOptions
from hlr_jax.data.reading.files import read_interactions
from hlr_jax.data.source_files import described, find_files
from hlr_jax.errors import InputError

_COLUMNS = ("user", "item")


def of_single_users(given: Any) -> bool:
    """Return whether items are given for single users, as a frame or a dict."""
    return isinstance(given, Mapping) or is_frame(given)


def read_pairs(given: Any, what: str, by: str = "user", is_new: bool = False) -> pl.DataFrame:
    """Return the columns ``user`` and ``item`` of a frame, or of a dict with the items of each user: ``{7: [1, 2]}``.

    Args:
      given: a frame of polars, pandas or Arrow (see ``read_frame``), or the dict. In place of a list, one id is enough.
      what: its name in messages.
      by: the axis of the dict's keys: ``user``, or ``item`` if it has the users of each item. The ids in the values
        become text.
      is_new: whether the keys are new ids. New ids stay whole numbers if all are; other keys become text.

    Raises:
      InputError: neither a frame nor a dict, a missing column, or a value that is not an id.
    """
    other = _COLUMNS[1 - _COLUMNS.index(by)]
    if is_frame(given):
        return read_frame(given, {name: name for name in _COLUMNS}, where=what).rows
    if not isinstance(given, Mapping):
        raise InputError(
            f"{what}: pass a frame of user and item, or a dict of {other}s by {by}, not {described(given)}"
        )
    keys = (typed_ids if is_new else texts_of)(list(given), what)
    values = [texts_of(ids, what) for ids in given.values()]
    frame = pl.DataFrame({by: keys, other: pl.Series(values, dtype=pl.List(pl.String))})
    return frame.explode(other).drop_nulls()


def read_new_users(given: Any) -> pl.DataFrame:
    """Return the columns ``user`` and ``item`` of new users: see ``read_pairs``; or only the items of one user.

    That user gets the id ``"new"``.

    Raises:
      InputError: see ``read_pairs``; a value that is not an id; a user of a dict without an item.
    """
    pairs = read_pairs(given if of_single_users(given) else {"new": given}, "histories", is_new=True)
    if isinstance(given, Mapping):
        present = {str(user) for user in pairs["user"].unique()}
        if absent := [str(user) for user in given if str(user) not in present]:
            raise InputError(
                f"histories: {len(absent)} of {len(given)} users have no item, such as {absent[0]}; leave them out, or "
                'recommend to them with users= and on_unknown="popular"'
            )
    return pairs


def read_histories(path: Path, **options: Any) -> pl.DataFrame:
    """Return the columns ``user`` and ``item`` of a log: a file, or a folder of part files.

    Args:
      path: of the log.
      options: the fields of ``DataOptions`` that concern reading.

    Raises:
      InputError: anything wrong with the log; names the file and the line.
    """
    chosen = DataOptions(**options)
    return joined([read_interactions(file, chosen) for file in find_files(path)]).rows.select(_COLUMNS)
