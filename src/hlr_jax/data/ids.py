"""Original ids: normalizes ids that users pass, and finds their positions in a data set."""

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import polars as pl

from hlr_jax.errors import InputError
from hlr_jax.terminal import shortened

UNKNOWN = -1
ON_UNKNOWN = ("error", "skip", "popular")
"""How unknown ids are handled."""
_NAMED = 3  # the most ids in a message
_LONGEST = 40  # the most characters of each
_BITS = 64

Texts = TypeVar("Texts", pl.Series, pl.Expr)


def stripped(texts: Texts) -> Texts:
    """Return texts without blanks at both ends.

    Example:
      >>> stripped(pl.Series([" ann", "bob\\u00a0"])).to_list()
      ['ann', 'bob']
    """
    return texts.str.strip_chars()


class IdIndex:
    """Finds ids by their text. It keeps them sorted, so a lookup is a binary search.

    Example:
      >>> IdIndex(pl.Series([7, 42])).find(pl.Series(["42", "8"])).tolist()
      [1, -1]
    """

    def __init__(self, ids: pl.Series):
        """Sort the ids, which must be distinct."""
        texts = ids.cast(pl.String)
        order = texts.arg_sort()
        self._order, self._sorted = order.to_numpy().astype(np.int64), texts.gather(order)
        self._are_numbers = ids.dtype.is_integer()

    def find(self, wanted: pl.Series) -> np.ndarray:
        """Return the position of each wanted id, ``UNKNOWN`` for ids that are not in the index."""
        if not len(self._sorted):
            return np.full(len(wanted), UNKNOWN)
        places = self._sorted.search_sorted(wanted).to_numpy().clip(max=len(self._sorted) - 1)
        found = (self._sorted[places] == wanted).to_numpy()
        return np.where(found, self._order[places], UNKNOWN)

    @property
    def kind(self) -> str:
        """The type of the ids, for messages."""
        if self._are_numbers or not len(self._sorted):
            return "whole numbers"
        return f"texts, such as {named(self._sorted[:1])}"


def named(ids: pl.Series) -> str:
    """Return the first three ids in quotes, each shortened to 40 characters.

    Example:
      >>> named(pl.Series(["a", "b", "c", "d"]))
      '"a", "b", "c"'
    """
    return ", ".join(f'"{shortened(value, _LONGEST)}"' for value in ids[:_NAMED])


def texts_of(ids: Any, what: str) -> pl.Series:
    """Return ids as text, without blanks at both ends.

    Args:
      ids: one id, a text or a whole number; or several: a list, a set, an array, a Series of polars or pandas.
      what: name of the ids in messages.

    Raises:
      InputError: a value that is not an id, or is missing; a table or a dict.
    """
    return _typed(ids, what, pl.String)


def typed_ids(ids: Any, what: str) -> pl.Series:
    """Return ids as whole numbers if all are, else as texts; arguments as in ``texts_of``.

    Raises:
      InputError: see ``texts_of``; or whole numbers mixed with texts, since ``7`` and ``"7"`` would be the same id.

    Example:
      >>> typed_ids([7, 42], "users").dtype
      Int64
    """
    return _typed(ids, what, None)


def _typed(ids: Any, what: str, dtype: Any) -> pl.Series:
    if not isinstance(ids, pl.Series) or not (ids.dtype.is_integer() or ids.dtype in (pl.String, pl.Categorical)):
        values = [_value(value, what) for value in _several(ids, what)]
        is_text = [isinstance(value, str) for value in values]
        if dtype is None and any(is_text) and not all(is_text):
            raise InputError(f"{what}: the ids mix texts and whole numbers; pass one kind")
        ids = pl.Series([str(value) for value in values], dtype=pl.String)
        dtype = dtype or (pl.Int64 if values and not any(is_text) else pl.String)
    if ids.null_count():
        raise InputError(f"{what}: an id is missing; drop rows without an id")
    if not ids.dtype.is_integer():
        ids = stripped(ids.cast(pl.String))
        if (ids == "").any():
            raise InputError(f"{what}: an id is blank; drop rows without an id")
    made = ids if dtype is None else ids.cast(dtype, strict=False)
    if made.null_count():
        raise InputError(
            f"{what}: a whole number needs more than {_BITS} bits: {named(ids.filter(made.is_null()))}; pass texts"
        )
    return made


def _several(ids: Any, what: str) -> Iterable[Any]:
    """Return the values of one id or several, as Python or NumPy scalars."""
    if isinstance(ids, Mapping) or hasattr(ids, "columns") or hasattr(ids, "collect_schema"):
        raise InputError(f"{what}: pass ids as a list or a column, not a {type(ids).__name__}; pass one column of it")
    if isinstance(ids, np.ndarray):
        ids = ids.tolist()
    elif hasattr(ids, "to_pylist"):  # Arrow
        ids = ids.to_pylist()
    return ids if isinstance(ids, Iterable) and not isinstance(ids, str | bytes) else [ids]


def _value(value: Any, what: str) -> str | int:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, Real) and not isinstance(value, Integral) and float(value).is_integer():
        return int(float(value))  # pandas stores whole numbers as floats in a column with missing values
    shown = repr(value) if value is None or isinstance(value, Real | bytes) else f"a {type(value).__name__}"
    raise InputError(f"{what}: {shown} is not an id; ids are texts or whole numbers")
