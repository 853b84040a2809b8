"""From the rows of a source to a data set: the one way, for files and for data in memory."""

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
    """Drop duplicates, take the k-core, divide, and settle users of valid and test that train lacks.

    Args:
      reading: the rows, with the columns ``options.roles``.
      options: what to do with them; ``k_core`` is a number.
      where: what the source is called.
      name: of the data set.
      titles: ``item``, ``title`` and ``genres`` of items.

    Raises:
      InputError: nothing is left, a given split is none, a user whom train lacks where that is an error, or a user for
        whom no negative is left.
    """
    if reading.rows.is_empty():
        reason = "" if options.threshold is None else f" with a rating of at least {options.threshold:g}"
        raise InputError(f"{where}: no interactions{reason}; check dataset.threshold and the data")
    assert options.k_core is not None
    distinct, *ids = encode(reading.rows, where)
    rows = k_core(distinct, options.k_core, where)
    form, cuts, notes = reading.form, None, []
    if form is not None:
        notes.append(form.said(reading.rows["timestamp"]))
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
    known = None if titles is None else titles_of(item_ids.cast(pl.Int64), titles)
    splits = divided(Interactions(user, item), parts)
    dataset = Dataset(
        name, **splits, user_ids=user_ids, item_ids=item_ids, titles=known, protocol=options.measured_by, reading=report
    )
    dataset = settle(dataset, options.unknown_user_policy, where)
    met, told = dataset.train + dataset.valid, dataset.reading_report()
    check_negatives_exist(met, dataset.user_ids, dataset.num_items, where, told)
    return dataset


def finish(dataset: Dataset, options: DataOptions, log: Log) -> Dataset:
    """Return the data set with the chosen training interactions, and tell people what it is."""
    dataset = dataset.trained_on(options.train_splits)
    for part in SPLITS[1:]:
        if not len(getattr(dataset, part)):
            log(f"{dataset.name}: no {part} interactions")
    dataset.announce(log)
    return dataset
