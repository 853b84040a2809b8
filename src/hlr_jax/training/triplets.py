"""Batches of triplets, drawn on the device, and the loss and gradient of one batch."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, PartitionSpec

from hlr_jax.data.interactions import Pairs
from hlr_jax.data.neighborhoods import (
    Drawn,
    NeighborTables,
    Sides,
    draw_neighbors,
    look_up,
    neighbor_bits,
    owns,
    sides_of,
)
from hlr_jax.data.neighbors import Rows, own_share, rows_on, specs_of_shares
from hlr_jax.data.sampling import draw_negatives
from hlr_jax.kernels.distance import squared_distance
from hlr_jax.losses import Objective
from hlr_jax.models.base import Model, score_items
from hlr_jax.sharding import ALL_DEVICES, from_owner, shares
from hlr_jax.types import Neighbors, Padded, Params

_CACHE_BYTES = 2 << 20  # of working set that a microbatch may take on a CPU; flat between 1 and 4 MiB when measured


@struct.dataclass
class Triplets:
    """A source of triplets, on one device or in shares on a mesh.

    Attributes:
      user, item: the positive pairs [count], or their shares [P, ...] of equal lengths.
      near: what neighbors are drawn from.
      known: what negatives must avoid.
      count: how many positive pairs there are (static).
      num_items: I (static).
    """

    user: jax.Array
    item: jax.Array
    near: Sides
    known: Rows
    count: int = struct.field(pytree_node=False)
    num_items: int = struct.field(pytree_node=False)


@struct.dataclass
class Batch:
    """B triplets: ``user`` [B], ``items`` [B, 1 + n] (the positive first) and ``weight`` [B].

    ``history`` [B, H] are neighbors of the user, ``audience`` [B, 1 + n, A] of each item.
    """

    user: jax.Array
    items: jax.Array
    history: Drawn
    audience: Drawn
    weight: jax.Array


def training_triplets(train: Pairs, num_users: int, num_items: int, model: Model, mesh: Mesh | None = None) -> Triplets:
    """Return the source for training: neighbors and forbidden negatives are from the training interactions."""
    return _source(train, train, train, num_users, num_items, model, mesh)


def validation_triplets(
    train: Pairs, valid: Pairs, num_users: int, num_items: int, model: Model, mesh: Mesh | None = None
) -> Triplets:
    """Return the source for validation: neighbors are from training; negatives avoid train and valid items."""
    return _source(valid, train, train + valid, num_users, num_items, model, mesh)


def _source(
    pairs: Pairs, near: Pairs, known: Pairs, num_users: int, num_items: int, model: Model, mesh: Mesh | None
) -> Triplets:
    def positives(column: np.ndarray) -> jax.Array:
        if mesh is None:
            return jnp.asarray(column, jnp.int32)
        share = -(-len(column) // mesh.size)

        def of_device(device: int) -> np.ndarray:
            own = column[device * share : (device + 1) * share]
            return np.pad(own, (0, share - len(own)))

        return shares(of_device, (share,), mesh)

    sides = sides_of(near, num_users, num_items, model.history, model.audience, mesh)
    # One copy on the device where it is the same rows.
    rows = sides.history.rows if known is near else None
    rows = rows_on(known, num_users, mesh) if rows is None else rows
    return Triplets(positives(pairs.user), positives(pairs.item), sides, rows, len(pairs.user), num_items)


def draw_batch(
    key: jax.Array, source: Triplets, rows: jax.Array, weight: jax.Array, n: int, mesh: Mesh | None = None
) -> Batch:
    """Draw negatives and neighbors for the positives at ``rows`` [B] with ``weight`` [B].

    On a mesh each device draws for the whole batch from its own share of the interactions, with the same bits, and of
    each entry the one counts whose share has its row.
    """
    if mesh is None:
        everyone = jnp.ones(rows.shape, bool)
        return _draw(key, source, rows, everyone, weight, n, lambda drawn, mine: drawn)

    def on_device(key: jax.Array, source: Triplets, rows: jax.Array, weight: jax.Array) -> Batch:
        source = replace(own_share(source), user=source.user[0], item=source.item[0])
        place = rows - jax.lax.axis_index(mesh.axis_names) * len(source.user)
        return _draw(key, source, place, (place >= 0) & (place < len(source.user)), weight, n, from_owner)

    whole = PartitionSpec()
    columns: Any = {"user": ALL_DEVICES, "item": ALL_DEVICES}
    of_source = replace(specs_of_shares(source), **columns)
    return jax.shard_map(
        on_device, mesh=mesh, in_specs=(whole, of_source, whole, whole), out_specs=whole, check_vma=False
    )(key, source, rows, weight)  # fmt: skip


def _draw(
    key: jax.Array, source: Triplets, places: jax.Array, mine: jax.Array, weight: jax.Array, n: int,
    agree: Callable[[Any, jax.Array | None], Any],
) -> Batch:  # fmt: skip
    """Draw a batch; ``agree(drawn, mine)`` returns what the owners of the rows have drawn."""
    near = source.near
    of_history, of_audience = neighbor_bits(near.history), neighbor_bits(near.audience)
    bits = jax.random.bits(key, (len(places), n + of_history + (1 + n) * of_audience))
    for_negatives, for_history, for_audience = jnp.split(bits, [n, n + of_history], axis=1)
    user, positive = agree((source.user[places], source.item[places]), mine)
    draw = jax.vmap(lambda bits, user: draw_negatives(bits, source.known, user, source.num_items))
    negatives = agree(draw(for_negatives, user), source.known.owns(user))
    items = jnp.concatenate([positive[:, None], negatives], axis=1)
    draw_histories = jax.vmap(draw_neighbors, in_axes=(0, None, 0, 0))
    history = agree(draw_histories(for_history, near.history, user, positive), owns(near.history, user))
    draw_audiences = jax.vmap(jax.vmap(draw_neighbors, in_axes=(0, None, 0, None)), in_axes=(0, None, 0, 0))
    for_audience = for_audience.reshape(*items.shape, of_audience)
    audience = agree(draw_audiences(for_audience, near.audience, items, user), owns(near.audience, items))
    return Batch(user, items, history, audience, weight)


def triplet_loss(
    model: Model, objective: Objective, shared: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors,
    margin: jax.Array,
) -> jax.Array:  # fmt: skip
    """Return the loss of one triplet: user [D], items [1 + n, D], neighbors [H, D] and [1 + n, A, D]."""
    if model.share_relation:
        positive = jax.tree.map(lambda array: array[0], neighbors.users)
        relation = model.pair(shared, user, items[0], Neighbors(neighbors.items, positive)).relation
        distances = squared_distance(user + relation, items)
    else:
        distances = -score_items(model, shared, user, items, neighbors)
    loss = objective(distances[0], distances[1:], margin)
    return loss if model.penalty is None else loss + model.penalty(user, items, neighbors, distances)


def _shared(params: Params) -> Params:
    return {name: value for name, value in params.items() if name not in ("user", "item")}


def batch_loss(
    model: Model, objective: Objective, params: Params, tables: NeighborTables, batch: Batch, margin: jax.Array,
    microbatch: int,
) -> jax.Array:  # fmt: skip
    """Return the weighted sum of the losses of a batch: []; ``microbatch`` triplets are computed together."""
    shared = _shared(params)

    def one(piece: Batch) -> jax.Array:
        near = Neighbors(look_up(tables.items, piece.history), look_up(tables.users, piece.audience))
        user, items = params["user"][piece.user], params["item"][piece.items]
        return piece.weight * triplet_loss(model, objective, shared, user, items, near, margin)

    return jnp.sum(jax.lax.map(one, batch, batch_size=microbatch))


def batch_gradient(
    model: Model, objective: Objective, params: Params, tables: NeighborTables, batch: Batch, margin: jax.Array,
    microbatch: int,
) -> tuple[jax.Array, Params]:  # fmt: skip
    """Return the weighted sum of the losses of a batch and its gradient by every parameter.

    Gradients are taken by vectors, ``microbatch`` triplets at a time, and added to the rows they came from: the
    [B, H, D] vectors and [B, H, N] weights of a whole batch never exist at once, so each piece stays in cache. Means
    get no gradient.
    """
    shared = _shared(params)

    def loss(
        shared: Params, user: jax.Array, items: jax.Array, history: jax.Array, audience: jax.Array, piece: Batch
    ) -> jax.Array:
        def one(user: jax.Array, items: jax.Array, near: Neighbors) -> jax.Array:
            return triplet_loss(model, objective, shared, user, items, near, margin)

        near = Neighbors(Padded(history, piece.history.mask), Padded(audience, piece.audience.mask))
        return jnp.sum(jax.vmap(one)(user, items, near) * piece.weight)

    def add(total: tuple[jax.Array, Params], piece: Batch) -> tuple[tuple[jax.Array, Params], None]:
        value, sums = total
        neighbors = tables.items[piece.history.ids], tables.users[piece.audience.ids]
        vectors = params["user"][piece.user], params["item"][piece.items], *neighbors
        losses, gradients = jax.value_and_grad(loss, argnums=(0, 1, 2, 3, 4))(shared, *vectors, piece)
        by_shared, by_user, by_item, by_history, by_audience = gradients
        user_sums, item_sums = sums["user"].at[piece.user].add(by_user), sums["item"].at[piece.items].add(by_item)
        if model.history.drawn:
            item_sums = item_sums.at[piece.history.ids].add(by_history)
        if model.audience.drawn:
            user_sums = user_sums.at[piece.audience.ids].add(by_audience)
        sums = {name: sums[name] + by_shared[name] for name in by_shared} | {"user": user_sums, "item": item_sums}
        return (value + losses, sums), None

    steps = batch.user.shape[0] // microbatch
    pieces = jax.tree.map(lambda array: array.reshape(steps, microbatch, *array.shape[1:]), batch)
    nothing = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    total, _ = jax.lax.scan(add, nothing, pieces)
    return total


def working_floats(model: Model, params: Params, n: int) -> int:
    """Return about how many floats the gradient of one triplet takes: vectors, weights, and what they become."""
    dim, memories = params["item"].shape[1], params["keys"].shape[0] if "keys" in params else 0
    heads, audience = model.history.size, (1 + n) * model.audience.size
    return 2 * (2 + n + heads + audience) * dim + 4 * ((1 + n) * heads + audience) * memories


def microbatch_size(chosen: int, batch_size: int, model: Model, params: Params, n: int) -> int:
    """Return the microbatch: the chosen one, or for 0 the largest divisor of the batch whose work fits in cache."""
    if chosen:
        return chosen
    if jax.default_backend() != "cpu":
        return batch_size
    fitting = max(1, _CACHE_BYTES // (4 * working_floats(model, params, n)))
    return max(size for size in range(1, batch_size + 1) if batch_size % size == 0 and size <= fitting)
