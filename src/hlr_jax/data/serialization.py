"""A prepared data set as a folder of Parquet files: in the cache, and in every workdir."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hlr_jax.data.dataset import SPLITS, Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError
from hlr_jax.files import atomic_folder, sha256
from hlr_jax.protocols import Protocol

_TABLES = _INTERACTIONS, _USERS, _ITEMS = ("interactions.parquet", "users.parquet", "items.parquet")


def write_tables(folder: Path, dataset: Dataset) -> None:
    """Write a data set as Parquet files: interactions, split after split, users, and items."""
    parts = [getattr(dataset, name) for name in SPLITS]
    user, item = (np.concatenate([getattr(part, side) for part in parts]) for side in ("user", "item"))
    split = np.repeat(np.arange(3, dtype=np.int8), [len(part) for part in parts])
    frames = {
        _INTERACTIONS: pl.DataFrame({"user": user, "item": item, "split": split}),
        _USERS: pl.DataFrame({"id": dataset.user_ids}),
        _ITEMS: pl.DataFrame({"id": dataset.item_ids}).hstack(
            [] if dataset.titles is None else dataset.titles.get_columns()
        ),
    }
    for name, frame in frames.items():
        frame.write_parquet(folder / name)


def read_tables(folder: Path, name: str, protocol: Protocol, fingerprint: str) -> Dataset:
    """Read what ``write_tables`` wrote.

    Raises:
      InputError: a file is missing or damaged.
    """
    rows, users, items = (_read(folder / table) for table in _TABLES)
    try:
        columns = [rows[column].to_numpy() for column in ("user", "item", "split")]
        titles = items.select("title", "genres") if "title" in items.columns else None
        ids = users["id"], items["id"]
    except pl.exceptions.PolarsError as problem:
        raise InputError(f"{folder}: damaged: {str(problem).splitlines()[0]}; delete it") from None
    user, item, split = columns
    splits = {part: Interactions(user[split == code], item[split == code]) for code, part in enumerate(SPLITS)}
    return Dataset(
        name, **splits, user_ids=ids[0], item_ids=ids[1], titles=titles, protocol=protocol, fingerprint=fingerprint
    )


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, glob=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; delete {path.parent}") from None
    except (pl.exceptions.PolarsError, OSError) as problem:
        raise InputError(f"{path}: damaged: {str(problem).splitlines()[0]}; delete {path.parent}") from None


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


def read_stored(folder: Path, *, check: bool = True) -> Dataset:
    """Read what ``store_dataset`` wrote.

    ``check`` compares all bytes with what was written. Where several processes read, one does that for all.

    Raises:
      InputError: a file is missing, damaged, or another than the one that was written.
    """
    path, again = folder / "dataset.json", f"delete {folder}, and the data is read from its source again"
    try:
        about: dict[str, Any] = json.loads(path.read_text())
        protocol, hashes = Protocol(**about["protocol"]), dict(about["sha256"])
        name, fingerprint = str(about["name"]), str(about["fingerprint"])
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {again}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: damaged; {again}") from None
    for table in _TABLES:
        if not (folder / table).is_file():
            raise InputError(f"{folder / table}: no such file; {again}")
        if check and sha256(folder / table) != hashes.get(table):
            raise InputError(f"{folder / table}: damaged, it is not what the run wrote; {again}")
    return read_tables(folder, name, protocol, fingerprint)
