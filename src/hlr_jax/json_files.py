"""JSON files of this package: each has a checksum of its content, and is read against a schema.

A truncated, changed or empty file is refused with one line that names it, and so is a file of another version.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from hlr_jax.errors import Damaged
from hlr_jax.files import atomic_file
from hlr_jax.system_errors import is_refused

CHECK = "check"  # the key of the checksum, the last one of each object
_DIGITS = 16  # of it: 64 bits of a SHA-256

Schema = Any
"""The schema of a value.

| schema | value |
| --- | --- |
| ``object`` | anything |
| ``str``, ``int``, ``float``, ``bool``, ``None`` | of that type; a whole number is a ``float`` too, and no ``bool`` is a number |
| ``str \\| None`` | one of these |
| ``[schema]`` | a list of such values |
| ``{"name": schema, "name?": schema}`` | an object with these keys; ``?`` marks optional ones; others are not checked |
| ``{"*": schema}`` | an object whose values all have the schema |
"""  # noqa: E501


def check_of(value: Mapping[str, Any]) -> str:
    """Return the checksum of an object without its key ``check``, independent of the order of its keys.

    Example:
      >>> check_of({"epoch": 1}) == check_of({"epoch": 1, "check": "0"}) != check_of({"epoch": 2})
      True
    """
    rest = {name: entry for name, entry in value.items() if name != CHECK}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def checked(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON-like object as written to a file, with its checksum; see ``plain``."""
    there = as_stored({name: entry for name, entry in value.items() if name != CHECK})
    return there | {CHECK: check_of(there)}


def as_stored(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON-like object as read back from a file.

    Keys become text, tuples become lists, and a number that is not finite, which JSON lacks, becomes null.
    """
    return json.loads(json.dumps(_finite(value)))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object as indented JSON with its checksum, completely or not at all."""
    text = json.dumps(checked(value), indent=2) + "\n"
    with atomic_file(path, len(text)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_lines(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as lines, each with its checksum."""
    return "".join(json.dumps(checked(record)) + "\n" for record in records)


def read_json(path: Path, schema: Schema, again: str, absent: str = "") -> dict[str, Any]:
    """Return the object that ``write_json`` wrote, without its checksum.

    Args:
      path: of the file.
      schema: of the content; see ``Schema``.
      again: the end of the message: what to do if the file is damaged.
      absent: the message if there is no file.

    Raises:
      Damaged: there is no file, it can't be read, or its content has changed.
    """
    try:
        return _object(path.read_bytes(), schema)
    except FileNotFoundError:
        raise Damaged(absent or f"{path}: no such file; {again}") from None
    except OSError as problem:
        if is_refused(problem):  # the file itself may be intact
            raise
        raise Damaged(f"{path}: {problem.strerror}; {again}") from None
    except _Mismatch as problem:
        raise Damaged(f"{path}: {problem}; {again}") from None


def read_json_lines(path: Path, schema: Schema) -> Iterator[dict[str, Any] | None]:
    """Yield the record of each line; None for a damaged line.

    Raises:
      OSError: the file can't be read.
    """
    for line in path.read_bytes().splitlines():
        try:
            yield _object(line, schema)
        except _Mismatch:
            yield None


class _Mismatch(Exception):
    """What is wrong with a value, in a few words."""


def _object(data: bytes, schema: Schema) -> dict[str, Any]:
    """Return the object in bytes, without its checksum, after checking that."""
    if not data.strip():
        raise _Mismatch("damaged, it is empty")
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise _Mismatch("damaged, it is not JSON") from None
    if not isinstance(value, dict):
        raise _Mismatch("damaged, it holds no JSON object")
    try:
        same = value.get(CHECK) == check_of(value)
    except (ValueError, RecursionError):  # half a surrogate, which our texts never have
        same = False
    if not same:
        raise _Mismatch("damaged, or changed by hand: its checksum differs")
    del value[CHECK]
    _match(value, schema, "")
    return value


def _match(value: Any, schema: Schema, where: str) -> None:
    """Check a value against a schema.

    Raises:
      _Mismatch: names the key, and the expected type.
    """
    if isinstance(schema, list):
        _match_type(value, list, where)
        for place, entry in enumerate(value):
            _match(entry, schema[0], f"{where}[{place}]")
    elif isinstance(schema, dict):
        _match_type(value, dict, where)
        for name, entry in schema.items():
            if name == "*":
                for key in value:
                    _match(value[key], entry, _dotted(where, key))
            elif (key := name.removesuffix("?")) in value:
                _match(value[key], entry, _dotted(where, key))
            elif not name.endswith("?"):
                raise _Mismatch(f'of another version, it has no "{_dotted(where, key)}"')
    else:
        _match_type(value, schema, where)


_WORDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def _match_type(value: Any, kind: Any, where: str) -> None:
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    wider: dict[Any, Any] = {float: (float, int), None: type(None)}
    for each in kinds:
        if isinstance(value, wider.get(each, each)) and not (isinstance(value, bool) and each in (int, float)):
            return
    wanted = " or ".join(_WORDS.get(each, "null") for each in kinds)
    raise _Mismatch(f'of another version, "{where}" is not {wanted}' if where else f"of another version, not {wanted}")


def _dotted(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
