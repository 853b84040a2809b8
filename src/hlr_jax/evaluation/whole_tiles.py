"""Ranking a tile of users on one device, which has the whole tables."""

from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp

from hlr_jax.data.csr import CSR, padded_rows
from hlr_jax.data.neighbor_sampling import NeighborIds, Sides, look_up, neighbor_tables
from hlr_jax.evaluation.tiles import (
    NO_ITEM,
    Known,
    Lists,
    TileRanker,
    best_of,
    best_unseen,
    drawn_for_ranking,
    drawn_item_users,
    users_per_call,
)
from hlr_jax.models.base import CATALOGUE_TILE, Model, score_catalogue, score_catalogue_of_many
from hlr_jax.sharding import available_cores, padded_size
from hlr_jax.storage import widened
from hlr_jax.types import Params

_MOST_ITEMS = 8192  # that a tile of users meets at a time


def whole_tile_ranker(
    model: Model, params: Params, known: Known, key: jax.Array, num_items: int, k: int, users: int, budget: int
) -> TileRanker:
    """Return what ranks tiles of ``users`` users with parameters that lie on one device, in ``budget`` bytes."""
    workers = num_workers()
    part = _items_per_call(model, params, num_items, budget // workers)
    by_pairs = _pairs_pay(model, params, users, budget // workers)
    batch_size = users_per_call(model, params, part, budget // workers)
    program = _tile_program(model, num_items, part, k, known.width, batch_size, by_pairs)
    return TileRanker(program, lambda tile: (params, key, tile, known.seen, known.sides, known.allowed), workers, 1)


@lru_cache(maxsize=32)
def _tile_program(
    model: Model, num_items: int, part: int, k: int, width: int, batch_size: int | None, by_pairs: bool
) -> Callable[..., Lists]:
    """Return the compiled function that ranks a tile; one per model and shape, so that epochs share it.

    A tile of users meets the catalogue ``part`` items at a time and keeps the best K so far, so that neither scores nor
    neighbors of all items ever exist at once.
    """

    @jax.jit
    def rank_tile(
        params: Params, key: jax.Array, users: jax.Array, seen_rows: CSR, sides: Sides, allowed: jax.Array | None
    ) -> Lists:
        # Tables that a mesh padded end in rows that are no items.
        params = widened(params | {"item": params["item"][:num_items]})
        tables = neighbor_tables(params, sides)
        drawn = jax.vmap(lambda user: drawn_for_ranking(key, sides.history, user))(users)
        vectors = params["user"][users]
        catalogue = jnp.pad(params["item"], ((0, -num_items % part), (0, 0)))

        def against(best: Lists, first: jax.Array) -> tuple[Lists, None]:
            """Return the best lists once the items from ``first`` on have been met."""
            items, ids = jax.lax.dynamic_slice_in_dim(catalogue, first, part), first + jnp.arange(part)
            real, ids = ids < num_items, jnp.minimum(ids, num_items - 1)
            if allowed is not None:
                real &= allowed[ids]
            item_users = look_up(tables.users, drawn_item_users(key, sides.item_users, ids))

            def best_after(user: jax.Array, scores: jax.Array, best: Lists) -> Lists:
                seen, is_seen = padded_rows(seen_rows, user, width)
                found = best_unseen(jnp.where(real, scores, -jnp.inf), seen, is_seen, min(k, part), first)
                return best_of(jax.tree.map(lambda *each: jnp.concatenate(each), best, found), k)

            def one(inputs: tuple[jax.Array, jax.Array, NeighborIds, Lists]) -> Lists:
                user, vector, near, best = inputs
                scores = score_catalogue(model, params, items, vector, look_up(tables.items, near), item_users)
                return best_after(user, scores, best)

            if not by_pairs:
                return jax.lax.map(one, (users, vectors, drawn, best), batch_size=batch_size), None
            scores = score_catalogue_of_many(
                model, params, items, vectors, drawn.ids, drawn.mask, item_users, batch_size
            )
            return jax.lax.map(lambda inputs: best_after(*inputs), (users, scores, best), batch_size=batch_size), None

        nothing = Lists(jnp.full((len(users), k), NO_ITEM), jnp.full((len(users), k), -jnp.inf))
        return jax.lax.scan(against, nothing, jnp.arange(0, num_items, part))[0]

    return rank_tile


def _items_per_call(model: Model, params: Params, num_items: int, budget: int) -> int:
    """Return how many items a tile of users meets at a time in ``budget`` bytes, with the neighbors of each."""
    each = 4 * (params["item"].shape[1] * (1 + 2 * model.item_users.size) + 3)
    most = min(_MOST_ITEMS, max(CATALOGUE_TILE, budget // (2 * each)))
    if num_items <= most:
        return num_items
    # RunParts of nearly equal size, of whole tiles: the last one is padded to the size of the others.
    even = -(-num_items // -(-num_items // most))
    return min(num_items, padded_size(even, CATALOGUE_TILE))


def num_workers() -> int:
    """Return how many tiles are ranked side by side: on a CPU the cores, divided among its devices; else one.

    A tile of users is a chain of small operations, in which several cores find little to share.
    """
    if jax.default_backend() != "cpu":
        return 1
    return max(1, available_cores() // jax.local_device_count())


def _pairs_pay(model: Model, params: Params, users: int, budget: int) -> bool:
    """Return whether scores by pairs of items cost less than scores by users, and fit in the budget (bytes).

    They meet each item once as a neighbor, where scores by users meet every neighbor of every user.
    """
    if model.item_pairs is None:
        return False
    num_items, tile = len(params["item"]), min(CATALOGUE_TILE, len(params["item"]))
    pairs = jax.eval_shape(model.item_pairs.weights, params, params["item"], params["item"][:tile])
    return users * model.history.size >= num_items and 3 * pairs.size * pairs.dtype.itemsize <= budget
