"""The two kinds of examples: how a batch of them is sampled, and the loss of each.

A triplet, as in the paper, is a pair (u, v) with n negatives and its own sampled history. A user has all its training
items as positives, and one history and n negatives for all of them. Its attention covers W + n targets, where triplets
need W (1 + n). A positive in the history is left out of it exactly, for itself alone.
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from hlr_jax.data.csr import contains, padded_row
from hlr_jax.data.neighbor_sampling import NeighborIds, NeighborSource, sample_neighbors
from hlr_jax.data.sampling import sample_negatives, sample_popular, shuffled
from hlr_jax.kernels.distance import squared_distances
from hlr_jax.losses import LossParams, Objective, positive_losses
from hlr_jax.models.base import Model
from hlr_jax.scoring import pair_params, score_items
from hlr_jax.training.batches import Batch, BatchSource, Negatives, SharedNegatives
from hlr_jax.training.gradients import Vectors, measured_negatives
from hlr_jax.types import CSR, Neighbors, Padded, Params


def sample_triplets(
    key: jax.Array, source: BatchSource, rows: jax.Array, weight: jax.Array, negatives: Negatives,
    first: tuple[jax.Array, jax.Array] | None = None,
) -> Batch:  # fmt: skip
    """Sample negatives and neighbors for the positives at ``rows`` [B] with ``weight`` [B].

    ``first`` are items [B] and their log_expected [B]: each replaces the first negative of a triplet.
    """
    near, n = source.neighbors, negatives.own
    own_size = n if first is None else max(n, 1)
    for_history, for_item_users = near.history.num_bits, near.item_users.num_bits
    bits = jax.random.bits(key, (len(rows), n + for_history + (1 + own_size) * for_item_users))
    negative_bits, history_bits, user_bits = jnp.split(bits, [n, n + for_history], axis=1)
    user, positive = source.groups[0][rows], source.positives.items[rows]
    own, known, log_expected = draw_own_negatives(negative_bits, source, user)
    if first is not None:
        item, log_count = first
        own, known, log_expected = (
            jnp.concatenate([mine[:, None], drawn[:, 1:]], axis=1)
            for mine, drawn in ((item, own), (jnp.zeros(len(rows), bool), known), (log_count, log_expected))
        )
    items = jnp.concatenate([positive[:, None], own], axis=1)
    history = jax.vmap(sample_neighbors, in_axes=(0, None, 0, 0))(history_bits, near.history, user, positive)
    item_users = draw_item_users(user_bits.reshape(*items.shape, for_item_users), near.item_users, items, user)
    shared = _draw_shared(jax.random.fold_in(key, 0), source, positive, weight, negatives)
    if shared is not None:
        others_known = contains_shared(source.known, user, shared.items, source.num_items)
        if negatives.kind == "in_batch":
            others_known |= weight == 0  # padding of the last batch is not sampled
        known = jnp.concatenate([known, others_known], axis=1)
    is_positive = jnp.ones((len(rows), 1), bool)
    return Batch(user, items, is_positive, known, log_expected, history, item_users, weight, shared)


def _draw_shared(
    key: jax.Array, source: BatchSource, positive: jax.Array, weight: jax.Array, negatives: Negatives
) -> SharedNegatives | None:
    """Return the shared negatives of a batch: distinct items, items by popularity, or the batch's own positives."""
    if negatives.own:
        return None
    item_key, user_key = jax.random.split(key)
    if negatives.kind == "in_batch":
        assert source.popularity is not None
        _, log_share = source.popularity
        items, others = positive, jnp.maximum(jnp.sum(weight) - 1, 1)
        log_expected = jnp.log(others) + log_share[items]
    elif source.popularity is None:
        count = min(negatives.number, source.num_items)
        items = shuffled(item_key, jnp.arange(count), source.num_items)
        log_expected = jnp.full(count, math.log(count / source.num_items))
    else:
        items, log_share = sample_popular(jax.random.bits(item_key, (negatives.number,)), source.popularity)
        log_expected = log_share + math.log(negatives.number)
    return SharedNegatives(items, draw_users_of_shared(user_key, source.neighbors.item_users, items), log_expected)


def sample_users(
    key: jax.Array, source: BatchSource, users: jax.Array, weight: jax.Array, width: int, negatives: Negatives
) -> Batch:
    """Sample the negatives and the history of users [B] with at most ``width`` positives, and weights [B]."""
    near = source.neighbors
    negative_key, history_key, user_key = jax.random.split(key, 3)
    positives, is_positive = jax.vmap(padded_row, in_axes=(None, 0, None))(source.positives, users, width)
    bits = jax.random.bits(negative_key, (len(users), negatives.own))
    own, known, log_expected = draw_own_negatives(bits, source, users)
    bits = jax.random.bits(history_key, (len(users), near.history.num_bits))
    history = jax.vmap(sample_neighbors, in_axes=(0, None, 0))(bits, near.history, users)
    items = jnp.concatenate([positives, own], axis=1)
    bits = jax.random.bits(jax.random.fold_in(user_key, 0), (*items.shape, near.item_users.num_bits))
    item_users, shared = draw_item_users(bits, near.item_users, items, users), None
    if negatives.kind == "all":
        everything = jnp.arange(source.num_items)
        near_users = draw_users_of_shared(user_key, near.item_users, everything)
        shared = SharedNegatives(everything, near_users, jnp.zeros(source.num_items))
        known = contains_shared(source.known, users, everything, source.num_items)
    return Batch(users, items, is_positive, known, log_expected, history, item_users, weight, shared)


def users_alone(key: jax.Array, source: BatchSource, users: jax.Array, weight: jax.Array) -> Batch:
    """Return a batch of users [B] without their positives, and all items as shared negatives; for ``all_items``."""

    def nothing(kind: DTypeLike = jnp.int32) -> jax.Array:
        return jnp.zeros((len(users), 0), kind)

    def nobody(*owners: int) -> NeighborIds:
        return NeighborIds(jnp.zeros((*owners, 0), jnp.int32), jnp.zeros((*owners, 0), bool))

    items = SharedNegatives(jnp.arange(source.num_items), nobody(0), jnp.zeros(0))
    return Batch(
        users, nothing(), nothing(bool), nothing(bool), nothing(jnp.float32), nobody(len(users)), nobody(len(users), 0),
        weight, items, words=jax.random.bits(key, (2,)),
    )  # fmt: skip


def draw_own_negatives(bits: jax.Array, source: BatchSource, user: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Sample examples' own negatives; return them, which of them are known, and their log_expected: each [B, n]."""
    n, known, popularity = bits.shape[1], source.known, source.popularity
    if popularity is None:
        drawn = jax.vmap(sample_negatives, in_axes=(0, None, 0, None))(bits, known, user, source.num_items)
        log_expected = jnp.log(max(n, 1) / (source.num_items - known.degree(user)).astype(jnp.float32))
        return drawn, jnp.zeros(bits.shape, bool), jnp.broadcast_to(log_expected[:, None], bits.shape)
    drawn, log_share = sample_popular(bits, popularity)
    is_known = jax.vmap(contains, in_axes=(None, 0, 0))(known, user, drawn)
    return drawn, is_known, log_share + math.log(max(n, 1))


def contains_shared(rows: CSR, users: jax.Array, items: jax.Array, num_items: int) -> jax.Array:
    """Return whether each of the same items is in the rows of users: [B], [S] -> [B, S].

    On a CPU one pass over a user's row is far less work than a bisection for each item. A pass over many users at once
    would continue to the longest row of all of them.
    """
    count = len(items)
    if jax.default_backend() != "cpu":
        return jax.vmap(lambda user: contains(rows, user, items))(users)
    # Of an item that occurs twice, one of the two places is used.
    places = jnp.full(num_items, count).at[items].set(jnp.arange(count))

    def of_user(user: jax.Array) -> jax.Array:
        start = rows.start(user)

        def mark(index: jax.Array, marked: jax.Array) -> jax.Array:
            return marked.at[places[rows.items[start + index]]].set(True, mode="drop")

        return jax.lax.fori_loop(0, rows.degree(user), mark, jnp.zeros(count, bool))

    return jax.lax.map(of_user, users)[:, places[items]]


def draw_item_users(bits: jax.Array, source: NeighborSource, items: jax.Array, users: jax.Array) -> NeighborIds:
    """Sample the neighbors [B, T, A] of the items [B, T] of users [B]; a user is never its own neighbor."""
    of_items = jax.vmap(sample_neighbors, in_axes=(0, None, 0, None))
    return jax.vmap(of_items, in_axes=(0, None, 0, 0))(bits, source, items, users)


def draw_users_of_shared(key: jax.Array, source: NeighborSource, items: jax.Array) -> NeighborIds:
    """Sample the neighbors [S, A] of the shared items of a batch."""
    bits = jax.random.bits(key, (len(items), source.num_bits))
    return jax.vmap(sample_neighbors, in_axes=(0, None, 0))(bits, source, items)


def triplet_loss(
    model: Model, objective: Objective, loss_params: LossParams, params: Params, vectors: Vectors, triplet: Batch,
    shared: SharedNegatives | None,
) -> jax.Array:  # fmt: skip
    """Return the loss of one triplet (eq. 8): ``triplet`` is a batch without its leading axis."""
    user, items = vectors.user | triplet.user_derived, vectors.items | triplet.items_derived
    near = Neighbors(Padded(vectors.history, triplet.history.mask), Padded(vectors.item_users, triplet.item_users.mask))
    moved = user
    if model.share_relation:
        positive, its_users = jax.tree.map(lambda array: array[0], (items, near.users))
        pair = pair_params(model, params, user, positive), user["user"], positive["item"]
        moved = user | {"user": user["user"] + model.pair(*pair, Neighbors(near.items, its_users)).relation}
        distances = squared_distances(moved["user"], items["item"])
    else:
        distances = -score_items(model, params, user, items, near)
    negatives, log_expected = measured_negatives(model, params, moved, near.items, triplet, shared, distances[1:])
    loss = objective(distances[0], negatives, log_expected, loss_params)
    if model.penalty is None:
        return loss
    given = pair_params(model, params, user, items)
    return loss + model.penalty(given, user["user"], items["item"], near, distances)


def user_loss(
    model: Model, objective: Objective, loss_params: LossParams, params: Params, vectors: Vectors, example: Batch,
    shared: SharedNegatives | None,
) -> jax.Array:  # fmt: skip
    """Return the sum of the losses of one user's positives: ``example`` is a batch without its leading axis."""
    width = example.is_positive.shape[0]
    user, items = vectors.user | example.user_derived, vectors.items | example.items_derived
    history = Padded(vectors.history, example.history.mask)
    # A negative is not an item of the user, so this leaves out each positive for itself and nothing else.
    mask = example.history.mask & (example.history.ids != example.items[:, None])
    near = Neighbors(Padded(vectors.history, mask), Padded(vectors.item_users, example.item_users.mask))
    distances = -score_items(model, params, user, items, near)
    negatives, log_expected = measured_negatives(model, params, user, history, example, shared, distances[width:])
    losses = positive_losses(objective, distances[:width], negatives, log_expected, loss_params)
    return jnp.sum(jnp.where(example.is_positive, losses, 0))
