"""One run of training by gradients, as pure functions: its start, an epoch, and its loss on validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh

from hlr_jax.data.interactions import Interactions
from hlr_jax.losses import OBJECTIVES, LossParams
from hlr_jax.models.base import Model
from hlr_jax.sharding import constrain_batch, pad_rows
from hlr_jax.training.all_items import History, Users, loss_and_gradient
from hlr_jax.training.batches import (
    Batch,
    BatchSource,
    Negatives,
    batch_source,
    derive_rows,
    examples_of_step,
    rounds_of_epoch,
    steps_per_group,
)
from hlr_jax.training.examples import sample_triplets, sample_users, triplet_loss, user_loss, users_alone
from hlr_jax.training.gradients import ExampleLoss, batch_gradient, batch_loss, microbatch_size
from hlr_jax.training.item_losses import Softmax, Square
from hlr_jax.training.optimizer import ADAM, adam_step
from hlr_jax.training.options import Run, TrainOptions
from hlr_jax.types import Params

T = TypeVar("T")
Draw = Callable[[jax.Array, jax.Array], Batch]
"""A key and the number of a step within its group -> its batch."""


@struct.dataclass
class TrainState:
    """The state that an epoch changes: parameters, the optimizer's state, and the average over epochs, if one is taken.

    With S runs at once all arrays are [S, ...].
    """

    params: Params
    optimizer: Any
    ema: Params | None = None

    @property
    def result(self) -> Params:
        """The parameters to measure and keep: the average, if there is one."""
        return self.params if self.ema is None else self.ema


def key_of(seed: int | jax.Array, use: int) -> jax.Array:
    """Return a key of a run with this seed: use 0 for initial parameters, 1 for training, 2 for validation."""
    return jax.random.fold_in(jax.random.key(seed), use)


@dataclass(frozen=True)
class GradientLearner:
    """Learns by Adam from batches of triplets (eq. 8) or of users, and keeps every row in the model's ball.

    Random choices depend on (seed, epoch, step) alone. Each epoch visits every training interaction once, in a new
    random order; the last batch is padded with examples of weight 0. The loss of a batch is the sum over its positives
    divided by their expected number. The learning rate grows linearly from the first step for ``options.warmup``
    epochs, because Adam's first steps are as long as the rate, whatever the gradient. With ``options.ema_decay`` the
    parameters are averaged after each epoch: over all of them at first, then with exponentially falling weights (Polyak
    and Juditsky 1992).

    Attributes:
      model: the model to train.
      options: of training; a ``Run`` has its own seed, rate, and parameters of the loss.
      sizes: U, I.
      mesh: the mesh to train on; None: one device.
    """

    model: Model
    options: TrainOptions
    sizes: tuple[int, int]
    mesh: Mesh | None = None

    def source(self, positives: Interactions, near: Interactions, known: Interactions) -> BatchSource:
        """Return the source of batches; see ``batch_source``."""
        negatives = Negatives.of(self.options)
        return batch_source(positives, near, known, self.sizes, self.model, negatives, self._as_cells)

    @property
    def _as_cells(self) -> bool:
        """Whether the losses are those of ``all_items``."""
        return self.model.plain and self.options.negatives == "all"

    def init(self, run: Run) -> TrainState:
        """Return the state before the first epoch."""
        return self.state_of(self.model.init(key_of(run.seed, 0), *self.sizes))

    def state_of(self, params: Params) -> TrainState:
        """Return the state before the first epoch with these parameters."""
        params = pad_rows(params, self.mesh)
        return TrainState(params, ADAM.init(params), params if self.options.ema_decay else None)

    def run_epoch(
        self, state: TrainState, source: BatchSource, epoch: jax.Array, run: Run
    ) -> tuple[TrainState, jax.Array]:
        """Return the state after an epoch and its mean training loss []."""
        per_step = self.options.batch_size * (source.num_positives / sum(len(users) for users in source.groups))
        warm_steps = self.options.warmup * sum(steps_per_group(source, self.options.batch_size))

        def gradient(params: Params, batch: Batch) -> tuple[jax.Array, Params]:
            microbatch = self._microbatch(params, batch)
            loss = self._example_loss(run)
            value, slope = batch_gradient(self.model, loss, params, batch, microbatch, self.mesh)
            return value, jax.tree.map(lambda g: g / per_step, slope)

        def by_cells(owner: jax.Array, params: Params, batch: Batch) -> tuple[jax.Array, Params]:
            users = Users(batch.user, owner, batch.weight)
            history = None
            if self.model.history_users is not None:
                assert batch.words is not None
                history = History(batch.words, self.options.history_dropout)
            value, slope = self._over_all_items(run, params, source, users, history)
            return value, jax.tree.map(lambda g: g / per_step, slope)

        def step(carry: tuple[Params, Any, jax.Array], batch: Batch) -> tuple[Params, Any, jax.Array]:
            params, optimizer, total = carry
            take = partial(by_cells, batch.user) if self._as_cells else gradient
            if not self._as_cells:
                batch = derive_rows(self.model, params, source.neighbors, batch)
            rate = run.learning_rate * jnp.minimum(1, (optimizer.count + 1) / max(warm_steps, 1))
            given = batch, take, rate, self.options, self.mesh
            params, optimizer, added = adam_step(self.model, params, optimizer, *given)
            return params, optimizer, total + added

        start = state.params, state.optimizer, jnp.zeros(())
        params, optimizer, total = self.scan_batches(source, epoch, key_of(run.seed, 1), step, start)
        ema = state.ema
        if ema is not None:
            decay = jnp.minimum(self.options.ema_decay, 1 - 1 / epoch.astype(jnp.float32))
            ema = jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, ema, params)
        return TrainState(params, optimizer, ema), total / source.num_positives

    def valid_loss(self, params: Params, source: BatchSource, run: Run) -> jax.Array:
        """Return the mean loss [] of the validation positives, on the same random samples at every epoch."""

        def add(total: jax.Array, batch: Batch) -> jax.Array:
            if self._as_cells:
                users = Users(batch.user, batch.user, batch.weight)
                return total + self._over_all_items(run, params, source, users, None)[0]
            batch = derive_rows(self.model, params, source.neighbors, batch)
            microbatch = self._microbatch(params, batch)
            return total + batch_loss(self.model, self._example_loss(run), params, batch, microbatch, self.mesh)

        return self.scan_batches(source, None, key_of(run.seed, 2), add, jnp.zeros(())) / source.num_positives

    def scan_batches(
        self, source: BatchSource, epoch: jax.Array | None, key: jax.Array, step: Callable[[T, Batch], T], start: T
    ) -> T:
        """Fold ``step`` over all batches of an epoch, beginning with ``start``; epoch None: examples in order.

        Each group of users has its own loop. A conditional with a branch for each would copy all tables at every step.
        """
        order_key, first = None, 0
        if epoch is not None:
            key = jax.random.fold_in(key, epoch)
            order_key, first = jax.random.fold_in(key, 0), 1
        draws, steps = self.draws(source, order_key), steps_per_group(source, self.options.batch_size)
        before = np.cumsum([first, *steps])  # number of each group's first step in the epoch

        def fold(carry: T, starts: Sequence[int] | jax.Array, counts: Sequence[int] | jax.Array) -> T:
            for group, draw in enumerate(draws):

                def take(index: jax.Array, carry: T, group: int = group, draw: Draw = draw) -> T:
                    return step(carry, draw(jax.random.fold_in(key, int(before[group]) + index), index))

                carry = jax.lax.fori_loop(starts[group], starts[group] + counts[group], take, carry)
            return carry

        if epoch is None or len(steps) == 1:  # within a group, examples are in a new order already
            return fold(start, [0] * len(steps), steps)
        rounds = rounds_of_epoch(epoch, steps)
        return jax.lax.scan(lambda carry, these: (fold(carry, *these), None), start, rounds)[0]

    def draws(self, source: BatchSource, order_key: jax.Array | None) -> list[Draw]:
        """Return for each group the function from a key and the step's number within the group to its batch."""

        def draw(group: int, key: jax.Array, index: jax.Array) -> Batch:
            negatives = Negatives.of(self.options)
            chosen = examples_of_step(order_key, source, group, index, self.options.batch_size)
            rows, weight = constrain_batch(chosen, self.mesh)
            if self._as_cells:
                return users_alone(key, source, rows, weight)
            if source.widths is None:
                return sample_triplets(key, source, rows, weight, negatives)
            return sample_users(key, source, rows, weight, source.widths[group], negatives)

        return [partial(draw, group) for group in range(len(source.groups))]

    def _microbatch(self, params: Params, batch: Batch) -> int:
        (size, num_items), context = batch.items.shape, batch.history.ids.shape[-1]
        return microbatch_size(size, num_items, context, self.model, params, Negatives.of(self.options), self.mesh)

    def _example_loss(self, run: Run) -> ExampleLoss:
        loss = triplet_loss if self.options.batch == "triplets" else user_loss
        loss_params = LossParams(jnp.asarray(run.margin), jnp.asarray(run.temperature))
        return partial(loss, self.model, OBJECTIVES[self.options.objective], loss_params)

    def _over_all_items(
        self, run: Run, params: Params, source: BatchSource, users: Users, history: History | None
    ) -> tuple[jax.Array, Params]:
        square = self.options.objective == "square"
        loss = Square(self.options.confidence) if square else Softmax(jnp.asarray(run.temperature))
        return loss_and_gradient(self.model, loss, params, source, users, history, self.mesh)
