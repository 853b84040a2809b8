"""One run of training by gradients, as pure functions: its start, an epoch, and its loss on validation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from hlr_jax.data.interactions import Interactions
from hlr_jax.losses import OBJECTIVES, LossParams
from hlr_jax.models.base import Model
from hlr_jax.sharding import constrain_batch, pad_rows
from hlr_jax.training import triplet_batches, user_batches
from hlr_jax.training.batches import Batch, derive_rows
from hlr_jax.training.gradients import ExampleLoss, batch_gradient, batch_loss, microbatch_size
from hlr_jax.training.optimizer import ADAM, adam_step
from hlr_jax.training.options import Run, TrainOptions
from hlr_jax.training.triplet_batches import TripletSource, triplet_loss
from hlr_jax.training.user_batches import UserSource, user_loss
from hlr_jax.types import Params

Source = TripletSource | UserSource
T = TypeVar("T")


@struct.dataclass
class TrainState:
    """What an epoch changes: the parameters, the optimizer's state, and the average of the epochs, where one is taken.

    Of S runs at once all are [S, ...].
    """

    params: Params
    optimizer: Any
    ema: Params | None = None

    @property
    def result(self) -> Params:
        """The parameters that are measured and kept: the average, where there is one."""
        return self.params if self.ema is None else self.ema


class RunArrays(NamedTuple):
    """What tells a run from others of the same program: its keys, its rate, and the parameters of its loss."""

    init_key: jax.Array
    train_key: jax.Array
    valid_key: jax.Array
    learning_rate: jax.Array
    loss: LossParams

    @classmethod
    def of(cls, run: Run) -> "RunArrays":
        """Return them for a run."""
        init_key, train_key, valid_key = (jax.random.fold_in(jax.random.key(run.seed), use) for use in range(3))
        rate, margin, temperature = (jnp.asarray(value, jnp.float32) for value in run[1:])
        return cls(init_key, train_key, valid_key, rate, LossParams(margin, temperature))


@dataclass(frozen=True)
class GradientLearner:
    """Learns by Adam from batches of triplets (eq. 8) or of users, every row kept in the model's ball.

    Every draw is a function of (seed, epoch, step) alone. Each epoch visits every training interaction once, in a new
    random order; the last batch is filled up with examples of weight 0. The loss of a batch is the sum over its
    positives divided by their expected number. With ``options.ema_decay`` the parameters are averaged after each epoch:
    over all of them at first, then with exponentially falling weights (Polyak and Juditsky 1992).

    Attributes:
      model: what is trained.
      options: of training.
      sizes: U, I.
      mesh: where it is trained; None: one device.
    """

    model: Model
    options: TrainOptions
    sizes: tuple[int, int]
    mesh: Mesh | None = None

    def source(self, positives: Interactions, near: Interactions, known: Interactions) -> Source:
        """Return where batches come from; see ``triplet_batches.triplet_source``."""
        make = triplet_batches.triplet_source if self.options.batch == "triplets" else user_batches.user_source
        return make(positives, near, known, self.sizes, self.model, self.options.drawn_negatives)

    def init(self, run: RunArrays) -> TrainState:
        """Return the state before the first epoch."""
        params = pad_rows(self.model.init(run.init_key, *self.sizes), self.mesh)
        return TrainState(params, ADAM.init(params), params if self.options.ema_decay else None)

    def run_epoch(
        self, state: TrainState, source: Source, epoch: jax.Array, run: RunArrays
    ) -> tuple[TrainState, jax.Array]:
        """Return the state after an epoch and its mean training loss []."""
        per_step = float(self.options.batch_size)
        if isinstance(source, UserSource):
            per_step *= source.num_positives / sum(len(users) for users in source.groups)
        lazy = self.options.optimizer == "lazy_adam"

        def gradient(params: Params, batch: Batch) -> tuple[jax.Array, Params]:
            size, loss = self._microbatch(params, batch), self._example_loss(run.loss)
            value, slope = batch_gradient(self.model, loss, params, batch, size, self.mesh is None)
            return value, jax.tree.map(lambda g: g / per_step, slope)

        def step(carry: tuple[Params, Any, jax.Array], batch: Batch) -> tuple[Params, Any, jax.Array]:
            params, optimizer, total = carry
            batch = derive_rows(self.model, params, source.neighbors, batch)
            params, optimizer, loss = adam_step(
                self.model, params, optimizer, batch, gradient, run.learning_rate, lazy
            )  # fmt: skip
            return params, optimizer, total + loss

        start = state.params, state.optimizer, jnp.zeros(())
        params, optimizer, total = self.scan_batches(source, epoch, run.train_key, step, start)
        return self._averaged(TrainState(params, optimizer, state.ema), epoch), total / source.num_positives

    def scan_batches(
        self, source: Source, epoch: jax.Array, key: jax.Array, step: Callable[[T, Batch], T], start: T
    ) -> T:
        """Return what ``step`` makes of ``start`` by way of all batches of an epoch, in their order."""
        epoch_key = jax.random.fold_in(key, epoch)
        branches = self._branches(source, jax.random.fold_in(epoch_key, 0))
        group, index = self._schedule(source, epoch)

        def take(carry: T, place: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[T, None]:
            number, group, index = place
            step_key = jax.random.fold_in(epoch_key, number + 1)
            steps = [lambda carry, draw=draw: step(carry, draw(step_key, index)) for draw in branches]
            return (steps[0](carry) if len(steps) == 1 else jax.lax.switch(group, steps, carry)), None

        return jax.lax.scan(take, start, (jnp.arange(len(group)), group, index))[0]

    def valid_loss(self, params: Params, source: Source, run: RunArrays) -> jax.Array:
        """Return the mean loss [] of the validation positives, on the same draws at every epoch."""
        total, first = jnp.zeros(()), 0
        counts = self._steps_of_groups(source)
        for branch, count in zip(self._branches(source, None), counts, strict=True):

            def add(
                total: jax.Array, place: tuple[jax.Array, jax.Array], branch: Callable[..., Batch] = branch
            ) -> tuple[jax.Array, None]:
                number, index = place
                batch = branch(jax.random.fold_in(run.valid_key, number), index)
                batch = derive_rows(self.model, params, source.neighbors, batch)
                loss = batch_loss(
                    self.model, self._example_loss(run.loss), params, batch, self._microbatch(params, batch),
                    self.mesh is None,
                )  # fmt: skip
                return total + loss, None

            total, _ = jax.lax.scan(add, total, (first + jnp.arange(count), jnp.arange(count)))
            first += count
        return total / source.num_positives

    def _averaged(self, state: TrainState, epoch: jax.Array) -> TrainState:
        if state.ema is None:
            return state
        decay = jnp.minimum(self.options.ema_decay, 1 - 1 / epoch.astype(jnp.float32))
        ema = jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, state.ema, state.params)
        return state.replace(ema=ema)  # type: ignore[attr-defined]

    def _microbatch(self, params: Params, batch: Batch) -> int:
        """Return how many examples are computed at once; on a mesh all, which are cut over its devices."""
        size, num_items = batch.items.shape
        if self.mesh is not None:
            return size
        return microbatch_size(size, self.model, params, num_items, self.options.drawn_negatives)

    def _example_loss(self, loss_params: LossParams) -> ExampleLoss:
        loss = triplet_loss if self.options.batch == "triplets" else user_loss
        objective = OBJECTIVES[self.options.objective]
        return lambda params, vectors, example, shared: loss(
            self.model, objective, loss_params, params, vectors, example, shared
        )

    def _steps_of_groups(self, source: Source) -> list[int]:
        """Return how many steps an epoch has in each group of examples of one shape."""
        counts = (
            [source.num_positives] if isinstance(source, TripletSource) else [len(users) for users in source.groups]
        )
        return [-(-count // self.options.batch_size) for count in counts]

    def _schedule(self, source: Source, epoch: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the group of every step of an epoch, and the step's number within the group."""
        if isinstance(source, UserSource):
            return user_batches.epoch_schedule(epoch, source, self.options.batch_size)
        steps = jnp.arange(self._steps_of_groups(source)[0])
        return jnp.zeros_like(steps), steps

    def _branches(self, source: Source, order_key: jax.Array | None) -> list[Callable[[jax.Array, jax.Array], Batch]]:
        """Return for each group the function from a key and the step's number within the group to its batch."""
        size, negatives = self.options.batch_size, self.options.drawn_negatives

        def triplets(key: jax.Array, index: jax.Array) -> Batch:
            assert isinstance(source, TripletSource)
            rows, weight = triplet_batches.epoch_positions(order_key, source, index, size)
            rows, weight = constrain_batch((rows, weight), self.mesh)
            return triplet_batches.sample_triplets(key, source, rows, weight, negatives)

        def users(group: int) -> Callable[[jax.Array, jax.Array], Batch]:
            def draw(key: jax.Array, index: jax.Array) -> Batch:
                assert isinstance(source, UserSource)
                chosen, weight = user_batches.users_of_step(order_key, source, group, index, size)
                chosen, weight = constrain_batch((chosen, weight), self.mesh)
                return user_batches.sample_users(key, source, chosen, weight, source.widths[group], negatives)

            return draw

        if isinstance(source, TripletSource):
            return [triplets]
        return [users(group) for group in range(len(source.groups))]
