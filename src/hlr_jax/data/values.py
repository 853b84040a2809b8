"""Converts the values of interactions, and explains values that can't be converted."""

import math
import re
from typing import NamedTuple

import polars as pl

from hlr_jax.data.clean_ids import AMONG_NUMBERS, EXACT, MISSING_WORDS
from hlr_jax.data.timestamps import TimestampForm
from hlr_jax.errors import InputError
from hlr_jax.terminal import shortened

_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")


class Rules(NamedTuple):
    """How values are read.

    Attributes:
      threshold: the minimum rating of rows to keep; None: keep every row.
      missing_ids: ``error`` or ``drop``.
      missing_words: texts that mean a missing id.
      decimal: the decimal separator: ``.`` or ``,``.
      timestamp_format: see ``timestamps``.
    """

    threshold: float | None = None
    missing_ids: str = "error"
    missing_words: tuple[str, ...] = MISSING_WORDS
    decimal: str = "."
    timestamp_format: str = ""


DEFAULT_RULES = Rules()


def normalized(
    rows: pl.LazyFrame, names: dict[str, str], rules: Rules, form: TimestampForm | None, where: str
) -> pl.LazyFrame:
    """Return the converted columns by role, with null for values that can't be read.

    Args:
      rows: with a column for each role.
      names: role -> name of the column in the source.
      rules: how values are read.
      form: how timestamps are written; ``TimestampForm.settled`` converts the result to seconds.
      where: name of the table in messages.

    Raises:
      InputError: a column has a type that can't be read.
    """
    made = []
    for role, dtype in rows.collect_schema().items():
        column, what = pl.col(role), column_name(names[role])
        if role == "timestamp":
            expression = None if form is None else form.expression(column, dtype)
        elif role == "rating":
            expression = _number(rows, column, dtype, rules.decimal)
            if expression is None and rules.threshold is None:  # ratings are not used, so any type is accepted
                expression = pl.lit(None, pl.Float64)
        elif role == "split":
            expression = None if dtype.is_nested() else column.cast(pl.String, strict=False).str.strip_chars()
        else:
            expression = _id(column, dtype)
        if expression is None:
            kind = {"user": "ids", "item": "ids", "timestamp": "times"}.get(role, f"{role}s")
            cure = "write a row for each entry" if dtype.is_nested() else "convert it"
            raise InputError(f"{where}: {what} has {_shown_type(dtype)}, which can't be read as {kind}; {cure}")
        made.append(expression.alias(role))
    return rows.select(made)


def column_name(name: str) -> str:
    """Return a column's name for messages: quoted, unless it has a number instead of a name."""
    return name if re.fullmatch(r"column \d+", name) else f'column "{name}"'


def _shown_type(dtype: pl.DataType) -> str:
    if dtype.is_nested():
        return "lists" if isinstance(dtype, pl.List | pl.Array) else "records"
    return {"Boolean": "booleans", "Object": "objects"}.get(str(dtype), str(dtype))


def _id(column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    if dtype == pl.UInt64:
        return column
    if dtype.is_integer() or dtype == pl.Null or (isinstance(dtype, pl.Decimal) and not dtype.scale):
        return column.cast(pl.Int64, strict=False)
    if dtype.is_float():  # pandas stores whole numbers as floats in a column with missing values
        return pl.when(is_whole(column)).then(column.cast(pl.Float64)).cast(pl.Int64, strict=False)
    if dtype == pl.Boolean or dtype == pl.Object or dtype.is_nested():
        return None
    return column.cast(pl.String, strict=False)


def is_whole(column: pl.Expr) -> pl.Expr:
    """Return whether numbers are whole and exact in float64."""
    exact = column.cast(pl.Float64)
    return exact.is_finite() & (exact == exact.floor()) & (exact.abs() <= EXACT)


def _number(rows: pl.LazyFrame, column: pl.Expr, dtype: pl.DataType, decimal: str) -> pl.Expr | None:
    if dtype == pl.Object or dtype.is_nested() or dtype.is_temporal():
        return None
    if dtype != pl.String:
        return column.cast(pl.Float64, strict=False)
    first = rows.select(column.drop_nulls().head(1)).collect().to_series().str.strip_chars()
    if first.is_in([*_TRUE, *_FALSE]).any():
        return column.str.strip_chars().replace_strict(
            [*_TRUE, *_FALSE], [1.0] * 3 + [0.0] * 3, default=None, return_dtype=pl.Float64
        )
    text = column if decimal == "." else column.str.replace(decimal, ".", literal=True)
    return text.str.strip_chars().cast(pl.Float64, strict=False)


def bad_value(role: str, value: object, rules: Rules) -> str:
    """Return what is wrong with a value; empty if nothing."""
    is_id = role in ("user", "item")
    value = value.strip() if isinstance(value, str) else value
    word = isinstance(value, str) and is_id and value in (*rules.missing_words, *AMONG_NUMBERS)
    if value is None or value == "" or word or (isinstance(value, float) and math.isnan(value)):
        if not is_id:
            return "is empty; fill or remove the row"
        if rules.missing_ids == "drop":
            return ""
        if word:
            return f"is {value}, a missing id; pass dataset.missing_ids=drop, or other dataset.missing_words"
        return "is empty; fill the row, or pass dataset.missing_ids=drop"
    if is_id and isinstance(value, float):
        if not value.is_integer():
            return f"is neither text nor a whole number: {value!r}"
        return "" if abs(value) <= EXACT else f"is a floating-point number beyond 2^53: {value!r}; read whole numbers"
    if role == "rating" and not is_number(str(value).replace(rules.decimal, ".")):
        comma = "; pass dataset.decimal=, for decimal commas" if is_number(str(value).replace(",", ".")) else ""
        return f"is not a number: {shortened(repr(str(value)), 60)}{comma}"
    return ""


def is_number(value: object) -> bool:
    """Return whether a value, or its text, is a finite number."""
    if isinstance(value, bool):
        return True
    try:
        return "_" not in str(value) and math.isfinite(float(str(value)))
    except ValueError:
        return False
