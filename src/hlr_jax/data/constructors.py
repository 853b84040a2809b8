"""Data sets of what is in memory: frames, sparse matrices, arrays. They are prepared just as files are."""

from typing import Any

import numpy as np
import polars as pl

from hlr_jax.data.columns import Reading, joined
from hlr_jax.data.dataset import Dataset, Log
from hlr_jax.data.frames import column_of, read_frame
from hlr_jax.data.ids import named
from hlr_jax.data.options import FILE_SETTINGS, DataOptions
from hlr_jax.data.preparation import finish, prepare
from hlr_jax.data.source_files import described
from hlr_jax.errors import InputError, check_options


def from_frame(frame: Any, parts: dict[str, Any], name: str, log: Log, **options: Any) -> Dataset:
    """Make ``Dataset.from_frame``; ``parts`` are the frames of splits, None where not given."""
    given = {split: part for split, part in parts.items() if part is not None}
    if given:
        if frame is not None or "train" not in given:
            raise InputError("from_frame takes one frame, or train= and with it valid= and test=")
        if options.get("split", "random") not in ("random", "given"):
            raise InputError(f"train=, valid= and test= are a split, so there can be no split={options['split']}")
        options |= {"split": "given"}
    chosen = _options(name, options)
    if given:
        reading = joined([_part(split, part, chosen) for split, part in given.items()])
    else:
        reading = read_frame(frame, chosen.frame_columns, chosen.rules, name)
    return finish(prepare(reading, chosen, where=name, name=name), chosen, log)


def _part(split: str, frame: Any, options: DataOptions) -> Reading:
    """Read the frame of one split."""
    columns = {role: column for role, column in options.frame_columns.items() if role != "split"}
    reading = read_frame(frame, columns, options.rules, split)
    return reading._replace(rows=reading.rows.with_columns(split=pl.lit(split)))


def _options(name: str, options: dict[str, Any]) -> DataOptions:
    """Return the settings of data in memory.

    Raises:
      InputError: an unknown setting, one about files, or one out of range.
    """
    check_options(DataOptions, options, "dataset")
    for setting in FILE_SETTINGS:
        if setting in options:
            raise InputError(f"{setting} is for files; data in memory takes none")
    return DataOptions(name=name, **options).with_defaults()


def from_csr(matrix: Any, user_ids: Any, item_ids: Any, name: str, log: Log, **options: Any) -> Dataset:
    """Make ``Dataset.from_csr``."""
    if not (hasattr(matrix, "tocsr") and getattr(matrix, "ndim", 0) == 2):
        raise InputError(
            f"{name}: a SciPy sparse matrix of two dimensions is needed, not {described(matrix)}; "
            "scipy.sparse.csr_array(...) makes one"
        )
    rows = matrix.tocsr(copy=True)
    rows.sum_duplicates()
    if options.get("threshold") is None:
        rows.eliminate_zeros()
    entries = rows.tocoo()
    ids = [
        _ids(values, size, f"{role}_ids", name)
        for role, values, size in zip(("user", "item"), (user_ids, item_ids), rows.shape, strict=True)
    ]
    columns = {"user": ids[0].gather(entries.row), "item": ids[1].gather(entries.col), "rating": entries.data}
    return from_arrays(columns, name, log, **options)


def _ids(values: Any, size: int, what: str, where: str) -> pl.Series:
    """Return the ids of the rows or columns of a matrix.

    Raises:
      InputError: too few or too many, or one that stands twice.
    """
    if values is None:
        return pl.Series(what, np.arange(size))
    ids = column_of(values, what, where)
    if len(ids) != size:
        raise InputError(f"{where}: {what} has {len(ids):,} ids, and the matrix {size:,} {what.split('_')[0]}s")
    if ids.n_unique() < size:
        raise InputError(f"{where}: {what}: the id {named(ids.filter(ids.is_duplicated())[:1])} stands twice")
    return ids


def from_arrays(columns: dict[str, Any], name: str, log: Log, **options: Any) -> Dataset:
    """Make ``Dataset.from_arrays``; ``columns`` are by role, None where not given."""
    chosen = _options(name, options)
    given = {
        role: column_of(values, f"{role}s", name).alias(role)
        for role, values in columns.items()
        if values is not None or role in ("user", "item")
    }
    lengths = {role: len(series) for role, series in given.items()}
    if len(set(lengths.values())) > 1:
        counted = ", ".join(f"{count:,} {role}s" for role, count in lengths.items())
        raise InputError(f"{name}: all columns must have the same length, and there are {counted}")
    for role in chosen.roles:
        if role not in given:
            needing = "threshold" if role == "rating" else f"split={chosen.split}"
            raise InputError(f"{name}: {needing} needs {role}s, and none were given")
    reading = read_frame(pl.DataFrame(list(given.values())), chosen.frame_columns, chosen.rules, name)
    return finish(prepare(reading, chosen, where=name, name=name), chosen, log)
