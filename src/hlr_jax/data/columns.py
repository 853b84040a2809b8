"""The columns of interactions, whatever their types: ids, ratings as float64, seconds since 1970, and splits.

Files and frames are both read here, so that the same rows mean the same data set.
"""

import math
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import polars as pl

from hlr_jax.errors import InputError, nearest

_OFFSET = r"^(.*\d:\d\d(?:\.\d+)?) ?(?:Z|([+-])(\d\d):?(\d\d)?)$"  # of a time from UTC: Z, +02:00, +0200, +02
_EXACT = 2**53  # up to here, a float64 is one whole number and no other


class Reading(NamedTuple):
    """What was read of a source.

    Attributes:
      rows: the columns that were asked for, by role.
      total: how many rows the source has.
      below: how many of them were left out, because their rating is below the threshold.
    """

    rows: pl.DataFrame
    total: int
    below: int


class BadRow(Exception):
    """Some row of a table has a value that can't be read; whoever knows the table looks for it."""


def find_columns(present: dict[str, str], wanted: dict[str, str], where: str) -> dict[str, str]:
    """Return role -> column of the table.

    Args:
      present: the table's columns by the names that people give them.
      wanted: role -> such a name.
      where: what the table is called.

    Raises:
      InputError: a column is not there; names the nearest.
    """
    for role, name in wanted.items():
        if name not in present:
            raise InputError(f'{where}: no column "{name}"{nearest(name, present)}; pass the name of the {role} column')
    return {role: present[name] for role, name in wanted.items()}


def read_columns(table: pl.LazyFrame, names: dict[str, str], threshold: float | None, where: str) -> Reading:
    """Read columns of a table; with a ``threshold``, keep only the rows whose rating reaches it.

    Rows below the threshold never fill the memory. Ids become Int64 (UInt64 where one needs it) or text: integers and
    whole floating-point numbers the first, all else the second. A text stays a text, also one of digits.

    Args:
      table: with the columns.
      names: role -> column.
      threshold: the least rating that is kept; needs the role ``rating``.
      where: what the table is called.

    Raises:
      InputError: a column of a type that can't be read.
      BadRow: an empty or unreadable value.
      PolarsError: the table itself can't be read.
    """
    rows = _normalized(table, names, where)
    if threshold is None:
        frame = rows.collect(engine="streaming")
        total = frame.height
    else:
        # A missing rating and NaN stay: they are errors to report, not rows to drop or keep.
        kept = rows.filter((pl.col("rating") >= threshold) | ~pl.col("rating").is_finite().fill_null(False))
        frame, counted = pl.collect_all([kept, rows.select(pl.len())], engine="streaming")
        total = counted.item()
    numbers = [role for role in ("rating", "timestamp") if role in names]
    if sum(frame.null_count().row(0)) or not all(frame[role].is_finite().all() for role in numbers):
        raise BadRow
    return Reading(_fitted(frame), total, total - frame.height)


def _normalized(table: pl.LazyFrame, names: dict[str, str], where: str) -> pl.LazyFrame:
    """Return the columns by role; a value that can't be read is null."""
    rows = table.select(pl.col(name).alias(role) for role, name in names.items())
    makers: dict[str, Callable[[pl.DataType], pl.Expr | None]] = {
        "user": lambda dtype: _id(pl.col("user"), dtype),
        "item": lambda dtype: _id(pl.col("item"), dtype),
        "rating": lambda dtype: _number(pl.col("rating"), dtype),
        "timestamp": lambda dtype: _seconds(rows, dtype),
        "split": lambda dtype: None if dtype.is_nested() else pl.col("split").cast(pl.String, strict=False),
    }
    made = []
    for role, dtype in rows.collect_schema().items():
        expression = makers[role](dtype)
        if expression is None:
            kind = {"user": "ids", "item": "ids", "timestamp": "times"}.get(role, f"{role}s")
            raise InputError(
                f'{where}: column "{names[role]}" holds {dtype}, which can\'t be read as {kind}; convert it'
            )
        made.append(expression.alias(role))
    return rows.select(made)


def _id(column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    if dtype == pl.UInt64:
        return column
    if dtype.is_integer() or dtype == pl.Null or (isinstance(dtype, pl.Decimal) and not dtype.scale):
        return column.cast(pl.Int64, strict=False)
    if dtype.is_float():  # whole numbers beside missing ones, as pandas keeps them
        column = column.cast(pl.Float64)
        whole = column.is_finite() & (column == column.floor()) & (column.abs() <= _EXACT)
        return pl.when(whole).then(column).cast(pl.Int64, strict=False)
    if dtype == pl.Boolean or dtype == pl.Object or dtype.is_nested():
        return None
    text = column.cast(pl.String, strict=False)
    return pl.when(text != "").then(text)


def _number(column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    if dtype == pl.Object or dtype.is_nested() or dtype.is_temporal():
        return None
    return (column.str.strip_chars() if dtype == pl.String else column).cast(pl.Float64, strict=False)


def _seconds(rows: pl.LazyFrame, dtype: pl.DataType) -> pl.Expr | None:
    """Return the expression that turns timestamps of any common type into seconds since 1970, in UTC."""
    column = pl.col("timestamp")
    if dtype == pl.String:
        first = rows.select(column.drop_nulls().head(1)).collect()["timestamp"]
        if not len(first) or is_number(first[0]):
            return _number(column, dtype)
        return _seconds_of_text(rows, column)
    return _seconds_of_date(column) if isinstance(dtype, pl.Date | pl.Datetime) else _number(column, dtype)


def _seconds_of_date(column: pl.Expr) -> pl.Expr:
    return column.cast(pl.Datetime("us")).dt.timestamp("us") / 1e6


def _seconds_of_text(rows: pl.LazyFrame, column: pl.Expr) -> pl.Expr:
    """Return the expression for dates in ISO's forms, some of which may say how far they are from UTC.

    Raises:
      BadRow: the first says nothing to polars.
    """
    local = pl.coalesce(column.str.extract(_OFFSET, 1), column).str.to_datetime(time_unit="us", strict=False)
    hours, minutes = (column.str.extract(_OFFSET, group).cast(pl.Float64).fill_null(0) for group in (3, 4))
    east = pl.when(column.str.extract(_OFFSET, 2) == "-").then(-1).otherwise(1)
    try:
        rows.select(local.head(1)).collect()
    except pl.exceptions.PolarsError:
        raise BadRow from None
    return _seconds_of_date(local) - east * (hours * 3600 + minutes * 60)


def _fitted(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with UInt64 ids as Int64 where all fit."""
    wide = [role for role in ("user", "item") if role in frame.columns and frame.schema[role] == pl.UInt64]
    narrow = [frame[role].cast(pl.Int64, strict=False) for role in wide]
    return frame.with_columns(ids for ids in narrow if not ids.null_count())


def joined(parts: list[Reading]) -> Reading:
    """Return parts of one source as one; ids are text where some part has text."""
    frames = [part.rows for part in parts]
    for role in ("user", "item"):
        if len({frame.schema[role] for frame in frames}) > 1:
            frames = [frame.with_columns(pl.col(role).cast(pl.String)) for frame in frames]
    return Reading(pl.concat(frames), sum(part.total for part in parts), sum(part.below for part in parts))


def first_bad_row(table: pl.LazyFrame, names: dict[str, str], where: str) -> tuple[int, str] | None:
    """Return the place of the first row that can't be read, counted from 0, and what is wrong with it."""
    made = _normalized(table, names, where)
    finite = [pl.col(role).is_finite() for role in ("rating", "timestamp") if role in names]
    good = made.select(pl.all_horizontal(pl.all().is_not_null(), *finite).fill_null(False)).collect().to_series()
    bad = (~good).arg_true()
    if not len(bad):
        return None
    row = table.select(list(dict.fromkeys(names.values()))).slice(bad[0], 1).collect().row(0, named=True)
    for role, name in names.items():
        if problem := bad_value(role, row[name]):
            return bad[0], f'column "{name}" {problem}'
    return bad[0], "can't be read"


def bad_value(role: str, value: object) -> str:
    """Return what is wrong with a value, or nothing."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if missing or (value == "" and role in ("user", "item")):
        return "is empty; fill or remove the row"
    if role in ("user", "item") and isinstance(value, float):
        if not value.is_integer():
            return f"is neither text nor a whole number: {value!r}"
        return "" if abs(value) <= _EXACT else f"is a floating-point number beyond 2^53: {value!r}; read whole numbers"
    if role == "rating" and not is_number(value):
        return f"is no number: {str(value)!r}"
    if role == "timestamp" and not is_number(value) and not _parses(value, datetime.fromisoformat):
        return f"is neither a number nor a date: {str(value)!r}"
    return ""


def is_number(value: object) -> bool:
    """Return whether a value, or the text of it, is a finite number."""
    return isinstance(value, bool) or _parses(value, lambda text: math.isfinite(float(text)))


def _parses(value: object, parse: Callable[[str], object]) -> bool:
    try:
        return bool(parse(str(value)))
    except ValueError:
        return False
