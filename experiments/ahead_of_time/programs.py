"""The package's own programs, with the shapes of what they are called with, as they lie on a target's devices."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ahead_of_time import shapes
from ahead_of_time.shapes import Size
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

import hlr_jax
from hlr_jax import Model, TrainOptions, sharding
from hlr_jax.distinct import Distinct, distinct
from hlr_jax.ranking.inputs import RankingInputs
from hlr_jax.ranking.plan import Prepared, TilePlan, first_plan, fitting_plan
from hlr_jax.ranking.sharded import item_users_program
from hlr_jax.ranking.sharded import tile_program as mesh_tile_program
from hlr_jax.ranking.single import tile_program
from hlr_jax.training.als import solve_loop, solve_on_mesh
from hlr_jax.training.learner import GradientLearner
from hlr_jax.training.many_runs import epoch_programs, map_runs
from hlr_jax.training.options import Run

_MODELS: dict[str, dict[str, Any]] = {
    "cml": {},
    "hlr": {"max_history": 50, "num_memories": 20, "variant": "paper"},
    "hlrpp": {"max_history": 50, "num_memories": 20, "max_item_users": 20, "variant": "paper"},
    "mf_als": {"confidence": 20.0, "regularization": 20.0},
}
MODELS = tuple(_MODELS)
TRAININGS = ("triplets-adam", "triplets-lazy_adam", "users-adam", "users-lazy_adam")
_USERS_NEGATIVES, _RANKED, _TOP, _LIMIT_MIB = 64, 100_000, 10, 512


def programs_of(model: str) -> tuple[str, ...]:
    """Return the names of the programs of a model."""
    return ("solve-users", "solve-items") if model == "mf_als" else (*TRAININGS, "rank")


@dataclass
class Compiling:
    """A jitted function that keeps what was compiled of it last, and compiles nothing twice."""

    function: Any
    made: dict[Any, Any] = field(default_factory=dict)
    last: Any = None

    __hash__ = object.__hash__

    def lower(self, *arguments: Any) -> Any:
        """Return what ``compile`` compiles, for shapes of arguments."""
        key = str(jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), arguments))
        if key not in self.made:
            self.made[key] = self.function.lower(*arguments).compile()
        self.last = self.made[key]
        return self

    def compile(self) -> Any:
        """Return the compiled program."""
        return self.last


@dataclass(frozen=True)
class Devices:
    """Where programs are compiled for: a mesh, or one device."""

    mesh: Mesh | None
    first: Any

    def hold(self, tree: Any) -> Any:
        """Return shapes as they lie: tables cut over ``model``, all else whole on each device."""
        return self._put(tree, lambda tree, mesh: sharding.shardings(tree, mesh))

    def cut(self, tree: Any, axis: str) -> Any:
        """Return shapes whose first axis is cut over an axis of the mesh."""
        return self._put(
            tree, lambda tree, mesh: jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec(axis)), tree)
        )

    def _put(self, tree: Any, shardings: Callable[[Any, Mesh], Any]) -> Any:
        if self.mesh is None:
            places = jax.tree.map(lambda _: SingleDeviceSharding(self.first), tree)
        else:
            places = shardings(tree, self.mesh)
        return jax.tree.map(
            lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), tree, places
        )


Compile = Callable[[], Any]
"""Compiles a program; the package's own jitted function, for shapes."""


def create_model(name: str, dim: int) -> Model:
    """Return a model at the paper's sizes."""
    return hlr_jax.create_model(name, embed_dim=dim, **_MODELS[name])


def train_options(name: str, batch_size: int) -> TrainOptions:
    """Return the options of a training by its name."""
    batch, optimizer = name.split("-")
    if batch == "triplets":
        return TrainOptions(batch_size=batch_size, optimizer=optimizer)
    return TrainOptions(
        batch="users", batch_size=users_per_batch(batch_size), optimizer=optimizer, negatives="per_user",
        num_negatives=_USERS_NEGATIVES,
    )  # fmt: skip


def users_per_batch(batch_size: int) -> int:
    """Return the users of a batch that has about as many positives as triplets, 64 for each user."""
    return max(1, batch_size // 64)


def create(name: str, model: Model, size: Size, batch_size: int, devices: Devices) -> Compile:
    """Return what compiles a program, by its name."""
    if name == "rank":
        return _ranking(model, size, devices)
    if model.solver is not None:
        return _solving(model, size, devices, of_users=name == "solve-users")
    return _training(model, size, train_options(name, batch_size), devices)


def _params(model: Model, size: Size, devices: Devices) -> Any:
    def init() -> Any:
        return sharding.pad_rows(model.init(jax.random.key(0), size.users, size.items), devices.mesh)

    return devices.hold(jax.eval_shape(init))


def _training(model: Model, size: Size, options: TrainOptions, devices: Devices) -> Compile:
    learner = GradientLearner(model, options, (size.users, size.items), devices.mesh)
    users, items = shapes.of_users(size), shapes.of_items(size)
    source = shapes.source_shape(model, users, items, options.batch, options.num_negatives)
    floats = (jax.ShapeDtypeStruct((1,), jnp.float32) for _ in range(3))
    runs = Run(jax.ShapeDtypeStruct((1,), jnp.uint32), *floats)  # type: ignore[arg-type]
    state = jax.eval_shape(map_runs(learner.init, 1, devices.mesh), runs)
    active = jax.ShapeDtypeStruct((1,), bool)
    arguments = devices.hold((state, distinct(source), shapes.ints(), runs, active))
    program = epoch_programs(learner, 1)[0]
    return lambda: program.lower(*arguments).compile()  # type: ignore[attr-defined]


def _ranking(model: Model, size: Size, devices: Devices) -> Compile:
    """Return the ranking of 100,000 users, or of all if they are fewer, in tiles that fit as ``rank`` fits them."""
    inputs = devices.hold(distinct(shapes.ranking_shape(model, shapes.of_users(size), shapes.of_items(size))))
    params, count, limit = _params(model, size, devices), min(size.users, _RANKED), _LIMIT_MIB << 20
    programs: dict[Any, Compiling] = {}
    last: list[tuple[Compiling, tuple]] = []

    def prepare(plan: TilePlan) -> Prepared:
        key = plan.items, plan.users_at_once, plan.by_pairs
        make = partial(_tile_of_device, plan) if devices.mesh is None else partial(_tile_of_mesh, plan, devices)
        program, more = make(model, inputs, params)
        program = programs.setdefault(key, program)

        def arguments(users: np.ndarray, places: np.ndarray) -> tuple:
            given = (params, *devices.hold((shapes.ints(*users.shape), shapes.ints(*places.shape))), inputs, *more)
            last[:] = [(program, given)]
            return given

        return program, arguments

    shares = 1 if devices.mesh is None else devices.mesh.shape["data"]
    plan = first_plan(model, params, count, size.items, limit)

    def compiled() -> Any:
        fitting_plan(plan, prepare, count, limit, shares)
        return last[0][0].last

    return compiled


def _tile_of_device(
    plan: TilePlan, model: Model, inputs: Distinct[RankingInputs], params: Any
) -> tuple[Compiling, tuple]:
    del inputs, params
    return Compiling(tile_program(model, _TOP, plan.items, plan.users_at_once, plan.by_pairs)), ()


def _tile_of_mesh(
    plan: TilePlan, devices: Devices, model: Model, inputs: Distinct[RankingInputs], params: Any
) -> tuple[Compiling, tuple]:
    assert devices.mesh is not None
    item_users = jax.eval_shape(item_users_program(model, devices.mesh), params, inputs)
    program = mesh_tile_program(model, devices.mesh, _TOP, plan.users_at_once, plan.by_pairs)
    return Compiling(program), (devices.cut(item_users, "model"),)


def _solving(model: Model, size: Size, devices: Devices, *, of_users: bool) -> Compile:
    solver, params = model.solver, _params(model, size, devices)
    assert solver is not None
    loops = 1 if devices.mesh is None else devices.mesh.shape["data"]
    sides = shapes.solver_shapes(shapes.of_users(size), shapes.of_items(size), loops)
    side = sides[0 if of_users else 1]
    blocks = devices.cut(side.blocks, "data")
    side = devices.hold(side).replace(blocks=blocks)
    present, other = params["user"], params["item"]
    if not of_users:
        present, other = other, present
    how, numbers = (solver.method, solver.cg_steps), devices.hold(jax.ShapeDtypeStruct((3,), jnp.float32))
    if devices.mesh is not None:
        arguments = numbers, side, present, other
        return lambda: solve_on_mesh.lower(how, devices.mesh, *arguments).compile()
    dim = other.shape[1]
    gram, loop = devices.hold((jax.ShapeDtypeStruct((dim, dim), jnp.float32), shapes.ints()))
    given = numbers, side, present, other, gram, loop
    return lambda: solve_loop.lower(how, *given).compile()
