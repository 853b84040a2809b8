"""Ranking a tile of users with sharded tables: a mesh divides users over ``data`` and items over ``model``.

A device holds I / ``model`` items. It scores them for its users and keeps the best K. Only these candidates are
compared with those of the other shards. So no device ever has a whole table, or the scores of the whole catalog.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from hlr_jax.distinct import Distinct, distinct
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import RankingInputs, ranking_histories, ranking_item_users
from hlr_jax.ranking.lists import best_allowed, best_of
from hlr_jax.ranking.plan import Prepared, TilePlan
from hlr_jax.scoring import score_catalogue, score_catalogue_of_many
from hlr_jax.sharding import check_whole_tables, mesh_of, replicate, replicated, rows_by_id, specs
from hlr_jax.types import Padded, Params, Ranking

_USERS, _ITEMS, _ALL = PartitionSpec("data"), PartitionSpec("model"), PartitionSpec()


def mesh_program(model: Model, params: Params, inputs: RankingInputs, k: int, plan: TilePlan) -> Prepared:
    """Return the program that ranks a tile with parameters on a mesh, and the function to its arguments for some users.

    Raises:
      InputError: the model can't use the mesh.
    """
    mesh = mesh_of(params)
    assert mesh is not None
    if model.derived is not None:
        check_whole_tables(model.name, mesh)
    if inputs.allowed is not None:
        padded = jnp.pad(inputs.allowed, (0, len(params["item"]) - inputs.num_items))
        inputs = replace(inputs, allowed=replicate(padded, mesh))
    packed = distinct(inputs)
    item_users = item_users_program(model, mesh)(params, packed)

    def arguments(users: np.ndarray, places: np.ndarray) -> tuple:
        return params, *replicate((users, places), mesh), packed, item_users

    return tile_program(model.as_scored, mesh, k, plan.users_at_once, plan.by_pairs), arguments


@lru_cache(maxsize=32)
def item_users_program(model: Model, mesh: Mesh) -> Any:
    """Return the compiled function to the users that each item is ranked with: [I, A, D], sharded over ``model``."""
    shards = mesh.shape["model"]

    @jax.jit
    def item_users(params: Params, packed: Distinct[RankingInputs]) -> Padded:
        items_here = params["item"].shape[0] // shards

        def of_device(table: jax.Array, packed: Distinct[RankingInputs]) -> Padded:
            inputs = packed.tree

            def of_shard(shard: jax.Array) -> Padded:
                items = jnp.minimum(shard * items_here + jnp.arange(items_here), inputs.num_items - 1)
                drawn = ranking_item_users(inputs.key, inputs.sources.item_users, items)
                return Padded(rows_by_id(table, drawn.ids), drawn.mask)

            def add(shard: jax.Array, kept: Padded) -> Padded:
                return jax.tree.map(lambda new, old: jnp.where(shard == here, new, old), of_shard(shard), kept)

            # The users of one shard's items are on all shards. They are gathered for one shard at a time.
            here = jax.lax.axis_index("model")
            nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(of_shard, here))
            return jax.lax.fori_loop(0, shards, add, nothing)

        share = jax.shard_map(of_device, mesh=mesh, in_specs=(_ITEMS, _ALL), out_specs=_ITEMS, check_vma=False)
        return share(model.neighbor_table(params), packed)

    return item_users


@lru_cache(maxsize=32)
def tile_program(model: Model, mesh: Mesh, k: int, users_at_once: int | None, by_pairs: bool) -> Any:
    """Return the compiled function that ranks a tile; one per model, mesh and shape, so that epochs share it.

    ``by_pairs`` scores through ``Model.item_pairs``, which needs the whole table of items: ``model`` must be 1.
    """

    def rank_share(
        params: Params, users: jax.Array, places: jax.Array, packed: Distinct[RankingInputs], item_users: Padded
    ) -> Ranking:
        """Score this device's items for its share of the tile's users, then choose among the best of all shards."""
        inputs = packed.tree
        sources, items_here = inputs.sources, params["item"].shape[0]
        first = jax.lax.axis_index("model") * items_here
        ids = first + jnp.arange(items_here)
        real = ids < inputs.num_items if inputs.allowed is None else inputs.allowed[ids]
        drawn = ranking_histories(inputs.key, sources.history, users)
        others = {name: array for name, array in params.items() if name not in ("user", "item")}
        if model.derived is not None:
            others |= model.derived(params, *sources.both_sides, users, ids)
            user_rows, item_rows = model.on_axis(others, "user"), model.on_axis(others, "item")
        else:
            user_rows = model.rows(others, "user", users)
            item_rows = model.rows(others, "item", jnp.minimum(ids, inputs.num_items - 1))
        if model.history_users is None:
            user_rows |= {"user": rows_by_id(params["user"], users)}
        item_rows |= {"item": params["item"]}

        def best_of_user(user: jax.Array, place: jax.Array, scores: jax.Array) -> Ranking:
            scores = jnp.where(real, scores, -jnp.inf)
            return best_allowed(scores, inputs, user, place, min(k, items_here), first)

        def rank_user(given: tuple[jax.Array, jax.Array, Params, Padded]) -> Ranking:
            user, place, row, history = given
            return best_of_user(user, place, score_catalogue(model, params, row, item_rows, history, item_users))

        if by_pairs:
            scores = score_catalogue_of_many(model, params, user_rows, item_rows, drawn, item_users, users_at_once)
            candidates = jax.vmap(best_of_user)(users, places, scores)
        else:
            histories = Padded(rows_by_id(params["item"], drawn.ids), drawn.mask)
            candidates = jax.lax.map(rank_user, (users, places, user_rows, histories), batch_size=users_at_once)
        # Shards are in the order of their items, so ties still put the lowest item first.
        return best_of(jax.lax.all_gather(candidates, "model", axis=1, tiled=True), k)

    def rank_tile(
        params: Params, users: jax.Array, places: jax.Array, packed: Distinct[RankingInputs], item_users: Padded
    ) -> Ranking:
        specs_in = specs(params), _USERS, _USERS, _ALL, _ITEMS
        share = jax.shard_map(rank_share, mesh=mesh, in_specs=specs_in, out_specs=_USERS, check_vma=False)
        return share(params, users, places, packed, item_users)

    return jax.jit(rank_tile, out_shardings=replicated(mesh))
