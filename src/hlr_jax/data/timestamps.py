"""Converts a column of timestamps to seconds since 1970 UTC.

All rows of a column have the same form. It is found from the rows and logged:

- Polars dates and datetimes are read directly.
- Text is parsed by the pattern of ``time_patterns.DATES`` that matches every row. If two patterns do (day first or
  month first), the column is an error. A time without an offset from UTC is read as UTC.
- The unit of numbers is found by magnitude: see ``time_numbers``.

Seconds are float64. In 2021 their resolution is a quarter of a microsecond; times closer than that are equal.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import polars as pl

from hlr_jax.data.time_numbers import COMPACT, UNITS, bounds, quotients, select, settle, unit_of
from hlr_jax.data.time_patterns import DATES, check_pattern, expression, has_offset, seconds
from hlr_jax.errors import InputError
from hlr_jax.terminal import shortened

_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_SAMPLE = 1000  # rows that select the candidate patterns


def check_timestamp_format(given: str) -> None:
    """Check ``dataset.timestamp_format``: empty, a unit, or a pattern.

    Raises:
      InputError: it is none of them.
    """
    if given not in ("", *UNITS):
        check_pattern(given)


@dataclass(frozen=True)
class TimestampForm:
    """How the timestamps of one column are written.

    Attributes:
      kind: ``moments`` (polars dates), ``numbers`` (``settled`` finds the unit), ``plain`` (numbers of unknown unit), a
        key of ``UNITS``, a pattern, or ``several`` (the parts of a source have different forms).
      example: an example value, for a pattern.
      local: number of rows without an offset from UTC; None: all.
      given: whether ``dataset.timestamp_format`` gives the form.
    """

    kind: str
    example: str = ""
    local: int | None = 0
    given: bool = False

    @property
    def note(self) -> str:
        """The form as a log line."""
        if self.kind in UNITS:
            return f"timestamp: {_UNIT_NAMES[self.kind]} since 1970"
        if self.kind in ("plain", "numbers"):
            return "timestamp: plain numbers"
        if self.kind == "several":
            return "timestamp: formats differ between the files"
        such = "" if self.kind == "moments" else f" such as {self.example}, by {self.kind}"
        utc = {None: "; without an offset, read as UTC", 0: ""}
        return f"timestamp: dates{such}{utc.get(self.local, f'; {self.local} without an offset are read as UTC')}"

    def note_with_range(self, moments: pl.Series) -> str:
        """Return the note with the first and the last time; ``moments`` are in seconds."""
        if not len(moments):
            return self.note
        first, last = (self.written(float(moment)) for moment in bounds(moments))
        return f"{self.note}; {first} to {last}"

    def expression(self, column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
        """Return the parsed column, float64; null where a value is not a time. ``settled`` converts it to seconds."""
        if self.kind == "moments":
            return column.cast(pl.Datetime("us")).dt.timestamp("us").cast(pl.Float64)
        if self.kind in ("numbers", *UNITS):
            return (column if dtype.is_numeric() else _text(column, dtype)).cast(pl.Float64, strict=False)
        return seconds(_text(column, dtype), self.kind)

    def settled(self, values: pl.Series) -> "tuple[pl.Series, TimestampForm]":
        """Return the result of ``expression`` in seconds, and the form with the unit of all rows.

        Values that are not finite, or don't have the first number's unit, become null.
        """
        if not values.is_finite().fill_null(False).all():
            values = select(values, pl.when(pl.first().is_finite()).then(pl.first()))
        if self.kind in ("moments", *UNITS):
            return quotients(values, UNITS.get(self.kind, 10**6)), self
        if self.kind != "numbers":
            return values, self
        moments, kind = settle(values)
        if kind not in COMPACT:
            return moments, replace(self, kind=kind)
        return moments, TimestampForm(kind, f"{values.drop_nulls()[0]:.0f}", local=None)

    def problem(self, raw: pl.Series, read: pl.Series, place: Callable[[int], str]) -> tuple[int, str]:
        """Return the first row that could not be read, counted from 0, and what is wrong with its value.

        Args:
          raw: the column of the source.
          read: the seconds of all rows, from ``settled``; null where a value could not be read.
          place: number of a row -> its name in messages.
        """
        row, good = read.is_null().arg_true()[0], read.is_not_null().arg_true()
        value = raw[row]
        if value is None or value != value or not str(value).strip():
            return row, "is empty; fill or remove the row"
        if self.given:
            return row, f"does not match dataset.timestamp_format={self.kind}: {_shown(value)}"
        kind, shown = _kind_of(str(value)), _shown(value)
        if kind == "":
            return row, f"is after 2100 in every unit: {shown}; pass dataset.timestamp_format=s to read it as seconds"
        if kind == self.kind or (kind in UNITS and self.kind in COMPACT):
            return row, f"is not a date: {shown}; correct it, or pass dataset.timestamp_format"
        if kind is None or not len(good):
            return row, f"is neither a number nor a date: {shown}; correct it, or pass dataset.timestamp_format"
        other = f"{place(good[0])} has {_shown(raw[good[0]])}"
        if kind in UNITS and self.kind in ("plain", *UNITS):
            theirs = _UNIT_NAMES.get(self.kind, "seconds")
            return row, f"is in {_UNIT_NAMES[kind]}: {shown}; {other}, in {theirs}; use one unit"
        return row, f"has another format: {shown}; {other}; use one format"

    def moment(self, text: str, setting: str) -> float:
        """Return a setting's time in seconds: a number or a date as in the column, or ``%Y-%m-%d``.

        Raises:
          InputError: not a time.
        """
        is_number = re.match(_NUMBER, text.strip()) is not None
        if is_number and self.kind in ("plain", *UNITS):
            return float(text) / UNITS.get(self.kind, 1)
        if self.kind == "plain":
            raise InputError(f'{setting}="{text}" is a date, but the timestamps are plain numbers; pass a number')
        column = pl.DataFrame({"timestamp": [text]})
        forms = [] if self.kind in ("moments", "several") else [self]
        for form in (*forms, TimestampForm("%Y-%m-%d"), TimestampForm("numbers")):
            made = column.select(form.expression(pl.first(), pl.String())).to_series()
            read = form.settled(made)[0].to_list()[0]
            if read is not None:
                return float(read)
        raise InputError(f'{setting}="{text}" is not a time; pass a date such as 2021-01-31')

    def written(self, moment: float) -> str:
        """Return seconds as a date, or as a number where the unit is unknown."""
        try:
            date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment)
        except OverflowError:
            return f"{moment:.15g}"
        if self.kind == "plain":
            return f"{moment:.15g}"
        return date.strftime("%Y-%m-%d" if not moment % 86_400 else "%Y-%m-%d %H:%M:%S")


def find_form(stamps: pl.LazyFrame, given: str, where: str, name: str) -> TimestampForm | None:
    """Return the form of a column; None if its type can't hold times.

    For texts, the first rows select candidate patterns, and all rows decide between them. The unit of numbers is found
    later by ``TimestampForm.settled``, when all rows were read.

    Args:
      stamps: the column ``timestamp``, lazy.
      given: ``dataset.timestamp_format``.
      where: name of the source in messages.
      name: name of the column in the source.

    Raises:
      InputError: two patterns match all rows, or a format is given for a column of dates.
    """
    dtype = stamps.collect_schema()["timestamp"]
    if isinstance(dtype, pl.Date | pl.Datetime):
        if given:
            raise InputError(f'{where}: column "{name}" already has the type date; leave out dataset.timestamp_format')
        return TimestampForm("moments", local=0 if getattr(dtype, "time_zone", None) else None)
    if not (dtype.is_numeric() or dtype == pl.Null or dtype in (pl.String, pl.Categorical, pl.Enum)):
        return None
    if given in UNITS:
        return TimestampForm(given, given=True)
    if not given and (dtype.is_numeric() or dtype == pl.Null):
        return TimestampForm("numbers")
    text = stamps.select(_text(pl.col("timestamp"), dtype))
    sample = text.head(_SAMPLE).collect(engine="streaming").to_series()
    return _proved(text, sample, [given] if given else _likely(sample), where, name, bool(given))


def _likely(sample: pl.Series) -> list[str]:
    """Return the patterns that match most of a sample, or ``numbers``; on a tie the first value decides."""
    regexes = {"numbers": _NUMBER} | {pattern: expression(pattern) for pattern in DATES}
    counts = {kind: int(sample.str.contains(regex).sum()) for kind, regex in regexes.items()}
    most = max(counts.values())
    likely = [kind for kind, count in counts.items() if count == most > 0]
    first = next((text for text in sample if any(re.match(regexes[kind], text or "") for kind in likely)), "")
    return [kind for kind in likely if re.match(regexes[kind], first)] or ["numbers"]


def _proved(
    text: pl.LazyFrame, sample: pl.Series, patterns: list[str], where: str, name: str, given: bool
) -> TimestampForm:
    """Return the form with the pattern that matches all rows or, failing that, most rows.

    Raises:
      InputError: two patterns match all rows.
    """
    if patterns == ["numbers"]:
        return TimestampForm("numbers")
    column = pl.col("timestamp")
    matches = [column.str.contains(expression(pattern)).sum().alias(pattern) for pattern in patterns]
    others = (column.count().alias("all"), has_offset(column, patterns[0]).sum().alias("offsets"))
    counts = text.select(*matches, *others).collect(engine="streaming").row(0, named=True)
    best = max(patterns, key=lambda pattern: counts[pattern])
    examples = sample.filter(sample.str.contains(expression(best)))
    example = examples[0] if len(examples) else ""
    if len(patterns) > 1 and all(counts[pattern] == counts["all"] for pattern in patterns):
        dates = pl.DataFrame([examples]).select(seconds(pl.first(), pattern).alias(pattern) for pattern in patterns)
        places = (dates[patterns[0]] != dates[patterns[1]]).arg_true()
        place = places[0] if len(places) else 0
        readings = " or ".join(TimestampForm("moments").written(dates[pattern][place]) for pattern in patterns)
        cures = " or ".join(f"dataset.timestamp_format={pattern}" for pattern in patterns)
        raise InputError(
            f'{where}: column "{name}" is ambiguous: {_shown(examples[place])} may be {readings}; pass {cures}'
        )
    local = counts["all"] - counts["offsets"]
    return TimestampForm(best, example, None if local == counts["all"] else local, given)


def agreed(forms: Iterable[TimestampForm | None]) -> TimestampForm | None:
    """Return one form for all parts of a source, in which cuts are read.

    Raises:
      InputError: one part has dates and another has plain numbers.
    """
    known = [form for form in forms if form is not None]
    kinds = dict.fromkeys(form.kind for form in known)
    if "plain" in kinds and len(kinds) > 1 and kinds.keys() != {"plain", "s"}:
        notes = " and ".join(form.note.removeprefix("timestamp: ") for form in (known[0], _other(known)))
        raise InputError(f"the files have two kinds of timestamps: {notes}; use one format")
    if len(kinds) > 1:
        return TimestampForm("s" if kinds.keys() == {"plain", "s"} else "several")
    return known[0] if known else None


def _other(forms: list[TimestampForm]) -> TimestampForm:
    return next(form for form in forms if (form.kind == "plain") != (forms[0].kind == "plain"))


def _kind_of(text: str) -> str | None:
    """Return the unit of a number, empty if it is after 2100; the pattern of a date; None for anything else."""
    text = text.strip()
    if re.match(_NUMBER, text):
        return unit_of(abs(float(text)))
    return next((pattern for pattern in DATES if re.match(expression(pattern), text)), None)


def _text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return a column as text without blanks at both ends, null where it is empty; 2021.0 becomes 2021."""
    if dtype.is_float():
        column = pl.when(column == column.floor()).then(column).cast(pl.Int64, strict=False)
    text = column.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def _shown(value: object) -> str:
    return shortened(value if isinstance(value, int | float) else repr(str(value)), 40)
