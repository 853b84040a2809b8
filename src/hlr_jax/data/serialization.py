"""A prepared data set as a folder of Parquet files: in the cache, and in every workdir."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hlr_jax.data.dataset import SPLITS, Dataset
from hlr_jax.data.interactions import Interactions, StoredSplit
from hlr_jax.errors import InputError
from hlr_jax.files import atomic_folder, sha256
from hlr_jax.protocols import Protocol

_BY_USER, _BY_ITEM, _USERS, _ITEMS = _TABLES = tuple(
    f"{name}.parquet" for name in ("interactions", "by_item", "users", "items")
)


def write_tables(folder: Path, dataset: Dataset) -> None:
    """Write a data set as Parquet files: interactions by user and by item, split after split, users, and items.

    Users and items stand with how many interactions they have in each split, which is where those begin.
    """
    parts = [getattr(dataset, name) for name in SPLITS]
    users = {"id": dataset.user_ids}
    items = {"id": dataset.item_ids}
    for name, part in zip(SPLITS, parts, strict=True):
        users[name] = pl.Series(part.degrees(dataset.num_users), dtype=pl.Int32)
        items[name] = pl.Series(part.item_degrees(dataset.num_items), dtype=pl.Int32)
    frames = {
        _BY_USER: _interactions(parts, ("user", "item")),
        _BY_ITEM: _interactions([part.transposed() for part in parts], ("item", "user")),
        _USERS: pl.DataFrame(users),
        _ITEMS: pl.DataFrame(items).hstack([] if dataset.titles is None else dataset.titles.get_columns()),
    }
    for name, frame in frames.items():
        frame.write_parquet(folder / name)


def _interactions(parts: list[Interactions], columns: tuple[str, str]) -> pl.DataFrame:
    sides = np.concatenate([part.user for part in parts]), np.concatenate([part.item for part in parts])
    split = np.repeat(np.arange(3, dtype=np.int8), [len(part) for part in parts])
    return pl.DataFrame(dict(zip(columns, sides, strict=True)) | {"split": split})


def read_tables(folder: Path, name: str, protocol: Protocol, fingerprint: str) -> Dataset:
    """Read what ``write_tables`` wrote: users and items now, interactions when they are touched.

    Raises:
      InputError: a file is missing or damaged.
    """
    folder = folder.absolute()  # what is read later lies there still when this process is elsewhere
    users, items = _read(folder / _USERS), _read(folder / _ITEMS)
    paths = folder / _BY_USER, folder / _BY_ITEM
    try:
        splits: dict[str, Interactions] = {}
        first = 0
        for split in SPLITS:
            degrees = users[split].to_numpy(), items[split].to_numpy()
            splits[split] = StoredSplit(paths, ("user", "item"), first, degrees)
            first += len(splits[split])
        for path in paths:
            if _count(path) != first:
                raise InputError(f"{path}: damaged: it has not {first:,} rows; delete {folder}")
        titles = items.select("title", "genres") if "title" in items.columns else None
        return Dataset(
            name, **splits, user_ids=users["id"], item_ids=items["id"], titles=titles, protocol=protocol,
            fingerprint=fingerprint,
        )  # fmt: skip
    except pl.exceptions.PolarsError as problem:
        raise InputError(f"{folder}: damaged: {str(problem).splitlines()[0]}; delete it") from None


def _read(path: Path) -> pl.DataFrame:
    with _damage_told(path):
        return pl.read_parquet(path, glob=False)


def _count(path: Path) -> int:
    """Return the number of rows, from the end of the file alone."""
    with _damage_told(path):
        return pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
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
    """Read what ``store_dataset`` wrote; interactions when they are touched.

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
