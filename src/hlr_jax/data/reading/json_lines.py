"""Records of newline-delimited JSON, read by Python's json: the fields that are wanted, as text."""

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
    """Return the records of a file with a JSON object in each line, and the names of the first one's fields.

    Args:
      plain: UTF-8 text.
      wanted: role -> name of a field that must be there.
      looked_at: role -> name of a field that may be there.
      where: what the file is called.

    Raises:
      InputError: a line that is no JSON object, or a field that holds a list or an object; names the line.
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
                json.dumps(record, ensure_ascii=False).encode()  # half a surrogate pair is no text
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
        raise ValueError("a key stands twice")
    return fields


def _text(value: Any, role: str, name: str, where: str) -> str | None:
    """Return a value as text: numbers exactly as Python writes them; NaN is nothing.

    Raises:
      InputError: it is a list, an object or, as an id, a truth value.
    """
    if isinstance(value, bool):
        if role in ("user", "item"):
            raise InputError(f'{where}: column "{name}" holds the truth value {str(value).lower()}, which is no id')
        return str(value).lower()
    if isinstance(value, list | dict):
        kind = "a list; write a row for each entry" if isinstance(value, list) else "an object; convert it"
        raise InputError(f'{where}: column "{name}" holds {kind}')
    return None if value is None else str(value)
