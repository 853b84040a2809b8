"""Data in memory, as one kind of table: frames of polars, pandas and Arrow, and columns of any kind.

Nothing of pandas or pyarrow is imported: pandas is known by its methods, and everything else by the Arrow PyCapsule
interface (``__arrow_c_stream__``), which pyarrow, DuckDB, ibis and others have.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from hlr_jax.data.columns import BadRow, Reading, find_columns, first_bad_row, read_columns
from hlr_jax.data.source_files import described
from hlr_jax.errors import InputError

_NUMBERS = "biufM"  # kinds of NumPy's types: truth values, numbers, times


def is_frame(value: object) -> bool:
    """Return whether a value is a table that ``read_frame`` may read; a column is none."""
    if isinstance(value, pl.DataFrame | pl.LazyFrame) or _is_pandas(value):
        return True
    return hasattr(value, "__arrow_c_stream__") and not hasattr(value, "dtype")


def _is_pandas(value: object) -> bool:
    return hasattr(value, "iloc") and hasattr(value, "columns")


def read_frame(
    frame: Any,
    columns: dict[str, str],
    threshold: float | None = None,
    where: str = "frame",
    timestamp_format: str = "",
) -> Reading:
    """Read columns of a frame.

    Args:
      frame: of polars (lazy too), pandas, pyarrow or anything with ``__arrow_c_stream__``. Of pandas, a level of the
        index that has a name is a column too; the index is not read otherwise.
      columns: role -> column.
      threshold: the least rating that is kept; needs the role ``rating``.
      where: what the frame is called.
      timestamp_format: how timestamps are written; empty: found.

    Raises:
      InputError: no frame, a missing column, one that can't be read, or a bad value; names column and row.
    """
    for role, name in columns.items():
        if not isinstance(name, str):
            raise InputError(f"{where}: the {role} column is named by a text, not {described(name)}")
    try:
        table = _table(frame, columns, where)
        names = find_columns({name: name for name in table.collect_schema()}, columns, where)
        return read_columns(table, names, threshold, where, timestamp_format)
    except BadRow:
        found = first_bad_row(table, names, where, timestamp_format, lambda row: f"row {row} (counted from 0)")
        raise InputError(f"{where}: {found or 'a row cannot be read'}") from None
    except (pl.exceptions.PolarsError, OSError) as damage:
        raise InputError(f"{where}: can't be read: {str(damage).splitlines()[0]}") from None


def _table(frame: Any, columns: dict[str, str], where: str) -> pl.LazyFrame:
    if isinstance(frame, pl.DataFrame | pl.LazyFrame):
        return frame.lazy()
    if _is_pandas(frame):
        return _pandas_columns(frame, columns, where).lazy()
    if not is_frame(frame):
        raise InputError(
            f"{where}: a frame of polars, pandas or Arrow is needed, not {described(frame)}; for columns there is "
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
    for name in dict.fromkeys(columns.values()):
        column = frame[name] if name in frame.columns else frame.index.get_level_values(name).to_series()
        if column.ndim != 1:
            raise InputError(f'{where}: several columns are called "{name}"; rename all but one')
        series.append(column_of(column, name, where))
    return pl.DataFrame(series)


def column_of(values: Any, name: str, where: str) -> pl.Series:
    """Return a column of any kind as a Series: of polars, pandas, Arrow, NumPy or another array, or a list.

    Missing values become null. What pandas keeps as objects, its texts and nullable numbers among them, needs no
    pyarrow: it goes through Python's objects. So no whole number passes through a float on the way.

    Raises:
      InputError: something else, or values that no column holds.
    """
    try:
        values = _plain(values)
        if isinstance(values, Iterable) and not isinstance(values, str | bytes | dict | set):
            return pl.Series(name, values, strict=False)
    except (TypeError, ValueError, OverflowError, ImportError, pl.exceptions.PolarsError) as problem:
        raise InputError(f"{where}: {name}: can't be read: {str(problem).splitlines()[0]}") from None
    raise InputError(f"{where}: {name}: a column is a list or an array, not {described(values)}")


def _plain(values: Any) -> Any:
    """Return a column as what polars reads without pyarrow: an array of numbers or times, a list, or Arrow's own."""
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
