"""One call from a name or a file to a prepared data set, cached by the hash of its source and settings."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from hlr_jax.data import constructors
from hlr_jax.data.columns import joined
from hlr_jax.data.dataset import Dataset, Log
from hlr_jax.data.download import cache_folder, obtain, remember
from hlr_jax.data.frames import is_frame
from hlr_jax.data.options import READING_SETTINGS, ROLES, DataOptions
from hlr_jax.data.preparation import finish, prepare
from hlr_jax.data.reading.files import read_interactions
from hlr_jax.data.serialization import read_stored, store_dataset
from hlr_jax.data.source_files import find_files, name_of, place_of
from hlr_jax.data.sources import DATASETS
from hlr_jax.data.splits import DRAWN
from hlr_jax.data.synthetic import SYNTHETIC_PREFIX, synthetic_dataset
from hlr_jax.data.titles import read_titles
from hlr_jax.errors import InputError, check_options
from hlr_jax.files import expanded, sha256, sha256_of

_LAYOUT = 5  # of the cached files; raise it when they change
_MEANING = 3  # of the settings; raise it when the same ones give other splits

_OF_FILES = (*READING_SETTINGS, "glob", "format", *(f"{role}_column" for role in ROLES))


def load_dataset(name: Any = "", *, cache: bool = True, log: Log = print, **options: Any) -> Dataset:
    """Prepare a named data set, files of one's own, a frame, or a synthetic world.

    Args:
      name: a data set of the registry or ``planted-USERSxITEMSxINTERACTIONS``; or, instead of ``path``, what that
        takes: a file, a folder, a list of files, a pattern. A frame is prepared as by ``Dataset.from_frame``.
      cache: whether to keep the result in the cache folder, and to look for it there.
      log: takes lines for people: what became of the rows, and what the data set is.
      options: the fields of ``DataOptions``.

    Raises:
      InputError: in one line, everything that can be wrong with a file or a setting.

    Example:
      >>> small = hlr_jax.load_dataset("planted-60x50x900", cache=False, log=lambda line: None)
      >>> small.num_users, small.num_items
      (60, 50)
    """
    check_options(DataOptions, options, "dataset")
    source, name = _source_and_name(name, options.pop("path", ""), bool(options.get("glob")))
    if is_frame(source):
        return constructors.from_frame(source, {}, name or "frame", log, **options)
    chosen = DataOptions(name=name, path=source, **options)
    if name.startswith(SYNTHETIC_PREFIX) and source == "":
        if chosen.split != "random" or chosen.threshold is not None or chosen.k_core is not None:
            raise InputError(f"{name}: a planted world takes no dataset.threshold or k_core, and dataset.split=random")
        if unread := [key for key in _OF_FILES if getattr(chosen, key) != getattr(DataOptions, key)]:
            raise InputError(f"dataset.{unread[0]} is for files, and {name} is synthetic data: leave it out")
        dataset = synthetic_dataset(name, chosen.measured_by, chosen.seed)
    else:
        dataset = _from_files(chosen, cache, log)
    return finish(dataset, chosen, log)


def _source_and_name(name: Any, path: Any, is_pattern: bool) -> tuple[Any, str]:
    """Return what to read, empty for a named data set, and the name; what is no known name may be a path.

    Raises:
      InputError: two sources.
    """
    if isinstance(name, str):
        unknown = name not in DATASETS and not name.startswith(SYNTHETIC_PREFIX)
        may_be_path = isinstance(path, str) and not path and bool(name) and unknown
        is_path = may_be_path and (is_pattern or expanded(name).exists())
        return (name, "") if is_path else (path, name)
    if not isinstance(path, str) or path:
        raise InputError("load_dataset takes one source: pass it first, or as path=, not both")
    return name, ""


def _from_files(options: DataOptions, cache: bool, log: Log) -> Dataset:
    """Return the data set of the files that the options name, downloaded if need be."""
    if options.path == "":
        if not options.name:
            raise InputError("pass dataset.name (a data set of the registry) or dataset.path (your own file)")
        source, path, digest = obtain(options.name, log=log)
        titles = path.with_name(Path(source.titles).name) if source.titles else None
        filled = replace(options, format=source.layout).with_defaults(source.threshold, source.k_core)
        dataset = _prepared([path], [digest], titles, filled, cache, log)
        remember(source, path.parent)
        return dataset
    files = find_files(options.path, options.glob)
    if known := DATASETS.get(options.name):
        layout = known[0].layout if options.format == "auto" else options.format
        filled = replace(options, format=layout).with_defaults(known[0].threshold, known[0].k_core)
    else:
        filled = options.with_defaults()
    return _prepared(files, sorted(map(sha256, files)), None, filled, cache, log)


def _prepared(
    files: list[Path], digests: list[str], titles: Path | None, options: DataOptions, cache: bool, log: Log
) -> Dataset:
    """Return the data set of files with these hashes, from the cache if it is there and whole."""
    name, where = options.name or name_of(options.path, files), place_of(options.path, files)
    settings = {
        "layout": _MEANING, "source": digests, "format": options.format,
        "suffixes": sorted({"".join(path.suffixes[-2:]) for path in files}), "columns": options.named_columns,
        "reading": {name: getattr(options, name) for name in READING_SETTINGS},
        "threshold": options.threshold, "k_core": options.k_core, "protocol": options.measured_by._asdict(),
        "unknown_users": options.unknown_user_policy,
        "seed": options.seed if options.split in DRAWN else None,
        "cuts": [options.valid_from, options.test_from],
        "titles": None if titles is None else sha256(titles),
    }  # fmt: skip
    folder = cache_folder() / "prepared" / f"{name}-{sha256_of(settings)[:16]}-{_LAYOUT}"
    if cache and folder.is_dir():
        try:
            return read_stored(folder)
        except InputError as problem:
            log(f"warning: {str(problem).partition(';')[0]}; the prepared data is made anew")
            shutil.rmtree(folder)
    readings = [read_interactions(path, options) for path in files]
    known = None if titles is None else read_titles(titles, options.format)
    dataset = prepare(joined(readings), options, where=where, name=name, titles=known)
    if cache:
        store_dataset(folder, dataset)
    return dataset
