"""Ranking a tile of users on one device, which has the whole tables."""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.data.neighbor_sampling import NeighborIds
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import RankingInputs, ranking_histories, ranking_item_users
from hlr_jax.ranking.lists import NO_ITEM, best_allowed, best_of
from hlr_jax.ranking.plan import Prepared, TilePlan
from hlr_jax.scoring import score_catalogue, score_catalogue_of_many
from hlr_jax.types import Params, Ranking


def single_device_program(model: Model, params: Params, inputs: RankingInputs, k: int, plan: TilePlan) -> Prepared:
    """Return what ranks a tile with parameters that lie on one device, and what it takes for some users."""

    def arguments(users: np.ndarray, places: np.ndarray) -> tuple:
        return params, users, places, inputs

    return _tile_program(model, k, plan.items, plan.users_at_once, plan.by_pairs), arguments


@lru_cache(maxsize=32)
def _tile_program(model: Model, k: int, part: int, users_at_once: int | None, by_pairs: bool) -> Any:
    """Return the compiled function that ranks a tile; one per model and shape, so that epochs share it.

    A tile of users meets the catalogue ``part`` items at a time and keeps the best K so far, so that neither scores nor
    neighbors of all items ever exist at once.
    """

    @jax.jit
    def rank_tile(params: Params, users: jax.Array, places: jax.Array, inputs: RankingInputs) -> Ranking:
        sources, num_items = inputs.sources, inputs.num_items
        # Tables that a mesh padded end in rows that are no items.
        params = params | {"item": params["item"][:num_items]}
        histories = ranking_histories(inputs.key, sources.history, users)
        derived: Params = {}
        if model.derived is not None:
            derived = model.derived(params, *sources.both_sides, users, jnp.arange(num_items))
        user_rows = model.rows(params, "user", users) | model.on_axis(derived, "user")
        item_rows = model.on_axis(model.scored(params), "item") | model.on_axis(derived, "item")
        padding = -num_items % part
        catalogue = {
            name: jnp.pad(rows, [(0, padding)] + [(0, 0)] * (rows.ndim - 1)) for name, rows in item_rows.items()
        }

        def add_part(best: Ranking, first: jax.Array) -> tuple[Ranking, None]:
            """Return the best lists once the items from ``first`` on have been scored."""
            items = jax.tree.map(lambda rows: jax.lax.dynamic_slice_in_dim(rows, first, part), catalogue)
            ids = first + jnp.arange(part)
            real, ids = ids < num_items, jnp.minimum(ids, num_items - 1)
            if inputs.allowed is not None:
                real &= inputs.allowed[ids]
            item_users = ranking_item_users(inputs.key, sources.item_users, ids).vectors(model.neighbor_table(params))

            def add_scores(user: jax.Array, place: jax.Array, scores: jax.Array, best: Ranking) -> Ranking:
                scores = jnp.where(real, scores, -jnp.inf)
                added = best_allowed(scores, inputs, user, place, min(k, part), first)
                return best_of(jax.tree.map(lambda *each: jnp.concatenate(each), best, added), k)

            def rank_user(given: tuple[jax.Array, jax.Array, Params, NeighborIds, Ranking]) -> Ranking:
                user, place, row, near, best = given
                scores = score_catalogue(model, params, row, items, near.vectors(params["item"]), item_users)
                return add_scores(user, place, scores, best)

            if not by_pairs:
                everyone = users, places, user_rows, histories, best
                return jax.lax.map(rank_user, everyone, batch_size=users_at_once), None
            scores = score_catalogue_of_many(model, params, user_rows, items, histories, item_users, users_at_once)
            given = users, places, scores, best
            return jax.lax.map(lambda given: add_scores(*given), given, batch_size=users_at_once), None

        nothing = Ranking(jnp.full((len(users), k), NO_ITEM), jnp.full((len(users), k), -jnp.inf))
        return jax.lax.scan(add_part, nothing, jnp.arange(0, num_items, part))[0]

    return rank_tile
