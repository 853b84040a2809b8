"""Learners: what turns parameters into better ones, an epoch at a time. The loop knows no more than this."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh

from hlr_jax.data.interactions import Dataset
from hlr_jax.errors import UserError
from hlr_jax.losses import OBJECTIVES
from hlr_jax.models.base import Model
from hlr_jax.sharding import pad_rows, padded_size, place, shard_batch
from hlr_jax.training.als import iterate, objective, sides
from hlr_jax.training.options import TrainOptions
from hlr_jax.training.triplets import (
    Triplets,
    batch_gradient,
    batch_loss,
    draw_batch,
    microbatch_size,
    training_triplets,
    validation_triplets,
)
from hlr_jax.types import Params


@struct.dataclass
class Learned:
    """What an epoch changes: the parameters and the optimiser's state."""

    params: Params
    optimizer: Any


class Learner(NamedTuple):
    """A way to learn.

    Attributes:
      init: () -> Learned, from the seed.
      run_epoch: (learned, epoch) -> (learned, mean training loss); may reuse the memory of its argument.
      valid_loss: params -> mean validation loss, or None without validation interactions or such a loss.
      triplets_per_epoch: for the speed that is shown.
    """

    init: Callable[[], Learned]
    run_epoch: Callable[[Learned, int], tuple[Learned, jax.Array]]
    valid_loss: Callable[[Params], jax.Array] | None
    triplets_per_epoch: int


def create_learner(
    dataset: Dataset, model: Model, options: TrainOptions, seed: int, mesh: Mesh | None = None
) -> Learner:
    """Return the learner that the model wants.

    Raises:
      UserError: a mesh for a model that is solved for.
    """
    learner = triplet_learner if model.solver is None else als_learner
    return learner(dataset, model, options, seed, mesh)


def triplet_learner(
    dataset: Dataset, model: Model, options: TrainOptions, seed: int, mesh: Mesh | None = None
) -> Learner:
    """Learn from triplets (eq. 8) with Adam, every row kept in the model's ball after each step.

    Every draw is a function of (seed, epoch, step) alone. Each epoch visits every training interaction once, in a new
    random order; the last batch is filled up with triplets of weight 0. The loss of a batch is the sum over its
    triplets divided by the batch size.
    """
    size, n = options.batch_size, options.num_negatives
    objective, adam = OBJECTIVES[options.objective], optax.scale_by_adam()
    train = training_triplets(dataset.train, dataset.num_users, dataset.num_items, model)
    root = jax.random.key(seed)
    init_key, train_key, valid_key = (jax.random.fold_in(root, use) for use in range(3))

    def init() -> Learned:
        def make() -> Learned:
            params = pad_rows(model.init(init_key, dataset.num_users, dataset.num_items), mesh)
            return Learned(params, adam.init(params))

        return place(make, mesh)

    def piece(params: Params) -> int:
        return size if mesh is not None else microbatch_size(options.microbatch, size, model, params, n)

    @partial(jax.jit, donate_argnums=0)
    def run_epoch(
        learned: Learned, source: Triplets, epoch: jax.Array, learning_rate: jax.Array, margin: jax.Array
    ) -> tuple[Learned, jax.Array]:
        count = source.user.shape[0]
        epoch_key = jax.random.fold_in(train_key, epoch)
        order = jax.random.permutation(jax.random.fold_in(epoch_key, 0), count)
        order, weights = _batches(order, size)

        def step(learned: Learned, inputs: tuple) -> tuple[Learned, jax.Array]:
            index, rows, weight = inputs
            batch = draw_batch(jax.random.fold_in(epoch_key, index + 1), source, rows, weight, model, n)
            batch = shard_batch(batch, mesh)
            loss, gradient = batch_gradient(model, objective, learned.params, batch, margin, piece(learned.params))
            gradient = jax.tree.map(lambda g: g / size, gradient)
            updates, optimizer = adam.update(gradient, learned.optimizer, learned.params)
            params = jax.tree.map(lambda p, u: p - learning_rate * u, learned.params, updates)
            return Learned(model.project(params), optimizer), loss

        learned, losses = jax.lax.scan(step, learned, (jnp.arange(len(order)), order, weights))
        return learned, losses.sum() / count

    @jax.jit
    def valid_loss(source: Triplets, margin: jax.Array, params: Params) -> jax.Array:
        count = source.user.shape[0]
        rows, weights = _batches(jnp.arange(count), size)

        def step(total: jax.Array, inputs: tuple) -> tuple[jax.Array, None]:
            index, rows, weight = inputs
            # The same draws at every epoch, so that epochs are compared on one sample.
            batch = draw_batch(jax.random.fold_in(valid_key, index), source, rows, weight, model, n)
            return total + batch_loss(model, objective, params, shard_batch(batch, mesh), margin, piece(params)), None

        total, _ = jax.lax.scan(step, jnp.zeros(()), (jnp.arange(len(rows)), rows, weights))
        return total / count

    rate, margin = jnp.float32(options.learning_rate), jnp.float32(options.margin)
    validate = None
    if len(dataset.valid.user):
        valid = validation_triplets(dataset.train, dataset.valid, dataset.num_users, dataset.num_items, model)
        validate = partial(valid_loss, valid, margin)
    return Learner(
        init,
        lambda learned, epoch: run_epoch(learned, train, jnp.int32(epoch), rate, margin),
        validate,
        len(dataset.train.user),
    )


def _batches(order: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Cut [count] into [steps, size], filled up with row 0, and return the weights [steps, size] that undo it."""
    count = order.shape[0]
    total = padded_size(count, size)
    weights = (jnp.arange(total) < count).astype(jnp.float32)
    return jnp.pad(order, (0, total - count)).reshape(-1, size), weights.reshape(-1, size)


def als_learner(dataset: Dataset, model: Model, options: TrainOptions, seed: int, mesh: Mesh | None = None) -> Learner:
    """Learn by alternating least squares: an epoch solves for all users, then for all items.

    The seed draws the factors at the start and nothing else. The loss is the objective per training interaction.

    Raises:
      UserError: there is a mesh.
    """
    del options  # no setting of triplets applies
    if mesh is not None:
        raise UserError(f"model {model.name} runs on one device; set mesh.data and mesh.model to 1")
    solver, count = model.solver, len(dataset.train.user)
    assert solver is not None
    users, items = sides(dataset.train, dataset.num_users, dataset.num_items)
    init_key = jax.random.fold_in(jax.random.key(seed), 0)

    def run_epoch(learned: Learned, epoch: int) -> tuple[Learned, jax.Array]:
        del epoch
        params = iterate(solver, users, items, learned.params)
        return Learned(params, ()), objective(solver, users, items, params) / count

    def init() -> Learned:
        return Learned(model.init(init_key, dataset.num_users, dataset.num_items), ())

    return Learner(init, run_epoch, None, count)
