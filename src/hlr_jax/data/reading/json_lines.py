"""Reads the wanted fields of newline-delimited JSON as text, with Python's json module."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from hlr_jax.data.columns import find_columns
from hlr_jax.data.reading.delimited import Records, lines_of
from hlr_jax.data.reading.plain_text import check_text
from hlr_jax.errors import InputError


def scan_objects(
    plain: Path, wanted: dict[str, str], looked_at: dict[str, str], where: str
) -> tuple[Records, tuple[str, ...]]:
    """Return the records of a file with one JSON object per line, and the field names of the first object.

    Args:
      plain: UTF-8 text.
      wanted: role -> name of a required field.
      looked_at: role -> name of an optional field.
      where: name of the file in messages.

    Raises:
      InputError: a line is not a JSON object, or a field is a list or an object; names the line.
    """
    check_text(plain, where)
    names: tuple[str, ...] = ()
    columns: dict[str, list[str | None]] = {role: [] for role in wanted | looked_at}
    lines: list[int] = []
    for line, record in _objects(plain, where):
        if not lines:
            names = tuple(record)
            find_columns({name: name for name in names}, wanted, where)
        lines.append(line)
        for role, name in wanted.items():
            columns[role].append(_text(record.get(name), role, name, f"{where}: line {line}"))
        for role, name in looked_at.items():
            value = record.get(name)
            columns[role].append(None if isinstance(value, list | dict) else _text(value, role, name, where))
    table = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return Records(table.lazy(), lambda row: f"line {lines[row]}"), names


def _objects(plain: Path, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in lines_of(plain):
        if not text.strip():
            continue
        try:
            record = json.loads(text, parse_constant=_refuse, object_pairs_hook=_object)
            if "\\u" in text:
                json.dumps(record, ensure_ascii=False).encode()  # a lone surrogate is not valid text
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise InputError(f"{where}: line {line} is not a JSON object: {text.strip()[:60]}")
        yield line, record


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key occurs twice")
    return fields


def _text(value: Any, role: str, name: str, where: str) -> str | None:
    """Return a value as text; numbers as Python writes them.

    Raises:
      InputError: the value is a list, an object or, for an id, a boolean.
    """
    if isinstance(value, bool):
        if role in ("user", "item"):
            raise InputError(f'{where}: column "{name}" has the boolean {str(value).lower()}, which is not an id')
        return str(value).lower()
    if isinstance(value, list | dict):
        kind = "a list; write a row for each entry" if isinstance(value, list) else "an object; convert it"
        raise InputError(f'{where}: column "{name}" has {kind}')
    return None if value is None else str(value)
