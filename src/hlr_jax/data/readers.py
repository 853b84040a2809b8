"""Files of interactions, as published and as people have them, to one frame: user, item, rating, timestamp, split."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from hlr_jax.errors import UserError, nearest, pick

ROLES = ("user", "item", "rating", "timestamp", "split")


@dataclass(frozen=True)
class Format:
    """How a file is laid out.

    Attributes:
      kind: ``delimited``, ``parquet``, ``ndjson`` or ``adjacency``.
      columns: role -> column name in the file; for a file without header the names of its columns in order are
        the roles themselves, and ``_`` passes one over.
      separator: one character, or ``::``.
      header: whether the first line names the columns; RecBole's ``name:type`` names are read by their names.
      counted: adjacency lists only: each line starts with the number of its items, and users are line numbers.
    """

    kind: Literal["delimited", "parquet", "ndjson", "adjacency"]
    columns: dict[str, str]
    separator: str = ","
    header: bool = True
    counted: bool = False


def _headless(separator: str, *roles: str) -> Format:
    return Format("delimited", {role: role for role in roles}, separator, header=False)


_SAME = {role: role for role in ROLES}
FORMATS: dict[str, Format] = {
    "movielens-100k": _headless("\t", "user", "item", "rating", "timestamp"),
    "movielens-dat": _headless("::", "user", "item", "rating", "timestamp"),
    "movielens-csv": Format(
        "delimited", {"user": "userId", "item": "movieId", "rating": "rating", "timestamp": "timestamp"}
    ),
    "taste-profile": _headless("\t", "user", "item", "rating"),
    "yelp-json": Format("ndjson", {"user": "user_id", "item": "business_id", "rating": "stars", "timestamp": "date"}),
    "amazon-csv": _headless(",", "user", "item", "rating", "timestamp"),
    "hetrec": Format("delimited", {"user": "userID", "item": "artistID", "rating": "weight"}, "\t"),
    "recbole": Format(
        "delimited", {"user": "user_id", "item": "item_id", "rating": "rating", "timestamp": "timestamp"}, "\t"
    ),
    "csv": Format("delimited", _SAME),
    "tsv": Format("delimited", _SAME, "\t"),
    "parquet": Format("parquet", _SAME),
    "ndjson": Format("ndjson", _SAME),
    "adjacency": Format("adjacency", {"user": "user", "item": "item"}),
    "adjacency-counted": Format("adjacency", {"user": "user", "item": "item"}, counted=True),
}
_SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".ndjson": "ndjson", ".jsonl": "ndjson", ".inter": "recbole",
}  # fmt: skip


def resolve_format(path: Path, name: str, columns: dict[str, str] | None = None) -> Format:
    """Return the format called ``name`` (``auto``: by the file's ending), with ``columns`` renamed.

    Raises:
      UserError: an unknown format, or an ending that tells none.
    """
    if name == "auto":
        if path.suffix not in _SUFFIXES:
            raise UserError(f"{path}: its ending tells no format; pass dataset.format, one of: {', '.join(FORMATS)}")
        name = _SUFFIXES[path.suffix]
    found = FORMATS[pick(name, FORMATS, "dataset.format")]
    chosen = {role: column for role, column in (columns or {}).items() if column}
    if chosen and not found.header:
        raise UserError(f"{path}: format {name} has no header, so columns can't be named; use csv or tsv")
    return replace(found, columns=found.columns | chosen)


def read_interactions(
    path: Path, layout: Format, *, roles: tuple[str, ...], threshold: float | None = None
) -> pl.DataFrame:
    """Read the columns of ``roles``; with a ``threshold``, only the rows whose rating reaches it.

    Ids keep their type: whole numbers where all are, strings otherwise. Ratings and timestamps are float64
    (dates become seconds since 1970).

    Raises:
      UserError: a missing file or column, an empty file, an unreadable row, an empty id or rating, a rating or
        timestamp that is no number; names the file and the line (or row) or column.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; check dataset.path")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    if layout.kind == "adjacency":
        return _read_adjacency(path, layout)
    names = _column_names(path, layout, roles)
    try:
        frame = _scan(path, layout, names, threshold)
    except pl.exceptions.PolarsError as problem:
        raise UserError(_diagnose(path, layout, names) or f"{path}: {str(problem).splitlines()[0]}") from None
    for role in ("rating", "timestamp"):
        if role in frame.columns and not frame.schema[role].is_numeric():
            raise UserError(
                _diagnose(path, layout, names)
                or f'{path}: column "{names[role]}" holds {frame.schema[role]}, no number'
            )
    if sum(frame.null_count().row(0)):
        raise UserError(_diagnose(path, layout, names) or f"{path}: a row has an empty field")
    return frame


def _column_names(path: Path, layout: Format, roles: tuple[str, ...]) -> dict[str, str]:
    """Return role -> the column's name in the file, for the wanted roles; fails on one that is not there."""
    if not layout.header:
        missing = [role for role in roles if role not in layout.columns]
        if missing:
            raise UserError(f'{path}: this format has no column for "{missing[0]}"')
        return {role: role for role in roles}
    try:
        if layout.kind == "parquet":
            present = list(pl.read_parquet_schema(path))
        elif layout.kind == "ndjson":
            present = list(json.loads(_first_line(path)))
        else:
            present = _first_line(path).rstrip("\r\n").split(layout.separator)
    except (pl.exceptions.PolarsError, OSError, ValueError) as problem:
        raise UserError(f"{path}: not readable as {layout.kind}: {str(problem).splitlines()[0]}") from None
    bare = {name.strip('"').split(":")[0]: name.strip('"') for name in present}
    names = {}
    for role in roles:
        wanted = layout.columns[role]
        if wanted not in bare:
            raise UserError(f'{path}: no column "{wanted}"{nearest(wanted, bare)}; name it with dataset.{role}_column')
        names[role] = bare[wanted]
    return names


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig") as file:
        return file.readline()


def _scan(path: Path, layout: Format, names: dict[str, str], threshold: float | None) -> pl.DataFrame:
    """Read the named columns through a lazy scan, so that rows under the threshold never fill the memory."""
    numbers = {names[role]: pl.Float64 for role in ("rating",) if role in names}
    if layout.kind == "parquet":
        lazy = pl.scan_parquet(path)
    elif layout.kind == "ndjson":
        lazy = pl.scan_ndjson(path, infer_schema_length=1000)
    else:
        lazy = _scan_delimited(path, layout, numbers)
    lazy = lazy.select(pl.col(name).alias(role) for role, name in names.items())
    schema = lazy.collect_schema()
    if "timestamp" in names:
        lazy = lazy.with_columns(_seconds(schema["timestamp"]))
    if "rating" in names and threshold is not None and schema["rating"].is_numeric():
        # A missing rating stays: it is an error to report, not a row to drop.
        lazy = lazy.filter((pl.col("rating") >= threshold) | pl.col("rating").is_null())
    frame = lazy.collect(engine="streaming")
    texts = [role for role in ("user", "item") if not frame.schema[role].is_integer()]
    return frame.with_columns(pl.col(role).cast(pl.String) for role in texts)


def _scan_delimited(path: Path, layout: Format, numbers: Mapping[str, type[pl.DataType]]) -> pl.LazyFrame:
    if layout.separator == "::":
        # Readers take one character; a row "1::2::5::9" split at ":" has its values in every other column.
        wide = [name for role in layout.columns for name in (role, f"_{role}")][:-1]
        return pl.scan_csv(path, separator=":", has_header=False, new_columns=wide, quote_char=None,
                           schema_overrides=numbers, infer_schema_length=10_000)  # fmt: skip
    return pl.scan_csv(path, separator=layout.separator, has_header=layout.header, schema_overrides=numbers,
                       new_columns=None if layout.header else list(layout.columns), infer_schema_length=10_000,
                       quote_char='"' if layout.separator == "," else None)  # fmt: skip


def _seconds(dtype: pl.DataType) -> pl.Expr:
    """Return the expression that turns a timestamp column of any common type into seconds since 1970."""
    column = pl.col("timestamp")
    if dtype == pl.String:
        column = column.str.to_datetime(strict=True)
    if dtype == pl.String or dtype.is_temporal():
        return column.cast(pl.Datetime("us")).dt.timestamp("us") / 1e6
    return column.cast(pl.Float64)


def _diagnose(path: Path, layout: Format, names: dict[str, str]) -> str | None:
    """Read a file that failed once more, slowly, as text, and name its first bad line; None if none is found."""
    if layout.kind == "parquet":
        frame, first = pl.read_parquet(path, columns=list(names.values())), 1
        frame = frame.rename({name: role for role, name in names.items()})
    else:
        rows = []
        first = 2 if layout.header and layout.kind == "delimited" else 1
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            columns = list(layout.columns.values())
            if first == 2:
                columns = [name.strip('"') for name in file.readline().rstrip("\r\n").split(layout.separator)]
            for number, line in enumerate(file, start=first):
                if layout.kind == "ndjson":
                    try:
                        record = json.loads(line)
                    except ValueError:
                        return f"{path}: line {number} is not JSON"
                    values = {role: record.get(name) for role, name in names.items()}
                else:
                    fields = line.rstrip("\r\n").split(layout.separator)
                    if len(fields) != len(columns) and '"' not in line:
                        return f"{path}: line {number} has {len(fields)} fields instead of {len(columns)}"
                    row = dict(zip(columns, fields, strict=False))
                    values = {role: row.get(name) or None for role, name in names.items()}
                if problem := _bad_value(values, names):
                    return f"{path}: line {number}: {problem}"
                rows.append(number)
        return None
    for number, values in enumerate(frame.iter_rows(named=True), start=first):
        if problem := _bad_value(values, names):
            return f"{path}: row {number}: {problem}"
    return None


def _bad_value(values: dict[str, object], names: dict[str, str]) -> str | None:
    for role, value in values.items():
        if value is None:
            return f'column "{names[role]}" is empty; fill or remove the row'
        if role == "rating" or (role == "timestamp" and not isinstance(value, str)):
            try:
                float(str(value).strip('"'))
            except ValueError:
                return f'column "{names[role]}" is no number: {str(value)!r}'
    return None


def _read_adjacency(path: Path, layout: Format) -> pl.DataFrame:
    """Read lines ``user item item ...`` or, counted, ``count item item ...`` with users numbered from 0."""
    users: list[str] = []
    items: list[str] = []
    with path.open() as file:
        for number, line in enumerate(file, start=1):
            fields = line.split()
            if not fields:
                continue
            head, rest = fields[0], fields[1:]
            if layout.counted:
                if head != str(len(rest)):
                    raise UserError(f"{path}: line {number} says {head} items and has {len(rest)}")
                head = str(number - 1)
            users.extend([head] * len(rest))
            items.extend(rest)
    frame = pl.DataFrame({"user": users, "item": items}, schema={"user": pl.String, "item": pl.String})
    whole = [role for role in ("user", "item") if frame[role].str.contains(r"^-?\d{1,18}$").all()]
    return frame.with_columns(pl.col(role).cast(pl.Int64) for role in whole)
