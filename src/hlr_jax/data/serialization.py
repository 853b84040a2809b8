"""A prepared data set as a folder of Parquet files: in the cache, and in every workdir."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.encoding import SPLITS, divided
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.report import ReadingReport
from hlr_jax.errors import InputError
from hlr_jax.files import atomic_folder, sha256
from hlr_jax.protocols import Protocol
from hlr_jax.system_errors import is_refused, translated

_TABLES = ("interactions.parquet", "users.parquet", "items.parquet")
_LEFT_OUT = "left_out.parquet"  # of a data set that leaves some users out


def _write_tables(folder: Path, dataset: Dataset) -> dict[str, str]:
    """Write a data set as Parquet files, interactions split after split, and return the hash of each."""
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
    """Write a data set and what it takes to read it back, whole or not at all; a folder that is there stays."""
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
        (temporary / "dataset.json").write_text(json.dumps(about, indent=2) + "\n")


def read_stored(folder: Path, *, check: bool = True) -> Dataset:
    """Read what ``store_dataset`` wrote.

    ``check`` compares all bytes with what was written. Where several processes read, one does that for all.

    Raises:
      InputError: a file is missing, damaged, or another than the one that was written.
    """
    path, again = folder / "dataset.json", f"delete {folder}, and the data is read from its source again"
    try:
        about: dict[str, Any] = json.loads(path.read_text())
        protocol = Protocol(**about["protocol"])
        reading = ReadingReport(**about["reading"] | {"notes": tuple(about["reading"]["notes"])})
        name, hashes = str(about["name"]), {table: str(about["sha256"][table]) for table in _TABLES}
        hashes |= about["sha256"]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {again}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: damaged, or of another version; {again}") from None
    for table, written in hashes.items():
        if not (folder / table).is_file():
            raise InputError(f"{folder / table}: no such file; {again}")
        if check and sha256(folder / table) != written:
            raise InputError(f"{folder / table}: damaged, it is not what the run wrote; {again}")
    return Dataset(name, protocol=protocol, reading=reading, **_read_tables(folder, list(hashes)))
