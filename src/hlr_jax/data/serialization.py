"""A prepared data set as a folder of Parquet files: in the cache, and in every workdir."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hlr_jax.data.dataset import SPLITS, Dataset, divided
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError
from hlr_jax.files import atomic_folder, sha256
from hlr_jax.protocols import Protocol

_TABLES = ("interactions.parquet", "users.parquet", "items.parquet")


def write_tables(folder: Path, dataset: Dataset) -> None:
    """Write a data set as Parquet files: interactions, split after split, users, and items."""
    parts = [getattr(dataset, name) for name in SPLITS]
    columns = {side: np.concatenate([getattr(part, side) for part in parts]) for side in ("user", "item")}
    columns["split"] = np.repeat(np.arange(3, dtype=np.int8), [len(part) for part in parts])
    items = [dataset.item_ids.alias("id"), *([] if dataset.titles is None else dataset.titles.get_columns())]
    frames = pl.DataFrame(columns), pl.DataFrame({"id": dataset.user_ids}), pl.DataFrame(items)
    for name, frame in zip(_TABLES, frames, strict=True):
        frame.write_parquet(folder / name)


def read_tables(folder: Path, name: str, protocol: Protocol, fingerprint: str) -> Dataset:
    """Read what ``write_tables`` wrote.

    Raises:
      InputError: a file is missing or damaged.
    """
    rows, users, items = (_read(folder / table) for table in _TABLES)
    try:
        user, item, parts = (rows[column].to_numpy() for column in ("user", "item", "split"))
        titles = items.select("title", "genres") if "title" in items.columns else None
        user_ids, item_ids = users["id"], items["id"]
    except pl.exceptions.PolarsError as problem:
        raise InputError(f"{folder}: damaged: {str(problem).splitlines()[0]}; delete it") from None
    splits = divided(Interactions(user, item), parts)
    return Dataset(
        name, **splits, user_ids=user_ids, item_ids=item_ids, titles=titles, protocol=protocol, fingerprint=fingerprint
    )


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, glob=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; delete {path.parent}") from None
    except (pl.exceptions.PolarsError, OSError) as problem:
        raise InputError(f"{path}: damaged: {str(problem).splitlines()[0]}; delete {path.parent}") from None


def store_dataset(folder: Path, dataset: Dataset) -> None:
    """Write a data set and what it takes to read it back, whole or not at all; a folder that is there stays."""
    if folder.is_dir():
        return
    with atomic_folder(folder) as temporary:
        write_tables(temporary, dataset)
        hashes = {table: sha256(temporary / table) for table in _TABLES}
        about = {"name": dataset.name, "fingerprint": dataset.fingerprint, "protocol": dataset.protocol._asdict()}
        about["sha256"] = hashes
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
