"""One call from a name or a file to a prepared data set, cached by the hash of its source and settings."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from hlr_jax.data.dataset import SPLITS, Coded, Dataset, check_negatives_exist, encode, select
from hlr_jax.data.dataset import k_core as k_core_of
from hlr_jax.data.download import Files, cache_folder, obtain, remember
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.options import DataOptions
from hlr_jax.data.readers import read_interactions, resolve_format
from hlr_jax.data.serialization import read_tables, write_tables
from hlr_jax.data.sources import DATASETS
from hlr_jax.data.splits import assign_splits, needs_time, settle_unknown_users
from hlr_jax.data.synthetic import SYNTHETIC_PREFIX, synthetic_dataset
from hlr_jax.data.titles import read_titles
from hlr_jax.errors import InputError, check_options
from hlr_jax.files import atomic_folder, sha256, sha256_of
from hlr_jax.protocols import SIZED_SPLITS

_LAYOUT = 3  # of the cached files; raise it when they change
_MEANING = 1  # of the settings in a fingerprint; raise it when the same ones give other splits


def load_dataset(name: str = "", *, cache: bool = True, log: Callable[[str], None] = print, **options: Any) -> Dataset:
    """Prepare a named data set, a file of one's own, or a synthetic world.

    Args:
      name: as in ``DataOptions``.
      cache: whether to keep the result in the cache folder, and to look for it there.
      log: takes lines for people.
      options: the fields of ``DataOptions``.

    Raises:
      InputError: in one line, everything that can be wrong with a file or a setting.

    Example:
      >>> load_dataset("planted-60x50x900", cache=False, log=lambda line: None).num_users
      60
    """
    check_options(DataOptions, options, "dataset")
    chosen = DataOptions(name=name, **options)
    if name.startswith(SYNTHETIC_PREFIX) and not chosen.path:
        dataset = _synthetic(chosen)
    else:
        source = _source_of(chosen, log)
        dataset = _prepared(source, cache, log)
        if source.files is not None:
            remember(source.files)
    dataset = dataset.trained_on(chosen.train_splits)
    for part in SPLITS[1:]:
        if not len(getattr(dataset, part)):
            log(f"{dataset.name}: no {part} interactions")
    log(dataset.summary())
    return dataset


class _Source(NamedTuple):
    """A file with all that shapes its splits: ``options`` with the registry's defaults filled in."""

    path: Path
    sha256: str
    options: DataOptions
    titles: Path | None
    files: Files | None

    @property
    def label(self) -> str:
        """The name of the data set, for people."""
        return self.options.name or self.path.stem

    @property
    def settings(self) -> dict[str, Any]:
        """What the fingerprint is a hash of."""
        options, protocol = self.options, self.options.measured_by
        sizes = [protocol.test_size, protocol.valid_size] if options.split in SIZED_SPLITS else None
        return {
            "layout": _MEANING, "source": self.sha256, "format": options.format, "suffix": self.path.suffix,
            "columns": options.columns, "threshold": options.threshold, "k_core": options.k_core, "sizes": sizes,
            "split": options.split, "unknown_users": options.unknown_users,
            "seed": options.seed if options.split in ("random", "per-user") else None,
            "titles": None if self.titles is None else sha256(self.titles),
        }  # fmt: skip


def _synthetic(options: DataOptions) -> Dataset:
    if options.split != "random" or options.threshold is not None or options.k_core is not None:
        raise InputError(
            f"{options.name}: a planted world takes no dataset.threshold or k_core, and dataset.split=random"
        )
    return synthetic_dataset(options.name, options.measured_by, options.seed)


def _source_of(options: DataOptions, log: Callable[[str], None]) -> _Source:
    """Return the file that the options name, downloaded if need be."""
    titles: Path | None = None
    files: Files | None = None
    if options.path:
        path = Path(options.path).expanduser()
        if not path.is_file():
            raise InputError(f"{path}: no such file; check dataset.path")
        digest, format = sha256(path), options.format
    elif options.name:
        files = obtain(options.name, log=log)
        path, format, titles, digest = files.interactions, files.layout, files.titles, files.sha256
    else:
        raise InputError("pass dataset.name (a data set of the registry) or dataset.path (your own file)")
    threshold, k_core = options.threshold, options.k_core
    if options.name in DATASETS:
        named = DATASETS[options.name]
        format = named.sources[0].layout if format == "auto" else format
        threshold = named.threshold if threshold is None else threshold
        k_core = named.k_core if k_core is None else k_core
    if options.rating_column and threshold is None:
        raise InputError("dataset.rating_column is read only with a dataset.threshold; pass one, or leave it out")
    filled = dataclasses.replace(options, format=format, threshold=threshold, k_core=1 if k_core is None else k_core)
    return _Source(path, digest, filled, titles, files)


def _prepared(source: _Source, cache: bool, log: Callable[[str], None]) -> Dataset:
    """Return the data set of a file, from the cache if it is there."""
    options, where = source.options, str(source.path)
    fingerprint = sha256_of(source.settings)
    folder = cache_folder() / "prepared" / f"{source.label}-{fingerprint[:16]}-{_LAYOUT}"
    if cache and (folder / "settings.json").is_file():
        return read_tables(folder, source.label, options.measured_by, fingerprint)
    assert options.k_core is not None
    rows = k_core_of(_read_rows(source), options.k_core, where)
    parts = assign_splits(rows, options.split, options.measured_by, options.seed, where)
    keep = settle_unknown_users(rows, parts, "drop" if options.split == "time" else options.unknown_users, where)
    if not keep.all():
        log(f"{where}: {int((~keep).sum()):,} valid and test rows of users without train rows are left out")
        rows, parts = select(rows, keep), parts[keep]
    dataset = _divide(rows, parts, source, fingerprint)
    if source.titles is not None:
        dataset = _with_titles(dataset, read_titles(source.titles, options.format))
    if cache:
        _write_cached(folder, dataset, source.settings)
    return dataset


def _read_rows(source: _Source) -> Coded:
    options, where = source.options, str(source.path)
    layout = resolve_format(source.path, options.format, options.columns)
    wanted = {"user": True, "item": True, "rating": options.threshold is not None}
    wanted |= {"timestamp": needs_time(options.split), "split": options.split == "given"}
    # A column that is named is read even where nothing needs it, so that a wrong name is noticed.
    roles = tuple(role for role, needed in wanted.items() if needed or options.columns[role])
    frame = read_interactions(source.path, layout, roles=roles, threshold=options.threshold)
    if frame.is_empty():
        reason = "" if options.threshold is None else f" with a rating of at least {options.threshold:g}"
        raise InputError(f"{where}: no interactions{reason}; check dataset.threshold and the file")
    return encode(frame, where)


def _divide(rows: Coded, parts: np.ndarray, source: _Source, fingerprint: str) -> Dataset:
    everything = Interactions(rows.user, rows.item)
    splits = {name: everything.where(parts == code) for code, name in enumerate(SPLITS)}
    check_negatives_exist(splits["train"] + splits["valid"], rows.user_ids, len(rows.item_ids), str(source.path))
    return Dataset(
        source.label, **splits, user_ids=rows.user_ids, item_ids=rows.item_ids, titles=None,
        protocol=source.options.measured_by, fingerprint=fingerprint,
    )  # fmt: skip


def _with_titles(dataset: Dataset, titles: pl.DataFrame) -> Dataset:
    items = pl.DataFrame({"item": dataset.item_ids.cast(pl.Int64)})
    joined = items.join(titles.unique("item", keep="first"), on="item", how="left", maintain_order="left")
    return dataclasses.replace(dataset, titles=joined.select("title", "genres"))


def _write_cached(folder: Path, dataset: Dataset, settings: dict) -> None:
    with atomic_folder(folder) as temporary:
        write_tables(temporary, dataset)
        (temporary / "settings.json").write_text(json.dumps(settings, indent=2, default=str))
