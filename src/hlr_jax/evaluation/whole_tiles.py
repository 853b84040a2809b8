"""Ranking a tile of users on one device, which has the whole tables."""

from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp

from hlr_jax.data.neighborhoods import Sides, look_up, neighbor_tables
from hlr_jax.data.neighbors import Rows
from hlr_jax.evaluation.tiles import (
    Known,
    TileRanker,
    best_unseen,
    drawn_audiences,
    drawn_for_ranking,
    users_together,
)
from hlr_jax.models.base import CATALOGUE_TILE, Model, score_catalogue, score_catalogue_of_many
from hlr_jax.sharding import available_cores
from hlr_jax.storage import widened
from hlr_jax.types import Params


def whole_tile_ranker(
    model: Model, params: Params, known: Known, key: jax.Array, num_items: int, k: int, users: int, budget: int
) -> TileRanker:
    """Return what ranks tiles of ``users`` users with parameters that lie on one device, in ``budget`` bytes."""
    workers = num_workers()
    by_pairs = _pairs_pay(model, params, users, budget // workers)
    together = users_together(model, params, num_items, budget // workers)
    program = _tile_program(model, num_items, k, known.width, together, by_pairs)
    return TileRanker(program, lambda tile: (params, key, tile, known.seen, known.sides, known.allowed), workers, 1)


@lru_cache(maxsize=32)
def _tile_program(
    model: Model, num_items: int, k: int, width: int, together: int | None, by_pairs: bool
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return the compiled function that ranks a tile; one per model and shape, so that epochs share it."""

    @jax.jit
    def rank_tile(
        params: Params, key: jax.Array, users: jax.Array, seen_rows: Rows, sides: Sides, allowed: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        # Tables that a mesh padded end in rows that are no items.
        params = widened(params | {"item": params["item"][:num_items]})
        tables = neighbor_tables(params, sides)
        audience = look_up(tables.users, drawn_audiences(key, sides.audience, jnp.arange(num_items)))

        def best_of(user: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
            if allowed is not None:
                scores = jnp.where(allowed, scores, -jnp.inf)
            return best_unseen(scores, seen_rows, width, user, k)

        def one(user: jax.Array) -> tuple[jax.Array, jax.Array]:
            history = look_up(tables.items, drawn_for_ranking(key, sides.history, user))
            return best_of(user, score_catalogue(model, params, params["user"][user], history, audience))

        if not by_pairs:
            return jax.lax.map(one, users, batch_size=together)
        drawn = jax.vmap(lambda user: drawn_for_ranking(key, sides.history, user))(users)
        vectors = params["user"][users]
        scores = score_catalogue_of_many(model, params, vectors, drawn.ids, drawn.mask, audience, together)
        return jax.lax.map(lambda inputs: best_of(*inputs), (users, scores), batch_size=together)

    return rank_tile


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
