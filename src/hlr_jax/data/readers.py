"""Files of interactions, as published and as people have them, to one frame: user, item, rating, timestamp, split."""

import csv
import glob
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import polars as pl

from hlr_jax.errors import InputError, nearest, pick

# Ids that survive the way to a number and back; "007" does not, and stays a string.
_WHOLE_NUMBER = r"^(0|-?[1-9][0-9]{0,17})$"


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
_SUFFIXES = {
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
        if path.suffix not in _SUFFIXES:
            raise InputError(f"{path}: its ending tells no format; pass dataset.format, one of: {', '.join(FORMATS)}")
        name = _SUFFIXES[path.suffix]
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
    path: Path, layout: Format, *, roles: tuple[str, ...], threshold: float | None = None
) -> pl.DataFrame:
    """Read the columns of ``roles``; with a ``threshold``, only the rows whose rating reaches it.

    Ids are whole numbers where all are, and strings otherwise. Ratings and timestamps are float64 (dates become
    seconds since 1970). Blank lines are passed over.

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
            return _whole_numbers(_read_adjacency(path, layout))
        names = _column_names(path, layout, roles)
        frame = _scan(path, layout, names, threshold)
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8; check dataset.format") from None
    except pl.exceptions.PolarsError as problem:
        raise InputError(_diagnose(path, layout, names) or f"{path}: {str(problem).splitlines()[0]}") from None
    numbers = [role for role in ("rating", "timestamp") if role in roles]
    if sum(frame.null_count().row(0)) or not all(frame[role].is_finite().all() for role in numbers):
        raise InputError(_diagnose(path, layout, names) or f"{path}: a row has an empty field")
    return _whole_numbers(frame)


def _whole_numbers(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn columns of ids that are all whole numbers, written in the one usual way, into Int64."""
    texts = [role for role in ("user", "item") if frame.schema[role] == pl.String]
    whole = [role for role in texts if frame[role].str.contains(_WHOLE_NUMBER).all()]
    return frame.with_columns(pl.col(whole).cast(pl.Int64))


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
    for role in roles:
        wanted = layout.columns[role]
        if wanted not in bare:
            raise InputError(f'{path}: no column "{wanted}"{nearest(wanted, bare)}; name it with dataset.{role}_column')
    return {role: bare[layout.columns[role]] for role in roles}


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


def _scan(path: Path, layout: Format, names: dict[str, str], threshold: float | None) -> pl.DataFrame:
    """Read the named columns through a lazy scan, so that rows under the threshold never fill the memory."""
    # Declared as text, numbers and strings of NDJSON both read well; numbers are made below.
    columns = [pl.col(name).alias(role) for role, name in names.items()]
    lazy = scan_table(path, layout, texts=names.values()).select(columns)
    schema = lazy.collect_schema()
    ids = [role for role in ("user", "item") if role in names and not schema[role].is_integer()]
    lazy = lazy.with_columns(pl.col(ids).cast(pl.String))
    if "timestamp" in names:
        lazy = lazy.with_columns(_seconds(lazy, schema["timestamp"]))
    if "rating" in names:
        lazy = lazy.with_columns(pl.col("rating").cast(pl.Float64))
        if threshold is not None:
            # A missing rating and NaN stay: they are errors to report, not rows to drop or keep.
            lazy = lazy.filter((pl.col("rating") >= threshold) | ~pl.col("rating").is_finite().fill_null(False))
    if layout.kind != "parquet":
        lazy = lazy.filter(~pl.all_horizontal(pl.all().is_null()))
    return lazy.collect(engine="streaming")


def _seconds(lazy: pl.LazyFrame, dtype: pl.DataType) -> pl.Expr:
    """Return the expression that turns a timestamp column of any common type into seconds since 1970."""
    column = pl.col("timestamp")
    if dtype == pl.String:
        first = lazy.select(column.drop_nulls().head(1)).collect()["timestamp"]
        if not len(first) or _is_number(first[0]):
            return column.cast(pl.Float64)
        column = column.str.strip_suffix("Z").str.to_datetime(strict=True)
    if dtype == pl.String or dtype.is_temporal():
        return column.cast(pl.Datetime("us")).dt.timestamp("us") / 1e6
    return column.cast(pl.Float64)


def _diagnose(path: Path, layout: Format, names: dict[str, str]) -> str | None:
    """Read a file that failed once more, slowly, as text, and name its first bad line; None if none is found."""
    try:
        for place, row in _rows(path, layout, names):
            for role, name in names.items():
                if problem := _bad_value(role, row.get(name)):
                    return f'{path}: {place}: column "{name}" {problem}'
    except ValueError as problem:
        return f"{path}: {problem}"
    return None


def _rows(path: Path, layout: Format, names: dict[str, str]) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield where each row stands, and its values by column; raises ValueError for one that is none."""
    if layout.kind == "parquet":
        try:
            frame = scan_table(path, layout).select(names.values()).collect()
        except (pl.exceptions.PolarsError, OSError) as damage:
            raise ValueError(f"damaged: {str(damage).splitlines()[0]}") from None
        yield from ((f"row {number}", row) for number, row in enumerate(frame.iter_rows(named=True), start=1))
        return
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


def _bad_value(role: str, value: object) -> str:
    """Return what is wrong with a value, or nothing."""
    if value is None:
        return "is empty; fill or remove the row"
    if role == "rating" and not _is_number(value):
        return f"is no number: {str(value)!r}"
    if role == "timestamp" and not _is_number(value) and not _parses(value, datetime.fromisoformat):
        return f"is neither a number nor a date: {str(value)!r}"
    return ""


def _is_number(value: object) -> bool:
    return _parses(value, lambda text: math.isfinite(float(text)))


def _parses(value: object, parse: Callable[[str], object]) -> bool:
    try:
        return bool(parse(str(value)))
    except ValueError:
        return False


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
