"""Several runs at once: the functions of one run, mapped over seeds, rates and temperatures."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from hlr_jax.compile_memory import planned
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.neighbor_sampling import NeighborSources
from hlr_jax.distinct import Distinct, distinct
from hlr_jax.errors import InputError
from hlr_jax.models.base import Model
from hlr_jax.sharding import check_whole_tables, pad_rows, place, replicate, seed_mesh, split_seeds
from hlr_jax.training.als import iterate, sides_on, start_of
from hlr_jax.training.attention import AttentionSample, attention_figures, has_memories
from hlr_jax.training.batches import BatchSource
from hlr_jax.training.learner import GradientLearner, TrainState
from hlr_jax.training.options import LENGTH, START, Run, TrainOptions
from hlr_jax.types import Params

T = TypeVar("T")


class Learner:
    """A way to learn, for S runs at once: the loop's only interface to models and devices.

    Attributes:
      positives_per_epoch: of one run, for the displayed speed.
      init: the states before the first epoch, from the seeds, or from given parameters [S, ...].
      run_epoch: (state, epoch, active [S]) -> (state, mean training losses [S]); may reuse the memory of its argument.
        A run that is not active stays as it is, and its loss is meaningless; without ``active`` all are.
      valid_loss: params [S, ...] -> mean validation losses [S], or None where there is no such loss.
      attention: params [S, ...] -> the values [S] of ``history.ATTENTION``, or None where there are no memories.
      memory: state -> the memory that an epoch needs (``planned``), or None where an epoch is not a single program.
    """

    positives_per_epoch: int
    init: Callable[..., TrainState]
    run_epoch: Callable[..., tuple[TrainState, jax.Array]]
    valid_loss: Callable[[Params], jax.Array] | None = None
    attention: Callable[[Params], dict[str, jax.Array]] | None = None
    memory: Callable[[TrainState], tuple[int, int, int]] | None = None


def create_learner(
    dataset: Dataset, model: Model, options: TrainOptions, runs: Sequence[Run], mesh: Mesh | None = None
) -> Learner:
    """Return the learner of the model, for ``runs`` with their own seeds, learning rates and temperatures.

    Raises:
      InputError: the model can't use the mesh, or has no such batches.
    """
    if model.solver is None:
        return _GradientRuns(dataset, model, options, runs, mesh)
    return _SolverRuns(dataset, model, runs, mesh)


def _check_batches(model: Model, options: TrainOptions) -> None:
    """Check ``train.history_dropout`` and the batches of a model whose users are made from their items.

    Raises:
      InputError: such a model is not trained over all items, or its scores are more than a distance; or another model
        has ``train.history_dropout``.
    """
    if model.history_users is None:
        if options.history_dropout:
            raise InputError(
                f"train.history_dropout: model {model.name} does not make users from their items; set it to 0"
            )
        if options.objective == "square":
            raise InputError(
                f"train.objective=square: model {model.name} does not make users from their items; set another"
            )
    elif options.negatives != "all":
        raise InputError(
            f"model {model.name} makes users from their items, and a batch must hold all of these; set "
            "train.batch=users and train.negatives=all"
        )
    elif not model.plain:
        raise InputError(f"model {model.name} makes users from their items; its scores must be distances (Model.plain)")


def _stacked(runs: Sequence[Run]) -> Run:
    """Return the runs as one run of arrays [S]."""
    seeds, *others = (np.asarray(column) for column in zip(*runs, strict=True))
    arrays: Any = [jnp.asarray(seeds, jnp.uint32), *(jnp.asarray(column, jnp.float32) for column in others)]
    return Run(*arrays)


def _one_by_one(count: int, mesh: Mesh | None) -> bool:
    """Return whether each device processes its share of several runs one by one, instead of all at once."""
    return count > 1 and mesh is None and jax.default_backend() == "cpu"


def map_runs(function: Callable[..., T], count: int, mesh: Mesh | None = None) -> Callable[..., T]:
    """Return ``function`` over the leading axis [S] of all its arguments.

    On an accelerator, and on a mesh, that is ``vmap``. On a CPU it is not, because a batched gather or product takes
    longer there than separate ones (4 seeds: 3.6 to 6.6 times one). The runs are divided among the CPU's devices
    instead, and each device processes its own one by one. The last device may repeat a run to fill its share.
    """
    if count == 1:
        return lambda *packed: jax.tree.map(lambda x: x[None], function(*jax.tree.map(lambda x: x[0], packed)))
    if not _one_by_one(count, mesh):
        return jax.vmap(function)
    devices, axis = seed_mesh(count), PartitionSpec("seed")
    missing = -count % devices.size
    share = jax.shard_map(
        lambda *packed: jax.lax.map(lambda arguments: function(*arguments), packed),
        mesh=devices, in_specs=axis, out_specs=axis, check_vma=False,
    )  # fmt: skip

    def divided(*packed: Any) -> T:
        filled = jax.tree.map(lambda x: jnp.concatenate([x, x[:missing]]), packed) if missing else packed
        return jax.tree.map(lambda x: x[:count], share(*filled))

    return divided


@lru_cache(maxsize=8)
def epoch_programs(learner: GradientLearner, count: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the compiled epoch of ``count`` runs, and their validation losses; the next training reuses both."""

    def run_epoch(
        state: TrainState, source: Distinct[BatchSource], epoch: jax.Array, runs: Run, active: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        def epoch_of(state: TrainState, run: Run) -> tuple[TrainState, jax.Array]:
            return learner.run_epoch(state, source.tree, epoch, run)

        def epoch_if(active: jax.Array, state: TrainState, run: Run) -> tuple[TrainState, jax.Array]:
            return jax.lax.cond(active, epoch_of, lambda state, _: (state, jnp.zeros(())), state, run)

        if _one_by_one(count, learner.mesh):
            return map_runs(epoch_if, count)(active, state, runs)
        return map_runs(epoch_of, len(active), learner.mesh)(state, runs)

    def valid_loss(source: Distinct[BatchSource], runs: Run, params: Params) -> jax.Array:
        def loss_of(params: Params, run: Run) -> jax.Array:
            return learner.valid_loss(params, source.tree, run)

        return map_runs(loss_of, count, learner.mesh)(params, runs)

    return jax.jit(run_epoch, donate_argnums=0), jax.jit(valid_loss)


@lru_cache(maxsize=8)
def _attention_program(model: Model, count: int, mesh: Mesh | None) -> Callable[..., dict[str, jax.Array]]:
    """Return the compiled measurement of the attentions of ``count`` runs, whatever they are trained with."""

    def attention(sources: NeighborSources, sample: AttentionSample, params: Params) -> dict[str, jax.Array]:
        return map_runs(partial(attention_figures, model, sources, sample), count, mesh)(params)

    return jax.jit(attention)


class _GradientRuns(Learner):
    """``GradientLearner`` for several runs, compiled, with their data on the devices."""

    def __init__(self, dataset: Dataset, model: Model, options: TrainOptions, runs: Sequence[Run], mesh: Mesh | None):
        _check_batches(model, options)
        if model.derived is not None:
            check_whole_tables(model.name, mesh)
        # Trainings that differ only in their runs, their length or their start share the compiled programs.
        unset = {name: getattr(TrainOptions, name) for name in (*LENGTH, *START)}
        shared = replace(options.of_every_run(), **unset)
        learner = GradientLearner(model, shared, (dataset.num_users, dataset.num_items), mesh)
        train, valid = dataset.train, dataset.valid
        self._learner, self._mesh, self._count = learner, mesh, len(runs)
        self.positives_per_epoch = len(train)
        source = replicate(learner.source(train, train, train), mesh)
        self._train = distinct(source)
        # Runs are arguments, not constants: a program compiled for one seed serves the others.
        self._runs = replicate(_stacked(runs), mesh)
        self._epoch, valid_loss = epoch_programs(learner, self._count)
        if len(valid):
            measured = distinct(replicate(learner.source(valid, train, train + valid), mesh))
            self.valid_loss = partial(valid_loss, measured, self._runs)
        if has_memories(model):
            sample = replicate(AttentionSample.of(train), mesh)
            program = _attention_program(model, self._count, mesh)
            self.attention = partial(program, source.neighbors, sample)
        everyone = jnp.ones(self._count, bool)
        self.memory = lambda state: planned(self._epoch, state, self._train, jnp.int32(1), self._runs, everyone)

    def init(self, params: Params | None = None) -> TrainState:
        if params is None:
            return place(lambda: map_runs(self._learner.init, self._count, self._mesh)(self._runs), self._mesh)
        return place(jax.vmap(self._learner.state_of), self._mesh, replicate(params, self._mesh))

    def run_epoch(
        self, state: TrainState, epoch: int, active: Sequence[bool] | None = None
    ) -> tuple[TrainState, jax.Array]:
        mask = np.ones(self._count, bool) if active is None else np.asarray(active, bool)
        if mask.all() or _one_by_one(self._count, self._mesh):
            return self._epoch(state, self._train, jnp.int32(epoch), self._runs, jnp.asarray(mask))
        # Mapped runs cost time whether they continue or not, so a smaller program trains those that continue.
        going = np.flatnonzero(mask)
        part, arrays = jax.tree.map(lambda array: array[going], (state, self._runs))
        after, losses = self._epoch(part, self._train, jnp.int32(epoch), arrays, jnp.ones(len(going), bool))
        state = jax.tree.map(lambda whole, part: whole.at[going].set(part), state, after)
        return state, jnp.full(self._count, jnp.nan).at[going].set(losses)


class _SolverRuns(Learner):
    """Alternating least squares: an epoch solves for all users, then for all items.

    The seed affects only the initial factors. The loss is the objective per training interaction.
    """

    def __init__(self, dataset: Dataset, model: Model, runs: Sequence[Run], mesh: Mesh | None):
        self._model, self._seeds, self._mesh = model, [run.seed for run in runs], mesh
        self._sizes = dataset.num_users, dataset.num_items
        self._sides = sides_on(dataset.train, *self._sizes, mesh)
        self._count = len(runs)
        self.positives_per_epoch = len(dataset.train)

    def init(self, params: Params | None = None) -> TrainState:
        if params is not None:
            padded = place(
                jax.vmap(lambda single: pad_rows(single, self._mesh)), self._mesh, replicate(params, self._mesh)
            )
            return TrainState(padded, ())
        starts = [start_of(self._model.init, *self._sizes, run, self._mesh) for run in self._seeds]
        return TrainState(jax.tree.map(lambda *each: jnp.stack(each), *starts), ())

    def run_epoch(
        self, state: TrainState, epoch: int, active: Sequence[bool] | None = None
    ) -> tuple[TrainState, jax.Array]:
        del epoch
        going = [True] * self._count if active is None else active
        assert self._model.solver is not None
        step = partial(iterate, self._model.solver, *self._sides)
        # Run after run: an iteration is short, and fills the device.
        before = zip(split_seeds(state.params), going, strict=True)
        after = [step(single) if on else (single, jnp.zeros(())) for single, on in before]
        params, values = zip(*after, strict=True)
        stacked = jax.tree.map(lambda *each: jnp.stack(each), *params)
        return TrainState(stacked, ()), jnp.stack(values) / self.positives_per_epoch
