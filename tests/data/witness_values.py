"""Parses ids, ratings and times for the second reader in ``data.witness``."""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

MISSING = ("", "NULL", "null", "nan", "NaN", "NaT", "<NA>", "None", "\\N")
AMONG_NUMBERS = ("NA", "N/A")  # missing where all other ids are numbers
ROLES = ("user", "item", "rating", "timestamp")
# The blanks of Unicode (White_Space), which Rust strips; Python's `strip` takes four control characters more.
BLANKS = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
WHOLE = re.compile(r"0|-?[1-9][0-9]*|-?(0|[1-9][0-9]*)\.0+")
# One digit is enough for a month, a day or an hour, not for minutes and seconds.
MOMENT = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{1,2}-[0-9]{1,2})([T ](?P<clock>[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?)"
    r"( ?(?P<zone>Z|[+-][0-9]{2}(:?[0-9]{2})?))?)?"
)
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Refused(Exception):
    """The bytes are invalid or ambiguous."""


@dataclass(frozen=True)
class Reading:
    """The rows in the order of the file, and what became of the other records.

    Attributes:
      rows: for each record, the values of the roles: ids, a rating, a moment whose order alone counts.
      records: records of the source, without the header.
      without_ids: those that lack a user or an item.
      repeated_headers: those that are the header again.
    """

    rows: list[tuple]
    records: int
    without_ids: int = 0
    repeated_headers: int = 0


@dataclass(frozen=True)
class Layout:
    """How to read the bytes.

    Attributes:
      kind: ``delimited``, ``ndjson``, ``parquet`` or ``adjacency``.
      separator: between fields; empty: the one by which the first line names the columns.
      quoted: whether quotes enclose fields.
      names: the column of each role that is read; in files without a header, its place.
      header: whether the first record names the columns.
      width: the number of fields of a file without header.
      encoding: of the text; empty: UTF-8, or what its byte order mark says.
      decimal: the decimal sign.
      missing: ``error`` or ``drop``: records without an id.
      packed: the ending of the compression, or nothing.
    """

    kind: str
    names: dict
    separator: str = ","
    quoted: bool = True
    header: bool = True
    width: int = 0
    encoding: str = ""
    decimal: str = "."
    missing: str = "error"
    packed: str = ""


def reading_of(rows: list[dict], layout: Layout, *, keep_texts: bool = False, repeated_headers: int = 0) -> Reading:
    """Parse every value."""
    records = len(rows) + repeated_headers
    for row in rows:
        row |= {role: _id(row[role]) for role in ("user", "item")}
    for role in ("user", "item") if not keep_texts else ():
        ids = [row[role] for row in rows if row[role] not in (None, *AMONG_NUMBERS)]
        if ids and all(WHOLE.fullmatch(str(value)) for value in ids):
            for row in rows:
                row[role] = None if row[role] in AMONG_NUMBERS else row[role]
    kept = [row for row in rows if row["user"] is not None and row["item"] is not None]
    if len(kept) < len(rows) and layout.missing == "error":
        raise Refused("a record without an id")
    for role in ("user", "item") if not keep_texts else ():
        _numbers(kept, role)
    for row in kept:
        if "rating" in row:
            row["rating"] = _rating(row["rating"], layout.decimal)
    if "timestamp" in layout.names:
        for row, moment in zip(kept, _moments([row["timestamp"] for row in kept]), strict=True):
            row["timestamp"] = moment
    values = [tuple(row[role] for role in ROLES if role in row) for row in kept]
    return Reading(values, records, len(rows) - len(kept), repeated_headers)


def _id(value: object) -> object:
    """Return an id as text, or as a number where the source has numbers; None: missing."""
    if isinstance(value, str):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise Refused("half a character")
        value = value.strip(BLANKS)
        return None if value in MISSING else value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Refused(f"{value!r} is not an id")


def _numbers(rows: list[dict], role: str) -> None:
    """Convert the ids of a text column to numbers if all are whole numbers, else to texts."""
    texts = [str(row[role]) for row in rows]
    are_numbers = all(WHOLE.fullmatch(text) and abs(Fraction(text)) < 2**63 for text in texts)
    if are_numbers and any("." in text and abs(Fraction(text)) > 2**53 for text in texts):
        raise Refused("a float beyond 2^53")
    for row, text in zip(rows, texts, strict=True):
        row[role] = int(Fraction(text)) if are_numbers else text


def _rating(value: object, decimal: str) -> float:
    if isinstance(value, str):
        value = value.strip(BLANKS)
        if value.lower() in ("true", "false"):
            return float(value.lower() == "true")
        value = value.replace(",", ".") if decimal == "," and "." not in value else value
        if not NUMBER.fullmatch(value) or (decimal == "," and "," in value):
            raise Refused(f"{value!r} is no rating")
        value = float(value)
    if not isinstance(value, int | float) or not math.isfinite(value):  # `true` and `false` count as 1 and 0
        raise Refused(f"{value!r} is no rating")
    return float(value)


def _moments(values: list) -> list:
    """Return numbers in the order of the timestamps, which are all numbers or all ISO 8601 dates."""
    texts = [value.strip(BLANKS) if isinstance(value, str) else value for value in values]
    if all(isinstance(text, int | float) or (isinstance(text, str) and NUMBER.fullmatch(text)) for text in texts):
        return [Fraction(text) if math.isfinite(float(text)) else _refuse(text) for text in texts]
    return [_seconds(text) for text in texts]


def _seconds(moment: object) -> Fraction:
    """Return the seconds of an ISO 8601 date; without a zone it is in UTC."""
    parts = MOMENT.fullmatch(moment) if isinstance(moment, str) else _refuse(moment)
    if not parts:
        raise Refused(f"{moment!r} is not a date")
    clock = (parts["clock"] or "0:00").split(":")
    zone = (parts["zone"] or "Z").replace("Z", "+00").replace(":", "")
    try:
        day = datetime(*map(int, parts["date"].split("-")), int(clock[0]), int(clock[1]), tzinfo=UTC)
    except ValueError as error:
        raise Refused(str(error)) from None
    second = Fraction([*clock, "0"][2])
    offset = int(zone[1:3]) * 3600 + int(zone[3:] or "0") * 60
    if second >= 60 or offset >= 86400 or int(zone[3:] or "0") >= 60:
        raise Refused(f"{moment!r} is not a date")
    return int(day.timestamp()) + second - (offset if zone[0] == "+" else -offset)


def _refuse(value: object) -> Fraction:
    raise Refused(f"{value!r} is not a number")
