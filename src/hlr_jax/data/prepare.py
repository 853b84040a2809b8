"""One call from a name or a file to a prepared data set, cached by the hash of its source and settings."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hlr_jax.data.dataset import SPLITS, Dataset, check_negatives_exist, divided, encode, k_core
from hlr_jax.data.download import Log, cache_folder, obtain, remember
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.options import DataOptions
from hlr_jax.data.readers import read_interactions, resolve_format
from hlr_jax.data.serialization import read_tables, write_tables
from hlr_jax.data.sources import DATASETS, Source
from hlr_jax.data.splits import BY_TIME, assign_splits, settle_unknown_users
from hlr_jax.data.synthetic import SYNTHETIC_PREFIX, synthetic_dataset
from hlr_jax.data.titles import read_titles
from hlr_jax.errors import InputError, check_options
from hlr_jax.files import atomic_folder, sha256, sha256_of
from hlr_jax.protocols import SIZED_SPLITS

_LAYOUT = 3  # of the cached files; raise it when they change
_MEANING = 1  # of the settings in a fingerprint; raise it when the same ones give other splits


def load_dataset(name: str = "", *, cache: bool = True, log: Log = print, **options: Any) -> Dataset:
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
        if chosen.split != "random" or chosen.threshold is not None or chosen.k_core is not None:
            raise InputError(f"{name}: a planted world takes no dataset.threshold or k_core, and dataset.split=random")
        dataset = synthetic_dataset(name, chosen.measured_by, chosen.seed)
    else:
        dataset = _from_file(chosen, cache, log)
    dataset = dataset.trained_on(chosen.train_splits)
    for part in SPLITS[1:]:
        if not len(getattr(dataset, part)):
            log(f"{dataset.name}: no {part} interactions")
    log(dataset.summary())
    return dataset


def _from_file(options: DataOptions, cache: bool, log: Log) -> Dataset:
    """Return the data set of the file that the options name, downloaded if need be."""
    if options.path:
        path = Path(options.path).expanduser()
        if not path.is_file():
            raise InputError(f"{path}: no such file; check dataset.path")
        filled = _with_defaults(options, DATASETS.get(options.name, (None,))[0])
        return _prepared(path, sha256(path), None, filled, cache, log)
    if not options.name:
        raise InputError("pass dataset.name (a data set of the registry) or dataset.path (your own file)")
    source, path, digest = obtain(options.name, log=log)
    titles = path.with_name(Path(source.titles).name) if source.titles else None
    filled = _with_defaults(replace(options, format=source.layout), source)
    dataset = _prepared(path, digest, titles, filled, cache, log)
    remember(source, path.parent)
    return dataset


def _with_defaults(options: DataOptions, source: Source | None) -> DataOptions:
    """Return the options with the registry's defaults filled in, for a data set that it has."""
    format, threshold, k_core = options.format, options.threshold, options.k_core
    if source is not None:
        format = source.layout if format == "auto" else format
        threshold = source.threshold if threshold is None else threshold
        k_core = source.k_core if k_core is None else k_core
    if options.rating_column and threshold is None:
        raise InputError("dataset.rating_column is read only with a dataset.threshold; pass one, or leave it out")
    return replace(options, format=format, threshold=threshold, k_core=1 if k_core is None else k_core)


def _prepared(path: Path, digest: str, titles: Path | None, options: DataOptions, cache: bool, log: Log) -> Dataset:
    """Return the data set of a file with this hash, from the cache if it is there."""
    where, label, protocol = str(path), options.name or path.stem, options.measured_by
    settings = {
        "layout": _MEANING, "source": digest, "format": options.format, "suffix": path.suffix,
        "columns": options.columns, "threshold": options.threshold, "k_core": options.k_core,
        "sizes": [protocol.test_size, protocol.valid_size] if options.split in SIZED_SPLITS else None,
        "split": options.split, "unknown_users": options.unknown_users,
        "seed": options.seed if options.split in ("random", "per-user") else None,
        "titles": None if titles is None else sha256(titles),
    }  # fmt: skip
    fingerprint = sha256_of(settings)
    folder = cache_folder() / "prepared" / f"{label}-{fingerprint[:16]}-{_LAYOUT}"
    if cache and (folder / "settings.json").is_file():
        return read_tables(folder, label, protocol, fingerprint)
    rows, *ids = encode(_read_rows(path, options), where)
    assert options.k_core is not None
    rows = k_core(rows, options.k_core, where)
    parts = assign_splits(rows, options.split, protocol, options.seed, where)
    policy = "drop" if options.split == "time" else options.unknown_users
    keep = settle_unknown_users(rows["user"].to_numpy(), ids[0], parts, policy, where)
    if not keep.all():
        log(f"{where}: {int((~keep).sum()):,} valid and test rows of users without train rows are left out")
    user, user_ids = _renumbered(rows["user"].to_numpy()[keep], ids[0])
    item, item_ids = _renumbered(rows["item"].to_numpy()[keep], ids[1])
    splits = divided(Interactions(user, item), parts[keep])
    check_negatives_exist(splits["train"] + splits["valid"], user_ids, len(item_ids), where)
    names = None
    if titles is not None:
        known = read_titles(titles, options.format).unique("item", keep="first")
        items = pl.DataFrame({"item": item_ids.cast(pl.Int64)})
        names = items.join(known, on="item", how="left", maintain_order="left").select("title", "genres")
    dataset = Dataset(
        label, **splits, user_ids=user_ids, item_ids=item_ids, titles=names, protocol=protocol, fingerprint=fingerprint
    )
    if cache:
        with atomic_folder(folder) as temporary:
            write_tables(temporary, dataset)
            (temporary / "settings.json").write_text(json.dumps(settings, indent=2, default=str))
    return dataset


def _read_rows(path: Path, options: DataOptions) -> pl.DataFrame:
    layout = resolve_format(path, options.format, options.columns)
    wanted = {"user": True, "item": True, "rating": options.threshold is not None}
    wanted |= {"timestamp": options.split in BY_TIME, "split": options.split == "given"}
    # A column that is named is read even where nothing needs it, so that a wrong name is noticed.
    roles = tuple(role for role, needed in wanted.items() if needed or options.columns[role])
    frame = read_interactions(path, layout, roles=roles, threshold=options.threshold)
    if frame.is_empty():
        reason = "" if options.threshold is None else f" with a rating of at least {options.threshold:g}"
        raise InputError(f"{path}: no interactions{reason}; check dataset.threshold and the file")
    return frame


def _renumbered(codes: np.ndarray, ids: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Return the codes counted from 0 without a gap, and the ids that are left."""
    present = np.zeros(len(ids), bool)
    present[codes] = True
    return (np.cumsum(present, dtype=np.int32) - np.int32(1))[codes], ids.filter(pl.Series(present))
