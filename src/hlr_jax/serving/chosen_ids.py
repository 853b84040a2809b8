"""Reads the ids of an option: written on the command line, or in a file."""

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from hlr_jax.data.ids import UNKNOWN, IdIndex, named, stripped, texts_of
from hlr_jax.data.reading.delimited import lines_of
from hlr_jax.data.reading.plain_text import check_text, plain_text
from hlr_jax.errors import InputError
from hlr_jax.files import expanded

Log = Callable[[str], None]
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_ALL = "all"


def read_choice(value: str, role: str, index: IdIndex, on_unknown: str = "error", log: Log = print) -> pl.Series:
    """Return the ids of an option: ids separated by commas, or the ids in a file: ``@FILE``.

    A text that exists as an id is used as that id, even with a comma, a slash or an @ in it. In a list of several ids,
    an id with a comma needs double quotes, as in CSV: ``"Smith, J",bob``.

    Args:
      value: of the option.
      role: ``user`` or ``item``.
      index: finds the ids that exist.
      on_unknown: ``error`` raises for ids that do not exist; any other value returns them too.
      log: receives log lines.

    Raises:
      InputError: see ``read_ids``; an empty option, an unclosed quote, or an unknown id.
    """
    whole = stripped(pl.Series([value]))
    if index.find(whole)[0] != UNKNOWN:
        return whole
    is_file = whole[0].startswith("@")
    ids, where, hint = _written(value, role, is_file), "", "; pass a file of ids as @FILE"
    if is_file and (index.find(ids) == UNKNOWN).all():
        path = expanded(whole[0][1:])
        ids, where, hint = read_ids(path, role, index, log), f"{path}: ", ""
    if not len(ids):
        raise InputError(f"no {role} ids; pass id,id or @FILE")
    unknown = ids.filter(pl.Series(index.find(ids) == UNKNOWN))
    if len(unknown) and on_unknown == "error":
        raise InputError(
            f"{where}{len(unknown):,} of {len(ids):,} {role}s are unknown, such as {named(unknown)}; ids of {role}s "
            f"are {index.kind}{hint}"
        )
    return ids


def read_choice_or_all(
    value: str, role: str, index: IdIndex, on_unknown: str = "error", log: Log = print
) -> pl.Series | None:
    """Return the ids as ``read_choice`` does, and None for ``all``.

    Raises:
      InputError: see ``read_choice``; ``all`` also exists as an id.
    """
    if value != _ALL:
        return read_choice(value, role, index, on_unknown, log)
    if index.find(pl.Series([_ALL]))[0] != UNKNOWN:
        raise InputError(f"all is also the id of one {role}: pass '\"all\"', in quotes, for it, or @FILE with all ids")
    return None


def _written(value: str, role: str, is_file: bool) -> pl.Series:
    """Return the ids of a list written like a CSV row; none if the value is a file name and not a CSV row."""
    try:
        rows = list(csv.reader(value.splitlines(), skipinitialspace=True, strict=True))
    except csv.Error:
        if not is_file:
            raise InputError(f"{role} ids: unclosed quote in {value[:100]}; quote ids as in CSV") from None
        rows = []
    ids = stripped(pl.Series([field for row in rows for field in row], dtype=pl.String))
    return ids.filter(ids != "")


def read_ids(path: Path, role: str, index: IdIndex, log: Log = print) -> pl.Series:
    """Return the ids in a file, as text.

    A file has one id per line, or is a table: ``.csv``, ``.tsv``, ``.parquet``, ``.jsonl`` or ``.ndjson``. A table has
    a column named ``user``, ``user_id`` or similar (for items ``item``, ...), or only one column. Blank lines and
    missing values are skipped. The first line is a header if it is such a column name and not an id of ``index``.

    Args:
      path: of the file, in UTF-8, or UTF-16 with a byte-order mark.
      role: ``user`` or ``item``.
      index: finds the ids that exist; a text that exists is always read as an id.
      log: receives a line if there is a header.

    Raises:
      InputError: the file is missing or unreadable, or has no such column or no ids; names the file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix == ".parquet":
        ids = _of_parquet(path, role)
    elif path.suffix in (".jsonl", ".ndjson"):
        ids = _of_records(path, role)
    else:
        ids = _of_lines(path, role, index, log)
    if not len(ids):
        raise InputError(f"{path}: no {role} ids")
    return ids


def _of_parquet(path: Path, role: str) -> pl.Series:
    try:
        table = pl.scan_parquet(path, glob=False)
        names = table.collect_schema().names()
        column = table.select(names[_place(names, role, path)]).collect().to_series()
    except (pl.exceptions.PolarsError, OSError):
        raise InputError(f"{path}: damaged, or not a Parquet file") from None
    return texts_of(column.fill_nan(None).drop_nulls() if column.dtype.is_float() else column.drop_nulls(), str(path))


def _of_records(path: Path, role: str) -> pl.Series:
    """Return the ids of a JSON Lines file: each line is an object, or an id alone."""
    values: list[Any] = []
    for number, line in enumerate(_decoded(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            raise InputError(f"{path}: line {number} is not JSON") from None
        if isinstance(record, dict):
            names = list(record)
            record = record[names[_place(names, role, path)]]
        values.append(record)
    return texts_of([value for value in values if value is not None and value != ""], str(path))


def _of_lines(path: Path, role: str, index: IdIndex, log: Log) -> pl.Series:
    """Return the ids of a text file: its lines, or the fields of one column."""
    text = _decoded(path)
    lines = stripped(pl.Series(text.split("\n"), dtype=pl.String))
    lines = lines.filter(lines != "")
    known = pl.Series(index.find(lines) != UNKNOWN, dtype=pl.Boolean)
    if path.suffix in _SEPARATORS and not known.all():
        header, *rows = csv.reader(filter(str.strip, text.split("\n")), delimiter=_SEPARATORS[path.suffix])
        if len(header) > 1 and (any(_is_name(name, role) for name in header) or not known.any()):
            place = _place(header, role, path)
            column = stripped(pl.Series([row[place] if len(row) > place else "" for row in rows], dtype=pl.String))
            return column.filter(column != "")
    fields = [line if is_id else _unquoted(line) for line, is_id in zip(lines, known, strict=True)]
    ids = stripped(pl.Series(fields, dtype=pl.String))
    if len(ids) and index.find(ids[:1])[0] == UNKNOWN and _is_name(ids[0], role):
        log(f"{path}: the first line, {named(ids[:1])}, is read as the header")
        ids = ids[1:]
    return ids.filter(ids != "")


def _unquoted(line: str) -> str:
    """Return a line without quotes if it is one quoted field, and any other line unchanged."""
    try:
        fields = next(csv.reader([line], strict=True))
    except csv.Error:
        return line
    return fields[0] if len(fields) == 1 else line


def _place(names: Sequence[str], role: str, path: Path) -> int:
    """Return the position of the column of ids: the one with a matching name, or the only one."""
    for fits in (lambda name: name == role, lambda name: _is_name(name, role)):
        for place, name in enumerate(names):
            if fits(name):
                return place
    if len(names) == 1:
        return 0
    raise InputError(f'{path}: no column "{role}"; its columns are {named(pl.Series(names, dtype=pl.String))}')


def _is_name(text: str, role: str) -> bool:
    """Return whether a text names a column of ids, such as ``User-ID``, ``user_id`` or ``user:token``."""
    bare = re.sub(r"[^a-z]", "", text.partition(":")[0].lower())
    return bare in (role, f"{role}s", f"{role}id", f"{role}ids")


def _decoded(path: Path) -> str:
    """Return the content of a text file, with every line ending as ``\\n``."""
    with plain_text(path) as text:
        try:
            check_text(text.path, str(path))
        except InputError as problem:  # its advice is a setting that only logs have
            raise InputError(f"{str(problem).partition(';')[0]}; save it as UTF-8") from None
        return "\n".join(line for _, line in lines_of(text.path))
