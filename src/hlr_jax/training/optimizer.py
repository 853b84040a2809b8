"""One step of Adam: over whole tables, or over those rows alone that a batch touches."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import optax

from hlr_jax.data.neighbor_sampling import NeighborIds
from hlr_jax.models.base import Model
from hlr_jax.training.batches import Batch
from hlr_jax.training.options import TrainOptions
from hlr_jax.types import Params

ADAM = optax.scale_by_adam()

TouchedRows = dict[str, jax.Array]
"""By axis: its rows [M] that are touched, increasing; behind the last stands the number of all rows."""

Gradient = Callable[[Params, Batch], tuple[jax.Array, Params]]
"""(parameters, batch) -> loss [] and its gradient."""


def adam_step(
    model: Model, params: Params, state: optax.ScaleByAdamState, batch: Batch, gradient: Gradient, rate: jax.Array,
    options: TrainOptions,
) -> tuple[Params, optax.ScaleByAdamState, jax.Array]:  # fmt: skip
    """Take one step of Adam (Kingma and Ba 2015) and keep every row in the model's ball.

    Lazy Adam takes the step in the rows that the batch touches, so its cost does not grow with the number of users.
    It differs in all other rows: Adam goes on moving them by what is left of their moments, and lets these decay; lazy
    Adam leaves them as they are until they are touched again. It is used for tables of which a batch touches fewer
    than half the rows whatever is drawn; others take Adam's step.

    Args:
      model: what is trained.
      params: its parameters.
      state: Adam's moments of them, and the number of steps.
      batch: what the ``gradient`` is taken of.
      gradient: takes it.
      rate: [], the learning rate.
      options: ``optimizer``, and ``weight_decay`` w: what the step moves shrinks by rate w beside it (AdamW, Loshchilov
        and Hutter 2019).

    Returns:
      parameters, state, loss [].
    """
    rows = _touched(model, params, batch) if options.optimizer == "lazy_adam" else {}
    small = _gather(model, params, rows)
    moments = state._replace(mu=_gather(model, state.mu, rows), nu=_gather(model, state.nu, rows))
    loss, slope = gradient(small, _renumber(batch, rows))
    updates, moments = ADAM.update(slope, moments, small)
    small = model.project(jax.tree.map(lambda p, u: p - rate * (u + options.weight_decay * p), small, updates))
    mu, nu = (_put_back(model, whole, part, rows) for whole, part in ((state.mu, moments.mu), (state.nu, moments.nu)))
    return _put_back(model, params, small, rows), moments._replace(mu=mu, nu=nu), loss


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


def _gather(model: Model, params: Params, rows: TouchedRows) -> Params:
    """Return parameters with those rows alone, where an axis has some."""
    return {
        name: array.at[rows[axis]].get(mode="clip") if (axis := model.axis_of(name)) in rows else array
        for name, array in params.items()
    }


def _put_back(model: Model, params: Params, small: Params, rows: TouchedRows) -> Params:
    """Return the parameters with the rows of ``small`` in their places."""

    def put(array: jax.Array, ids: jax.Array, part: jax.Array) -> jax.Array:
        return array.at[ids].set(part, mode="drop", unique_indices=True, indices_are_sorted=True)

    return {
        name: put(array, rows[axis], small[name]) if (axis := model.axis_of(name)) in rows else small[name]
        for name, array in params.items()
    }


def _renumber(batch: Batch, rows: TouchedRows) -> Batch:
    """Return the batch with ids that point into gathered tables."""

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
