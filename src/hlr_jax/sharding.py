"""Meshes, and where each array is on them. No other module depends on the number of devices.

Logical axes map to mesh axes in one table. Batches are sharded over ``data``. The rows of the user and item tables, and
of their Adam moments, are sharded over ``model``. Keys and memories are small and replicated.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from hlr_jax.distinct import distinct
from hlr_jax.errors import InputError
from hlr_jax.mesh import MeshOptions
from hlr_jax.types import Params

T = TypeVar("T")

LOGICAL_AXES = {"batch": "data", "user": "model", "item": "model"}
_TABLES = ("user", "item")  # sharded parameters; one that happens to be named "batch" is not


def create_mesh(data: int = 1, model: int = 1) -> Mesh | None:
    """Return a mesh of ``data`` x ``model`` devices, or None for one device.

    Raises:
      InputError: too few devices, or several processes and a mesh that does not take all their devices.
    """
    MeshOptions(data, model)  # checks both
    present = jax.device_count()
    if data * model > present:
        raise InputError(f"mesh.data x mesh.model is {data} x {model}, but only {present} devices are present")
    if jax.process_count() > 1 and data * model < present:
        raise InputError(
            f"mesh.data x mesh.model is {data} x {model}, but must take all {present} devices of the "
            f"{jax.process_count()} processes"
        )
    if data * model == 1:
        return None
    # Auto axes: under Explicit ones, gathering rows of a sharded table is an error.
    return jax.make_mesh(
        (data, model), ("data", "model"), (AxisType.Auto, AxisType.Auto), devices=jax.devices()[: data * model]
    )


def check_whole_tables(name: str, mesh: Mesh | None) -> None:
    """Check that each device has whole tables, for a model that derives arrays from them.

    Raises:
      InputError: the mesh shards them.
    """
    if mesh is not None and mesh.shape["model"] > 1:
        raise InputError(f"model {name} derives arrays from whole tables; set mesh.model to 1")


def available_cores() -> int:
    """Return how many cores of the CPU this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_workers() -> int:
    """Return how many chains of small operations run in parallel: on a CPU its cores, divided among its devices.

    One chain has too little parallel work for several cores. On other devices it is one.
    """
    if jax.default_backend() != "cpu":
        return 1
    return max(1, available_cores() // jax.local_device_count())


def seed_mesh(count: int) -> Mesh:
    """Return a mesh with one axis ``seed`` over as many devices as possible, with equal shares of ``count`` seeds."""
    used = min(count, jax.device_count())
    return jax.make_mesh((used,), ("seed",), (AxisType.Auto,), devices=jax.devices()[:used])


def split_seeds(params: Params) -> list[Params]:
    """Return each seed's parameters of parameters [S, ...]; if devices divide the seeds, each stays on its device."""
    leaf = next(iter(params.values()))
    mesh = mesh_of(params)
    if mesh is not None:
        return [_take_seed(params, index, mesh) for index in range(leaf.shape[0])]
    by_seed = isinstance(leaf.sharding, NamedSharding) and leaf.sharding.mesh.axis_names == ("seed",)
    split = [{name: array[index] for name, array in params.items()} for index in range(leaf.shape[0])]
    devices = jax.devices()
    if not by_seed:
        return split
    return [jax.device_put(params_of_seed, devices[index % len(devices)]) for index, params_of_seed in enumerate(split)]


@partial(jax.jit, static_argnames="mesh")
def _take_seed(params: Params, index: int, mesh: Mesh) -> Params:
    single = {name: array[index] for name, array in params.items()}
    return jax.lax.with_sharding_constraint(single, shardings(single, mesh))


def mesh_of(params: Params) -> Mesh | None:
    """Return the mesh ``data`` x ``model`` of parameters, or None."""
    sharding = getattr(params.get("item"), "sharding", None)
    if isinstance(sharding, NamedSharding) and sharding.mesh.axis_names == ("data", "model"):
        assert isinstance(sharding.mesh, Mesh)
        return sharding.mesh
    return None


def grid_of(params: Params) -> tuple[int, int]:
    """Return the sizes ``data`` and ``model`` of the mesh of parameters, which shard batches and tables; else 1, 1."""
    mesh = mesh_of(params)
    return (1, 1) if mesh is None else (mesh.shape["data"], mesh.shape["model"])


def padded_size(count: int, multiple: int) -> int:
    """Return the least multiple of ``multiple`` that is at least ``count``."""
    return -(-count // multiple) * multiple


def pad_rows(params: Params, mesh: Mesh | None) -> Params:
    """Add rows of zeros to the tables until the mesh divides them; these rows are never sampled or recommended."""
    if mesh is None:
        return params

    def pad(name: str, table: jax.Array) -> jax.Array:
        if name not in _TABLES:
            return table
        missing = -table.shape[0] % mesh.shape[LOGICAL_AXES[name]]
        return jnp.pad(table, ((0, missing), (0, 0)))

    return {name: pad(name, table) for name, table in params.items()}


def unpadded(params: Params, num_users: int, num_items: int) -> Params:
    """Return parameters of U users and I items without the rows that ``pad_rows`` adds."""
    rows = {"user": num_users, "item": num_items}
    return {name: table[: rows[name]] if name in rows else table for name, table in params.items()}


def _spec(path: tuple, leaf: Any) -> PartitionSpec:
    """Return how a leaf [..., rows, D] is sharded, by the name of its parameter, or of the parameter of a moment."""
    names = [entry.key for entry in path if isinstance(entry, jax.tree_util.DictKey)]
    if names and names[-1] in _TABLES and len(leaf.shape) > 1:
        return PartitionSpec(*[None] * (len(leaf.shape) - 2), LOGICAL_AXES[names[-1]])
    return PartitionSpec()


def specs(tree: T) -> T:
    """Return how every leaf of parameters is sharded."""
    return jax.tree_util.tree_map_with_path(_spec, tree)


def shardings(tree: T, mesh: Mesh) -> T:
    """Return the sharding of every leaf of parameters or of an optimizer's state, of one seed or of S of them."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: NamedSharding(mesh, _spec(path, leaf)), tree)


def placed_shapes(tree: Any, mesh: Mesh | None) -> Any:
    """Return the shape of every leaf on a mesh, tables with padding; for None on the first device."""

    def place_leaf(path: tuple, leaf: Any) -> jax.ShapeDtypeStruct:
        if mesh is None:
            device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device)
        spec = _spec(path, leaf)
        shape = [padded_size(n, mesh.shape[axis] if axis else 1) for n, axis in zip_longest(leaf.shape, spec)]
        return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=NamedSharding(mesh, spec))

    return jax.tree_util.tree_map_with_path(place_leaf, tree)


def place(make: Callable[..., T], mesh: Mesh | None, *arguments: Any) -> T:
    """Run ``make`` compiled, and make each leaf of its result in its place."""
    if mesh is None:
        return jax.jit(make)(*arguments)
    return jax.jit(make, out_shardings=shardings(jax.eval_shape(make, *arguments), mesh))(*arguments)


def constrain_batch(batch: T, mesh: Mesh | None) -> T:
    """Shard every leaf of a batch over the mesh's ``data`` axis."""
    if mesh is None:
        return batch
    # Replicate first: else the loop that shuffles would be sharded too, and synchronize all devices in each iteration.
    batch = jax.lax.with_sharding_constraint(batch, replicated(mesh))
    return jax.lax.with_sharding_constraint(batch, NamedSharding(mesh, PartitionSpec(LOGICAL_AXES["batch"])))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of replicated arrays."""
    return NamedSharding(mesh, PartitionSpec())


def replicate(tree: T, mesh: Mesh | None) -> T:
    """Replicate arrays, equal in every process, on every device of the mesh."""
    return tree if mesh is None else _put(tree, replicated(mesh))


def beside(tree: T, params: Params | None) -> T:
    """Replicate arrays, equal in every process, on every device of the parameters' mesh, if any."""
    return replicate(tree, mesh_of(params or {}))


def cut(tree: T, mesh: Mesh | None) -> T:
    """Shard arrays, equal in every process, over the mesh: their first axis over ``data``."""
    return tree if mesh is None else _put(tree, NamedSharding(mesh, PartitionSpec(LOGICAL_AXES["batch"])))


def _put(tree: T, sharding: NamedSharding) -> T:
    def put(array: Any) -> jax.Array:
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(put(jax.random.key_data(array)))
        held = np.asarray(array)
        return jax.make_array_from_callback(held.shape, sharding, lambda index: held[index])

    once = distinct(tree)  # an array that is twice in the tree is transferred once
    return replace(once, arrays=tuple(map(put, once.arrays))).tree


def whole_tables(params: Params) -> Params:
    """Return parameters with whole tables, gathered over ``model``, for ``shard_map``."""
    return {
        name: jax.lax.all_gather(array, "model", tiled=True) if name in _TABLES else array
        for name, array in params.items()
    }


def rows_here(params: Params, rows: Params) -> Params:
    """Return the places of the rows [M] of arrays in the shard of a device of ``model``, for use in ``shard_map``.

    For a row of another shard, the place is below 0, or at least the number of rows here.
    """

    def here(name: str, ids: jax.Array) -> jax.Array:
        return ids - jax.lax.axis_index("model") * len(params[name]) if name in _TABLES else ids

    return {name: here(name, ids) for name, ids in rows.items()}


def rows_by_id(table: jax.Array, ids: jax.Array) -> jax.Array:
    """Return rows [..., D] of a table that is sharded over ``model``, for use in ``shard_map``.

    Every shard gives its own rows and zeros for the others; their sum is exact. ``ids`` [...] must be the same on all
    of them.
    """
    place = ids - jax.lax.axis_index("model") * table.shape[0]
    mine = (place >= 0) & (place < table.shape[0])
    return jax.lax.psum(jnp.where(mine[..., None], table[jnp.where(mine, place, 0)], 0), "model")
