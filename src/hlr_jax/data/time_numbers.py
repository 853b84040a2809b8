"""Finds the unit of numeric timestamps by their magnitude.

From 1970 to 2100, seconds are below 4.1e9, milliseconds below 4.1e12, microseconds below 4.1e15 and nanoseconds below
4.1e18. All numbers of a column must have the same unit; 0 fits every unit. There are two exceptions:

- If all numbers are from 19700101 to 21001231, they are dates. The same holds with hour, minute and second appended.
  As seconds, these dates would all be in August 1970.
- If all numbers are below 1e8 (March 1973), their unit is unknown. They may be positions in an order, which is enough
  for a split.
"""

import polars as pl

from hlr_jax.data.time_patterns import seconds

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""The number of each unit in a second."""

COMPACT = {
    "%Y%m%d": (19700101, 21001231),
    "%Y%m%d%H%M": (197001010000, 210012312359),
    "%Y%m%d%H%M%S": (19700101000000, 21001231235959),
}
"""The smallest and the largest number that is a date by each pattern."""

_YEAR_2100 = 4_102_444_800  # in seconds
_PLAIN = 10**8


def unit_of(size: float) -> str:
    """Return the unit of a nonnegative number; empty if it is after 2100 in every unit."""
    return next((unit for unit, scale in UNITS.items() if size < _YEAR_2100 * scale), "")


def settle(values: pl.Series) -> tuple[pl.Series, str]:
    """Return numbers as seconds, and their form: a key of ``UNITS`` or ``COMPACT``, or ``plain``.

    Numbers that don't have the first number's unit become null.

    Args:
      values: float64, finite or null.

    Example:
      >>> settle(pl.Series([1600000000000.0, 0.0, 5.0]))[0].to_list()
      [1600000000.0, 0.0, None]
    """
    if values.null_count() == len(values):
        return values, "plain"
    sizes = (values if bounds(values)[0] > 0 else values.filter(values != 0).abs()).drop_nulls()
    if sizes.is_empty():
        return values, "plain"
    low, high = bounds(sizes)
    for pattern, (first, last) in COMPACT.items():
        if first <= low and high <= last and (sizes == sizes.floor()).all():
            return select(values, seconds(pl.first().cast(pl.Int64).cast(pl.String), pattern)), pattern
    unit = unit_of(float(sizes[0]))
    if not unit_of(low) == unit_of(high) == unit != "":
        limit = _YEAR_2100 * UNITS.get(unit, 0)
        of_unit = (pl.first().abs() < limit) & (pl.first().abs() >= (0 if unit == "s" else limit / 1000))
        values = select(values, pl.when(of_unit | (pl.first() == 0)).then(pl.first()))
    if unit in ("s", ""):
        return values, "plain" if high < _PLAIN else "s"
    return quotients(values, UNITS[unit]), unit


def quotients(values: pl.Series, scale: int) -> pl.Series:
    """Return the correctly rounded quotients; polars would multiply by the reciprocal, which rounds differently."""
    return values if scale == 1 else pl.Series(values.name, values.to_numpy() / scale, nan_to_null=True)


def bounds(values: pl.Series) -> tuple[float, float]:
    """Return the smallest and the largest number; nulls are ignored."""
    low, high = values.to_frame().select(low=pl.first().min(), high=pl.first().max()).row(0)
    return float(low), float(high)


def select(values: pl.Series, made: pl.Expr) -> pl.Series:
    """Return an expression of ``pl.first()`` evaluated on the values."""
    return values.to_frame().select(made.alias(values.name)).to_series()
