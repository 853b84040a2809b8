"""What people hand in: ids of users or items, and histories of people who are new."""

from pathlib import Path

import polars as pl

from hlr_jax.data.readers import read_interactions, resolve_format, scan_table
from hlr_jax.errors import InputError

_TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")


def read_ids(path: Path, role: str) -> pl.Series:
    """Return the ids in a file, as text; ``role`` is ``user`` or ``item``.

    A ``.csv``, ``.tsv``, ``.parquet``, ``.jsonl`` or ``.ndjson`` file has a column called ``role`` or only one column;
    any other file has an id in each line. Blank lines are passed over.

    Raises:
      InputError: no such file, no such column, no ids, or not readable; names the file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix in _TABLES:
            frame = scan_table(path, resolve_format(path, "auto")).collect()
        else:
            lines = path.read_text(encoding="utf-8").splitlines()
            frame = pl.DataFrame({role: [line.strip() for line in lines]}, schema={role: pl.String})
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    except pl.exceptions.PolarsError as problem:
        raise InputError(f"{path}: {str(problem).splitlines()[0]}") from None
    if role not in frame.columns and frame.width != 1:
        raise InputError(f'{path}: no column "{role}" (it has: {", ".join(frame.columns)})')
    ids = frame[role if role in frame.columns else frame.columns[0]].cast(pl.String)
    ids = ids.filter(ids.is_not_null() & (ids != ""))
    if not len(ids):
        raise InputError(f"{path}: no {role} ids")
    return ids


def read_choice(value: str, role: str) -> pl.Series:
    """Return the ids that an option names: those in a file, or the ids themselves, divided by commas.

    Raises:
      InputError: see ``read_ids``; an empty option.
    """
    path = Path(value).expanduser()
    if path.is_file() or len(path.parts) > 1:
        return read_ids(path, role)
    ids = [part.strip() for part in value.split(",") if part.strip()]
    if not ids:
        raise InputError(f"no {role} ids; pass FILE or id,id")
    return pl.Series(ids, dtype=pl.String)


def read_histories(path: Path) -> pl.DataFrame:
    """Return the columns ``user`` and ``item`` of a CSV, TSV, Parquet or NDJSON file.

    Raises:
      InputError: everything that can be wrong with such a file; names it and the line.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return read_interactions(path, resolve_format(path, "auto"), roles=("user", "item")).rows
