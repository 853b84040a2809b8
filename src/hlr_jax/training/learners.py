"""Learners: what turns parameters into better ones, an epoch at a time. The loop knows no more than this."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh, PartitionSpec

from hlr_jax.compile_memory import Plan, planned
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.neighbor_sampling import NeighborTables, neighbor_tables
from hlr_jax.data.sampling import shuffled
from hlr_jax.errors import InputError
from hlr_jax.losses import OBJECTIVES, LossParams
from hlr_jax.models.base import Model
from hlr_jax.sharding import pad_rows, place, seed_mesh, split_seeds
from hlr_jax.storage import store, widened
from hlr_jax.training.als import iterate, objective, sides
from hlr_jax.training.batch_sampling import draw_batch, tables_of_batch, training_triplets, validation_triplets
from hlr_jax.training.batches import Batch, Triplets
from hlr_jax.training.gradients import batch_gradient, batch_loss, microbatch_size
from hlr_jax.training.optimizer import ADAM, adam_step
from hlr_jax.training.options import Run, TrainOptions
from hlr_jax.types import Params

T = TypeVar("T")


@struct.dataclass
class Learned:
    """What an epoch changes, for S runs: the parameters, the optimiser's state, and the average of the epochs so far.

    All are [S, ...]; the average is None where none is taken.
    """

    params: Params
    optimizer: Any
    average: Params | None = None

    @property
    def result(self) -> Params:
        """The parameters that are measured and kept: the average, where there is one."""
        return self.params if self.average is None else self.average


class Learner(NamedTuple):
    """A way to learn, for S runs at once.

    Attributes:
      init: () -> Learned, from the seeds.
      run_epoch: (learned, epoch, active [S]) -> (learned, mean training losses [S]); may reuse the memory of its
        argument. What becomes of a run that is not active is not defined; without ``active`` all are.
      valid_loss: params [S, ...] -> mean validation losses [S], or None where there is no such loss.
      triplets_per_epoch: of one run, for the speed that is shown.
      memory: learned -> what an epoch needs, or None where an epoch is no single program.
    """

    init: Callable[[], Learned]
    run_epoch: Callable[..., tuple[Learned, jax.Array]]
    valid_loss: Callable[[Params], jax.Array] | None
    triplets_per_epoch: int
    memory: Callable[[Learned], Plan] | None = None


def in_turn(count: int, mesh: Mesh | None) -> bool:
    """Return whether each device takes its share of several runs one by one, instead of all at once."""
    return count > 1 and mesh is None and jax.default_backend() == "cpu"


def map_runs(function: Callable[..., T], count: int, mesh: Mesh | None = None) -> Callable[..., T]:
    """Return ``function`` over the leading axis [S] of all its arguments.

    On an accelerator, and on a mesh, that is ``vmap``. On a CPU it is not: a batched gather or product takes longer
    there than as many single ones (4 seeds: 3.6 to 6.6 times one). The seeds are divided among the CPU's devices
    instead, and each device takes its own one by one. The last device may repeat a seed to fill its share.
    """
    if count == 1:
        return lambda *packed: jax.tree.map(lambda x: x[None], function(*jax.tree.map(lambda x: x[0], packed)))
    if not in_turn(count, mesh):
        return jax.vmap(function)
    devices = seed_mesh(count)
    missing = -count % devices.size
    axis = PartitionSpec("seed")
    share = jax.shard_map(
        lambda *packed: jax.lax.map(lambda one: function(*one), packed),
        mesh=devices, in_specs=axis, out_specs=axis, check_vma=False,
    )  # fmt: skip

    def divided(*packed: Any) -> T:
        filled = jax.tree.map(lambda x: jnp.concatenate([x, x[:missing]]), packed) if missing else packed
        return jax.tree.map(lambda x: x[:count], share(*filled))

    return divided


def seed_keys(runs: Sequence[Run], use: int) -> jax.Array:
    """Return one key per run [S] for one of its uses of randomness."""
    return jnp.stack([jax.random.fold_in(jax.random.key(run.seed), use) for run in runs])


def create_learner(
    dataset: Dataset, model: Model, options: TrainOptions, runs: Sequence[Run], mesh: Mesh | None = None
) -> Learner:
    """Return the learner that the model wants, for ``runs`` whose seeds, learning rates and scales are their own.

    Raises:
      InputError: a mesh for a model that is solved for.
    """
    learner = triplet_learner if model.solver is None else als_learner
    return learner(dataset, model, options, runs, mesh)


def triplet_learner(
    dataset: Dataset, model: Model, options: TrainOptions, runs: Sequence[Run], mesh: Mesh | None = None
) -> Learner:
    """Learn from triplets (eq. 8) with Adam, every row kept in the model's ball after each step.

    Every draw is a function of (seed, epoch, step) alone. Each epoch visits every training interaction once, in a new
    random order; the last batch is filled up with triplets of weight 0. The loss of a batch is the sum over its
    triplets divided by the batch size. With ``options.ema_decay`` the parameters are averaged after each epoch: over
    all of them at first, then with exponentially falling weights (Polyak and Juditsky 1992).
    """
    size, negatives = options.batch_size, options.drawn_negatives
    objective, lazy = OBJECTIVES[options.objective], options.optimizer == "lazy_adam"
    train = training_triplets(dataset.train, dataset.num_users, dataset.num_items, model, negatives, mesh)
    init_keys, train_keys, valid_keys = (seed_keys(runs, use) for use in range(3))
    rates, *scales_of = (jnp.array([run[field] for run in runs], jnp.float32) for field in (1, 2, 3))
    scales = LossParams(*scales_of)
    refresh = max(model.history.refresh, model.item_users.refresh)

    def init() -> Learned:
        def one(key: jax.Array) -> Learned:
            params = pad_rows(model.init(key, dataset.num_users, dataset.num_items), mesh)
            return Learned(store(params, options.storage), ADAM.init(params), params if options.ema_decay else None)

        return place(lambda: map_runs(one, len(runs), mesh)(init_keys), mesh)

    def piece(params: Params) -> int:
        return size if mesh is not None else microbatch_size(options.microbatch, size, model, params, negatives)

    @partial(jax.jit, donate_argnums=0)
    def run_epoch(
        learned: Learned, source: Triplets, epoch: jax.Array, keys: jax.Array, rates: jax.Array, scales: LossParams,
        active: jax.Array,
    ) -> tuple[Learned, jax.Array]:  # fmt: skip
        # Keys are arguments, not constants: what is compiled for one seed serves the others.
        count = source.count
        steps = -(-count // size)

        def tables_of(params: Params) -> NeighborTables:
            return neighbor_tables(widened(params), source.near, mesh)

        def one(
            learned: Learned, train_key: jax.Array, learning_rate: jax.Array, scales: LossParams
        ) -> tuple[Learned, jax.Array]:
            epoch_key = jax.random.fold_in(train_key, epoch)
            order_key = jax.random.fold_in(epoch_key, 0)

            def gradient(params: Params, tables: NeighborTables, batch: Batch) -> tuple[jax.Array, Params]:
                loss, slope = batch_gradient(
                    model, objective, params, tables, batch, scales, piece(params), mesh is None
                )
                return loss, jax.tree.map(lambda g: g / size, slope)

            def drawn(index: jax.Array) -> Batch:
                positions, weight = _positions(index, size, count)
                rows = shuffled(order_key, positions, count)
                return draw_batch(jax.random.fold_in(epoch_key, index + 1), source, rows, weight, negatives, mesh)

            def step(
                carry: tuple[Learned, NeighborTables | None], index: jax.Array
            ) -> tuple[tuple[Learned, NeighborTables | None], jax.Array]:
                learned, kept = carry
                params, batch = learned.params, drawn(index)
                if refresh == 1:
                    tables, batch = tables_of_batch(widened(params), source.near, batch, mesh)
                else:  # means that outlive the step are needed of all owners
                    tables = kept = jax.lax.cond(index % refresh == 0, lambda: tables_of(params), lambda: kept)
                key = jax.random.fold_in(jax.random.fold_in(epoch_key, index + 1), 0)
                params, state, loss = adam_step(
                    model, params, learned.optimizer, tables, batch, gradient, learning_rate, key, lazy=lazy
                )
                return (replace(learned, params=params, optimizer=state), kept), loss

            kept = None
            if refresh > 1:  # filled by the first step
                shapes = jax.eval_shape(lambda: tables_of(learned.params))
                kept = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), shapes)
            (learned, _), losses = jax.lax.scan(step, (learned, kept), jnp.arange(steps))
            if learned.average is not None:
                decay = jnp.minimum(options.ema_decay, 1 - 1 / epoch.astype(jnp.float32))
                pairs = learned.average, widened(learned.params)
                learned = replace(learned, average=jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, *pairs))
            return learned, losses.sum() / source.positives

        if not in_turn(len(runs), mesh):  # they end together, so a run that idles costs no time
            return map_runs(one, len(runs), mesh)(learned, keys, rates, scales)

        def one_if(active: jax.Array, learned: Learned, *rest: Any) -> tuple[Learned, jax.Array]:
            return jax.lax.cond(active, one, lambda learned, *_: (learned, jnp.zeros(())), learned, *rest)

        return map_runs(one_if, len(runs))(active, learned, keys, rates, scales)

    @jax.jit
    def valid_loss(source: Triplets, keys: jax.Array, scales: LossParams, params: Params) -> jax.Array:
        count = source.count

        def one(params: Params, valid_key: jax.Array, scales: LossParams) -> jax.Array:
            params = widened(params)
            tables = neighbor_tables(params, source.near, mesh)

            def step(total: jax.Array, index: jax.Array) -> tuple[jax.Array, None]:
                rows, weight = _positions(index, size, count)
                # The same draws at every epoch, so that epochs are compared on one sample.
                batch = draw_batch(jax.random.fold_in(valid_key, index), source, rows, weight, negatives, mesh)
                return total + batch_loss(
                    model, objective, params, tables, batch, scales, piece(params), mesh is None
                ), None

            total, _ = jax.lax.scan(step, jnp.zeros(()), jnp.arange(-(-count // size)))
            return total / source.positives

        return map_runs(one, len(runs), mesh)(params, keys, scales)

    validate = None
    if len(dataset.valid):
        sizes = dataset.num_users, dataset.num_items
        valid = validation_triplets(dataset.train, dataset.valid, *sizes, model, negatives, mesh)
        validate = partial(valid_loss, valid, valid_keys, scales)
    everyone = (True,) * len(runs)

    def next_epoch(learned: Learned, epoch: int, active: Sequence[bool] = everyone) -> tuple[Learned, jax.Array]:
        return run_epoch(learned, train, jnp.int32(epoch), train_keys, rates, scales, jnp.asarray(active))

    def memory(learned: Learned) -> Plan:
        return planned(run_epoch, learned, train, jnp.int32(1), train_keys, rates, scales, jnp.asarray(everyone))

    return Learner(init, next_epoch, validate, len(dataset.train), memory)


def _positions(index: jax.Array, size: int, count: int) -> tuple[jax.Array, jax.Array]:
    """Return the positions of a batch [B] in an epoch of ``count``, and weights that are 0 past its end."""
    positions = index * size + jnp.arange(size)
    return jnp.minimum(positions, count - 1), (positions < count).astype(jnp.float32)


def als_learner(
    dataset: Dataset, model: Model, options: TrainOptions, runs: Sequence[Run], mesh: Mesh | None = None
) -> Learner:
    """Learn by alternating least squares: an epoch solves for all users, then for all items.

    The seed draws the factors at the start and nothing else. The loss is the objective per training interaction.

    Raises:
      InputError: there is a mesh.
    """
    del options  # no setting of triplets applies
    if mesh is not None:
        raise InputError(f"model {model.name} runs on one device; set mesh.data and mesh.model to 1")
    solver, count = model.solver, len(dataset.train)
    assert solver is not None
    users, items = sides(dataset.train, dataset.num_users, dataset.num_items)

    def run_epoch(learned: Learned, epoch: int, active: Sequence[bool] = ()) -> tuple[Learned, jax.Array]:
        del epoch, active
        # Seed after seed: an iteration is short, and on a CPU LAPACK takes one matrix at a time (see ``als``).
        params = [iterate(solver, users, items, one) for one in split_seeds(learned.params)]
        losses = [objective(solver, users, items, one) / count for one in params]
        return Learned(jax.tree.map(lambda *each: jnp.stack(each), *params), ()), jnp.stack(losses)

    def init() -> Learned:
        start = jax.vmap(lambda key: model.init(key, dataset.num_users, dataset.num_items))
        return Learned(start(seed_keys(runs, 0)), ())

    return Learner(init, run_epoch, None, count)
