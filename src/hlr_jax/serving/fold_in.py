"""New users and new items without retraining; ``new_rows`` describes how their vectors are found."""

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
"""The interactions of new users, or of new items: ids by id, ``{"ann": ["i1", "i2"]}``, or a frame.

The frame, of polars, pandas or Arrow, has the columns ``user`` and ``item``. In place of a list, one id is enough. New
ids stay texts or whole numbers."""


class Catalogue(NamedTuple):
    """A model's parameters with rows for new items, and the data set with these items and their interactions.

    Use these two wherever ``params`` and ``dataset`` of a trained model are expected.

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
    """Return new users, given by their items, ready for ``recommend`` and ``explain`` (``among=``).

    Items, keys, memories and trained users do not change, and the users of an item are its trained users. Thousands of
    users share one compilation, which the next call of a similar size reuses. Scorers and models that make users from
    their items need no solving. In a blend, new users join each part.

    Args:
      model: a trained model, a scorer or a blend.
      params: its parameters, on one device.
      dataset: the data set that it was trained on.
      histories: items by user, ``{"ann": ["i1", "i2"]}``, or a frame of ``user`` and ``item``; original item ids. A
        user here is always a new one, even if ``dataset`` has the same id.
      training: the settings that the model was trained with (objective, its scales, negatives), at the temperature
        that was kept: ``LoadedRun.training_of(0)``, or ``options.at(result.run.temperature)``. They define the
        objective, so the same settings are needed. None: for a scorer, for a model that is solved for or makes users
        from their items, and for a blend, whose parts have their own.
      options: of the steps; None: the defaults.
      on_unknown: how unknown items are handled: ``error`` or ``skip``. ``popular`` does the same as ``skip``: a user
        without known items is not in the result, and ``recommend`` treats them as unknown.
      seed: random seed.
      log: receives log lines.

    Raises:
      InputError: an unknown item, no user with a known item, a user with all items, parameters on a mesh, or
        ``training`` that is missing or has several temperatures.

    Example:
      >>> people = hlr_jax.fold_in(model, params, data, {"ann": [3, 7]}, training=options)
      >>> hlr_jax.recommend(model, params, data, among=people, k=1)["user"].to_list()
      ['ann']
    """
    _check(model, params, dataset, seed)
    ids, interactions = _read(dataset, histories, "user", on_unknown, log)
    degrees = interactions.degrees()
    if degrees.max() >= dataset.num_items:
        raise InputError(
            f"histories: user {ids[int(np.argmax(degrees))]} has all {dataset.num_items} items; leave it out"
        )
    options = _given(options)
    if not isinstance(model, Blend):
        return new_users_of(Part(model, 1.0, seed, training), params, dataset, ids, interactions, options)
    own = parts_of(model, params)
    parts = {
        label: new_users_of(part, own[label][1], dataset, ids, interactions, options)
        for label, part in model.parts.items()
    }
    return Population(params, ids, np.arange(len(ids)), interactions, interactions, None, parts)


def new_users_of(
    part: Part, params: Params, dataset: Dataset, ids: pl.Series, interactions: Interactions, options: FoldInOptions,
    like: np.ndarray | None = None,
) -> Population:  # fmt: skip
    """Return new users with their items, for a model or a scorer, alone or in a blend.

    ``like`` is that of ``solve_rows``.
    """
    if isinstance(part.system, Model):
        new = solve_rows(part, params, dataset, "user", interactions, options, like)
        return Population(new.params, ids, new.rows, new.interactions, new.interactions, new.sources)
    return Population(params, ids, np.arange(len(ids)), interactions, interactions, None)


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
    """Return the model with new items, given by their users.

    Users, keys, memories and trained items do not change. A new item with few users is placed between those few and
    away from all others. The given pairs count as training interactions from then on: users are not recommended these
    items again, and their histories contain them.

    Args:
      model: a trained model.
      params: its parameters, on one device.
      dataset: the data set that it was trained on.
      users_of_items: users by item, ``{"i9": ["ann", "bob"]}``, or a frame of ``user`` and ``item``; original user ids,
        and item ids that the data set lacks.
      training: as in ``fold_in``.
      options: of the steps; None: the defaults.
      on_unknown: how unknown users are handled: ``error`` or ``skip``; an item without known users is left out.
      seed: random seed.
      log: receives log lines.

    Returns:
      The parameters with a row for each new item after the trained ones, and the data set with these items after its
      own. Use both in place of the trained ones: ``recommend(model, *catalogue, users=...)``.

    Raises:
      InputError: an unknown user, an item that the data set already has, no item with a known user, parameters on a
        mesh, or ``training`` that is missing or has several temperatures.

    Example:
      >>> more = hlr_jax.fold_in_items(model, params, data, {1000: [3, 7]}, training=options)
      >>> more.dataset.num_items, len(hlr_jax.recommend(model, *more, users=[5], candidates=[1000]))
      (51, 1)
    """
    _check(model, params, dataset, seed)
    ids, interactions = _read(dataset, users_of_items, "item", on_unknown, log)
    known = ids.filter(pl.Series(dataset.item_index.find(ids.cast(pl.String)) != UNKNOWN))
    if len(known):
        raise InputError(f"users_of_items: the data set already has item {known[0]}; leave it out")
    if dataset.item_ids.dtype.is_integer() and not ids.dtype.is_integer():
        raise InputError(f"users_of_items: {named(ids)}: item ids are {dataset.item_index.kind} in this data set")
    pairs = pl.DataFrame({"user": dataset.user_ids.gather(interactions.item), "item": ids.gather(interactions.user)})
    new = solve_rows(Part(model, 1.0, seed, training), params, dataset, "item", interactions, _given(options))
    last = int(new.rows[-1]) + 1
    params = new.params | {name: array[:last] for name, array in model.on_axis(new.params, "item").items()}
    return Catalogue(params, with_interactions(dataset, pairs))


def _given(options: FoldInOptions | None) -> FoldInOptions:
    """Return the options that are given, or the defaults."""
    if options is not None and not isinstance(options, FoldInOptions):
        raise InputError(f"fold_in: options are FoldInOptions(...), not {type(options).__name__}")
    return options or FoldInOptions()


def _check(model: System, params: Params, dataset: Dataset, seed: int) -> None:
    """Check that new users or items can join a model."""
    check_seed("fold_in.seed", seed)
    if isinstance(model, Model) and mesh_of(params) is not None:
        raise InputError("fold_in runs on one device: load the run without a mesh")
    check_params(model, params, dataset.num_users, dataset.num_items)


def _read(
    dataset: Dataset, given: Given, axis: str, on_unknown: str, log: Callable[[str], None]
) -> tuple[pl.Series, Interactions]:
    """Return the ids of new users or items in order of first appearance, and their known interactions by position.

    Only those with a known interaction remain. Positions are ``user`` of the interactions on either axis.
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
            raise InputError(f"{line}; ids of {other}s are {index.kind}; remove them, or pass on_unknown=skip")
        log(f"{line}: left out")
    table = pl.DataFrame({"new": rows[axis], "other": codes}).with_row_index("first")
    table = table.with_columns(pl.col("first").min().over("new")).filter(pl.col("other") != UNKNOWN)
    table = table.unique().sort("first", "other")
    ids = table["new"].unique(maintain_order=True).alias(axis)
    lost = rows[axis].n_unique() - len(ids)
    if not len(ids):
        raise InputError(f"{name}: no {axis} has {'an item' if axis == 'user' else 'a user'} that the data set has")
    if lost:
        log(f"{name}: {lost:,} {axis}s have no known {other}: left out")
    place = table["first"].rank("dense").cast(pl.Int32).to_numpy() - np.int32(1)
    return ids, Interactions(place, table["other"].to_numpy())
