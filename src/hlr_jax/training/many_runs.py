"""Several runs at once: the functions of one run, mapped over seeds, rates and temperatures."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from hlr_jax.compile_memory import Plan, planned
from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import InputError
from hlr_jax.models.base import Model
from hlr_jax.sharding import check_whole_tables, place, replicate, seed_mesh, split_seeds
from hlr_jax.training.als import iterate, objective, sides
from hlr_jax.training.learner import GradientLearner, RunArrays, TrainState
from hlr_jax.training.options import Run, TrainOptions
from hlr_jax.types import Params

T = TypeVar("T")


class Learner(NamedTuple):
    """A way to learn, for S runs at once: all that the loop knows of models and devices.

    Attributes:
      init: () -> the state, from the seeds.
      run_epoch: (state, epoch, active [S]) -> (state, mean training losses [S]); may reuse the memory of its argument.
        What becomes of a run that is not active is not defined; without ``active`` all are.
      valid_loss: params [S, ...] -> mean validation losses [S], or None where there is no such loss.
      positives_per_epoch: of one run, for the speed that is shown.
      memory: state -> what an epoch needs, or None where an epoch is no single program.
    """

    init: Callable[[], TrainState]
    run_epoch: Callable[..., tuple[TrainState, jax.Array]]
    valid_loss: Callable[[Params], jax.Array] | None
    positives_per_epoch: int
    memory: Callable[[TrainState], Plan] | None = None


def runs_one_by_one(count: int, mesh: Mesh | None) -> bool:
    """Return whether each device takes its share of several runs one by one, instead of all at once."""
    return count > 1 and mesh is None and jax.default_backend() == "cpu"


def map_runs(function: Callable[..., T], count: int, mesh: Mesh | None = None) -> Callable[..., T]:
    """Return ``function`` over the leading axis [S] of all its arguments.

    On an accelerator, and on a mesh, that is ``vmap``. On a CPU it is not: a batched gather or product takes longer
    there than as many single ones (4 seeds: 3.6 to 6.6 times one). The runs are divided among the CPU's devices
    instead, and each device takes its own one by one. The last device may repeat a run to fill its share.
    """
    if count == 1:
        return lambda *packed: jax.tree.map(lambda x: x[None], function(*jax.tree.map(lambda x: x[0], packed)))
    if not runs_one_by_one(count, mesh):
        return jax.vmap(function)
    devices = seed_mesh(count)
    missing = -count % devices.size
    axis = PartitionSpec("seed")
    share = jax.shard_map(
        lambda *packed: jax.lax.map(lambda arguments: function(*arguments), packed),
        mesh=devices, in_specs=axis, out_specs=axis, check_vma=False,
    )  # fmt: skip

    def divided(*packed: Any) -> T:
        filled = jax.tree.map(lambda x: jnp.concatenate([x, x[:missing]]), packed) if missing else packed
        return jax.tree.map(lambda x: x[:count], share(*filled))

    return divided


def create_learner(
    dataset: Dataset, model: Model, options: TrainOptions, runs: Sequence[Run], mesh: Mesh | None = None
) -> Learner:
    """Return the learner that the model wants, for ``runs`` whose seeds, learning rates and temperatures are their own.

    Raises:
      InputError: a mesh that the model can't use, or batches that it has none of.
    """
    make = gradient_runs if model.solver is None else als_runs
    return make(dataset, model, options, runs, mesh)


class _GradientRuns:
    """The functions of ``GradientLearner`` for several runs, compiled, with their data on the devices."""

    def __init__(self, learner: GradientLearner, dataset: Dataset, runs: Sequence[Run]):
        """Put the data and the runs where the learner's mesh is."""
        self._learner, self._mesh, self._count = learner, learner.mesh, len(runs)
        self._train = replicate(learner.source(dataset.train, dataset.train, dataset.train), self._mesh)
        # Runs are arguments, not constants: what is compiled for one seed serves the others.
        self._runs = replicate(jax.tree.map(lambda *each: jnp.stack(each), *map(RunArrays.of, runs)), self._mesh)
        self._valid: Any = None
        if len(dataset.valid):
            valid = learner.source(dataset.valid, dataset.train, dataset.train + dataset.valid)
            self._valid = replicate(valid, self._mesh)
        self._epoch = jax.jit(self._run_epoch, donate_argnums=0)
        self._loss = jax.jit(self._valid_loss)

    def init(self) -> TrainState:
        """Return the states before the first epoch, each array where it belongs."""
        return place(lambda: map_runs(self._learner.init, self._count, self._mesh)(self._runs), self._mesh)

    def run_epoch(
        self, state: TrainState, epoch: int, active: Sequence[bool] | np.ndarray | None = None
    ) -> tuple[TrainState, jax.Array]:
        """Return the states after an epoch, and the losses [S]."""
        going = np.flatnonzero(np.ones(self._count) if active is None else active)
        if runs_one_by_one(self._count, self._mesh) or len(going) == self._count:
            return self._epoch(state, self._train, jnp.int32(epoch), self._runs, self._mask(going))
        # Runs that are mapped cost their time whether they go on or not: those that do are a smaller program's.
        part, arrays = jax.tree.map(lambda array: array[going], (state, self._runs))
        after, losses = self._epoch(part, self._train, jnp.int32(epoch), arrays, jnp.ones(len(going), bool))
        state = jax.tree.map(lambda whole, part: whole.at[going].set(part), state, after)
        return state, jnp.full(self._count, jnp.nan).at[going].set(losses)

    def valid_loss(self, params: Params) -> jax.Array:
        """Return the mean losses [S] on validation."""
        return self._loss(self._valid, self._runs, params)

    def memory(self, state: TrainState) -> Plan:
        """Return what an epoch needs."""
        everyone = self._mask(np.arange(self._count))
        return planned(self._epoch, state, self._train, jnp.int32(1), self._runs, everyone)

    def as_learner(self) -> Learner:
        """Return them as the loop takes them."""
        validate = None if self._valid is None else self.valid_loss
        return Learner(self.init, self.run_epoch, validate, self._train.num_positives, self.memory)

    def _mask(self, going: np.ndarray) -> jax.Array:
        return jnp.asarray(np.isin(np.arange(self._count), going))

    def _run_epoch(
        self, state: TrainState, source: Any, epoch: jax.Array, runs: RunArrays, active: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        def epoch_of(state: TrainState, run: RunArrays) -> tuple[TrainState, jax.Array]:
            return self._learner.run_epoch(state, source, epoch, run)

        def epoch_if(active: jax.Array, state: TrainState, run: RunArrays) -> tuple[TrainState, jax.Array]:
            return jax.lax.cond(active, epoch_of, lambda state, _: (state, jnp.zeros(())), state, run)

        if runs_one_by_one(self._count, self._mesh):
            return map_runs(epoch_if, self._count)(active, state, runs)
        return map_runs(epoch_of, len(active), self._mesh)(state, runs)

    def _valid_loss(self, source: Any, runs: RunArrays, params: Params) -> jax.Array:
        def loss_of(params: Params, run: RunArrays) -> jax.Array:
            return self._learner.valid_loss(params, source, run)

        return map_runs(loss_of, self._count, self._mesh)(params, runs)


def gradient_runs(
    dataset: Dataset, model: Model, options: TrainOptions, runs: Sequence[Run], mesh: Mesh | None = None
) -> Learner:
    """Return the learner of runs that are trained by gradients; see ``GradientLearner``.

    Raises:
      InputError: a mesh that the model can't use, or batches that it has none of.
    """
    if model.derived is not None:
        check_whole_tables(model.name, mesh)
    learner = GradientLearner(model, options, (dataset.num_users, dataset.num_items), mesh)
    return _GradientRuns(learner, dataset, runs).as_learner()


def als_runs(
    dataset: Dataset, model: Model, options: TrainOptions, runs: Sequence[Run], mesh: Mesh | None = None
) -> Learner:
    """Return the learner of alternating least squares: an epoch solves for all users, then for all items.

    The seed draws the factors at the start and nothing else. The loss is the objective per training interaction.

    Raises:
      InputError: there is a mesh.
    """
    del options  # no setting of gradients applies
    if mesh is not None:
        raise InputError(f"model {model.name} runs on one device; set mesh.data and mesh.model to 1")
    solver, count = model.solver, len(dataset.train)
    assert solver is not None
    users, items = sides(dataset.train, dataset.num_users, dataset.num_items)
    arrays = jax.tree.map(lambda *each: jnp.stack(each), *map(RunArrays.of, runs))

    def run_epoch(state: TrainState, epoch: int, active: Sequence[bool] = ()) -> tuple[TrainState, jax.Array]:
        del epoch, active
        # Run after run: an iteration is short, and on a CPU LAPACK takes one matrix at a time (see ``als``).
        params = [iterate(solver, users, items, single) for single in split_seeds(state.params)]
        losses = [objective(solver, users, items, single) / count for single in params]
        return TrainState(jax.tree.map(lambda *each: jnp.stack(each), *params), ()), jnp.stack(losses)

    def init() -> TrainState:
        start = jax.vmap(lambda key: model.init(key, dataset.num_users, dataset.num_items))
        return TrainState(start(arrays.init_key), ())

    return Learner(init, run_epoch, None, count)
