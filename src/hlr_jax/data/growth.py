"""A data set that more interactions join, with users and items that come with them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hlr_jax.data.columns import Reading, joined
from hlr_jax.data.dataset import Dataset, check_negatives_exist
from hlr_jax.data.frames import is_frame, read_frame
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.options import DataOptions
from hlr_jax.data.reading.files import read_interactions
from hlr_jax.data.reading.formats import SUFFIXES
from hlr_jax.data.source_files import check_paths, find_files
from hlr_jax.data.sources import DATASETS

# Rows that join are not divided, so they need no timestamps.
_OF_THE_SPLIT = (
    "path", "split", "split_column", "timestamp_column", "timestamp_format", "valid_from", "test_from",
)  # fmt: skip


def read_rows(source: Any, settings: dict[str, Any]) -> pl.DataFrame:
    """Return the ``user`` and ``item`` of rows that are to join a data set.

    Args:
      source: a frame, a file, a folder of part files, or a list of files.
      settings: the section ``dataset`` of the run that they are to join: it names the columns, and the threshold. The
        format is what a file's ending says, and otherwise that of the run.

    Raises:
      InputError: anything wrong with the file or the frame.
    """
    registered = DATASETS.get(settings.get("name", ""))
    given = {name: value for name, value in settings.items() if name not in _OF_THE_SPLIT}
    options = DataOptions(**given).with_defaults(registered[0].threshold if registered else None)
    if is_frame(source):
        return read_frame(source, options.frame_columns, options.rules, "new rows").rows.select("user", "item")
    check_paths(source, "data")
    files = find_files(source)
    parts = [_read_file(path, options, registered[0].layout if registered else options.format) for path in files]
    return joined(parts).rows.select("user", "item")


def _read_file(path: Path, options: DataOptions, otherwise: str) -> Reading:
    """Read a file in the format that its ending says; where that says none, ``otherwise``."""
    return read_interactions(path, replace(options, format="auto" if path.suffix in SUFFIXES else otherwise))


def with_interactions(dataset: Dataset, rows: pl.DataFrame) -> Dataset:
    """Return the data set with more training interactions.

    Users and items keep their places; new ones stand behind them in the order of their first row. A pair that a split
    holds already stays where it is, so that what is held out is never trained on. Neither threshold nor k-core is
    applied to the rows: whoever comes is kept.

    Args:
      dataset: stays as it is.
      rows: columns ``user`` and ``item``, original ids. Ids are compared as text. They stay whole numbers where all
        are, and become strings otherwise.

    Raises:
      InputError: a user would have met all items.
    """
    codes, ids = {}, {}
    for role, known in (("user", dataset.user_ids), ("item", dataset.item_ids)):
        codes[role], ids[role] = _coded(known, rows[role])
    width = len(ids["item"])
    keys = codes["user"].astype(np.int64) * width + codes["item"]
    held = np.concatenate([part.user.astype(np.int64) * width + part.item for part in dataset.splits.values()])
    fresh = np.setdiff1d(keys, held)  # sorted, each once
    added = Interactions((fresh // width).astype(np.int32), (fresh % width).astype(np.int32))
    train = dataset.train + added
    check_negatives_exist(train + dataset.valid, ids["user"], width, dataset.name)
    titles = dataset.titles
    if titles is not None:
        nothing = pl.DataFrame(schema=titles.schema).clear(width - len(titles))
        titles = pl.concat([titles, nothing])
    grown = replace(dataset, train=train, user_ids=ids["user"], item_ids=ids["item"], titles=titles)
    if dataset.left_out is None:
        return grown
    # What was left out for want of a training interaction, and is one now, is left out no more.
    left = dataset.left_out.with_columns(pl.col(role).cast(ids[role].dtype) for role in ("user", "item"))
    now = pl.DataFrame({role: ids[role].gather(codes) for role, codes in vars(added).items()})
    return replace(grown, left_out=left.join(now, on=["user", "item"], how="anti"))


def _coded(known: pl.Series, wanted: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Return the place of each wanted id among all ids, and these: the known ones, then the new ones."""
    texts, names = wanted.cast(pl.String), known.cast(pl.String)
    new = texts.unique(maintain_order=True)
    new = new.filter(~new.is_in(names.implode()))
    everything = pl.concat([names, new.alias(names.name)])
    places = texts.replace_strict(
        everything, pl.int_range(len(everything), eager=True), return_dtype=pl.Int64
    ).to_numpy()
    as_known = new.cast(known.dtype, strict=False)
    if not as_known.null_count() and as_known.cast(pl.String).equals(new):  # "007" is no number
        return places, pl.concat([known, as_known.alias(known.name)])
    return places, everything
