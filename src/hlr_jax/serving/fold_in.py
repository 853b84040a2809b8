"""New users and new items without retraining; ``new_rows`` says how their vectors are found."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from hlr_jax.blended_systems import Blend, Part
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.growth import with_interactions
from hlr_jax.data.ids import ON_UNKNOWN, UNKNOWN, named, texts_of
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError, check_seed, pick
from hlr_jax.models.base import Model
from hlr_jax.parameters import check_params
from hlr_jax.ranking.population import Population, parts_of
from hlr_jax.serving.inputs import read_pairs
from hlr_jax.serving.new_rows import OTHER_AXIS, FoldInOptions, solve_rows
from hlr_jax.sharding import mesh_of
from hlr_jax.systems import System
from hlr_jax.training.options import TrainOptions
from hlr_jax.types import Params

Given = Mapping[Any, Any] | Any
"""What new users, or new items, have met: ids by id, ``{"ann": ["i1", "i2"]}``, or a frame of ``user`` and ``item``.

The frame is one of polars, pandas or Arrow. One id stands for a list of one. New ids stay texts or whole numbers."""


class Catalogue(NamedTuple):
    """A model's parameters with rows of new items, and the data set with these items and what is known of them.

    Wherever ``params`` and ``dataset`` of a trained model are taken, these are taken too.

    Example:
      >>> catalogue = hlr_jax.Catalogue(params, data)  # as fold_in_items returns it
      >>> hlr_jax.recommend(model, *catalogue, users=7, k=2).height
      2
    """

    params: Params
    dataset: Dataset


def fold_in(
    model: System,
    params: Params,
    dataset: Dataset,
    histories: Given,
    *,
    training: TrainOptions | None = None,
    options: FoldInOptions | None = None,
    on_unknown: str = "error",
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> Population:
    """Return users who are given by items alone, ready for ``recommend`` and ``explain`` (``among=``).

    Items, keys, memories and the users of training stay as they are, and the users of items are those of training.
    Thousands of users share one compilation, with the next call of as many too. A scorer, and a model that makes users
    from their items, knows users by these alone: nothing is solved for. Of a blend they join each part.

    Args:
      model: what was trained; a model, a scorer or a blend.
      params: its parameters, on one device.
      dataset: what it was trained on.
      histories: items by user, ``{"ann": ["i1", "i2"]}``, or a frame of ``user`` and ``item``; original item ids. A
        user whose id is known to ``dataset`` too is another user here.
      training: the settings that the model was trained with (objective, its scales, negatives), at the temperature
        that was kept: ``LoadedRun.training_of(0)``, or ``options.at(result.run.temperature)``. They say what a good
        vector is, so no others stand for them. None: the model is solved for, makes users from their items, or is a
        scorer, which read none, or a blend, whose parts have their own.
      options: of the steps; None: the defaults.
      on_unknown: what becomes of items that the data set lacks: ``error``, or ``skip`` (``popular`` too: a user who has
        no item left then has no place in the result, and ``recommend`` treats them as unknown).
      seed: of the draws.
      log: takes lines for people.

    Raises:
      InputError: an unknown item, no user with a known item, a user with all items, parameters on a mesh, or no
        ``training`` or several temperatures in it.

    Example:
      >>> people = hlr_jax.fold_in(model, params, data, {"ann": [3, 7]}, training=options)
      >>> hlr_jax.recommend(model, params, data, among=people, k=1)["user"].to_list()
      ['ann']
    """
    _check(model, params, dataset, seed)
    ids, met = _read(dataset, histories, "user", on_unknown, log)
    degrees = met.degrees()
    if degrees.max() >= dataset.num_items:
        raise InputError(
            f"histories: user {ids[int(np.argmax(degrees))]} has all {dataset.num_items} items; leave it out"
        )
    options = _given(options)
    if not isinstance(model, Blend):
        return people_of(Part(model, 1.0, seed, training), params, dataset, ids, met, options)
    own = parts_of(model, params)
    parts = {label: people_of(part, own[label][1], dataset, ids, met, options) for label, part in model.parts.items()}
    return Population(params, ids, np.arange(len(ids)), met, met, None, parts)


def people_of(
    part: Part, params: Params, dataset: Dataset, ids: pl.Series, met: Interactions, options: FoldInOptions,
    like: np.ndarray | None = None,
) -> Population:  # fmt: skip
    """Return people with what they have met, for a model or a scorer, alone or in a blend.

    ``like`` is that of ``solve_rows``.
    """
    if isinstance(part.system, Model):
        new = solve_rows(part, params, dataset, "user", met, options, like)
        return Population(new.params, ids, new.rows, new.met, new.met, new.sources)
    return Population(params, ids, np.arange(len(ids)), met, met, None)


def fold_in_items(
    model: Model,
    params: Params,
    dataset: Dataset,
    users_of_items: Given,
    *,
    training: TrainOptions | None = None,
    options: FoldInOptions | None = None,
    on_unknown: str = "error",
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> Catalogue:
    """Return the model with new items that are given by the users who met them alone.

    Users, keys, memories and the items of training stay as they are. An item that few have met yet is placed between
    those few, and away from all others. What is given counts as training interactions from then on: users are not
    recommended what they have met, and their histories hold it.

    Args:
      model: what was trained.
      params: its parameters, on one device.
      dataset: what it was trained on.
      users_of_items: users by item, ``{"i9": ["ann", "bob"]}``, or a frame of ``user`` and ``item``; original user ids,
        and item ids that the data set lacks.
      training: as in ``fold_in``.
      options: of the steps; None: the defaults.
      on_unknown: what becomes of users that the data set lacks: ``error``, or ``skip``; an item that has no user left
        is left out.
      seed: of the draws.
      log: takes lines for people.

    Returns:
      Parameters with a row for each new item behind those of training, and the data set with these items behind its
      own; both in the place of what a trained model has: ``recommend(model, *catalogue, users=...)``.

    Raises:
      InputError: an unknown user, an item that the data set has already, no item with a known user, parameters on a
        mesh, or no ``training`` or several temperatures in it.

    Example:
      >>> more = hlr_jax.fold_in_items(model, params, data, {1000: [3, 7]}, training=options)
      >>> more.dataset.num_items, len(hlr_jax.recommend(model, *more, users=[5], candidates=[1000]))
      (51, 1)
    """
    _check(model, params, dataset, seed)
    ids, met = _read(dataset, users_of_items, "item", on_unknown, log)
    known = ids.filter(pl.Series(dataset.item_index.find(ids.cast(pl.String)) != UNKNOWN))
    if len(known):
        raise InputError(f"users_of_items: item {known[0]} is no new one; leave it out")
    if dataset.item_ids.dtype.is_integer() and not ids.dtype.is_integer():
        raise InputError(f"users_of_items: {named(ids)}: ids of items are {dataset.item_index.kind} in this data set")
    pairs = pl.DataFrame({"user": dataset.user_ids.gather(met.item), "item": ids.gather(met.user)})
    new = solve_rows(Part(model, 1.0, seed, training), params, dataset, "item", met, _given(options))
    last = int(new.rows[-1]) + 1
    params = new.params | {name: array[:last] for name, array in model.on_axis(new.params, "item").items()}
    return Catalogue(params, with_interactions(dataset, pairs))


def _given(options: FoldInOptions | None) -> FoldInOptions:
    """Return the options that are given, or the defaults."""
    if options is not None and not isinstance(options, FoldInOptions):
        raise InputError(f"fold_in: options are FoldInOptions(...), not {type(options).__name__}")
    return options or FoldInOptions()


def _check(model: System, params: Params, dataset: Dataset, seed: int) -> None:
    """Check that something new can join a model."""
    check_seed("fold_in.seed", seed)
    if isinstance(model, Model) and mesh_of(params) is not None:
        raise InputError("fold_in runs on one device: load the run without a mesh")
    check_params(model, params, dataset.num_users, dataset.num_items)


def _read(
    dataset: Dataset, given: Given, axis: str, on_unknown: str, log: Callable[[str], None]
) -> tuple[pl.Series, Interactions]:
    """Return the ids of what is new and has met something known, in the order of first rows, and what by place.

    The places of the new ones are ``user`` of the interactions, whatever their axis is.
    """
    pick(on_unknown, ON_UNKNOWN, "on_unknown")
    other = OTHER_AXIS[axis]
    name, index = ("histories", dataset.item_index) if axis == "user" else ("users_of_items", dataset.user_index)
    rows = read_pairs(given, name, by=axis, is_new=True)
    texts = texts_of(rows[other], name)
    codes = pl.Series(index.find(texts), dtype=pl.Int32)
    unknown = texts.filter(codes == UNKNOWN)
    if len(unknown):
        first = named(unknown.unique(maintain_order=True))
        line = f"{name}: {unknown.n_unique():,} {other}s ({len(unknown):,} rows) are unknown, such as {first}"
        if on_unknown == "error":
            raise InputError(f"{line}; ids of {other}s are {index.kind}; leave others out, or pass on_unknown=skip")
        log(f"{line}: left out")
    table = pl.DataFrame({"new": rows[axis], "met": codes}).with_row_index("first")
    table = table.with_columns(pl.col("first").min().over("new")).filter(pl.col("met") != UNKNOWN)
    table = table.unique().sort("first", "met")
    ids = table["new"].unique(maintain_order=True).alias(axis)
    lost = rows[axis].n_unique() - len(ids)
    if not len(ids):
        raise InputError(f"{name}: no {axis} has {'an item' if axis == 'user' else 'a user'} that the data set knows")
    if lost:
        log(f"{name}: {lost:,} {axis}s have no known {other}")
    place = table["first"].rank("dense").cast(pl.Int32).to_numpy() - np.int32(1)
    return ids, Interactions(place, table["met"].to_numpy())
