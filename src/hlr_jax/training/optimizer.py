"""One step of Adam: over whole tables, or over those rows alone that a batch touches."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import optax

from hlr_jax.data.neighbor_sampling import NeighborIds, NeighborTables
from hlr_jax.models.base import Model
from hlr_jax.storage import rounded, widened
from hlr_jax.training.batches import Batch
from hlr_jax.types import Params

OPTIMIZERS = ("adam", "lazy_adam")
ADAM = optax.scale_by_adam()

Rows = dict[str, jax.Array]
"""By name of a table: its rows [M] that are touched, increasing; behind the last stands the number of all rows."""

Gradient = Callable[[Params, NeighborTables, Batch], tuple[jax.Array, Params]]
"""(parameters, tables of neighbors, batch) -> loss [] and its gradient."""


def adam_step(
    model: Model,
    params: Params,
    state: optax.ScaleByAdamState,
    tables: NeighborTables,
    batch: Batch,
    gradient: Gradient,
    rate: jax.Array,
    key: jax.Array,
    *,
    lazy: bool = False,
) -> tuple[Params, optax.ScaleByAdamState, jax.Array]:
    """Take one step of Adam (Kingma and Ba 2015) and keep every row in the model's ball.

    Lazy Adam takes the step in the rows that the batch touches, so its cost does not grow with the number of users.
    It differs in all other rows: Adam goes on moving them by what is left of their moments, and lets these decay; lazy
    Adam leaves them as they are until they are touched again. It is used for tables of which a batch touches fewer
    than half the rows whatever is drawn; others take Adam's step.

    Args:
      model: what is trained.
      params: its parameters.
      state: Adam's moments of them, and the number of steps.
      tables: what the batch's ids of neighbors point into.
      batch: what the gradient is taken of.
      gradient: takes it.
      rate: [], the learning rate.
      key: of the rounding, where tables are stored in bfloat16.
      lazy: whether Adam is lazy.

    Returns:
      parameters, state, loss [].
    """
    rows = _touched(model, params, batch) if lazy else {}
    small = widened(_gather(params, rows))
    moments = state._replace(mu=_gather(state.mu, rows), nu=_gather(state.nu, rows))
    tables = NeighborTables(
        small["item"] if model.history.drawn else tables.items,
        small["user"] if model.item_users.drawn else tables.users,
    )
    loss, slope = gradient(small, tables, _renumber(model, batch, rows))
    updates, moments = ADAM.update(slope, moments, small)
    small = model.project(jax.tree.map(lambda p, u: p - rate * u, small, updates))
    mu, nu = _put_back(state.mu, moments.mu, rows), _put_back(state.nu, moments.nu, rows)
    return _put_back(params, rounded(key, small, params), rows), moments._replace(mu=mu, nu=nu), loss


def _touched(model: Model, params: Params, batch: Batch) -> Rows:
    users, items, common = [batch.user], [batch.items], batch.common
    if common is not None:
        items.append(common.items)
    if model.history.drawn:
        items.append(batch.history.ids)
    if model.item_users.drawn:
        users.append(batch.item_users.ids)
        if common is not None:
            users.append(common.item_users.ids)
    rows = {}
    for name, ids in {"user": users, "item": items}.items():
        count, most = params[name].shape[0], sum(one.size for one in ids)
        if 2 * most < count:
            flat = jnp.concatenate([one.reshape(-1) for one in ids])
            rows[name] = jnp.unique(flat, size=most, fill_value=count)
    return rows


def _gather(params: Params, rows: Rows) -> Params:
    """Return parameters with those rows alone, where a table has some."""
    return params | {name: params[name].at[index].get(mode="clip") for name, index in rows.items()}


def _put_back(params: Params, small: Params, rows: Rows) -> Params:
    """Return the parameters with the rows of ``small`` in their places."""
    return small | {
        name: params[name].at[index].set(small[name], mode="drop", unique_indices=True, indices_are_sorted=True)
        for name, index in rows.items()
    }


def _renumber(model: Model, batch: Batch, rows: Rows) -> Batch:
    """Return the batch with ids that point into gathered tables."""

    def place(name: str, ids: jax.Array) -> jax.Array:
        return jnp.searchsorted(rows[name], ids).astype(jnp.int32) if name in rows else ids

    def neighbors(name: str, found: NeighborIds, drawn: bool) -> NeighborIds:
        return replace(found, ids=place(name, found.ids)) if drawn else found

    common = batch.common
    if common is not None:
        item_users = neighbors("user", common.item_users, model.item_users.drawn)
        common = replace(common, items=place("item", common.items), item_users=item_users)
    return replace(
        batch,
        common=common,
        user=place("user", batch.user),
        items=place("item", batch.items),
        history=neighbors("item", batch.history, model.history.drawn),
        item_users=neighbors("user", batch.item_users, model.item_users.drawn),
    )
