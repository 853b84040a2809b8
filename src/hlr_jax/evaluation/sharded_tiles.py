"""Ranking a tile of users with tables that a mesh divides: users over ``data``, items over ``model``.

A device holds I / ``model`` items. It scores them for its users and keeps the best K, and only these candidates meet
those of the other shards. So no device ever has a whole table, nor a whole catalogue of scores.
"""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from hlr_jax.data.csr import CSR, own_share, padded_rows, specs_of_shares
from hlr_jax.data.neighbor_sampling import Sides, neighbor_tables, owns
from hlr_jax.evaluation.tiles import (
    Known,
    Lists,
    TileRanker,
    best_of,
    best_unseen,
    drawn_for_ranking,
    drawn_item_users,
    users_per_call,
)
from hlr_jax.models.base import Model, score_catalogue
from hlr_jax.sharding import from_owner, mesh_of, own_part, replicate, replicated, rows_by_id, specs
from hlr_jax.storage import widened
from hlr_jax.types import Padded, Params

_USERS, _ITEMS, _ALL = PartitionSpec("data"), PartitionSpec("model"), PartitionSpec()


def sharded_tile_ranker(
    model: Model, params: Params, known: Known, key: jax.Array, num_items: int, k: int, users: int, budget: int
) -> TileRanker:
    """Return what ranks tiles with parameters that lie on a mesh, in ``budget`` bytes of each device."""
    del users  # of no matter: shards do not share work among users
    mesh = mesh_of(params)
    assert mesh is not None
    rows, sides, key = known.seen, known.sides, replicate(key, mesh)
    allowed = known.allowed
    if allowed is not None:
        allowed = replicate(jnp.pad(allowed, (0, len(params["item"]) - num_items)), mesh)
    batch_size = users_per_call(model, params, num_items // mesh.shape["model"], budget)
    near_items, item_users = _neighbors(model, mesh, num_items)(params, key, sides)
    program = _tile_program(model, mesh, num_items, k, known.width, batch_size)
    return TileRanker(
        program, lambda tile: (params, key, tile, rows, sides, near_items, item_users, allowed), 1, mesh.shape["data"]
    )


@lru_cache(maxsize=32)
def _neighbors(model: Model, mesh: Mesh, num_items: int) -> Any:
    """Return the compiled function from (params, key, sides) to what users are ranked with.

    That is the table which histories point into, and the users of every item [I, A, D], both cut over ``model``.
    """

    def item_users_of(table: jax.Array, key: jax.Array, sides: Sides, items_here: int) -> Padded:
        sides = own_share(sides)

        def of_shard(shard: jax.Array) -> Padded:
            items = jnp.minimum(shard * items_here + jnp.arange(items_here), num_items - 1)
            drawn = from_owner(drawn_item_users(key, sides.item_users, items), owns(sides.item_users, items))
            return Padded(rows_by_id(table, drawn.ids), drawn.mask)

        def add(shard: jax.Array, kept: Padded) -> Padded:
            return jax.tree.map(lambda new, old: jnp.where(shard == here, new, old), of_shard(shard), kept)

        # The users of one shard's items stand on all shards: these answer for one after the other, never for all items.
        here = jax.lax.axis_index("model")
        nothing = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), jax.eval_shape(of_shard, here))
        return jax.lax.fori_loop(0, mesh.shape["model"], add, nothing)

    @jax.jit
    def neighbors(params: Params, key: jax.Array, sides: Sides) -> tuple[jax.Array, Padded]:
        items, users = neighbor_tables(widened(params), sides, mesh)
        items_here = params["item"].shape[0] // mesh.shape["model"]
        item_users = jax.shard_map(
            partial(item_users_of, items_here=items_here),
            mesh=mesh, in_specs=(_ITEMS, _ALL, specs_of_shares(sides)), out_specs=_ITEMS, check_vma=False,
        )  # fmt: skip
        return items, item_users(users, key, sides)

    return neighbors


@lru_cache(maxsize=32)
def _tile_program(model: Model, mesh: Mesh, num_items: int, k: int, width: int, batch_size: int | None) -> Any:
    """Return the compiled function that ranks a tile; one per model, mesh and shape, so that epochs share it."""

    def rank_share(
        params: Params, key: jax.Array, users: jax.Array, seen_rows: CSR, sides: Sides, near: jax.Array,
        item_users: Padded, allowed: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array]:  # fmt: skip
        """Score this device's items for its share of the tile's users, then choose among the best of all shards."""
        params, seen_rows, sides = widened(params), own_share(seen_rows), own_share(sides)
        items_here = params["item"].shape[0]
        first = jax.lax.axis_index("model") * items_here
        ids = first + jnp.arange(items_here)
        real = ids < num_items if allowed is None else allowed[ids]
        # The users' rows lie anywhere: each device says what it has for the whole tile, and keeps its share of it.
        drawn = jax.vmap(lambda user: drawn_for_ranking(key, sides.history, user))(users)
        drawn = from_owner(drawn, owns(sides.history, users), divided=True)
        seen = jax.vmap(lambda user: padded_rows(seen_rows, user, width))(users)
        seen = from_owner(seen, seen_rows.owns(users), divided=True)
        users = own_part(users)
        histories = Padded(rows_by_id(near, drawn.ids), drawn.mask)

        def one(inputs: tuple[jax.Array, Padded, tuple[jax.Array, jax.Array]]) -> Lists:
            vector, history, (seen, is_seen) = inputs
            scores = score_catalogue(model, params, params["item"], vector, history, item_users)
            return best_unseen(jnp.where(real, scores, -jnp.inf), seen, is_seen, min(k, items_here), first)

        inputs = (rows_by_id(params["user"], users), histories, seen)
        candidates = jax.lax.map(one, inputs, batch_size=batch_size)
        # Shards stand in the order of their items, so of equal scores the lowest item still comes first.
        return best_of(jax.lax.all_gather(candidates, "model", axis=1, tiled=True), k)

    def rank_tile(
        params: Params,
        key: jax.Array,
        users: jax.Array,
        seen: CSR,
        sides: Sides,
        near: jax.Array,
        item_users: Padded,
        allowed: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array]:
        of_rows, of_sides = specs_of_shares((seen, sides))
        share = jax.shard_map(
            rank_share, mesh=mesh, in_specs=(specs(params), _ALL, _ALL, of_rows, of_sides, _ITEMS, _ITEMS, _ALL),
            out_specs=_USERS, check_vma=False,
        )  # fmt: skip
        return share(params, key, users, seen, sides, near, item_users, allowed)

    return jax.jit(rank_tile, out_shardings=replicated(mesh))
