"""The loss and gradient of a batch of positives and negatives."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from hlr_jax.data.neighbor_sampling import NeighborTables
from hlr_jax.kernels.distance import squared_distances
from hlr_jax.losses import LossParams, Objective, catalogue_softmax
from hlr_jax.models.base import Model, score_items
from hlr_jax.training.batches import Batch, Negatives
from hlr_jax.types import Neighbors, Padded, Params

_CACHE_BYTES = 2 << 20  # of working set that a microbatch may take on a CPU; flat between 1 and 4 MiB when measured
_FEWEST_USERS = 16  # that meet all items in one product, in cache or not; one has a third of the speed when measured
_PAIR_BYTES = 64 << 20  # that weights of all pairs of neighbors and common negatives may take


@struct.dataclass
class Vectors:
    """What a triplet is measured by.

    Attributes:
      user: [D].
      items: [1 + n, D].
      history: neighbors of the user [H, D].
      item_users: neighbors of each item [1 + n, A, D].
    """

    user: jax.Array
    items: jax.Array
    history: jax.Array
    item_users: jax.Array


@struct.dataclass
class CommonVectors:
    """What S common negatives are measured by.

    Attributes:
      items: [S, D].
      item_users: neighbors of each item [S, A, D].
      weights: the ``Model.item_pairs`` weights [I, M, S] of all rows of the table of items, from which each triplet
        takes those of its user's neighbors; None where they are made from the vectors.
    """

    items: jax.Array
    item_users: jax.Array
    weights: jax.Array | None


def triplet_loss(
    model: Model, objective: Objective, scales: LossParams, shared: Params, vectors: Vectors, triplet: Batch,
    common: CommonVectors | None,
) -> jax.Array:  # fmt: skip
    """Return the loss of one triplet, or user: ``triplet`` is a batch without its leading axis."""
    user, items = vectors.user, vectors.items
    near = Neighbors(Padded(vectors.history, triplet.history.mask), Padded(vectors.item_users, triplet.item_users.mask))
    if triplet.targets is not None:
        assert common is not None
        distances = _common_distances(model, shared, user, near.items, triplet, common)
        return catalogue_softmax(distances, triplet.targets, triplet.known, scales)
    log_expected = triplet.log_expected
    if model.share_relation:
        positive = jax.tree.map(lambda array: array[0], near.users)
        user = user + model.pair(shared, user, items[0], Neighbors(near.items, positive)).relation
        distances = squared_distances(user, items)
    else:
        distances = -score_items(model, shared, user, items, near)
    negatives = distances[1:]
    if common is not None:
        assert triplet.common is not None
        others = _common_distances(model, shared, user, near.items, triplet, common)
        negatives = jnp.concatenate([negatives, others])
        log_expected = jnp.concatenate([log_expected, triplet.common.log_expected])
    negatives = jnp.where(triplet.known, jnp.inf, negatives)
    loss = objective(distances[0], negatives, log_expected, scales)
    return loss if model.penalty is None else loss + model.penalty(vectors.user, items, near, distances)


def _common_distances(
    model: Model, shared: Params, user: jax.Array, history: Padded, triplet: Batch, common: CommonVectors
) -> jax.Array:
    """Return the distances [S] of what is common to all; under a shared relation ``user`` is translated already."""
    if model.share_relation:
        return squared_distances(user, common.items)
    assert triplet.common is not None
    item_users = triplet.common.item_users
    mask = item_users.mask
    if triplet.targets is not None and model.item_users.drawn:
        mask &= item_users.ids != triplet.user  # positives stand among them, and the user is no neighbor of its own
    near = Neighbors(history, Padded(common.item_users, mask))
    if common.weights is None:
        return -score_items(model, shared, user, common.items, near)
    assert model.item_pairs is not None
    return -model.item_pairs.scores(shared, user, common.items, near, common.weights[triplet.history.ids])


def _shared(params: Params) -> Params:
    return {name: value for name, value in params.items() if name not in ("user", "item")}


def _weighted_loss(
    model: Model, objective: Objective, scales: LossParams, shared: Params, vectors: Vectors,
    common: CommonVectors | None, piece: Batch,
) -> jax.Array:  # fmt: skip
    """Return the weighted sum of the losses of some triplets."""

    def one(vectors: Vectors, triplet: Batch) -> jax.Array:
        return triplet_loss(model, objective, scales, shared, vectors, replace(triplet, common=piece.common), common)

    return jnp.sum(jax.vmap(one)(vectors, replace(piece, common=None)) * piece.weight)


def _vectors(params: Params, tables: NeighborTables, piece: Batch) -> Vectors:
    """Return the vectors of a piece of a batch."""
    near, item_users = tables.items[piece.history.ids], tables.users[piece.item_users.ids]
    return Vectors(params["user"][piece.user], params["item"][piece.items], near, item_users)


def _common_vectors(
    model: Model, params: Params, tables: NeighborTables, batch: Batch, by_pairs: bool
) -> CommonVectors | None:
    """Return the vectors of common negatives, where the batch has some.

    Weights of pairs are made where the table has fewer rows than the histories of the batch have places: less work.
    """
    if batch.common is None:
        return None
    table, form = params["item"], model.item_pairs
    items, users = table[batch.common.items], tables.users[batch.common.item_users.ids]
    if form is None or model.share_relation or not by_pairs or 2 * len(table) > batch.history.ids.size:
        return CommonVectors(items, users, None)
    make = partial(form.weights, _shared(params))
    small = 4 * jax.eval_shape(make, table, items).size <= _PAIR_BYTES
    return CommonVectors(items, users, make(table, items) if small else None)


def _pieces(batch: Batch, microbatch: int) -> Batch:
    """Return a batch [B, ...] as [B / b, b, ...], without what is common to all."""
    steps = batch.user.shape[0] // microbatch
    return jax.tree.map(lambda array: array.reshape(steps, microbatch, *array.shape[1:]), replace(batch, common=None))


def batch_loss(
    model: Model, objective: Objective, params: Params, tables: NeighborTables, batch: Batch, scales: LossParams,
    microbatch: int, by_pairs: bool = True,
) -> jax.Array:  # fmt: skip
    """Return the weighted sum of the losses of a batch: []; the arguments are those of ``batch_gradient``."""
    shared = _shared(params)
    common = _common_vectors(model, params, tables, batch, by_pairs)

    def add(total: jax.Array, piece: Batch) -> tuple[jax.Array, None]:
        piece, vectors = replace(piece, common=batch.common), _vectors(params, tables, piece)
        return total + _weighted_loss(model, objective, scales, shared, vectors, common, piece), None

    return jax.lax.scan(add, jnp.zeros(()), _pieces(batch, microbatch))[0]


def batch_gradient(
    model: Model, objective: Objective, params: Params, tables: NeighborTables, batch: Batch, scales: LossParams,
    microbatch: int, by_pairs: bool = True,
) -> tuple[jax.Array, Params]:  # fmt: skip
    """Return the weighted sum of the losses of a batch and its gradient by every parameter.

    Gradients are taken by vectors, ``microbatch`` triplets at a time, and added to the rows they came from: the
    [B, H, D] vectors and [B, H, N] weights of a whole batch never exist at once, so each piece stays in cache. Means
    get no gradient.

    Args:
      model: what is trained.
      objective: the loss of one triplet.
      params: the model's parameters.
      tables: what ids of neighbors point into.
      batch: B triplets.
      scales: of the objective.
      microbatch: divides B.
      by_pairs: whether common negatives may be met by ``Model.item_pairs``, for all rows of the table of items at once.
        Not where a mesh divides the table: its rows would meet on each device.
    """
    shared = _shared(params)
    common = _common_vectors(model, params, tables, batch, by_pairs)

    def loss(shared: Params, vectors: Vectors, common: CommonVectors | None, piece: Batch) -> jax.Array:
        return _weighted_loss(model, objective, scales, shared, vectors, common, piece)

    def add(total: tuple, piece: Batch) -> tuple[tuple, None]:
        value, sums, grad_common = total
        piece, vectors = replace(piece, common=batch.common), _vectors(params, tables, piece)
        found, slopes = jax.value_and_grad(loss, argnums=(0, 1, 2))(shared, vectors, common, piece)
        grad_shared, grad_vectors, more_grad_common = slopes
        users = sums["user"].at[piece.user].add(grad_vectors.user)
        items = sums["item"].at[piece.items].add(grad_vectors.items)
        if model.history.drawn:
            items = items.at[piece.history.ids].add(grad_vectors.history)
        if model.item_users.drawn:
            users = users.at[piece.item_users.ids].add(grad_vectors.item_users)
        sums = {name: sums[name] + grad_shared[name] for name in grad_shared} | {"user": users, "item": items}
        return (value + found, sums, jax.tree.map(jnp.add, grad_common, more_grad_common)), None

    nothing = (jnp.zeros(()), *jax.tree.map(jnp.zeros_like, (params, common)))
    (value, sums, grad_common), _ = jax.lax.scan(add, nothing, _pieces(batch, microbatch))
    if batch.common is not None and common is not None:
        if common.weights is not None:
            assert model.item_pairs is not None
            _, pull_back = jax.vjp(model.item_pairs.weights, shared, params["item"], common.items)
            grad_shared, grad_table, grad_items = pull_back(grad_common.weights)
            sums = {name: sums[name] + (grad_shared | {"item": grad_table}).get(name, 0) for name in sums}
            grad_common = replace(grad_common, items=grad_common.items + grad_items)
        sums["item"] = sums["item"].at[batch.common.items].add(grad_common.items)
        if model.item_users.drawn:
            sums["user"] = sums["user"].at[batch.common.item_users.ids].add(grad_common.item_users)
    return value, sums


def working_floats(model: Model, params: Params, negatives: Negatives) -> int:
    """Return about how many floats the gradient of one triplet takes: vectors, weights, and what they become."""
    dim, memories = params["item"].shape[1], params["keys"].shape[0] if "keys" in params else 0
    n, per_item = negatives.own, 1 + model.history.size * memories
    context, item_users = model.history.size, (1 + n) * model.item_users.size
    common = {"own": 0, "all": len(params["item"])}.get(negatives.kind, negatives.number)
    weights = 4 * ((1 + n) * per_item + item_users * memories) + common * per_item
    return 2 * (2 + n + context + item_users) * dim + weights


def microbatch_size(chosen: int, batch_size: int, model: Model, params: Params, negatives: Negatives) -> int:
    """Return the microbatch: the chosen one, or for 0 the largest divisor of the batch whose work fits in cache."""
    if chosen:
        return chosen
    if jax.default_backend() != "cpu":
        return batch_size
    fewest = _FEWEST_USERS if negatives.kind == "all" else 1
    fitting = max(fewest, _CACHE_BYTES // (4 * working_floats(model, params, negatives)))
    return max(size for size in range(1, batch_size + 1) if batch_size % size == 0 and size <= fitting)
