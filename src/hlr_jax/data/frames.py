"""Converts polars, pandas and Arrow frames, and columns of any kind, to polars.

Neither pandas nor pyarrow is imported. Pandas is recognized by its methods. Other frames are recognized by the Arrow
PyCapsule interface (``__arrow_c_stream__``), which pyarrow, DuckDB, ibis and others implement.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from hlr_jax.data.columns import Reading, Table, find_columns, read_columns
from hlr_jax.data.source_files import described
from hlr_jax.data.values import DEFAULT_RULES, Rules
from hlr_jax.errors import InputError

_NUMBERS = "biufM"  # NumPy dtype kinds: booleans, numbers, times


def is_frame(value: object) -> bool:
    """Return whether a value is a table that ``read_frame`` may read; a column is not a table."""
    if isinstance(value, pl.DataFrame | pl.LazyFrame) or _is_pandas(value):
        return True
    return hasattr(value, "__arrow_c_stream__") and not hasattr(value, "dtype")


def _is_pandas(value: object) -> bool:
    return hasattr(value, "iloc") and hasattr(value, "columns")


def read_frame(frame: Any, columns: dict[str, str], rules: Rules = DEFAULT_RULES, where: str = "frame") -> Reading:
    """Read columns of a frame.

    Args:
      frame: a frame of polars (also lazy), pandas, pyarrow or anything with ``__arrow_c_stream__``. In pandas, a named
        level of the index counts as a column; the rest of the index is not read.
      columns: role -> column.
      rules: how values are read. A threshold needs the role ``rating``. Without a threshold, the range of a column
        ``rating`` is checked.
      where: name of the frame in messages.

    Raises:
      InputError: not a frame, a missing or unreadable column, or a bad value; names column and row.
    """
    for role, name in columns.items():
        if not isinstance(name, str):
            raise InputError(f"{where}: the name of the {role} column must be a text, not {described(name)}")
    try:
        table = _table(frame, columns, where)
        present = {name: name for name in table.collect_schema()}
        names = find_columns(present, columns, where)
        if "rating" not in names and "rating" in present:
            names["rating"] = "rating"
        unread = tuple(name for name in present if name not in names.values())
        rows = table.select(pl.col(name).alias(role) for role, name in names.items())
        return read_columns(Table(rows, names, where, lambda row: f"row {row} (counted from 0)", unread=unread), rules)
    except (pl.exceptions.PolarsError, OSError) as damage:
        raise InputError(f"{where}: can't be read: {str(damage).splitlines()[0][:200]}") from None


def _table(frame: Any, columns: dict[str, str], where: str) -> pl.LazyFrame:
    if isinstance(frame, pl.DataFrame | pl.LazyFrame):
        return frame.lazy()
    if _is_pandas(frame):
        return _pandas_columns(frame, columns, where).lazy()
    if not is_frame(frame):
        raise InputError(
            f"{where}: pass a frame of polars, pandas or Arrow, not {described(frame)}; for columns use "
            "Dataset.from_arrays, for a sparse matrix Dataset.from_csr, for a file load_dataset"
        )
    try:
        return pl.DataFrame(frame).lazy()
    except (TypeError, ValueError, ImportError) as problem:
        raise InputError(f"{where}: can't be read: {str(problem).splitlines()[0]}") from None


def _pandas_columns(frame: Any, columns: dict[str, str], where: str) -> pl.DataFrame:
    """Return the columns that are wanted, of those that there are, or else of the levels of the index."""
    levels = [name for name in frame.index.names if name is not None]
    find_columns({str(name): str(name) for name in [*frame.columns, *levels]}, columns, where)
    series = []
    looked_at = ["rating"] if "rating" in frame.columns else []
    for name in dict.fromkeys([*columns.values(), *looked_at]):
        column = frame[name] if name in frame.columns else frame.index.get_level_values(name).to_series()
        if column.ndim != 1:
            raise InputError(f'{where}: several columns are called "{name}"; rename all but one')
        series.append(column_of(column, name, where))
    return pl.DataFrame(series)


def column_of(values: Any, name: str, where: str) -> pl.Series:
    """Return a column as a polars Series; it may be of polars, pandas, Arrow, NumPy, another array, or a list.

    Missing values become null. Pandas' texts, nullable numbers and other objects are converted through Python
    objects. So pyarrow is not needed, and whole numbers are never converted to floats.

    Raises:
      InputError: not a column, or values that a column can't hold.
    """
    try:
        values = _plain(values)
        if isinstance(values, Iterable) and not isinstance(values, str | bytes | dict | set):
            return pl.Series(name, values, strict=False)
    except (TypeError, ValueError, OverflowError, ImportError, pl.exceptions.PolarsError) as problem:
        raise InputError(f"{where}: {name}: can't be read: {str(problem).splitlines()[0]}") from None
    raise InputError(f"{where}: {name}: a column is a list or an array, not {described(values)}")


def _plain(values: Any) -> Any:
    """Return a column as a type that polars reads without pyarrow: a NumPy array, a list or an Arrow object."""
    if hasattr(values, "notna"):  # of pandas
        if not isinstance(values.dtype, np.dtype) or values.dtype.kind not in _NUMBERS:
            return values.astype(object).where(values.notna(), None).tolist()
        values = values.to_numpy()
    elif isinstance(values, list | tuple):
        return [None if isinstance(value, float) and value != value else value for value in values]
    elif isinstance(values, pl.Series) or hasattr(values, "__arrow_c_stream__") or not hasattr(values, "__array__"):
        return values
    array = np.asarray(values)
    if array.dtype.kind == "M":
        return array.astype("datetime64[us]")
    return array if array.dtype.kind in _NUMBERS or array.ndim != 1 else _plain(array.tolist())
