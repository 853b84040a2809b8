"""One call from a name or a file to a prepared data set, cached by the hash of its source and settings."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from hlr_jax.data.dataset import SPLITS, TRAIN_SPLITS, Coded, Dataset, check_negatives_exist, encode, select
from hlr_jax.data.dataset import k_core as k_core_of
from hlr_jax.data.download import Files, cache_folder, obtain, remember
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.readers import read_interactions, resolve_format
from hlr_jax.data.serialization import read_tables, write_tables
from hlr_jax.data.sources import DATASETS
from hlr_jax.data.splits import SPLIT_KINDS, assign_splits, needs_time, settle_unknown_users
from hlr_jax.data.synthetic import SYNTHETIC_PREFIX, synthetic_dataset
from hlr_jax.data.titles import read_titles
from hlr_jax.errors import InputError, check_range, check_seed, pick
from hlr_jax.files import atomic_folder, sha256, sha256_of
from hlr_jax.protocols import SIZED_SPLITS, Protocol, protocol_for

_LAYOUT = 2  # of the cached files; raise it when they change
_MEANING = 1  # of the settings in a fingerprint; raise it when the same ones give other splits


def load_dataset(
    name: str = "",
    *,
    path: str = "",
    format: str = "auto",
    user_column: str = "",
    item_column: str = "",
    rating_column: str = "",
    timestamp_column: str = "",
    split_column: str = "",
    threshold: float | None = None,
    k_core: int | None = None,
    protocol: str = "reference",
    split: str = "random",
    unknown_users: str = "error",
    train_splits: str = "train",
    seed: int = 2021,
    cache: bool = True,
    log: Callable[[str], None] = print,
) -> Dataset:
    """Prepare a named data set, a file of one's own, or a planted world.

    Args:
      name: a data set of the registry, or ``planted-USERSxITEMSxINTERACTIONS``; with ``path``, any label.
      path: a file of one's own; with a registry name, that data set's file of interactions, wherever it lies.
      format: a name of ``readers.FORMATS``; ``auto`` goes by the file's ending.
      user_column: its name, where that differs from the format's (``user`` in CSV, TSV, Parquet and NDJSON).
      item_column: likewise (``item``).
      rating_column: likewise (``rating``).
      timestamp_column: likewise (``timestamp``).
      split_column: likewise (``split``).
      threshold: keep rows with at least this rating; None: the registry's, and for own files no threshold.
      k_core: least interactions of users and items; None: the registry's, and for own files 1.
      protocol: how figures are measured, ``paper`` or ``reference``: the sizes of the parts (80/10/10, 72/8/20) and
        all else in ``protocols.Protocol``.
      split: ``random``, ``per-user``, ``time``, ``leave-last-out`` or ``given`` (the file's split column).
      unknown_users: what to do with users of valid or test that train lacks: ``error``, ``drop``, ``keep`` (they are
        ranked by an untrained vector). ``time`` splits always drop them.
      train_splits: ``train``, ``train+valid`` or ``train+valid+test``: the splits whose interactions are trained on.
        It is
        for settings that were chosen before; see ``runs.refit``.
      seed: of the draw of a split.
      cache: whether to keep the result in the cache folder, and to look for it there.
      log: takes lines for people.

    Raises:
      InputError: in one line, everything that can be wrong with a file or a setting.
    """
    pick(split, SPLIT_KINDS, "dataset.split")
    measured = protocol_for(protocol, split)
    pick(unknown_users, ("error", "drop", "keep"), "dataset.unknown_users")
    pick(train_splits, TRAIN_SPLITS, "dataset.train_splits")
    check_seed("dataset.seed", seed)
    if name.startswith(SYNTHETIC_PREFIX) and not path:
        if split != "random" or threshold is not None or k_core is not None:
            raise InputError(f"{name}: a planted world takes no dataset.threshold or k_core, and dataset.split=random")
        dataset = synthetic_dataset(name, measured, seed).trained_on(train_splits)
        log(dataset.summary())
        return dataset
    columns = {
        "user": user_column, "item": item_column, "rating": rating_column, "timestamp": timestamp_column,
        "split": split_column,
    }  # fmt: skip
    titles: Path | None = None
    files: Files | None = None
    if path:
        source = Path(path).expanduser()
        if not source.is_file():
            raise InputError(f"{source}: no such file; check dataset.path")
        digest = sha256(source)
    elif name:
        files = obtain(name, log=log)
        source, format, titles, digest = files.interactions, files.layout, files.titles, files.sha256
    else:
        raise InputError("pass dataset.name (a data set of the registry) or dataset.path (your own file)")
    if name in DATASETS:
        named = DATASETS[name]
        format = named.sources[0].layout if format == "auto" else format
        threshold = named.threshold if threshold is None else threshold
        k_core = named.k_core if k_core is None else k_core
    k_core = 1 if k_core is None else k_core
    check_range("dataset", k_core=(k_core, 1, 10**9), threshold=(threshold or 0.0, -1e300, 1e300))
    if rating_column and threshold is None:
        raise InputError("dataset.rating_column is read only with a dataset.threshold; pass one, or leave it out")
    label = name or source.stem
    sized = split in SIZED_SPLITS
    settings = {
        "layout": _MEANING, "source": digest, "format": format, "suffix": source.suffix, "columns": columns,
        "threshold": threshold, "k_core": k_core, "sizes": [measured.test_size, measured.valid_size] if sized else None,
        "split": split, "unknown_users": unknown_users, "seed": seed if split in ("random", "per-user") else None,
        "titles": None if titles is None else sha256(titles),
    }  # fmt: skip
    fingerprint = sha256_of(settings)
    folder = cache_folder() / "prepared" / f"{label}-{fingerprint[:16]}-{_LAYOUT}"
    if cache and (folder / "settings.json").is_file():
        dataset = read_tables(folder, label, measured, fingerprint)
        # The cache may be cleared while this runs: everything is read now.
        dataset = dataclasses.replace(dataset, **{name: getattr(dataset, name).loaded() for name in SPLITS})
    else:
        rows = _read_rows(source, format, columns, threshold, split)
        rows = k_core_of(rows, k_core, str(source))
        parts = assign_splits(rows, split, measured, seed, str(source))
        policy = "drop" if split == "time" else unknown_users
        dataset = _divide(rows, parts, policy, str(source), label, measured, fingerprint, log)
        if titles is not None:
            dataset = _with_titles(dataset, read_titles(titles, format))
        if cache:
            _write_cached(folder, dataset, settings)
    if files is not None:
        remember(files)
    dataset = dataset.trained_on(train_splits)
    for part in SPLITS[1:]:
        if not len(getattr(dataset, part)):
            log(f"{label}: no {part} interactions")
    log(dataset.summary())
    return dataset


def _read_rows(source: Path, format: str, columns: dict[str, str], threshold: float | None, split: str) -> Coded:
    layout = resolve_format(source, format, columns)
    wanted = {"user": True, "item": True, "rating": threshold is not None, "timestamp": needs_time(split)}
    wanted |= {"split": split == "given"}
    # A column that is named is read even where nothing needs it, so that a wrong name is noticed.
    roles = tuple(role for role, needed in wanted.items() if needed or columns[role])
    frame = read_interactions(source, layout, roles=roles, threshold=threshold)
    if frame.is_empty():
        reason = f" with a rating of at least {threshold:g}" if threshold is not None else ""
        raise InputError(f"{source}: no interactions{reason}; check dataset.threshold and the file")
    return encode(frame, str(source))


def _divide(
    rows: Coded, parts: np.ndarray, unknown_users: str, where: str, label: str, protocol: Protocol, fingerprint: str,
    log: Callable[[str], None],
) -> Dataset:  # fmt: skip
    keep = settle_unknown_users(rows, parts, unknown_users, where)
    if not keep.all():
        log(f"{where}: {int((~keep).sum()):,} valid and test rows of users without train rows are left out")
        rows, parts = select(rows, keep), parts[keep]
    everything = Interactions(rows.user, rows.item)
    pairs = {name: everything.where(parts == code) for code, name in enumerate(SPLITS)}
    check_negatives_exist(pairs["train"] + pairs["valid"], rows.user_ids, len(rows.item_ids), where)
    return Dataset(
        label, pairs["train"], pairs["valid"], pairs["test"], rows.user_ids, rows.item_ids, None, protocol, fingerprint
    )


def _with_titles(dataset: Dataset, titles: pl.DataFrame) -> Dataset:
    items = pl.DataFrame({"item": dataset.item_ids.cast(pl.Int64)})
    joined = items.join(titles.unique("item", keep="first"), on="item", how="left", maintain_order="left")
    return dataclasses.replace(dataset, titles=joined.select("title", "genres"))


def _write_cached(folder: Path, dataset: Dataset, settings: dict) -> None:
    with atomic_folder(folder) as temporary:
        write_tables(temporary, dataset)
        (temporary / "settings.json").write_text(json.dumps(settings, indent=2, default=str))
