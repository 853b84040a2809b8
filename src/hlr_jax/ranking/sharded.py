"""Ranking a tile of users with tables that a mesh divides: users over ``data``, items over ``model``.

A device holds I / ``model`` items. It scores them for its users and keeps the best K, and only these candidates meet
those of the other shards. So no device ever has a whole table, nor a whole catalogue of scores.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from hlr_jax.data.csr import padded_row
from hlr_jax.data.neighbor_sampling import NeighborSources
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import RankingInputs, ranking_histories, ranking_item_users
from hlr_jax.ranking.lists import Lists, best_of, best_unseen
from hlr_jax.ranking.plan import Program, TilePlan
from hlr_jax.scoring import score_catalogue
from hlr_jax.sharding import check_whole_tables, mesh_of, replicate, replicated, rows_by_id, specs
from hlr_jax.types import CSR, Padded, Params

_USERS, _ITEMS, _ALL = PartitionSpec("data"), PartitionSpec("model"), PartitionSpec()


def mesh_program(
    model: Model, params: Params, inputs: RankingInputs, k: int, plan: TilePlan
) -> tuple[Program, Callable[[Any], tuple]]:
    """Return what ranks a tile with parameters that lie on a mesh, and what it takes for some users.

    Raises:
      InputError: a mesh that the model can't use.
    """
    mesh = mesh_of(params)
    assert mesh is not None
    if model.derived is not None:
        check_whole_tables(model.name, mesh)
    allowed = inputs.allowed
    if allowed is not None:
        allowed = replicate(jnp.pad(allowed, (0, len(params["item"]) - inputs.num_items)), mesh)
    item_users = _item_users(mesh, inputs.num_items)(params, inputs.key, inputs.sources)
    program = _tile_program(model, mesh, inputs.num_items, k, plan.users_at_once)
    rest = inputs.key, inputs.seen, inputs.sources, item_users, allowed
    return program, lambda users: (params, users, *rest)


@lru_cache(maxsize=32)
def _item_users(mesh: Mesh, num_items: int) -> Any:
    """Return the compiled function to the users that each item is ranked with: [I, A, D], cut over ``model``."""

    def of_device(table: jax.Array, key: jax.Array, sources: NeighborSources, items_here: int) -> Padded:
        def of_shard(shard: jax.Array) -> Padded:
            items = jnp.minimum(shard * items_here + jnp.arange(items_here), num_items - 1)
            drawn = ranking_item_users(key, sources.item_users, items)
            return Padded(rows_by_id(table, drawn.ids), drawn.mask)

        def add(shard: jax.Array, kept: Padded) -> Padded:
            return jax.tree.map(lambda new, old: jnp.where(shard == here, new, old), of_shard(shard), kept)

        # The users of one shard's items stand on all shards: these answer for one after the other, never for all items.
        here = jax.lax.axis_index("model")
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(of_shard, here))
        return jax.lax.fori_loop(0, mesh.shape["model"], add, nothing)

    @jax.jit
    def item_users(params: Params, key: jax.Array, sources: NeighborSources) -> Padded:
        function = partial(of_device, items_here=params["item"].shape[0] // mesh.shape["model"])
        share = jax.shard_map(
            function, mesh=mesh, in_specs=(_ITEMS, _ALL, _ALL), out_specs=_ITEMS, check_vma=False
        )  # fmt: skip
        return share(params["user"], key, sources)

    return item_users


@lru_cache(maxsize=32)
def _tile_program(model: Model, mesh: Mesh, num_items: int, k: int, users_at_once: int | None) -> Any:
    """Return the compiled function that ranks a tile; one per model, mesh and shape, so that epochs share it."""

    def rank_share(
        params: Params, users: jax.Array, key: jax.Array, seen_rows: CSR, sources: NeighborSources,
        item_users: Padded, allowed: jax.Array | None,
    ) -> Lists:  # fmt: skip
        """Score this device's items for its share of the tile's users, then choose among the best of all shards."""
        items_here = params["item"].shape[0]
        first = jax.lax.axis_index("model") * items_here
        ids = first + jnp.arange(items_here)
        real = ids < num_items if allowed is None else allowed[ids]
        drawn = ranking_histories(key, sources.history, users)
        histories = Padded(rows_by_id(params["item"], drawn.ids), drawn.mask)
        others = {name: array for name, array in params.items() if name not in ("user", "item")}
        if model.derived is not None:
            others |= model.derived(params, *sources.both_sides, users, ids)
            user_rows, item_rows = model.on_axis(others, "user"), model.on_axis(others, "item")
        else:
            user_rows = model.rows(others, "user", users)
            item_rows = model.rows(others, "item", jnp.minimum(ids, num_items - 1))
        user_rows |= {"user": rows_by_id(params["user"], users)}
        item_rows |= {"item": params["item"]}

        def rank_user(inputs: tuple[jax.Array, Params, Padded]) -> Lists:
            user, row, history = inputs
            scores = score_catalogue(model, params, row, item_rows, history, item_users)
            seen, is_seen = padded_row(seen_rows, user, seen_rows.longest)
            return best_unseen(jnp.where(real, scores, -jnp.inf), seen, is_seen, min(k, items_here), first)

        candidates = jax.lax.map(rank_user, (users, user_rows, histories), batch_size=users_at_once)
        # Shards stand in the order of their items, so of equal scores the lowest item still comes first.
        return best_of(jax.lax.all_gather(candidates, "model", axis=1, tiled=True), k)

    def rank_tile(params: Params, users: jax.Array, *rest: Any) -> Lists:
        key, seen, sources, item_users, allowed = rest
        share = jax.shard_map(
            rank_share, mesh=mesh, in_specs=(specs(params), _USERS, _ALL, _ALL, _ALL, _ITEMS, _ALL),
            out_specs=_USERS, check_vma=False,
        )  # fmt: skip
        return share(params, users, key, seen, sources, item_users, allowed)

    return jax.jit(rank_tile, out_shardings=replicated(mesh))
