"""Batches of positives with their negatives and neighbors, drawn on the device."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from hlr_jax.data.csr import CSR, own_share, place_of, rows_on, specs_of_shares
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import (
    NeighborIds,
    NeighborTables,
    Side,
    Sides,
    draw_neighbors,
    neighbor_bits,
    owns,
    sides_of,
    tables_of_met,
)
from hlr_jax.data.sampling import Popularity, draw_negatives, draw_popular, popularity_of, shuffled
from hlr_jax.errors import InputError
from hlr_jax.models.base import Model
from hlr_jax.sharding import ALL_DEVICES, from_owner, replicate, shard_batch, shares
from hlr_jax.training.batches import Batch, Common, Negatives, Triplets
from hlr_jax.types import Params

Agree = Callable[[Any, jax.Array | None], Any]
"""(drawn, mine) -> what the owners of the rows have drawn."""


def training_triplets(
    train: Interactions, num_users: int, num_items: int, model: Model, negatives: Negatives, mesh: Mesh | None = None
) -> Triplets:
    """Return the source for training: neighbors and forbidden negatives are from the training interactions.

    Raises:
      InputError: ``all`` negatives for a model that is defined on triplets.
    """
    return _source(train, train, train, num_users, num_items, model, negatives, mesh)


def validation_triplets(
    train: Interactions, valid: Interactions, num_users: int, num_items: int, model: Model, negatives: Negatives,
    mesh: Mesh | None = None,
) -> Triplets:  # fmt: skip
    """Return the source for validation: neighbors are from training; negatives avoid train and valid items."""
    return _source(valid, train, train + valid, num_users, num_items, model, negatives, mesh)


def _source(
    pairs: Interactions, near: Interactions, known: Interactions, num_users: int, num_items: int, model: Model,
      negatives: Negatives,
    mesh: Mesh | None,
) -> Triplets:  # fmt: skip
    def positives(column: str) -> jax.Array:
        if mesh is None:
            return jnp.asarray(getattr(pairs, column), jnp.int32)
        share = -(-len(pairs) // mesh.size)

        def of_device(device: int) -> np.ndarray:
            first, last = (min(end * share, len(pairs)) for end in (device, device + 1))
            own = getattr(pairs.between(first, last), column)
            return np.pad(own, (0, share - len(own)))

        return shares(of_device, (share,), mesh)

    sides = sides_of(near, num_users, num_items, model.history, model.item_users, mesh)
    # One copy on the device where it is the same rows.
    rows = sides.history.rows if known is near and (mesh is None or model.history.drawn) else None
    rows = rows_on(known, num_users, mesh) if rows is None else rows
    if negatives.kind == "all":
        if model.share_relation or model.penalty is not None:
            reason = "share_relation" if model.share_relation else "a penalty on each triplet"
            raise InputError(f"train.negatives=all has no triplets, but model {model.name} has {reason}; take another")
        visited = np.flatnonzero(pairs.degrees(num_users)).astype(np.int32)
        targets = None if pairs is known else rows_on(pairs, num_users, mesh)
        users = replicate(jnp.asarray(visited), mesh)
        return Triplets(users, None, sides, rows, targets, None, len(visited), len(pairs), num_items)
    popularity = replicate(popularity_for(near, num_items, negatives), mesh)
    columns = positives("user"), positives("item")
    return Triplets(*columns, sides, rows, None, popularity, len(pairs), len(pairs), num_items)


def popularity_for(near: Interactions, num_items: int, negatives: Negatives) -> Popularity | None:
    """Return what the negatives are drawn by, given the interactions of training; None: uniformly."""
    exponent = 1.0 if negatives.kind == "in_batch" else negatives.popularity
    return popularity_of(near.item_degrees(num_items), exponent) if exponent else None


def draw_batch(
    key: jax.Array, source: Triplets, rows: jax.Array, weight: jax.Array, negatives: Negatives,
    mesh: Mesh | None = None,
) -> Batch:  # fmt: skip
    """Draw negatives and neighbors for the positives, or users, at ``rows`` [B] with ``weight`` [B].

    On a mesh each device draws for the whole batch from its own share of the interactions, with the same bits, and of
    each entry the one counts whose share has its row. The batch is cut over the mesh's ``data`` axis, but for what all
    triplets share.
    """
    if mesh is None:
        if source.item is None:
            return _draw_users(key, source, rows, weight, lambda drawn, mine: drawn)
        everyone = jnp.ones(rows.shape, bool)
        return _draw(key, source, rows, everyone, weight, negatives, lambda drawn, mine: drawn)

    def on_device(key: jax.Array, source: Triplets, rows: jax.Array, weight: jax.Array) -> Batch:
        if source.item is None:
            return _draw_users(key, own_share(source), rows, weight, from_owner)
        source = replace(own_share(source), user=source.user[0], item=source.item[0])
        place = rows - jax.lax.axis_index(mesh.axis_names) * len(source.user)
        mine = (place >= 0) & (place < len(source.user))
        return _draw(key, source, place, mine, weight, negatives, from_owner)

    whole = PartitionSpec()
    columns: Any = {} if source.item is None else {"user": ALL_DEVICES, "item": ALL_DEVICES}
    of_source = replace(specs_of_shares(source), **columns)
    batch = jax.shard_map(
        on_device, mesh=mesh, in_specs=(whole, of_source, whole, whole), out_specs=whole, check_vma=False
    )(key, source, rows, weight)  # fmt: skip
    return replace(shard_batch(replace(batch, common=None), mesh), common=batch.common)


def tables_of_batch(
    params: Params, near: Sides, batch: Batch, mesh: Mesh | None = None
) -> tuple[NeighborTables, Batch]:
    """Return what the neighbors of a batch point into, means of its own owners alone, and the batch that does."""
    sides = [batch.item_users] if batch.common is None else [batch.item_users, batch.common.item_users]
    tables, (history,), (item_users, *others) = tables_of_met(params, near, [batch.history], sides, mesh)
    common = None if batch.common is None else replace(batch.common, item_users=others[0])
    return tables, replace(batch, history=history, item_users=item_users, common=common)


def _draw(
    key: jax.Array, source: Triplets, places: jax.Array, mine: jax.Array, weight: jax.Array, negatives: Negatives,
    agree: Agree,
) -> Batch:  # fmt: skip
    """Draw a batch of positives."""
    assert source.item is not None
    near, n = source.near, negatives.own
    of_history, of_item_users = neighbor_bits(near.history), neighbor_bits(near.item_users)
    bits = jax.random.bits(key, (len(places), n + of_history + (1 + n) * of_item_users))
    for_negatives, for_history, for_item_users = jnp.split(bits, [n, n + of_history], axis=1)
    user, positive = agree((source.user[places], source.item[places]), mine)
    own, log_expected = _own_negatives(for_negatives, source, user, agree)
    items = jnp.concatenate([positive[:, None], own], axis=1)
    draw_histories = jax.vmap(draw_neighbors, in_axes=(0, None, 0, 0))
    history = agree(draw_histories(for_history, near.history, user, positive), owns(near.history, user))
    draw_item_users = jax.vmap(jax.vmap(draw_neighbors, in_axes=(0, None, 0, None)), in_axes=(0, None, 0, 0))
    for_item_users = for_item_users.reshape(*items.shape, of_item_users)
    item_users = agree(draw_item_users(for_item_users, near.item_users, items, user), owns(near.item_users, items))
    common = _common_negatives(jax.random.fold_in(key, 0), source, positive, weight, negatives, agree)
    known = jnp.zeros(own.shape, bool)
    if source.popularity is not None:
        known = agree(jax.vmap(partial(_known, source.known))(user, own), source.known.owns(user))
    if common is not None:
        others_known = agree(_all_known(source.known, user, common.items, source.num_items), source.known.owns(user))
        if negatives.kind == "in_batch":
            others_known |= weight == 0  # what fills up the last batch is no draw
        known = jnp.concatenate([known, others_known], axis=1)
    return Batch(user, items, known, log_expected, history, item_users, weight, common)


def _own_negatives(bits: jax.Array, source: Triplets, user: jax.Array, agree: Agree) -> tuple[jax.Array, jax.Array]:
    """Return the negatives [B, n] that triplets draw for themselves, and the log of their expected counts."""
    n = bits.shape[1]
    if source.popularity is None:
        draw = jax.vmap(lambda bits, user: draw_negatives(bits, source.known, user, source.num_items))
        degree = jax.vmap(source.known.degree)
        drawn, degrees = agree((draw(bits, user), degree(user)), source.known.owns(user))
        log_expected = jnp.log(max(n, 1) / (source.num_items - degrees).astype(jnp.float32))
        return drawn, jnp.broadcast_to(log_expected[:, None], bits.shape)
    drawn = draw_popular(bits, source.popularity)
    return drawn, source.popularity.log_share[drawn] + math.log(max(n, 1))


def _common_negatives(
    key: jax.Array, source: Triplets, positive: jax.Array, weight: jax.Array, negatives: Negatives,
    agree: Agree,
) -> Common | None:  # fmt: skip
    """Return the negatives that a batch shares: distinct items, items by popularity, or the batch's own positives."""
    if negatives.kind == "own":
        return None
    for_items, for_item_users = jax.random.split(key)
    if negatives.kind == "in_batch":
        assert source.popularity is not None
        items, others = positive, jnp.maximum(jnp.sum(weight) - 1, 1)
        log_expected = jnp.log(others) + source.popularity.log_share[items]
    elif source.popularity is None:
        count = min(negatives.number, source.num_items)
        items = shuffled(for_items, jnp.arange(count), source.num_items)
        log_expected = jnp.full(count, math.log(count / source.num_items))
    else:
        items = draw_popular(jax.random.bits(for_items, (negatives.number,)), source.popularity)
        log_expected = source.popularity.log_share[items] + math.log(negatives.number)
    return Common(items, _item_users_of_all(for_item_users, source.near.item_users, items, agree), log_expected)


def _item_users_of_all(key: jax.Array, side: Side, items: jax.Array, agree: Agree) -> NeighborIds:
    """Return the neighbors [S, A] of items that a batch shares."""
    bits = jax.random.bits(key, (len(items), neighbor_bits(side)))
    item_users = jax.vmap(draw_neighbors, in_axes=(0, None, 0))(bits, side, items)
    return agree(item_users, owns(side, items))


def _draw_users(key: jax.Array, source: Triplets, places: jax.Array, weight: jax.Array, agree: Agree) -> Batch:
    """Draw a batch of users, each with all items.

    An item of the user is either in the history or a positive, never both. So a history takes at most half of them,
    and the positives that are left weigh as much as all.
    """
    near, targets = source.near, source.targets
    for_history, for_item_users = jax.random.split(key)
    user, items = source.user[places], jnp.arange(source.num_items)

    def draw(bits: jax.Array, user: jax.Array) -> NeighborIds:
        rows = near.history.rows
        most = rows.degree(user) // 2 if rows is not None and near.history.neighborhood.drawn else None
        return draw_neighbors(bits, near.history, user, most=most)

    bits = jax.random.bits(for_history, (len(user), neighbor_bits(near.history)))
    history = agree(jax.vmap(draw)(bits, user), owns(near.history, user))

    def rows_of_all(rows: CSR) -> jax.Array:
        return agree(_all_known(rows, user, items, source.num_items), rows.owns(user))

    known = rows_of_all(source.known)
    wanted = known if targets is None else rows_of_all(targets)
    shown = jnp.zeros_like(wanted)
    if near.history.neighborhood.drawn:
        ids = jnp.where(history.mask, history.ids, source.num_items)
        shown = jax.vmap(lambda shown, ids: shown.at[ids].set(True, mode="drop"))(shown, ids)
    left = wanted & ~shown
    weight = weight * jnp.sum(wanted, axis=1) / jnp.maximum(jnp.sum(left, axis=1), 1)
    common = Common(items, _item_users_of_all(for_item_users, near.item_users, items, agree), jnp.zeros(len(items)))
    none = jnp.zeros((len(user), 0), jnp.int32)
    empty = jnp.zeros((len(user), 0, common.item_users.ids.shape[1]), jnp.int32)
    item_users = NeighborIds(empty, empty.astype(bool))
    return Batch(user, none, known, none.astype(jnp.float32), history, item_users, weight, common, left)


def _known(rows: CSR, user: jax.Array, items: jax.Array) -> jax.Array:
    """Return whether each of some items stands in a user's row: [], [n] -> [n]."""
    return jax.vmap(lambda item: place_of(rows, user, item) < rows.degree(user))(items)


def _all_known(rows: CSR, users: jax.Array, items: jax.Array, num_items: int) -> jax.Array:
    """Return whether each of the same items stands in the rows of users: [B], [S] -> [B, S].

    On a CPU one walk through a user's row is far less work than a bisection for each item. A walk of many users at once
    would go on to the longest row of them all.
    """
    count = len(items)
    if jax.default_backend() != "cpu":
        return jax.vmap(lambda user: _known(rows, user, items))(users)
    # An item that stands twice among them has one place of the two.
    places = jnp.full(num_items, count).at[items].set(jnp.arange(count))

    def one(user: jax.Array) -> jax.Array:
        start = rows.start(user)

        def mark(index: jax.Array, known: jax.Array) -> jax.Array:
            return known.at[places[rows.items[start + index]]].set(True, mode="drop")

        return jax.lax.fori_loop(0, rows.degree(user), mark, jnp.zeros(count, bool))

    return jax.lax.map(one, users)[:, places[items]]
