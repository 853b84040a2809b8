"""The loss and gradient of a batch, a few examples at a time."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from hlr_jax.kernels.distance import squared_distances
from hlr_jax.models.base import Model
from hlr_jax.scoring import score_items
from hlr_jax.training.batches import Batch, Negatives, SharedNegatives
from hlr_jax.types import Neighbors, Padded, Params

_DEVICE_BYTES = 1 << 30  # limit of a microbatch's working set on an accelerator
_CACHE_BYTES = 2 << 20  # limit of a microbatch's working set on a CPU; speed is flat between 1 and 4 MiB
_FEWEST = 3  # examples on a CPU, even beyond the cache: one alone has an eighth of the speed; 2 of an even batch
_FEWEST_USERS = 16  # in one product with all items, even beyond the cache; one user at a time has a third of the speed
_PAIR_BYTES = 64 << 20  # limit of the weights of all pairs of neighbors and shared negatives


@struct.dataclass
class Vectors:
    """The vectors that the loss of an example is computed from, and that get a gradient.

    Attributes:
      user: the user's rows, ``user`` [D] among them.
      items: the items' rows, ``item`` [T, D] among them.
      history: neighbors of the user [H, D].
      item_users: neighbors of each item [T, A, D].
    """

    user: Params
    items: Params
    history: jax.Array
    item_users: jax.Array


ExampleLoss = Callable[[Params, Vectors, Batch, SharedNegatives | None], jax.Array]
"""(parameters, vectors, an example: a batch without its leading axis, shared negatives) -> loss []."""


def measured_negatives(
    model: Model, params: Params, user: Params, history: Padded, example: Batch, shared: SharedNegatives | None,
    own: jax.Array,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """Return the distances [n + S] of an example's own negatives [n] and the shared ones, and their log_expected.

    Those that do not count are infinitely far. A shared relation is already added to ``user``, the user's rows.
    """
    distances, log_expected = own, example.log_expected
    if shared is not None:
        distances = jnp.concatenate([own, _shared_distances(model, params, user, history, example, shared)])
        log_expected = jnp.concatenate([log_expected, shared.log_expected])
    return jnp.where(example.known, jnp.inf, distances), log_expected


def _shared_distances(
    model: Model, params: Params, user: Params, history: Padded, example: Batch, shared: SharedNegatives
) -> jax.Array:
    assert shared.learned is not None
    rows, user_vectors, all_weights = shared.learned
    items = rows | shared.derived
    if model.share_relation:
        return squared_distances(user["user"], items["item"])
    # All items include the user's own; a user is never a neighbor of itself.
    mask = shared.item_users.mask & (shared.item_users.ids != example.user)
    near = Neighbors(history, Padded(user_vectors, mask))
    weights = None if all_weights is None else all_weights[example.history.ids]
    return -score_items(model, params, user, items, near, weights)


def batch_vectors(model: Model, params: Params, batch: Batch) -> Vectors:
    """Return the vectors of a batch."""
    user, items = model.rows(params, "user", batch.user), model.rows(params, "item", batch.items)
    neighbors = model.neighbor_table(params)[batch.item_users.ids]
    return Vectors(user, items, params["item"][batch.history.ids], neighbors)


def shared_vectors(model: Model, params: Params, batch: Batch, by_pairs: bool) -> SharedNegatives | None:
    """Return the shared negatives with their vectors, if the batch has any.

    Weights of pairs are computed where the table has fewer rows than the batch has places in histories: less work.
    """
    if batch.shared is None:
        return None
    table, form = params["item"], model.item_pairs
    items, weights = model.rows(model.scored(params), "item", batch.shared.items), None
    if form is not None and not model.share_relation and by_pairs and 2 * len(table) <= batch.history.ids.size:
        make = partial(form, model.on_axis(params, "shared"))
        if 4 * jax.eval_shape(make, table, items["item"]).size <= _PAIR_BYTES:
            weights = make(table, items["item"])
    return replace(batch.shared, learned=(items, model.neighbor_table(params)[batch.shared.item_users.ids], weights))


def _pieces(batch: Batch, microbatch: int) -> Batch:
    """Return a batch [B, ...] as [B / b, b, ...], without what all examples share.

    Every B / b-th example is in the same piece. So the share of a piece on a device of a mesh comes from the device's
    share of the batch.
    """
    shape = microbatch, len(batch.user) // microbatch
    return jax.tree.map(lambda array: array.reshape(*shape, *array.shape[1:]).swapaxes(0, 1), batch.examples())


def weighted_loss(
    loss: ExampleLoss, params: Params, vectors: Vectors, piece: Batch, shared: SharedNegatives | None
) -> jax.Array:
    """Return the weighted sum of the losses of some examples."""
    losses = jax.vmap(lambda vectors, example: loss(params, vectors, example, shared))(vectors, piece)
    return jnp.sum(losses * piece.weight)


def batch_loss(
    model: Model, loss: ExampleLoss, params: Params, batch: Batch, microbatch: int, mesh: Mesh | None = None
) -> jax.Array:
    """Return the weighted sum of the losses of a batch: []; the arguments are those of ``batch_gradient``."""
    shared = shared_vectors(model, params, batch, by_pairs=mesh is None)

    def add(total: jax.Array, piece: Batch) -> tuple[jax.Array, None]:
        return total + weighted_loss(loss, params, batch_vectors(model, params, piece), piece, shared), None

    return jax.lax.scan(add, jnp.zeros(()), _pieces(batch, microbatch))[0]


def batch_gradient(
    model: Model, loss: ExampleLoss, params: Params, batch: Batch, microbatch: int, mesh: Mesh | None = None
) -> tuple[jax.Array, Params]:
    """Return the weighted sum of the losses of a batch and its gradient by every parameter.

    Gradients are taken by vectors, ``microbatch`` examples at a time, and added to the rows of these vectors. The
    [B, H, D] vectors and [B, H, N] weights of a whole batch never exist at once, so each piece stays in cache.

    Args:
      model: the model to train.
      loss: of one example.
      params: the model's parameters.
      batch: B examples.
      microbatch: divides B.
      mesh: the mesh of the tables. On a mesh, ``Model.item_pairs`` is not used for shared negatives: it would gather
        all rows of the table of items on each device.
    """
    constants = model.on_axis(params, "shared")
    shared = shared_vectors(model, params, batch, by_pairs=mesh is None)
    learned = None if shared is None else shared.learned

    def piece_loss(constants: Params, vectors: Vectors, learned: tuple | None, piece: Batch) -> jax.Array:
        given = None if shared is None else replace(shared, learned=learned)
        return weighted_loss(loss, constants, vectors, piece, given)

    def add(total: tuple, piece: Batch) -> tuple[tuple, None]:
        value, sums, grad_learned = total
        vectors = batch_vectors(model, params, piece)
        loss_here, gradient = jax.value_and_grad(piece_loss, argnums=(0, 1, 2))(constants, vectors, learned, piece)
        grad_constants, grad_vectors, more = gradient
        sums = sums | {name: sums[name] + grad for name, grad in grad_constants.items()}
        parts = [
            (grad_vectors.user, piece.user), (grad_vectors.items, piece.items),
            ({"item": grad_vectors.history}, piece.history.ids),
            ({"user": grad_vectors.item_users}, piece.item_users.ids),
        ]  # fmt: skip
        for rows, ids in parts if mesh is None else _joined(parts):
            sums = _add_rows(sums, rows, ids)
        return (value + loss_here, sums, jax.tree.map(jnp.add, grad_learned, more)), None

    nothing = (jnp.zeros(()), *jax.tree.map(jnp.zeros_like, (params, learned)))
    (value, sums, grad_learned), _ = jax.lax.scan(add, nothing, _pieces(batch, microbatch))
    if batch.shared is not None and learned is not None:
        grad_items, grad_users, grad_weights = grad_learned
        if grad_weights is not None:
            assert model.item_pairs is not None
            _, pull_back = jax.vjp(model.item_pairs, constants, params["item"], learned[0]["item"])
            grad_constants, grad_table, more = pull_back(grad_weights)
            sums |= {name: sums[name] + grad for name, grad in (grad_constants | {"item": grad_table}).items()}
            grad_items = grad_items | {"item": grad_items["item"] + more}
        sums = _add_rows(sums, grad_items, batch.shared.items)
        sums = _add_rows(sums, {"user": grad_users}, batch.shared.item_users.ids)
    return value, sums


def _joined(parts: list[tuple[Params, jax.Array]]) -> list[tuple[Params, jax.Array]]:
    """Return rows [b, ..., *] of arrays and their ids [b, ...] as one part for each array.

    The devices of a mesh exchange the whole sum after each addition to it, so there should be one addition.
    """
    by_name: dict[str, list[tuple[jax.Array, jax.Array]]] = {}
    for rows, ids in parts:
        flat = ids.reshape(len(ids), -1)
        for name, row in rows.items():
            by_name.setdefault(name, []).append((row.reshape(*flat.shape, *row.shape[ids.ndim :]), flat))
    both = {name: [jnp.concatenate(arrays, axis=1) for arrays in zip(*of, strict=True)] for name, of in by_name.items()}
    return [({name: rows}, ids) for name, (rows, ids) in both.items()]


def _add_rows(sums: Params, rows: Params, ids: jax.Array) -> Params:
    """Return sums after adding ``rows`` [..., *] at their ids; ids out of range add nothing."""
    if not ids.size:
        return sums
    return sums | {name: sums[name].at[ids].add(row) for name, row in rows.items()}


def _working_floats(model: Model, params: Params, num_items: int, context: int, shared: int) -> int:
    """Return about how many floats the gradient of an example takes: vectors, weights, and intermediate results.

    The example has ``num_items`` items of its own, a history of ``context``, and ``shared`` shared items.
    """
    keys = params.get("keys")  # may be anything in models of other kinds
    dim, memories = params["item"].shape[1], 0 if keys is None or keys.ndim != 2 else len(keys)
    item_users = num_items * model.item_users.size
    per_item = 1 + context * memories
    weights = 4 * (num_items * per_item + item_users * memories) + shared * per_item
    return 2 * (1 + num_items + context + item_users) * dim + weights


def microbatch_size(
    batch_size: int, num_items: int, context: int, model: Model, params: Params, negatives: Negatives,
    mesh: Mesh | None = None,
) -> int:  # fmt: skip
    """Return the largest divisor of the batch whose work fits in a CPU's cache, or in a part of a device's memory.

    A mesh divides the work of each piece over ``data``.
    """
    shares = 1 if mesh is None else mesh.shape["data"]
    in_cache = mesh is None and jax.default_backend() == "cpu"
    fewest = 1
    if in_cache:
        fewest = _FEWEST_USERS if negatives.kind == "all" else _FEWEST
    shared = {"all": len(params["item"]), "in_batch": batch_size, "shared": negatives.number}.get(negatives.kind, 0)
    of_example = 4 * _working_floats(model, params, num_items, context, shared)
    fitting = shares * max(fewest, (_CACHE_BYTES if in_cache else _DEVICE_BYTES) // of_example)
    whole_shares = (size for size in range(shares, batch_size + 1, shares) if batch_size % size == 0)
    return max((size for size in whole_shares if size <= fitting), default=batch_size)
