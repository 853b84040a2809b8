"""One step of Adam: over whole tables, or only over the rows that a batch touches."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from hlr_jax.data.neighbor_sampling import NeighborIds
from hlr_jax.models.base import Model
from hlr_jax.sharding import rows_here, specs
from hlr_jax.training.batches import Batch
from hlr_jax.training.options import TrainOptions
from hlr_jax.types import Params

ADAM = optax.scale_by_adam()

TouchedRows = dict[str, jax.Array]
"""By axis: its touched rows [M], increasing; padding is the number of all rows."""

Rows = dict[str, jax.Array]
"""The same by the name of the array."""

Gradient = Callable[[Params, Batch], tuple[jax.Array, Params]]
"""(parameters, batch) -> loss [] and its gradient."""


def adam_step(
    model: Model, params: Params, state: optax.ScaleByAdamState, batch: Batch, gradient: Gradient, rate: jax.Array,
    options: TrainOptions, mesh: Mesh | None = None,
) -> tuple[Params, optax.ScaleByAdamState, jax.Array]:  # fmt: skip
    """Take one step of Adam (Kingma and Ba 2015) and keep every row in the model's ball.

    Lazy Adam takes the step only in the rows that the batch touches, so its cost does not grow with the number of
    users. It differs in all other rows: Adam keeps moving them by the rest of their moments, and lets these decay. Lazy
    Adam leaves them as they are until they are touched again. It is used for tables of which any batch touches fewer
    than half the rows; others take Adam's step.

    Args:
      model: the model to train.
      params: its parameters.
      state: Adam's moments of them, and the number of steps.
      batch: the argument of ``gradient``.
      gradient: computes loss and gradient.
      rate: [], the learning rate.
      options: ``optimizer``, and ``weight_decay`` w: the moved rows also shrink by rate w (AdamW, Loshchilov and Hutter
        2019).
      mesh: the mesh of the tables. Each of its devices then moves its own touched rows, so that only parameters and
        gradients are exchanged, not moments.

    Returns:
      parameters, state, loss [].
    """
    touched = _touched(model, params, batch) if options.optimizer == "lazy_adam" else {}
    rows = {name: touched[axis] for name in params if (axis := model.axis_of(name)) in touched}
    small = _gather(params, rows)
    loss, slope = gradient(small, _renumber(batch, touched))

    def move(
        params: Params, state: optax.ScaleByAdamState, small: Params, slope: Params, rows: Rows, rate: jax.Array
    ) -> tuple[Params, optax.ScaleByAdamState]:
        """Return parameters and state after the step, given the rows of both that it moves, and their gradient."""
        moments = state._replace(mu=_gather(state.mu, rows), nu=_gather(state.nu, rows))
        updates, moments = ADAM.update(slope, moments, small)
        # A decay of zero times p would be an array of zeros, which a GPU shares with the gradient and then copies.
        kept = 1 - rate * options.weight_decay
        small = model.project(jax.tree.map(lambda p, u: kept * p - rate * u, small, updates))
        mu, nu = (_put_back(whole, part, rows) for whole, part in ((state.mu, moments.mu), (state.nu, moments.nu)))
        return _put_back(params, small, rows), moments._replace(mu=mu, nu=nu)

    given = params, state, small, slope, rows, rate
    return *(move(*given) if mesh is None or not rows else _on_shards(move, mesh, *given)), loss


def _on_shards(
    move: Callable, mesh: Mesh, params: Params, state: optax.ScaleByAdamState, small: Params, *others: Any
) -> tuple[Params, optax.ScaleByAdamState]:
    """Return what ``move`` returns, after each device has moved its rows of the tables."""
    slope, rows, rate = others
    everywhere = PartitionSpec()
    taken = specs(small) | dict.fromkeys(rows, everywhere)  # gathered rows are on all devices

    def move_share(params: Params, state: optax.ScaleByAdamState, small: Params, slope: Params, rows: Rows,
                   rate: jax.Array) -> tuple[Params, optax.ScaleByAdamState]:  # fmt: skip
        return move(params, state, small, slope, rows_here(params, rows), rate)

    share = jax.shard_map(
        move_share, mesh=mesh, in_specs=(specs(params), specs(state), taken, taken, everywhere, everywhere),
        out_specs=(specs(params), specs(state)), check_vma=False,
    )  # fmt: skip
    moved: tuple[Params, optax.ScaleByAdamState] = share(params, state, small, slope, rows, rate)
    return moved


def _touched(model: Model, params: Params, batch: Batch) -> TouchedRows:
    users, items = [batch.user, batch.item_users.ids], [batch.items, batch.history.ids]
    if batch.shared is not None:
        users.append(batch.shared.item_users.ids)
        items.append(batch.shared.items)
    rows = {}
    for axis, ids in {"user": users, "item": items}.items():
        count, most = model.num_rows(params, axis), sum(part.size for part in ids)
        if 2 * most < count:
            flat = jnp.concatenate([part.reshape(-1) for part in ids])
            rows[axis] = jnp.unique(flat, size=most, fill_value=count)
    return rows


def _gather(params: Params, rows: Rows) -> Params:
    """Return the parameters with only the named rows of some arrays."""

    def taken(array: jax.Array, ids: jax.Array) -> jax.Array:
        return array.at[ids].get(mode="clip", wrap_negative_indices=False)

    return {name: taken(array, rows[name]) if name in rows else array for name, array in params.items()}


def _put_back(params: Params, small: Params, rows: Rows) -> Params:
    """Return the parameters with the rows of ``small`` in their places."""

    def put(array: jax.Array, ids: jax.Array, part: jax.Array) -> jax.Array:
        # Increasing ids stay so on a shard: ids of rows before its own are negative.
        sorted_once = {"unique_indices": True, "indices_are_sorted": True, "wrap_negative_indices": False}
        return array.at[ids].set(part, mode="drop", **sorted_once)  # type: ignore[arg-type]

    return {
        name: put(array, rows[name], small[name]) if name in rows else small[name] for name, array in params.items()
    }


def _renumber(batch: Batch, rows: TouchedRows) -> Batch:
    """Return the batch with ids that refer to gathered tables."""

    def place(axis: str, ids: jax.Array) -> jax.Array:
        return jnp.searchsorted(rows[axis], ids).astype(jnp.int32) if axis in rows and ids.size else ids

    def neighbors(axis: str, drawn: NeighborIds) -> NeighborIds:
        return NeighborIds(place(axis, drawn.ids), drawn.mask)

    shared = batch.shared
    if shared is not None:
        shared = replace(shared, items=place("item", shared.items), item_users=neighbors("user", shared.item_users))
    return replace(
        batch, shared=shared, user=place("user", batch.user), items=place("item", batch.items),
        history=neighbors("item", batch.history), item_users=neighbors("user", batch.item_users),
    )  # fmt: skip
