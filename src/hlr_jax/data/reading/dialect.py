"""Finds the separator, the header and the columns of a delimited file.

The first lines decide, and the decisions are logged. Ambiguous files are errors that ask for a setting.
"""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hlr_jax.data.options import PASSED_OVER, ROLES, SEPARATORS, DataOptions
from hlr_jax.data.reading.formats import Format
from hlr_jax.data.reading.plain_text import check_no_nul
from hlr_jax.data.values import is_number
from hlr_jax.errors import InputError, nearest
from hlr_jax.terminal import shortened

_HEAD = 1 << 16  # bytes to inspect
_SAMPLE = 50  # records to inspect
_CALLED = {"\t": "tabs", " ": "blanks"} | {sign: f'"{sign}"' for sign in (",", ";", "|", "::")}
_TYPED = re.compile(r"(.+):(token|float|token_seq|float_seq)")  # of RecBole


class Dialect(NamedTuple):
    """How to read a delimited file.

    Attributes:
      separator: one character, or ``::``.
      quoted: whether fields may be in double quotes.
      header: the names in the first line; empty: that line is a record.
      num_fields: number of fields of each record.
      places: role -> place of its column, counted from 0.
      notes: decisions that differ from the format's definition.
    """

    separator: str
    quoted: bool
    header: tuple[str, ...]
    num_fields: int
    places: dict[str, int]
    notes: tuple[str, ...]


def find_dialect(plain: Path, layout: Format, options: DataOptions, wanted: dict[str, str], where: str) -> Dialect:
    """Return how to read a file.

    Args:
      plain: UTF-8 text.
      layout: the format's definition.
      options: the settings ``header``, ``separator``, ``columns`` and ``quotes``.
      wanted: role -> name of the columns to read. A column of ratings is found even if it is not wanted.
      where: name of the file in messages.

    Raises:
      InputError: a column is missing, or the first lines are ambiguous.
    """
    quoted = layout.quoted if options.quotes == "auto" else options.quotes == "yes"
    head, whole = _head(plain, where)
    separator = _separator(head, whole, layout, options, quoted, wanted)
    records = _records(head, whole, separator, quoted)
    if not records:
        raise InputError(f"{where}: the file is empty")
    order = options.column_order or (() if layout.header or options.header == "yes" else tuple(layout.columns))
    notes = [] if separator == layout.separator else [f"fields separated by {_CALLED.get(separator, separator)}"]
    if order:
        has_header = _header_above_order(records, order, options, where)
        places = _by_order(records[0], order, wanted, options, where)
        notes += ["first line skipped as a header"] * (has_header and options.header == "auto")
    else:
        has_header = True
        places = _by_name(records, wanted, options, where)
    if layout.item_pattern and not options.column_order:
        _check_sides(records[has_header:], places, layout.item_pattern, where)
    header = tuple(records[0]) if has_header else ()
    if "rating" not in places and layout.columns.get("rating") in header:
        places["rating"] = header.index(layout.columns["rating"])
    elif "rating" not in places and "rating" in order:
        places["rating"] = order.index("rating")
    return Dialect(separator, quoted, header, len(records[0]), places, tuple(notes))


def _head(plain: Path, where: str) -> tuple[str, bool]:
    """Return the start of the file, and whether it is the whole file.

    Raises:
      InputError: a NUL byte.
    """
    with plain.open("rb") as file:
        data = file.read(_HEAD)
        whole = not file.read(1)
    check_no_nul(data, where)
    return data.decode("utf-8", "replace"), whole


def _records(head: str, whole: bool, separator: str, quoted: bool) -> list[list[str]]:
    """Return the first records; if the text was cut, without the last record, which may be incomplete."""
    reader: Iterable[list[str]]
    if len(separator) > 1:
        reader = (line.split(separator) for line in re.split(r"\r\n|\r|\n", head))
    else:
        reader = csv.reader(
            io.StringIO(head, newline=""),
            delimiter=separator,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        )
    found: list[list[str]] = []
    try:
        for fields in reader:
            if "".join(fields).strip() or len(fields) > 1:
                found.append([field.strip() for field in fields])
            if len(found) > _SAMPLE:
                break
    except csv.Error:
        pass
    return found[:_SAMPLE] if whole or len(found) < 2 else found[: min(len(found) - 1, _SAMPLE)]


def _separator(
    head: str, whole: bool, layout: Format, options: DataOptions, quoted: bool, wanted: dict[str, str]
) -> str:
    """Return the given separator, or the first one that gives the wanted columns or evenly divided lines."""
    if options.separator:
        return SEPARATORS.get(options.separator, options.separator)
    even = []
    for separator in dict.fromkeys((layout.separator, "\t", ";", ",", "|", "::", " ")):
        records = _records(head, whole, separator, quoted)
        if not records:
            continue
        if all(_place(name, records[0]) is not None for name in wanted.values()):
            return separator
        if len(records[0]) > 1 and len({len(fields) for fields in records}) == 1:
            even.append(separator)
    return even[0] if even else layout.separator


def _header_above_order(records: list[list[str]], order: tuple[str, ...], options: DataOptions, where: str) -> bool:
    """Return whether the first line is a header, where the order of columns is already known.

    Raises:
      InputError: it looks like a header, but the format has none.
    """
    if options.header != "auto":
        return options.header == "yes"
    first = records[0]
    names = sum(field.split(":")[0].casefold() == role for field, role in zip(first, order, strict=False)) > 1
    for place in (order.index(role) for role in ("rating", "timestamp") if role in order):
        numbers = [is_number(fields[place]) for fields in records if len(fields) > place]
        names = names or (len(numbers) > 1 and not numbers[0] and all(numbers[1:]))
    if names and not options.column_order:
        raise InputError(
            f"{where}: the first line ({_shown(first)}) looks like a header, but the format has none; "
            "pass dataset.header=yes, or dataset.header=no if it is a record"
        )
    return names


def _by_order(
    first: list[str], order: tuple[str, ...], wanted: dict[str, str], options: DataOptions, where: str
) -> dict[str, int]:
    if options.column_order and len(first) != len(order):
        raise InputError(f"{where}: the first line has {len(first)} fields, but dataset.columns names {len(order)}")
    places = {role: place for place, role in enumerate(order) if role != PASSED_OVER and place < len(first)}
    if missing := [role for role in wanted if role not in places]:
        what = "dataset.columns" if options.column_order else "this format"
        raise InputError(f"{where}: {what} has no column for {_listed(missing)}; the lines have {len(first)} fields")
    return {role: places[role] for role in wanted}


def _by_name(records: list[list[str]], wanted: dict[str, str], options: DataOptions, where: str) -> dict[str, int]:
    """Return role -> place by the names in the first line.

    Raises:
      InputError: the first line does not look like a header, or lacks a name.
    """
    first = records[0]
    found = {role: _place(name, first) for role, name in wanted.items()}
    order = ",".join(["user", "item", *ROLES[2:]][: len(first)])
    if options.header != "yes" and (options.header == "no" or _is_data(first)):
        raise InputError(
            f"{where}: the first line ({_shown(first)}) is not a header; pass dataset.columns={order}, in the order "
            "of the file, or dataset.header=yes if it is one"
        )
    missing = {wanted[role]: role for role, place in found.items() if place is None}
    if missing:
        hint = nearest(next(iter(missing)), [name for name in first if name]) if len(missing) == 1 else ""
        has = hint if 0 < len(hint) <= 80 else f" (it has: {_shown(first)})"
        several, of = ("s", "these columns") if len(missing) > 1 else ("", f"the {next(iter(missing.values()))} column")
        raise InputError(
            f"{where}: no column{several} {_listed(missing)}{has}; pass the name{several} of {of}, or "
            f"dataset.columns={order} if the first line is not a header"
        )
    for role, name in wanted.items():
        if first.count(name) > 1:
            raise InputError(f'{where}: {first.count(name)} columns have the name "{name}"; keep it only for {role}s')
    return {role: place for role, place in found.items() if place is not None}


def _place(name: str, header: list[str]) -> int | None:
    """Return the place of a column by its exact name, or by its name before a RecBole type (``name:token``)."""
    if name in header:
        return header.index(name)
    bare = [match[1] if (match := _TYPED.fullmatch(field)) else None for field in header]
    return bare.index(name) if bare.count(name) == 1 else None


def _is_data(first: list[str]) -> bool:
    """Return whether a line has values instead of column names: a number, a date or an empty field."""
    return any(not field or is_number(field) or re.fullmatch(r"\d{4}-\d\d-\d\d.*", field) for field in first)


def _check_sides(records: list[list[str]], places: dict[str, int], item_pattern: str, where: str) -> None:
    """Check that the columns of users and items are not exchanged.

    Raises:
      InputError: all users look like items, and no item does.
    """
    sides = [
        [re.fullmatch(item_pattern, fields[places[role]]) is not None for fields in records if len(fields) > 1]
        for role in ("user", "item")
    ]
    if sides[0] and all(sides[0]) and not any(sides[1]):
        raise InputError(
            f"{where}: in this format, the user column has product ids ({records[0][places['user']][:40]}); "
            "pass dataset.format=amazon-2018-csv (item, user, rating, timestamp), or amazon-csv (user, item, ...)"
        )


def _shown(fields: Iterable[str]) -> str:
    return shortened(", ".join(fields), 80)


def _listed(names: Iterable[str]) -> str:
    return " and ".join(f'"{name}"' for name in names)
