"""The columns of interactions, whatever their types: ids, ratings as float64, seconds since 1970, and splits.

Files and frames are both read here, so that the same rows mean the same data set.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from hlr_jax.data.timestamps import TimestampForm, agreed, find_form
from hlr_jax.errors import InputError, nearest

_EXACT = 2**53  # up to here, a float64 is one whole number and no other


class Reading(NamedTuple):
    """What was read of a source.

    Attributes:
      rows: the columns that were asked for, by role.
      total: how many rows the source has.
      below: how many of them were left out, because their rating is below the threshold.
      form: how the timestamps are written; None where none were asked for.
    """

    rows: pl.DataFrame
    total: int
    below: int
    form: TimestampForm | None = None


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


def read_columns(
    table: pl.LazyFrame, names: dict[str, str], threshold: float | None, where: str, timestamp_format: str = ""
) -> Reading:
    """Read columns of a table; with a ``threshold``, keep only the rows whose rating reaches it.

    Rows below the threshold never fill the memory. Ids become Int64 (UInt64 where one needs it) or text: integers and
    whole floating-point numbers the first, all else the second. A text stays a text, also one of digits.

    Args:
      table: with the columns.
      names: role -> column.
      threshold: the least rating that is kept; needs the role ``rating``.
      where: what the table is called.
      timestamp_format: how timestamps are written; empty: found (``timestamps.find_form``).

    Raises:
      InputError: a column of a type that can't be read.
      BadRow: an empty or unreadable value.
      PolarsError: the table itself can't be read.
    """
    form = _form(table, names, where, timestamp_format)
    rows = _normalized(table, names, where, form)
    if threshold is None:
        frame = rows.collect(engine="streaming")
        total = frame.height
    else:
        # A missing rating and NaN stay: they are errors to report, not rows to drop or keep.
        kept = rows.filter((pl.col("rating") >= threshold) | ~pl.col("rating").is_finite().fill_null(False))
        frame, counted = pl.collect_all([kept, rows.select(pl.len())], engine="streaming")
        total = counted.item()
    if form is not None:
        settled, form = form.settled(frame["timestamp"])
        frame = frame.with_columns(settled)
    if sum(frame.null_count().row(0)) or ("rating" in names and not frame["rating"].is_finite().all()):
        raise BadRow
    return Reading(_fitted(frame), total, total - frame.height, form)


def _form(table: pl.LazyFrame, names: dict[str, str], where: str, given: str) -> TimestampForm | None:
    """Return the form of the timestamps, if there are to be some of a type that can be read."""
    if "timestamp" not in names:
        return None
    return find_form(table.select(timestamp=pl.col(names["timestamp"])), given, where, names["timestamp"])


def _normalized(table: pl.LazyFrame, names: dict[str, str], where: str, form: TimestampForm | None) -> pl.LazyFrame:
    """Return the columns by role; a value that can't be read is null."""
    rows = table.select(pl.col(name).alias(role) for role, name in names.items())
    makers: dict[str, Callable[[pl.DataType], pl.Expr | None]] = {
        "user": lambda dtype: _id(pl.col("user"), dtype),
        "item": lambda dtype: _id(pl.col("item"), dtype),
        "rating": lambda dtype: _number(pl.col("rating"), dtype),
        "timestamp": lambda dtype: None if form is None else form.expression(pl.col("timestamp"), dtype),
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
    form = agreed(part.form for part in parts)
    return Reading(pl.concat(frames), sum(part.total for part in parts), sum(part.below for part in parts), form)


def first_bad_row(
    table: pl.LazyFrame, names: dict[str, str], where: str, timestamp_format: str, place: Callable[[int], str]
) -> str | None:
    """Return which row is the first that can't be read, and what is wrong with it; ``place`` says how to call it."""
    form = _form(table, names, where, timestamp_format)
    made = _normalized(table, names, where, form).collect()
    problems = {}
    if form is not None:
        read, form = form.settled(made["timestamp"])
        made = made.with_columns(read)
        if read.null_count():
            raw = table.select(names["timestamp"]).collect().to_series()
            row, problem = form.problem(raw, read, place)
            problems[row] = f'column "{names["timestamp"]}" {problem}'
    finite = [pl.col("rating").is_finite()] if "rating" in names else []
    good = made.select(pl.all_horizontal(pl.all().is_not_null(), *finite).fill_null(False)).to_series()
    bad = (~good).arg_true()
    if not len(bad):
        return None
    values = table.select(list(dict.fromkeys(names.values()))).slice(bad[0], 1).collect().row(0, named=True)
    for role, name in names.items():
        if problem := bad_value(role, values[name]):
            return f'{place(bad[0])}: column "{name}" {problem}'
    return f"{place(bad[0])}: {problems.get(bad[0], 'cannot be read')}"


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
    return ""


def is_number(value: object) -> bool:
    """Return whether a value, or the text of it, is a finite number."""
    try:
        return isinstance(value, bool) or math.isfinite(float(str(value)))
    except ValueError:
        return False
