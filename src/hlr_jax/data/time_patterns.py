"""Date patterns in the notation of ``strptime``, compiled to regular expressions that parse a whole column at once.

Each pattern is one regular expression with named groups. The same arithmetic converts the groups of every pattern to
seconds. Each group only matches values in its range (a month is 1 to 12), so nearly every match is a date.
"""

import re

import polars as pl

from hlr_jax.errors import InputError

_MONTHS = ("January", "February", "March", "April", "May", "June",
           "July", "August", "September", "October", "November", "December")  # fmt: skip
_NAMES = "|".join(f"{name[:3]}(?:{name[3:]})?" for name in _MONTHS)
_WEEKDAY = "(?:Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?)"
# The first characters of a text decide the alternative, so the expression needs one pass without backtracking.
_MONTH, _DAY = "0[1-9]|1[0-2]?|[2-9]", "0[1-9]|[12][0-9]?|3[01]?|[4-9]"
_HOUR, _SIXTY = "[01][0-9]?|2[0-3]?|[3-9]", "[0-5][0-9]?|[6-9]"
_OFFSET = "(?:Z|UTC|GMT|(?P<sign>[+-])(?P<east>[01][0-9]|2[0-3])(?::?(?P<east_minute>[0-5][0-9]))?)"
_DIRECTIVES = {
    "Y": "(?P<year>[0-9]{4})", "y": "(?P<short_year>[0-9]{2})",
    "m": f"(?P<month>{_MONTH})", "b": f"(?P<month_name>{_NAMES})", "B": f"(?P<month_name>{_NAMES})",
    "d": f"(?P<day>{_DAY})", "a": _WEEKDAY, "A": _WEEKDAY,
    "H": f"(?P<hour>{_HOUR})", "I": f"(?P<hour>{_MONTH})", "p": "(?P<half>[AP])M",
    "M": f"(?P<minute>{_SIXTY})", "S": f"(?P<second>{_SIXTY})", "f": "(?P<fraction>[0-9]{1,9})",
    "z": _OFFSET, "%": "%",
}  # fmt: skip
_GROUPS = ("year", "short_year", "month", "month_name", "day", "hour", "half", "minute", "second", "fraction", "sign",
           "east", "east_minute")  # fmt: skip
_SHORT = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M", "%D": "%m/%d/%y"}
# What may follow a date: a time of day with a fraction, then AM or PM or the offset from UTC.
_TIME = (
    rf"(?:(?:[T:]|,? +)(?P<hour>{_HOUR}):(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9])"
    rf"(?:[.,](?P<fraction>[0-9]{{1,12}}))?)?(?: ?(?:(?P<half>[AP])M|{_OFFSET}))?)?"
)

DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d",
    "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y", "%m %d, %Y",
    "%a, %d %b %Y", "%d %b %Y", "%d-%b-%Y", "%d/%b/%Y", "%b %d, %Y", "%a, %b %d, %Y", "%b %d %Y",
    "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%S%z",
)  # fmt: skip
"""The patterns to try if none is given. With dots, the day always comes before the month."""


def check_pattern(pattern: str) -> None:
    """Check that a pattern has a year, a month and a day, and only supported directives.

    Raises:
      InputError: it does not.
    """
    parts = _parts(pattern)
    letters = [part[1:] for part in parts if part[0] == "%"]
    unknown = [letter for letter in letters if letter not in _DIRECTIVES]
    if unknown:
        known = " ".join(f"%{letter}" for letter in _DIRECTIVES)
        raise InputError(f'dataset.timestamp_format="{pattern}": unknown directive %{unknown[0]}; use {known}')
    groups = [group for letter in letters for group in re.findall(r"\?P<(\w+)>", _DIRECTIVES[letter])]
    needed = ({"year", "short_year"}, {"month", "month_name"}, {"day"})
    if not all(len(names & {*groups}) == 1 for names in needed) or len({*groups}) < len(groups):
        raise InputError(
            f'dataset.timestamp_format="{pattern}" must have year, month and day once each; pass s, ms, us, ns or '
            "a pattern such as %d/%m/%Y or %Y-%m-%d %H:%M:%S"
        )


def _parts(pattern: str) -> list[str]:
    """Return the directives of a pattern and the texts between them, in order."""
    for short, long in _SHORT.items():
        pattern = pattern.replace(short, long)
    return re.findall("%.?|[^%]+", pattern)


def _names_time(pattern: str) -> bool:
    return any(part in ("%H", "%I", "%M", "%S", "%f", "%p", "%z") for part in _parts(pattern))


def expression(pattern: str) -> str:
    """Return the regular expression for a whole value. After a pattern without a time, a time of day may follow.

    Adjacent numbers need two digits each, so that ``2021111`` does not match ``%Y%m%d``.
    """
    parts, made = _parts(pattern), ""
    for place, part in enumerate(parts):
        if part[0] != "%":
            made += re.escape(part).replace(r"\ ", " +")
            continue
        regex = _DIRECTIVES[part[1]]
        beside = [*parts[:place][-1:], *parts[place + 1 : place + 2]]
        if any(other in ("%Y", "%y", "%m", "%d", "%H", "%I", "%M", "%S", "%f") for other in beside):
            regex = re.sub(r"\|\[[2346]-9\]", "", regex).replace("]?", "]")
        made += regex
    return f"(?i)^{made}{'' if _names_time(pattern) else _TIME}$"


def has_offset(text: pl.Expr, pattern: str) -> pl.Expr:
    """Return whether values that match a pattern include an offset from UTC."""
    if _names_time(pattern):
        return pl.when(text.is_not_null()).then(pl.lit("%z" in pattern))
    return text.str.contains(rf"(?i):[0-9]{{2}}(?:[.,][0-9]+)? ?{_OFFSET}$")


def seconds(text: pl.Expr, pattern: str) -> pl.Expr:
    """Return the seconds since 1970 UTC, float64, by a pattern; null where the text does not match it.

    A time without an offset is read as UTC.

    Example:
      >>> column = pl.DataFrame({"at": ["31/01/1970", "1/2/1970 00:00:01.5", "30/02/1970"]})
      >>> column.select(seconds(pl.col("at"), "%d/%m/%Y")).to_series().to_list()
      [2592000.0, 2678401.5, None]
    """
    regex = expression(pattern)
    # As a batch function, so that the regular expression runs once per value.
    return text.map_batches(
        lambda series: _of_groups(series.str.extract_groups(regex).struct.unnest()), pl.Float64, is_elementwise=True
    )


def _of_groups(groups: pl.DataFrame) -> pl.Series:
    """Return the seconds for the matched groups of a pattern, which are texts; absent groups are null."""
    texts = {name: pl.col(name) if name in groups.columns else pl.lit(None, pl.String) for name in _GROUPS}
    number = {name: text.cast(pl.Int32, strict=False) for name, text in texts.items()}
    short = number["short_year"]
    month_name = texts["month_name"].str.head(3).str.to_lowercase()
    half = texts["half"].str.to_lowercase().replace_strict(["a", "p"], [0, 12], default=None, return_dtype=pl.Int32)
    known = [name[:3].lower() for name in _MONTHS]
    fields = groups.select(
        year=pl.coalesce(number["year"], short + pl.when(short < 69).then(2000).otherwise(1900)),  # as POSIX has it
        month=pl.coalesce(
            number["month"], month_name.replace_strict(known, range(1, 13), default=None, return_dtype=pl.Int32)
        ),
        day=number["day"],
        # 12 am is 0 and 12 pm is 12. With AM or PM, 0 and 13 to 23 are invalid and give null.
        hour=pl.when(half.is_null())
        .then(number["hour"].fill_null(0))
        .when(number["hour"].is_between(1, 12))
        .then(number["hour"] % 12 + half),
        minute=number["minute"].fill_null(0),
        second=number["second"].fill_null(0) + (pl.lit("0.") + texts["fraction"]).cast(pl.Float64).fill_null(0),
        east=(number["east"].fill_null(0) * 60 + number["east_minute"].fill_null(0))
        * pl.when(texts["sign"] == "-").then(-1).otherwise(1),
    )
    date = pl.date("year", "month", 1) + pl.duration(days=pl.col("day") - 1)
    minutes = (pl.col("hour") * 60 + pl.col("minute") - pl.col("east")).cast(pl.Float64)
    return (
        fields.with_columns(date=date)
        .select(
            # Rejects days beyond the end of a month: 30 February would become 2 March.
            pl.when(pl.col("date").dt.month() == pl.col("month")).then(
                pl.col("date").cast(pl.Int32) * 86_400.0 + minutes * 60 + pl.col("second")
            )
        )
        .to_series()
    )
