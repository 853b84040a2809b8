"""Batches of triplets, drawn on the device, and the loss and gradient of one batch."""

import jax
import jax.numpy as jnp
from flax import struct

from hlr_jax.data.interactions import Pairs
from hlr_jax.data.neighborhoods import Drawn, NeighborTables, Sides, draw_neighbors, look_up, neighbor_bits, sides_of
from hlr_jax.data.neighbors import Rows, rows_of
from hlr_jax.data.sampling import draw_negatives
from hlr_jax.kernels.distance import squared_distance
from hlr_jax.losses import Objective
from hlr_jax.models.base import Model, score_items
from hlr_jax.types import Neighbors, Padded, Params

_CACHE_BYTES = 2 << 20  # of working set that a microbatch may take on a CPU; flat between 1 and 4 MiB when measured


@struct.dataclass
class Triplets:
    """A source of triplets on the device.

    Attributes:
      user, item: [P] the positive pairs.
      near: what neighbors are drawn from.
      known: what negatives must avoid.
      num_items: I (static).
    """

    user: jax.Array
    item: jax.Array
    near: Sides
    known: Rows
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


def training_triplets(train: Pairs, num_users: int, num_items: int, model: Model) -> Triplets:
    """Return the source for training: neighbors and forbidden negatives are from the training interactions."""
    return _source(train, train, train, num_users, num_items, model)


def validation_triplets(train: Pairs, valid: Pairs, num_users: int, num_items: int, model: Model) -> Triplets:
    """Return the source for validation: neighbors are from training; negatives avoid train and valid items."""
    return _source(valid, train, train + valid, num_users, num_items, model)


def _source(pairs: Pairs, near: Pairs, known: Pairs, num_users: int, num_items: int, model: Model) -> Triplets:
    user, item = jnp.asarray(pairs.user, jnp.int32), jnp.asarray(pairs.item, jnp.int32)
    sides = sides_of(near, num_users, num_items, model.history, model.audience)
    # One copy on the device where it is the same rows.
    rows = sides.history.rows if known is near else None
    return Triplets(user, item, sides, rows_of(known, num_users) if rows is None else rows, num_items)


def draw_batch(key: jax.Array, source: Triplets, rows: jax.Array, weight: jax.Array, n: int) -> Batch:
    """Draw negatives and neighbors for the positives at ``rows`` [B] with ``weight`` [B]."""
    near = source.near
    of_history, of_audience = neighbor_bits(near.history), neighbor_bits(near.audience)

    def one(bits: jax.Array, row: jax.Array) -> tuple[jax.Array, Drawn, Drawn]:
        user, positive = source.user[row], source.item[row]
        negatives = draw_negatives(bits[:n], source.known, user, source.num_items)
        items = jnp.append(positive, negatives)
        history = draw_neighbors(bits[n : n + of_history], near.history, user, positive)
        draw = jax.vmap(lambda bits, item: draw_neighbors(bits, near.audience, item, user))
        return items, history, draw(bits[n + of_history :].reshape(1 + n, of_audience), items)

    words = n + of_history + (1 + n) * of_audience
    items, history, audience = jax.vmap(one)(jax.random.bits(key, (len(rows), words)), rows)
    return Batch(source.user[rows], items, history, audience, weight)


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


def microbatch_size(chosen: int, batch_size: int, model: Model, params: Params, n: int) -> int:
    """Return the microbatch: the chosen one, or for 0 the largest divisor of the batch whose work fits in cache."""
    if chosen:
        return chosen
    if jax.default_backend() != "cpu":
        return batch_size
    dim, memories = params["item"].shape[1], params["keys"].shape[0] if "keys" in params else 0
    heads, audience = model.history.size, (1 + n) * model.audience.size
    floats = 2 * (2 + n + heads + audience) * dim + 4 * ((1 + n) * heads + audience) * memories
    fitting = max(1, _CACHE_BYTES // (4 * floats))
    return max(size for size in range(1, batch_size + 1) if batch_size % size == 0 and size <= fitting)
