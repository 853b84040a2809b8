"""Batches of triplets, the paper's: B pairs (u, v) with n negatives each, and a history drawn for each pair."""

import math

import jax
import jax.numpy as jnp
from flax import struct

from hlr_jax.data.csr import contains, csr_of
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborSources, draw_neighbors, neighbor_sources
from hlr_jax.data.sampling import ItemPopularity, draw_negatives, draw_popular, shuffled
from hlr_jax.kernels.distance import squared_distances
from hlr_jax.losses import LossParams, Objective
from hlr_jax.models.base import Model
from hlr_jax.scoring import pair_params, score_items
from hlr_jax.training.batches import (
    Batch,
    Negatives,
    SharedNegatives,
    batch_positions,
    contains_shared,
    draw_users_of_shared,
)
from hlr_jax.training.gradients import SharedVectors, Vectors, shared_distances
from hlr_jax.types import CSR, Neighbors, Padded, Params


@struct.dataclass
class TripletSource:
    """Where triplets come from.

    Attributes:
      user, item: the positive pairs [count].
      neighbors: what neighbors are drawn from.
      known: what negatives must avoid.
      popularity: what popular negatives are drawn by; None where they are uniform.
      num_items: I (static).
    """

    user: jax.Array
    item: jax.Array
    neighbors: NeighborSources
    known: CSR
    popularity: ItemPopularity | None
    num_items: int = struct.field(pytree_node=False)

    @property
    def num_positives(self) -> int:
        """The number of positive pairs."""
        return self.user.shape[0]


def triplet_source(
    positives: Interactions, near: Interactions, known: Interactions, sizes: tuple[int, int], model: Model,
    negatives: Negatives,
) -> TripletSource:  # fmt: skip
    """Return the source of some positives.

    Args:
      positives: what is learned, or measured.
      near: what neighbors are drawn from, and popularity is counted in.
      known: what negatives must avoid.
      sizes: U, I.
      model: says which neighbors it reads.
      negatives: how they are drawn.
    """
    neighbors = neighbor_sources(near, *sizes, model.history, model.item_users, model.derived is not None)
    rows = neighbors.history.rows if known is near and neighbors.history.rows is not None else csr_of(known, sizes[0])
    user, item = (jnp.asarray(column, jnp.int32) for column in (positives.user, positives.item))
    return TripletSource(user, item, neighbors, rows, negatives.drawn_by(near, sizes[1]), sizes[1])


def epoch_positions(
    order_key: jax.Array | None, source: TripletSource, index: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """Return the positives [B] of a step, in a random order of all or as they stand, and their weights [B]."""
    positions, weight = batch_positions(index, size, source.num_positives)
    return positions if order_key is None else shuffled(order_key, positions, source.num_positives), weight


def sample_triplets(
    key: jax.Array, source: TripletSource, rows: jax.Array, weight: jax.Array, negatives: Negatives
) -> Batch:
    """Draw negatives and neighbors for the positives at ``rows`` [B] with ``weight`` [B]."""
    near, n = source.neighbors, negatives.own
    for_history, for_item_users = near.history.num_bits, near.item_users.num_bits
    bits = jax.random.bits(key, (len(rows), n + for_history + (1 + n) * for_item_users))
    negative_bits, history_bits, user_bits = jnp.split(bits, [n, n + for_history], axis=1)
    user, positive = source.user[rows], source.item[rows]
    own, log_expected = draw_own_negatives(negative_bits, source.known, source.popularity, user, source.num_items)
    items = jnp.concatenate([positive[:, None], own], axis=1)
    history = jax.vmap(draw_neighbors, in_axes=(0, None, 0, 0))(history_bits, near.history, user, positive)
    draw_item_users = jax.vmap(jax.vmap(draw_neighbors, in_axes=(0, None, 0, None)), in_axes=(0, None, 0, 0))
    item_users = draw_item_users(user_bits.reshape(*items.shape, for_item_users), near.item_users, items, user)
    shared = _draw_shared(jax.random.fold_in(key, 0), source, positive, weight, negatives)
    known = jnp.zeros(own.shape, bool)
    if source.popularity is not None:
        known = jax.vmap(contains, in_axes=(None, 0, 0))(source.known, user, own)
    if shared is not None:
        others_known = contains_shared(source.known, user, shared.items, source.num_items)
        if negatives.kind == "in_batch":
            others_known |= weight == 0  # what fills up the last batch is no draw
        known = jnp.concatenate([known, others_known], axis=1)
    is_positive = jnp.ones((len(rows), 1), bool)
    return Batch(user, items, is_positive, known, log_expected, history, item_users, weight, shared)


def draw_own_negatives(
    bits: jax.Array, known: CSR, popularity: ItemPopularity | None, user: jax.Array, num_items: int
) -> tuple[jax.Array, jax.Array]:
    """Return the negatives [B, n] that examples draw for themselves, and the log of their expected counts [B, n]."""
    n = bits.shape[1]
    if popularity is None:
        drawn = jax.vmap(draw_negatives, in_axes=(0, None, 0, None))(bits, known, user, num_items)
        log_expected = jnp.log(max(n, 1) / (num_items - known.degree(user)).astype(jnp.float32))
        return drawn, jnp.broadcast_to(log_expected[:, None], bits.shape)
    drawn, log_share = draw_popular(bits, popularity)
    return drawn, log_share + math.log(max(n, 1))


def _draw_shared(
    key: jax.Array, source: TripletSource, positive: jax.Array, weight: jax.Array, negatives: Negatives
) -> SharedNegatives | None:
    """Return the negatives that a batch shares: distinct items, items by popularity, or the batch's own positives."""
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
        items, log_share = draw_popular(jax.random.bits(item_key, (negatives.number,)), source.popularity)
        log_expected = log_share + math.log(negatives.number)
    return SharedNegatives(items, draw_users_of_shared(user_key, source.neighbors.item_users, items), log_expected)


def triplet_loss(
    model: Model, objective: Objective, loss_params: LossParams, params: Params, vectors: Vectors, triplet: Batch,
    shared: SharedVectors | None,
) -> jax.Array:  # fmt: skip
    """Return the loss of one triplet (eq. 8): ``triplet`` is a batch without its leading axis."""
    user, items = vectors.user | triplet.derived.user, vectors.items | triplet.derived.items
    near = Neighbors(Padded(vectors.history, triplet.history.mask), Padded(vectors.item_users, triplet.item_users.mask))
    moved = None
    if model.share_relation:
        positive, its_users = jax.tree.map(lambda array: array[0], (items, near.users))
        pair = pair_params(model, params, user, positive), user["user"], positive["item"]
        moved = user["user"] + model.pair(*pair, Neighbors(near.items, its_users)).relation
        distances = squared_distances(moved, items["item"])
    else:
        distances = -score_items(model, params, user, items, near)
    negatives, log_expected = distances[1:], triplet.log_expected
    if shared is not None:
        others = shared_distances(model, params, user, near.items, triplet, shared, moved)
        negatives = jnp.concatenate([negatives, others])
        log_expected = jnp.concatenate([log_expected, shared.log_expected])
    loss = objective(distances[0], jnp.where(triplet.known, jnp.inf, negatives), log_expected, loss_params)
    if model.penalty is None:
        return loss
    given = pair_params(model, params, user, items)
    return loss + model.penalty(given, user["user"], items["item"], near, distances)
