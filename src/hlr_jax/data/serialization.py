"""Stores a prepared data set as a folder of Parquet files, in the cache and in each workdir."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.encoding import SPLITS, divided
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.report import ReadingReport
from hlr_jax.errors import Damaged, InputError
from hlr_jax.files import atomic_folder, check_hash, sha256
from hlr_jax.json_files import read_json, write_json
from hlr_jax.protocols import Protocol
from hlr_jax.system_errors import is_refused, translated

_TABLES = ("interactions.parquet", "users.parquet", "items.parquet")
_ABOUT = "dataset.json"
_READING = get_type_hints(ReadingReport) | {"notes": [str]}
_SCHEMA = {
    "name": str, "fingerprint": str, "protocol": get_type_hints(Protocol),
    "reading": _READING,
    "sha256": dict.fromkeys(_TABLES, str) | {"*": str},
}  # fmt: skip
_LEFT_OUT = "left_out.parquet"  # only for a data set that left users out


def _write_tables(folder: Path, dataset: Dataset) -> dict[str, str]:
    """Write a data set as Parquet files, with interactions in the order of splits, and return the hash of each."""
    parts = [getattr(dataset, name) for name in SPLITS]
    columns = {side: np.concatenate([getattr(part, side) for part in parts]) for side in ("user", "item")}
    columns["split"] = np.repeat(np.arange(3, dtype=np.int8), [len(part) for part in parts])
    items = [dataset.item_ids.alias("id"), *([] if dataset.titles is None else dataset.titles.get_columns())]
    frames = pl.DataFrame(columns), pl.DataFrame({"id": dataset.user_ids}), pl.DataFrame(items)
    tables = dict(zip(_TABLES, frames, strict=True))
    if dataset.left_out is not None:
        tables[_LEFT_OUT] = dataset.left_out
    for name, frame in tables.items():
        frame.write_parquet(folder / name)
    return {name: sha256(folder / name) for name in tables}


def _read_tables(folder: Path, tables: list[str]) -> dict[str, Any]:
    """Return the fields of ``Dataset`` that ``_write_tables`` wrote.

    Raises:
      InputError: a file is damaged.
    """
    frames = {table: _read(folder / table) for table in tables}
    rows, users, items = (frames[table] for table in _TABLES)
    try:
        user, item, parts = (rows[column].to_numpy() for column in ("user", "item", "split"))
        titles = items.select("title", "genres") if "title" in items.columns else None
        user_ids, item_ids = users["id"], items["id"]
    except pl.exceptions.PolarsError as problem:
        raise InputError(f"{folder}: damaged: {str(problem).splitlines()[0]}; delete it") from None
    fields: dict[str, Any] = dict(divided(Interactions(user, item), parts))
    return fields | {
        "user_ids": user_ids, "item_ids": item_ids, "titles": titles, "left_out": frames.get(_LEFT_OUT),
    }  # fmt: skip


def _read(path: Path) -> pl.DataFrame:
    try:
        with translated(path, reading=True):
            return pl.read_parquet(path, glob=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; delete {path.parent}") from None
    except (pl.exceptions.PolarsError, OSError) as problem:
        if is_refused(problem):
            raise
        raise InputError(f"{path}: damaged: {str(problem).splitlines()[0]}; delete {path.parent}") from None


def store_dataset(folder: Path, dataset: Dataset) -> None:
    """Write a data set and its metadata atomically; does nothing if the folder exists."""
    if folder.is_dir():
        return
    with atomic_folder(folder) as temporary:
        about = {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "protocol": dataset.protocol._asdict(),
            "reading": asdict(dataset.reading),
            "sha256": _write_tables(temporary, dataset),
        }
        write_json(temporary / _ABOUT, about)


def read_stored(folder: Path, *, check: bool = True) -> Dataset:
    """Read what ``store_dataset`` wrote.

    ``check`` compares the files with the hashes of what was written. With several processes, only one needs to check.

    Raises:
      InputError: a file is missing, damaged or changed.
    """
    about = _read_about(folder)
    protocol = Protocol(**{name: about["protocol"][name] for name in Protocol._fields})
    counts = {name: about["reading"][name] for name in _READING}
    reading = ReadingReport(**counts | {"notes": tuple(counts["notes"])})
    for table, written in about["sha256"].items():
        if check:
            check_hash(folder / table, written, _again(folder))
    return Dataset(about["name"], protocol=protocol, reading=reading, **_read_tables(folder, list(about["sha256"])))


def stored_fingerprint(folder: Path) -> str | None:
    """Return the fingerprint of what ``store_dataset`` wrote; None if it can't be read."""
    try:
        return _read_about(folder)["fingerprint"]
    except Damaged:
        return None


def _read_about(folder: Path) -> dict[str, Any]:
    return read_json(folder / _ABOUT, _SCHEMA, _again(folder))


def _again(folder: Path) -> str:
    return f"delete {folder}; the data is then read from its source again"
