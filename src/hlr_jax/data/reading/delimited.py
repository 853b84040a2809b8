"""Records of delimited text: by polars where every line is plain, and otherwise by Python's csv, which reads all."""

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
      place: what to call a row, counted from 0.
      num_rows: how many there are; None: not counted yet.
      may_repeat_header: whether a row may name the columns once more.
    """

    rows: pl.LazyFrame
    place: Callable[[int], str]
    num_rows: int | None = None
    may_repeat_header: bool = True


def scan_records(plain: Path, dialect: Dialect, where: str, *, lines_may_be_quoted: bool = False) -> Records:
    """Return the records of a plain text file.

    Polars checks quotes in the columns alone that it is asked for, and takes a line with too few fields for one with
    empty ones. So it reads only files of which each line has been seen to be a record without quotes.

    Args:
      plain: UTF-8 text.
      dialect: how it is laid out.
      where: what the file is called.
      lines_may_be_quoted: whether a quoted field may hold lines that look like records.

    Raises:
      InputError: no text, or a record that is none; names it.
    """
    sides = [place for role, place in dialect.places.items() if role in ("user", "item")]
    names = [dialect.header[place] for place in sides] if dialect.header else []
    known = structure(plain, dialect.separator, dialect.num_fields, where, max(names, key=len, default=""))
    skipped = int(bool(dialect.header))
    if known.regular and known.num_lines > skipped and not (dialect.quoted and known.quotes):
        stride = len(dialect.separator)  # "::" is read as two characters with nothing between them
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
    """Yield the wanted fields of each record, and the line that it starts in.

    Raises:
      InputError: a record with more or fewer fields than the first, or with a quote that does not close.
    """
    places = list(dialect.places.values())
    skip = bool(dialect.header)
    for line, last, fields in _parsed(plain, dialect, where):
        if len(fields) <= 1 and not "".join(fields).strip():
            continue  # a blank line
        if len(fields) != dialect.num_fields:
            lines = f"line {line}" if line == last else f"lines {line} to {last}, one record,"
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
            odd = "a quote opens and does not close" if "end of data" in str(problem) else "text follows a quote"
            if "limit" in str(problem):
                odd = "a field has over 100,000 characters, as if a quote did not close"
            raise InputError(
                f"{where}: line {last + 1}: {odd}; mend it, or pass dataset.quotes=no if quotes are plain characters"
            ) from None


def _without_marks(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines without the byte-order marks that joined files leave at their starts."""
    return (line.removeprefix("\ufeff") for line in lines)


def _check_swallowed(fields: list[str], dialect: Dialect, where: str) -> None:
    """Check that a field of several lines is a text, and not records between two lone quotes.

    Raises:
      InputError: one of its lines looks like a record: as many fields, and ids without blanks.
    """
    ids = [dialect.places[role] for role in ("user", "item") if role in dialect.places]
    for line in (line for field in fields for line in field.splitlines()[1:]):
        parts = line.split(dialect.separator)
        if len(parts) == dialect.num_fields and all(parts[place] and not parts[place].split()[1:] for place in ids):
            raise InputError(
                f"{where}: a quoted field holds a line that looks like a record ({line[:60]}); pass dataset.quotes=no "
                "if quotes are plain characters, or yes if it is text"
            )
