"""Files of interactions, as published and as people have them, to one frame: user, item, rating, timestamp, split."""

import csv
import glob
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from hlr_jax.data.columns import BadRow, Reading, bad_value, find_columns, first_bad_row, read_columns
from hlr_jax.errors import InputError, pick

# Ids that survive the way to a number and back; "007" does not, and stays a string.
_WHOLE_NUMBER = r"^(0|-?[1-9][0-9]{0,18})$"
_NOTHING = ("nan", "NaN", "NaT", "NA", "<NA>", "N/A", "null", "NULL", "None", r"\N")  # how programs write a missing id


@dataclass(frozen=True)
class Format:
    """How a file is laid out.

    Attributes:
      kind: ``delimited``, ``parquet``, ``ndjson`` or ``adjacency``.
      columns: role -> column name in the file; of a file without header its columns in order, by role.
      separator: one character, or ``::``.
      header: whether the first line names the columns; RecBole's ``name:type`` names are read by their names.
      quoted: whether fields may stand in double quotes.
      counted: adjacency lists only: each line starts with the number of its items, and users are line numbers.
    """

    kind: Literal["delimited", "parquet", "ndjson", "adjacency"]
    columns: dict[str, str]
    separator: str = ","
    header: bool = True
    quoted: bool = False
    counted: bool = False


def _columns(*names: str) -> dict[str, str]:
    return dict(zip(("user", "item", "rating", "timestamp", "split"), names, strict=False))


_RATED = _columns("user", "item", "rating", "timestamp")
_SAME = _columns("user", "item", "rating", "timestamp", "split")
FORMATS: dict[str, Format] = {
    "movielens-100k": Format("delimited", _RATED, "\t", header=False),
    "movielens-dat": Format("delimited", _RATED, "::", header=False),
    "movielens-csv": Format("delimited", _columns("userId", "movieId", "rating", "timestamp"), quoted=True),
    "taste-profile": Format("delimited", _columns("user", "item", "rating"), "\t", header=False),
    "yelp-json": Format("ndjson", _columns("user_id", "business_id", "stars", "date")),
    "amazon-csv": Format("delimited", _RATED, header=False),
    "hetrec": Format("delimited", _columns("userID", "artistID", "weight"), "\t"),
    "recbole": Format("delimited", _columns("user_id", "item_id", "rating", "timestamp"), "\t"),
    "csv": Format("delimited", _SAME, quoted=True),
    "tsv": Format("delimited", _SAME, "\t", quoted=True),
    "parquet": Format("parquet", _SAME),
    "ndjson": Format("ndjson", _SAME),
    "adjacency": Format("adjacency", _columns("user", "item")),
    "adjacency-counted": Format("adjacency", _columns("user", "item"), counted=True),
}
SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".ndjson": "ndjson", ".jsonl": "ndjson", ".inter": "recbole",
}  # fmt: skip


def resolve_format(path: Path, name: str, columns: dict[str, str] | None = None) -> Format:
    """Return the format called ``name`` (``auto``: by the file's ending), with ``columns`` renamed.

    Raises:
      InputError: an unknown format, or an ending that tells none.
    """
    if path.suffix in (".gz", ".zip", ".bz2", ".xz", ".zst"):
        raise InputError(f"{path}: a compressed file; unpack it first")
    if name == "auto":
        if path.suffix not in SUFFIXES:
            raise InputError(f"{path}: its ending tells no format; pass dataset.format, one of: {', '.join(FORMATS)}")
        name = SUFFIXES[path.suffix]
    layout = FORMATS[pick(name, FORMATS, "dataset.format")]
    chosen = {role: column for role, column in (columns or {}).items() if column}
    if chosen and (not layout.header or layout.kind == "adjacency"):
        raise InputError(f"{path}: format {name} has no header, so columns can't be named; use csv or tsv")
    return replace(layout, columns=layout.columns | chosen)


def scan_table(path: Path, layout: Format, texts: Iterable[str] | None = None) -> pl.LazyFrame:
    """Return the rows of a delimited, Parquet or NDJSON file, not yet read. The path is never taken for a pattern.

    All columns of a delimited file are text. ``texts`` are the fields of an NDJSON file to read, as text; None: all of
    them, as what they look like.
    """
    if layout.kind == "parquet":
        return pl.scan_parquet(path, glob=False)
    if layout.kind == "ndjson":
        schema = None if texts is None else dict.fromkeys(texts, pl.String)
        return pl.scan_ndjson(glob.escape(str(path)), schema=schema)  # it has no option against patterns
    separator, names = layout.separator, None if layout.header else list(layout.columns)
    if separator == "::":
        # Readers take one character; a row "1::2::5::9" split at ":" has its values in every other column.
        separator, names = ":", [name for role in layout.columns for name in (role, f"_{role}")][:-1]
    return pl.scan_csv(
        path,
        separator=separator,
        has_header=layout.header,
        new_columns=names,
        quote_char='"' if layout.quoted else None,
        infer_schema=False,
        glob=False,
    )


def read_interactions(
    path: Path,
    layout: Format,
    *,
    roles: tuple[str, ...],
    threshold: float | None = None,
    timestamp_format: str = "",
) -> Reading:
    """Read the columns of ``roles``; with a ``threshold``, only the rows whose rating reaches it.

    ``columns.read_columns`` says what becomes of types. Of a text file, a column of ids is Int64 where all are whole
    numbers. Blank lines are passed over.

    Raises:
      InputError: a missing file or column, an empty file, an unreadable row, an empty id or rating, a rating or
        timestamp that is no number; names the file and the line (or row) or column.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; check dataset.path")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    for role in roles:
        if role not in layout.columns:
            raise InputError(f'{path}: this format has no column for "{role}"')
    try:
        if layout.kind == "adjacency":
            pairs = _whole_numbers(_read_adjacency(path, layout), path, layout, {})
            return Reading(pairs, pairs.height, 0)
        names = _column_names(path, layout, roles)
        # Declared as text, numbers and strings of NDJSON both read well.
        table = scan_table(path, layout, texts=names.values())
        if layout.kind == "delimited":  # of blank lines; those of NDJSON are passed over already
            table = table.filter(~pl.all_horizontal(pl.col(list(names.values())).is_null()))
        reading = read_columns(table, names, threshold, str(path), timestamp_format)
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8; check dataset.format") from None
    except (pl.exceptions.PolarsError, BadRow) as problem:
        reason = (str(problem).splitlines() or ["a row can't be read"])[0]
        raise InputError(_diagnose(path, layout, names, table, timestamp_format) or f"{path}: {reason}") from None
    # A text of digits is a number where nothing says otherwise. Parquet says what its columns are.
    return (
        reading
        if layout.kind == "parquet"
        else reading._replace(rows=_whole_numbers(reading.rows, path, layout, names))
    )


def _whole_numbers(frame: pl.DataFrame, path: Path, layout: Format, names: dict[str, str]) -> pl.DataFrame:
    """Turn columns of ids that are all whole numbers, written in the one usual way, into Int64.

    Raises:
      InputError: all are but some that say "nothing there"; names the first line with one.
    """
    made = []
    for role in ("user", "item"):
        number = frame[role].str.contains(_WHOLE_NUMBER)
        others = frame[role].filter(~number)
        if not len(others):
            whole = frame[role].cast(pl.Int64, strict=False)
            made += [] if whole.null_count() else [whole]
        elif role in names and number.any() and others.is_in(_NOTHING).all():
            for place, row in _rows(path, layout):
                if row.get(names[role]) in _NOTHING:
                    raise InputError(f'{path}: {place}: column "{names[role]}" {bad_value(role, None)}')
    return frame.with_columns(made)


def _column_names(path: Path, layout: Format, roles: tuple[str, ...]) -> dict[str, str]:
    """Return role -> the column's name in the file, for the wanted roles; fails on one that is not there."""
    if not layout.header:
        return {role: role for role in roles}
    try:
        if layout.kind == "parquet":
            present = scan_table(path, layout).collect_schema().names()
        else:
            line = next(line for _, line in _lines(path))
            present = list(_record(line)) if layout.kind == "ndjson" else _fields(layout, line)
    except (pl.exceptions.PolarsError, OSError, ValueError, StopIteration) as problem:
        reason = (str(problem).splitlines() or ["it has no rows"])[0]
        raise InputError(f"{path}: not readable as {layout.kind}: {reason}") from None
    bare = {name.split(":")[0]: name for name in present}
    return find_columns(bare, {role: layout.columns[role] for role in roles}, str(path))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) of the lines that are not blank."""
    with path.open(encoding="utf-8-sig", newline=None) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.rstrip("\n")


def _fields(layout: Format, line: str) -> list[str]:
    if layout.quoted:
        return next(csv.reader([line], delimiter=layout.separator))
    return line.split(layout.separator)


def _record(line: str) -> dict[str, object]:
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError("a line is no JSON object")
    return record


def _diagnose(
    path: Path, layout: Format, names: dict[str, str], table: pl.LazyFrame, timestamp_format: str
) -> str | None:
    """Read a file that failed once more, slowly, and name its first bad line or row; None if none is found."""
    try:
        if layout.kind != "parquet":
            for place, row in _rows(path, layout):
                for role, name in names.items():
                    if problem := bad_value(role, row.get(name)):
                        return f'{path}: {place}: column "{name}" {problem}'
        called = "row" if layout.kind == "parquet" else "record"
        found = first_bad_row(table, names, str(path), timestamp_format, lambda row: f"{called} {row + 1}")
        return found and f"{path}: {found}"
    except (pl.exceptions.PolarsError, OSError) as damage:
        return f"{path}: damaged: {str(damage).splitlines()[0]}"
    except ValueError as problem:
        return f"{path}: {problem}"
    return None


def _rows(path: Path, layout: Format) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield where each row of a text file stands, and its values by column; raises ValueError for one that is none."""
    lines, columns = _lines(path), list(layout.columns.values())
    if layout.header and layout.kind == "delimited":
        columns = _fields(layout, next(lines)[1])
    for number, line in lines:
        if layout.kind == "ndjson":
            try:
                yield f"line {number}", _record(line)
            except ValueError:
                raise ValueError(f"line {number} is not a JSON object") from None
        else:
            fields = _fields(layout, line)
            if len(fields) != len(columns):
                raise ValueError(f"line {number} has {len(fields)} fields instead of {len(columns)}")
            yield f"line {number}", dict(zip(columns, (field or None for field in fields), strict=True))


def _read_adjacency(path: Path, layout: Format) -> pl.DataFrame:
    """Read lines ``user item item ...`` or, counted, ``count item item ...`` with users numbered from 0."""
    pairs: list[tuple[str, str]] = []
    for number, line in _lines(path):
        head, *items = line.split()
        if layout.counted:
            if head != str(len(items)):
                raise InputError(f"{path}: line {number} says {head} items and has {len(items)}")
            head = str(number - 1)
        pairs.extend((head, item) for item in items)
    return pl.DataFrame(pairs, schema={"user": pl.String, "item": pl.String}, orient="row")
