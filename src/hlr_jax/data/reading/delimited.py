"""Reads delimited text: with polars if every line is a plain record, else with Python's csv module."""

import csv
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from hlr_jax.data.reading.dialect import Dialect
from hlr_jax.data.reading.plain_text import structure
from hlr_jax.errors import InputError

_BATCH = 100_000


class Records(NamedTuple):
    """Rows of a text file.

    Attributes:
      rows: columns by role, as text; null where a field is empty.
      place: number of a row, counted from 0 -> its name in messages.
      num_rows: number of rows; None: not counted yet.
      may_repeat_header: whether a row may be a repeated header line.
    """

    rows: pl.LazyFrame
    place: Callable[[int], str]
    num_rows: int | None = None
    may_repeat_header: bool = True


def scan_records(plain: Path, dialect: Dialect, where: str, *, lines_may_be_quoted: bool = False) -> Records:
    """Return the records of a plain text file.

    Polars only checks quotes in the requested columns, and it fills lines with too few fields. So it only reads files
    in which every line was checked to be a record without quotes.

    Args:
      plain: UTF-8 text.
      dialect: the layout.
      where: name of the file in messages.
      lines_may_be_quoted: whether a quoted field may contain lines that look like records.

    Raises:
      InputError: not a text, or an invalid record; names the record.
    """
    sides = [place for role, place in dialect.places.items() if role in ("user", "item")]
    names = [dialect.header[place] for place in sides] if dialect.header else []
    known = structure(plain, dialect.separator, dialect.num_fields, where, max(names, key=len, default=""))
    skipped = int(bool(dialect.header))
    if known.regular and known.num_lines > skipped and not (dialect.quoted and known.quotes):
        stride = len(dialect.separator)  # "::" is read as two separators with an empty field between them
        table = pl.scan_csv(
            plain,
            separator=dialect.separator[0],
            has_header=False,
            skip_rows=skipped,
            new_columns=[str(place) for place in range(stride * (dialect.num_fields - 1) + 1)],
            quote_char=None,
            infer_schema=False,
            glob=False,
        )
        rows = table.select(pl.col(str(stride * place)).alias(role) for role, place in dialect.places.items())
        return Records(rows, lambda row: f"line {row + skipped + 1}", known.num_lines - skipped, known.repeats)
    roles = list(dialect.places)
    schema = {**dict.fromkeys(roles, pl.String), "": pl.UInt32}
    records = _records(plain, dialect, where, lines_may_be_quoted)
    parts = []
    while batch := list(itertools.islice(records, _BATCH)):
        parts.append(pl.DataFrame(batch, schema=schema, orient="row"))
    parsed = pl.concat(parts) if parts else pl.DataFrame(schema=schema)
    lines = parsed[""]

    def place(row: int) -> str:
        line, alone = lines[row], row + skipped + 1
        return f"line {line}" if line == alone else f"record {row + 1} (line {line})"

    return Records(parsed.lazy().drop(""), place)


def _records(
    plain: Path, dialect: Dialect, where: str, lines_may_be_quoted: bool
) -> Iterator[tuple[str | int | None, ...]]:
    """Yield the wanted fields of each record, followed by the number of its first line.

    Raises:
      InputError: a record with more or fewer fields than the first, or an unclosed quote.
    """
    places = list(dialect.places.values())
    skip = bool(dialect.header)
    for line, last, fields in _parsed(plain, dialect, where):
        if len(fields) <= 1 and not "".join(fields).strip():
            continue  # a blank line
        if len(fields) != dialect.num_fields:
            lines = f"line {line}" if line == last else f"the record in lines {line} to {last}"
            raise InputError(f"{where}: {lines} has {len(fields)} fields instead of {dialect.num_fields}")
        if skip:
            skip = False
            continue
        if last > line and not lines_may_be_quoted:
            _check_swallowed(fields, dialect, f"{where}: line {line}")
        yield (*(fields[place] or None for place in places), line)


def lines_of(plain: Path) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of the lines of a plain text file, which end in LF, CR or both."""
    with plain.open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(_without_marks(file), start=1):
            yield number, line.rstrip("\r\n")


def _parsed(plain: Path, dialect: Dialect, where: str) -> Iterator[tuple[int, int, list[str]]]:
    """Yield (first line, last line, fields) of each record, blank lines too."""
    if len(dialect.separator) > 1:
        for number, line in lines_of(plain):
            yield number, number, line.split(dialect.separator)
        return
    last = 0
    with plain.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(
            _without_marks(file),
            delimiter=dialect.separator,
            quoting=csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE,
            strict=True,
        )
        try:
            for fields in reader:
                first, last = last + 1, reader.line_num
                yield first, last, fields
        except csv.Error as problem:
            cause = "a quote is not closed" if "end of data" in str(problem) else "text follows a closing quote"
            if "limit" in str(problem):
                cause = "a field has over 100,000 characters, maybe because of an unclosed quote"
            raise InputError(
                f"{where}: line {last + 1}: {cause}; correct it, or pass dataset.quotes=no if quotes are plain "
                "characters"
            ) from None


def _without_marks(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines without the byte-order marks that concatenated files have at line starts."""
    return (line.removeprefix("\ufeff") for line in lines)


def _check_swallowed(fields: list[str], dialect: Dialect, where: str) -> None:
    """Check that a field of several lines does not contain whole records between two stray quotes.

    Raises:
      InputError: one of its lines looks like a record: the same number of fields, and ids without blanks.
    """
    ids = [dialect.places[role] for role in ("user", "item") if role in dialect.places]
    for line in (line for field in fields for line in field.splitlines()[1:]):
        parts = line.split(dialect.separator)
        if len(parts) == dialect.num_fields and all(parts[place] and not parts[place].split()[1:] for place in ids):
            raise InputError(
                f"{where}: a quoted field has a line that looks like a record ({line[:60]}); pass dataset.quotes=no "
                "if quotes are plain characters, or dataset.quotes=yes if the field is text"
            )
