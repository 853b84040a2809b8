"""Timestamps that are numbers: which unit they are of, by their magnitude.

From 1970 to 2100, seconds are below 4.1e9, milliseconds below 4.1e12, microseconds below 4.1e15 and nanoseconds below
4.1e18. All numbers of a column must be of one unit; 0 is of every unit. Two kinds are not what their magnitude says:

- Numbers that are all from 19700101 to 21001231 are dates, and so are those with the hour, minute and second behind.
  As seconds, they would all lie in August 1970.
- Numbers that are all below 1e8, before March 1973, are not called seconds. They may be places in an order, which is
  all that a split needs.
"""

import polars as pl

from hlr_jax.data.time_patterns import seconds

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""How many of each unit are a second."""

COMPACT = {
    "%Y%m%d": (19700101, 21001231),
    "%Y%m%d%H%M": (197001010000, 210012312359),
    "%Y%m%d%H%M%S": (19700101000000, 21001231235959),
}
"""The least and the greatest number that is a date by each pattern."""

_YEAR_2100 = 4_102_444_800  # in seconds
_PLAIN = 10**8


def unit_of(size: float) -> str:
    """Return the unit of a number that is not negative; empty where it is after 2100 in every unit."""
    return next((unit for unit, scale in UNITS.items() if size < _YEAR_2100 * scale), "")


def settle(values: pl.Series) -> tuple[pl.Series, str]:
    """Return the seconds of numbers, and what they are: a key of ``UNITS`` or ``COMPACT``, or ``plain``.

    What is not of the first number's unit is null then.

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
    """Return the quotients, each the float64 nearest to it; polars multiplies by the reciprocal, which is another."""
    return values if scale == 1 else pl.Series(values.name, values.to_numpy() / scale, nan_to_null=True)


def bounds(values: pl.Series) -> tuple[float, float]:
    """Return the least and the greatest of numbers; null counts as none."""
    low, high = values.to_frame().select(low=pl.first().min(), high=pl.first().max()).row(0)
    return float(low), float(high)


def select(values: pl.Series, made: pl.Expr) -> pl.Series:
    """Return an expression of ``pl.first()``, for the values."""
    return values.to_frame().select(made.alias(values.name)).to_series()
