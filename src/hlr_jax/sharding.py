"""Meshes, and where each array lies on them. Nothing else in the package knows how many devices there are.

Logical axes map to mesh axes in one table: batches are cut over ``data``, the rows of the user and item tables (and of
their Adam moments) over ``model``; keys and memories are small and stand on every device.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from hlr_jax.errors import UserError, check_range
from hlr_jax.types import Params

T = TypeVar("T")

LOGICAL_AXES = {"batch": "data", "user": "model", "item": "model"}


def create_mesh(data: int = 1, model: int = 1) -> Mesh | None:
    """Return a mesh of ``data`` x ``model`` devices, or None for one device.

    Raises:
      UserError: more devices than there are.
    """
    check_range("mesh", data=(data, 1, 10**6), model=(model, 1, 10**6))
    present = jax.device_count()
    if data * model > present:
        raise UserError(f"mesh.data x mesh.model is {data} x {model}, but only {present} devices are present")
    if data * model == 1:
        return None
    # Auto axes: under Explicit ones, gathering rows of a sharded table is an error.
    return jax.make_mesh(
        (data, model), ("data", "model"), (AxisType.Auto, AxisType.Auto), devices=jax.devices()[: data * model]
    )


def seed_mesh(count: int) -> Mesh:
    """Return a mesh with one axis ``seed``, of as many devices as can each take one of ``count`` seeds."""
    used = min(count, jax.device_count())
    return jax.make_mesh((used,), ("seed",), (AxisType.Auto,), devices=jax.devices()[:used])


def split_seeds(params: Params) -> list[Params]:
    """Return each seed's parameters of parameters [S, ...]; from devices that divide the seeds, each on one of them."""
    leaf = next(iter(params.values()))
    by_seed = isinstance(leaf.sharding, NamedSharding) and leaf.sharding.mesh.axis_names == ("seed",)
    split = [{name: array[index] for name, array in params.items()} for index in range(leaf.shape[0])]
    devices = jax.devices()
    if not by_seed:
        return split
    return [jax.device_put(one, devices[index % len(devices)]) for index, one in enumerate(split)]


def padded_size(count: int, multiple: int) -> int:
    """Return the least multiple of ``multiple`` that is at least ``count``."""
    return -(-count // multiple) * multiple


def pad_rows(params: Params, mesh: Mesh | None) -> Params:
    """Add rows of zeros to the tables until the mesh divides them; nothing ever samples or recommends these rows."""
    if mesh is None:
        return params

    def pad(name: str, table: jax.Array) -> jax.Array:
        if name not in LOGICAL_AXES:
            return table
        missing = -table.shape[0] % mesh.shape[LOGICAL_AXES[name]]
        return jnp.pad(table, ((0, missing), (0, 0)))

    return {name: pad(name, table) for name, table in params.items()}


def _sharding(path: tuple, leaf: Any, mesh: Mesh) -> NamedSharding:
    """Return where a leaf [S, rows, D] lies, by the name of the parameter that it is, or is a moment of."""
    names = [entry.key for entry in path if isinstance(entry, jax.tree_util.DictKey)]
    if names and names[-1] in LOGICAL_AXES and leaf.ndim > 1:
        return NamedSharding(mesh, PartitionSpec(None, LOGICAL_AXES[names[-1]]))
    return NamedSharding(mesh, PartitionSpec())


def shardings(tree: T, mesh: Mesh) -> T:
    """Return the sharding of every leaf of parameters or of an optimiser's state, S seeds of them."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: _sharding(path, leaf, mesh), tree)


def place(make: Callable[[], T], mesh: Mesh | None) -> T:
    """Run ``make`` compiled, with each leaf of its result made where it belongs."""
    if mesh is None:
        return jax.jit(make)()
    return jax.jit(make, out_shardings=shardings(jax.eval_shape(make), mesh))()


def shard_batch(batch: T, mesh: Mesh | None) -> T:
    """Cut every leaf of a batch over the mesh's ``data`` axis."""
    if mesh is None:
        return batch
    return jax.lax.with_sharding_constraint(batch, NamedSharding(mesh, PartitionSpec(LOGICAL_AXES["batch"])))
