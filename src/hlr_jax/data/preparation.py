"""Prepares a data set from the rows of a source, for files and for data in memory alike."""

from dataclasses import replace

import polars as pl

from hlr_jax.data.columns import Reading
from hlr_jax.data.dataset import Dataset, Log, check_negatives_exist
from hlr_jax.data.encoding import SPLITS, divided, encode, k_core, renumbered
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.options import DataOptions
from hlr_jax.data.splits import assign_splits
from hlr_jax.data.time_cuts import find_cuts
from hlr_jax.data.titles import titles_of
from hlr_jax.data.unknown_users import settle
from hlr_jax.errors import InputError


def prepare(
    reading: Reading, options: DataOptions, *, where: str, name: str, titles: pl.DataFrame | None = None
) -> Dataset:
    """Drop duplicates, take the k-core, split, and handle users without training interactions.

    Args:
      reading: the rows, with the columns ``options.roles``.
      options: the settings; ``k_core`` is a number.
      where: name of the source in messages.
      name: of the data set.
      titles: ``item``, ``title`` and ``genres`` of items.

    Raises:
      InputError: no rows are left, a given split is invalid, a user has no training interaction where that is an
        error, or a user has interacted with all items.
    """
    if reading.rows.is_empty():
        reason = "" if options.threshold is None else f" with a rating of at least {options.threshold:g}"
        raise InputError(f"{where}: no interactions{reason}; check the data and dataset.threshold")
    assert options.k_core is not None
    distinct, *ids = encode(reading.rows, where)
    rows = k_core(distinct, options.k_core, where)
    form, cuts, notes = reading.form, None, []
    if form is not None:
        notes.append(form.note_with_range(reading.rows["timestamp"]))
        if options.split == "time":
            cuts = find_cuts(rows["timestamp"].to_numpy(), options, form, where)
            notes.append(cuts.note(form))
    report = replace(
        reading.report,
        duplicates=reading.rows.height - distinct.height,
        outside_k_core=distinct.height - rows.height,
        k_core=options.k_core,
        notes=(*reading.report.notes, *(f"{name}: {note}" for note in notes)),
    )
    user, user_ids = renumbered(rows["user"].to_numpy(), ids[0])
    item, item_ids = renumbered(rows["item"].to_numpy(), ids[1])
    rows = rows.with_columns(user=user, item=item)
    parts = assign_splits(rows, user_ids, item_ids, options, cuts, where)
    item_titles = None if titles is None else titles_of(item_ids.cast(pl.Int64), titles)
    splits = divided(Interactions(user, item), parts)
    dataset = Dataset(
        name, **splits, user_ids=user_ids, item_ids=item_ids, titles=item_titles, protocol=options.measured_by,
        reading=report,
    )  # fmt: skip
    dataset = settle(dataset, options.unknown_user_policy, where)
    known, report = dataset.train + dataset.valid, dataset.reading_report()
    check_negatives_exist(known, dataset.user_ids, dataset.num_items, where, report)
    return dataset


def finish(dataset: Dataset, options: DataOptions, log: Log) -> Dataset:
    """Return the data set with the chosen training splits, and log its summary."""
    dataset = dataset.trained_on(options.train_splits)
    for part in SPLITS[1:]:
        if not len(getattr(dataset, part)):
            log(f"{dataset.name}: no {part} interactions")
    dataset.announce(log)
    return dataset
