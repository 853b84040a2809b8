"""Batches of triplets, drawn on the device, and the loss and gradient of one batch."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from hlr_jax.data.interactions import Pairs
from hlr_jax.data.neighbors import Rows, rows_of
from hlr_jax.data.sampling import draw_history, draw_negatives, history_bits
from hlr_jax.evaluation.ranking import history_weights
from hlr_jax.losses import Objective
from hlr_jax.models.base import Model
from hlr_jax.types import Neighbors, Params

_CACHE_BYTES = 2 << 20  # of working set that a microbatch may take on a CPU; flat between 1 and 4 MiB when measured


@struct.dataclass
class Triplets:
    """A source of triplets on the device.

    Attributes:
      user, item: [P] the positive pairs.
      position: [P] where the positive stands in its user's row of ``history``; the row's length if it does not.
      history: what histories are drawn from.
      known: what negatives must avoid.
      weights: [I] of inverse-popularity histories, or None.
      num_items: I (static).
    """

    user: jax.Array
    item: jax.Array
    position: jax.Array
    history: Rows
    known: Rows
    weights: jax.Array | None
    num_items: int = struct.field(pytree_node=False)


@struct.dataclass
class Batch:
    """B triplets: ``user`` [B], ``items`` [B, 1 + n] (the positive first), ``history`` and ``mask`` [B, H]."""

    user: jax.Array
    items: jax.Array
    history: jax.Array
    mask: jax.Array
    weight: jax.Array


def training_triplets(train: Pairs, num_users: int, num_items: int, model: Model) -> Triplets:
    """Return the source for training: histories and forbidden negatives are the training items."""
    rows = rows_of(train, num_users)
    starts = np.asarray(rows.offsets)[train.user]
    position = np.arange(len(train.user), dtype=np.int32) - starts
    return _source(train, position, rows, rows, num_items, model)


def validation_triplets(train: Pairs, valid: Pairs, num_users: int, num_items: int, model: Model) -> Triplets:
    """Return the source for validation: histories are training items, negatives avoid train and valid items."""
    rows = rows_of(train, num_users)
    position = np.bincount(train.user, minlength=num_users)[valid.user].astype(np.int32)
    return _source(valid, position, rows, rows_of(train + valid, num_users), num_items, model)


def _source(pairs: Pairs, places: np.ndarray, history: Rows, known: Rows, num_items: int, model: Model) -> Triplets:
    weights = history_weights(model, history, num_items)
    user, item, position = (jnp.asarray(array, jnp.int32) for array in (pairs.user, pairs.item, places))
    return Triplets(user, item, position, history, known, weights, num_items)


def draw_batch(key: jax.Array, source: Triplets, rows: jax.Array, weight: jax.Array, model: Model, n: int) -> Batch:
    """Draw negatives and histories for the positives at ``rows`` [B] with ``weight`` [B]."""

    size, weights = model.history.size, source.weights

    def one(bits: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        user = source.user[row]
        negatives = draw_negatives(bits[:n], source.known, user, source.num_items)
        history, mask = draw_history(bits[n:], source.history, user, source.position[row], size, weights)
        return jnp.append(source.item[row], negatives), history, mask

    words = n + history_bits(source.history, size, weights is not None)
    items, history, mask = jax.vmap(one)(jax.random.bits(key, (len(rows), words)), rows)
    return Batch(source.user[rows], items, history, mask, weight)


def triplet_loss(
    model: Model,
    objective: Objective,
    shared: Params,
    user: jax.Array,
    items: jax.Array,
    history: jax.Array,
    mask: jax.Array,
    margin: jax.Array,
) -> jax.Array:
    """Return the loss of one triplet from its vectors: user [D], items [1 + n, D], history [H, D], mask [H]."""
    neighbors = Neighbors(history, mask)
    distances = -jax.vmap(lambda item: model.pair(shared, user, item, neighbors).score)(items)
    return objective(distances[0], distances[1:], margin)


def _rows_and_shared(params: Params) -> tuple[jax.Array, jax.Array, Params]:
    shared = {name: value for name, value in params.items() if name not in ("user", "item")}
    return params["user"], params["item"], shared


def batch_loss(
    model: Model, objective: Objective, params: Params, batch: Batch, margin: jax.Array, microbatch: int
) -> jax.Array:
    """Return the weighted sum of the losses of a batch: []; ``microbatch`` triplets are computed together."""
    users, items, shared = _rows_and_shared(params)

    def one(piece: Batch) -> jax.Array:
        user, item, history = users[piece.user], items[piece.items], items[piece.history]
        return piece.weight * triplet_loss(model, objective, shared, user, item, history, piece.mask, margin)

    return jnp.sum(jax.lax.map(one, batch, batch_size=microbatch))


def batch_gradient(
    model: Model, objective: Objective, params: Params, batch: Batch, margin: jax.Array, microbatch: int
) -> tuple[jax.Array, Params]:
    """Return the weighted sum of the losses of a batch and its gradient by every parameter.

    Gradients are taken by vectors, ``microbatch`` triplets at a time, and added to the rows they came from: the
    [B, H, D] vectors and [B, H, N] weights of a whole batch never exist at once, so each piece stays in cache.
    """
    users, items, shared = _rows_and_shared(params)

    def loss(shared: Params, user: jax.Array, item: jax.Array, history: jax.Array, piece: Batch) -> jax.Array:
        def one(user: jax.Array, item: jax.Array, history: jax.Array, mask: jax.Array) -> jax.Array:
            return triplet_loss(model, objective, shared, user, item, history, mask, margin)

        return jnp.sum(jax.vmap(one)(user, item, history, piece.mask) * piece.weight)

    def add(total: tuple[jax.Array, Params], piece: Batch) -> tuple[tuple[jax.Array, Params], None]:
        value, sums = total
        vectors = users[piece.user], items[piece.items], items[piece.history]
        losses, gradients = jax.value_and_grad(loss, argnums=(0, 1, 2, 3))(shared, *vectors, piece)
        by_shared, by_user, by_item, by_history = gradients
        item_sums = sums["item"].at[piece.items].add(by_item)
        if piece.history.shape[1]:
            item_sums = item_sums.at[piece.history].add(by_history)
        sums = {name: sums[name] + by_shared[name] for name in by_shared} | {
            "user": sums["user"].at[piece.user].add(by_user),
            "item": item_sums,
        }
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
    heads = model.history.size
    floats = 2 * (2 + n + heads) * dim + 4 * (1 + n) * heads * memories
    fitting = max(1, _CACHE_BYTES // (4 * floats))
    return max(size for size in range(1, batch_size + 1) if batch_size % size == 0 and size <= fitting)
