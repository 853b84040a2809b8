"""Ids of the source: what people write for one or several of them, and where each stands in a data set."""

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
import polars as pl

from hlr_jax.errors import InputError

UNKNOWN = -1
ON_UNKNOWN = ("error", "skip", "popular")
"""What becomes of ids that a data set lacks."""


class IdIndex:
    """Finds ids by what they are as text. It keeps them sorted, so that a look-up reads few of them.

    Example:
      >>> IdIndex(pl.Series([7, 42])).find(pl.Series(["42", "8"])).tolist()
      [1, -1]
    """

    def __init__(self, ids: pl.Series):
        """Sort the ids, each of which stands there once."""
        texts = ids.cast(pl.String)
        order = texts.arg_sort()
        self._order, self._sorted = order.to_numpy().astype(np.int64), texts.gather(order)

    def find(self, wanted: pl.Series) -> np.ndarray:
        """Return the place of every wanted id; ``UNKNOWN`` where it is not there."""
        if not len(self._sorted):
            return np.full(len(wanted), UNKNOWN)
        places = self._sorted.search_sorted(wanted).to_numpy().clip(max=len(self._sorted) - 1)
        found = (self._sorted[places] == wanted).to_numpy()
        return np.where(found, self._order[places], UNKNOWN)


def texts_of(ids: Any, what: str) -> pl.Series:
    """Return ids as text.

    Args:
      ids: one id, a text or a whole number; or several: a list, a set, an array, a Series of polars or pandas.
      what: they are ids of.

    Raises:
      InputError: a value that is no id, or a missing one.
    """
    if isinstance(ids, pl.Series) and (ids.dtype.is_integer() or ids.dtype in (pl.String, pl.Categorical, pl.Enum)):
        texts = ids.cast(pl.String)
        if texts.null_count():
            raise InputError(f"{what}: an id is missing; drop rows without one")
        return texts
    ids = ids.tolist() if isinstance(ids, np.ndarray) else ids
    several = isinstance(ids, Iterable) and not isinstance(ids, str | bytes)
    return pl.Series([_text(value, what) for value in (ids if several else [ids])], dtype=pl.String)


def _text(value: Any, what: str) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, Real) and not isinstance(value, Integral) and float(value).is_integer():
        return str(int(float(value)))  # pandas makes floats of whole numbers beside missing ones
    shown = repr(value) if value is None or isinstance(value, Real | bytes) else f"a {type(value).__name__}"
    raise InputError(f"{what}: {shown} is no id; ids are texts or whole numbers")
