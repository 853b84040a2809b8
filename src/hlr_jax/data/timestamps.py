"""Stand-in until the real one."""

import polars as pl

_OFFSET = r"^(.*\d:\d\d(?:\.\d+)?) ?(?:Z|([+-])(\d\d):?(\d\d)?)$"


def seconds_of(rows, dtype, fmt=""):
    column = pl.col("timestamp")
    if dtype == pl.String:
        first = rows.select(column.drop_nulls().head(1)).collect()["timestamp"]
        try:
            float(first[0])
            return column.str.strip_chars().cast(pl.Float64, strict=False), ""
        except (ValueError, IndexError):
            pass
        local = pl.coalesce(column.str.extract(_OFFSET, 1), column).str.to_datetime(time_unit="us", strict=False)
        hours, minutes = (column.str.extract(_OFFSET, group).cast(pl.Float64).fill_null(0) for group in (3, 4))
        east = pl.when(column.str.extract(_OFFSET, 2) == "-").then(-1).otherwise(1)
        return local.cast(pl.Datetime("us")).dt.timestamp("us") / 1e6 - east * (hours * 3600 + minutes * 60), ""
    if isinstance(dtype, pl.Date | pl.Datetime):
        return column.cast(pl.Datetime("us")).dt.timestamp("us") / 1e6, ""
    return column.cast(pl.Float64, strict=False), ""
