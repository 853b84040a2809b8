"""A prepared data set as a folder of Parquet files: in the cache, and in every workdir."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hlr_jax.data.interactions import SPLITS, Dataset, Pairs
from hlr_jax.errors import UserError
from hlr_jax.files import atomic_folder, sha256
from hlr_jax.protocols import Protocol

_TABLES = ("interactions.parquet", "users.parquet", "items.parquet")


def write_tables(folder: Path, dataset: Dataset) -> None:
    """Write the interactions, users and items of a data set as three Parquet files."""
    parts = [getattr(dataset, name) for name in SPLITS]
    interactions = {
        "user": np.concatenate([p.user for p in parts]),
        "item": np.concatenate([p.item for p in parts]),
        "split": np.repeat(np.arange(3, dtype=np.int8), [len(p.user) for p in parts]),
    }
    items = pl.DataFrame({"id": dataset.item_ids})
    if dataset.titles is not None:
        items = items.hstack(dataset.titles)
    frames = (pl.DataFrame(interactions), pl.DataFrame({"id": dataset.user_ids}), items)
    for name, frame in zip(_TABLES, frames, strict=True):
        frame.write_parquet(folder / name)


def read_tables(folder: Path, name: str, protocol: Protocol, fingerprint: str) -> Dataset:
    """Read what ``write_tables`` wrote.

    Raises:
      UserError: a file is missing or damaged.
    """
    interactions, users, items = (_read(folder / table) for table in _TABLES)
    try:
        user, item, part = (interactions[column].to_numpy() for column in ("user", "item", "split"))
        train, valid, test = (Pairs(user[part == code], item[part == code]) for code in range(3))
        titles = items.select("title", "genres") if "title" in items.columns else None
        return Dataset(name, train, valid, test, users["id"], items["id"], titles, protocol, fingerprint)
    except pl.exceptions.PolarsError as problem:
        raise UserError(f"{folder}: damaged: {str(problem).splitlines()[0]}; delete it") from None


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; delete {path.parent}") from None
    except (pl.exceptions.PolarsError, OSError) as problem:
        raise UserError(f"{path}: damaged: {str(problem).splitlines()[0]}; delete {path.parent}") from None


def store_dataset(folder: Path, dataset: Dataset) -> None:
    """Write a data set with all that it takes to read it back where its source is gone; whole or not at all.

    A folder that is there already stays as it is.
    """
    if folder.is_dir():
        return
    with atomic_folder(folder) as temporary:
        write_tables(temporary, dataset)
        about = {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "protocol": dataset.protocol._asdict(),
            "sha256": {table: sha256(temporary / table) for table in _TABLES},
        }
        (temporary / "dataset.json").write_text(json.dumps(about, indent=2) + "\n")


def read_stored(folder: Path) -> Dataset:
    """Read what ``store_dataset`` wrote.

    Raises:
      UserError: a file is missing, damaged, or another than the one that was written.
    """
    path, again = folder / "dataset.json", f"delete {folder}, and the data is read from its source again"
    try:
        about: dict[str, Any] = json.loads(path.read_text())
        protocol, hashes = Protocol(**about["protocol"]), dict(about["sha256"])
        name, fingerprint = str(about["name"]), str(about["fingerprint"])
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {again}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: damaged; {again}") from None
    for table in _TABLES:
        if not (folder / table).is_file():
            raise UserError(f"{folder / table}: no such file; {again}")
        if sha256(folder / table) != hashes.get(table):
            raise UserError(f"{folder / table}: damaged, it is not what the run wrote; {again}")
    return read_tables(folder, name, protocol, fingerprint)
