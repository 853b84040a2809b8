"""Ranking a tile of users on one device, which has the whole tables."""

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.data.neighbor_sampling import NeighborIds
from hlr_jax.distinct import Distinct, distinct
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import RankingInputs, ranking_histories, ranking_item_users
from hlr_jax.ranking.lists import NO_ITEM, best_allowed, best_of
from hlr_jax.ranking.plan import Prepared, TilePlan
from hlr_jax.scoring import part_starts, score_catalogue, score_catalogue_of_many
from hlr_jax.types import Padded, Params, Ranking


def single_device_program(model: Model, params: Params, inputs: RankingInputs, k: int, plan: TilePlan) -> Prepared:
    """Return the program that ranks a tile with parameters on one device, and the function to its arguments."""
    packed = distinct(inputs)

    def arguments(users: np.ndarray, places: np.ndarray) -> tuple:
        return params, users, places, packed

    return tile_program(model.as_scored, k, plan.items, plan.users_at_once, plan.by_pairs), arguments


class Tile(NamedTuple):
    """A tile of users, ready to be scored with parts of the catalog.

    Attributes:
      model: scores the pairs.
      params: its parameters; derived arrays are in the rows.
      users: the users' rows [U', ...].
      histories: the neighbors that they are ranked with [U', H].
      catalogue: the items' rows.
      inputs: of the ranking.
      part: items of a part.
    """

    model: Model
    params: Params
    users: Params
    histories: NeighborIds
    catalogue: Params
    inputs: RankingInputs
    part: int

    @classmethod
    def of(cls, model: Model, params: Params, users: jax.Array, inputs: RankingInputs, part: int) -> "Tile":
        """Return the tile of users [U'], for scoring ``part`` items at a time."""
        sources, num_items = inputs.sources, inputs.num_items
        # Tables padded for a mesh end with rows that are not items.
        params = params | {"item": params["item"][:num_items]}
        histories = ranking_histories(inputs.key, sources.history, users)
        derived: Params = {}
        if model.derived is not None:
            derived = model.derived(params, *sources.both_sides, users, jnp.arange(num_items))
        user_rows = model.rows(params, "user", users) | model.on_axis(derived, "user")
        item_rows = model.on_axis(model.scored(params), "item") | model.on_axis(derived, "item")
        return cls(model, params, user_rows, histories, item_rows, inputs, part)

    def items_from(self, first: jax.Array) -> tuple[jax.Array, Params, Padded]:
        """Return the ids [T] of the part from ``first`` on, its rows and neighbors."""
        items = jax.tree.map(lambda rows: jax.lax.dynamic_slice_in_dim(rows, first, self.part), self.catalogue)
        ids = first + jnp.arange(self.part)
        near = ranking_item_users(self.inputs.key, self.inputs.sources.item_users, ids)
        return ids, items, near.vectors(self.model.neighbor_table(self.params))

    def score(self, user: Params, near: NeighborIds, items: Params, item_users: Padded) -> jax.Array:
        """Return the scores [T] of a part's rows for one user's rows and history."""
        return score_catalogue(self.model, self.params, user, items, near.vectors(self.params["item"]), item_users)

    def score_by_pairs(self, items: Params, item_users: Padded, users_at_once: int | None) -> jax.Array:
        """Return the scores [U', T] of a part's rows for all users, through the model's ``item_pairs``."""
        given = self.model, self.params, self.users, items, self.histories, item_users
        return score_catalogue_of_many(*given, users_at_once)


@lru_cache(maxsize=32)
def tile_program(model: Model, k: int, part: int, users_at_once: int | None, by_pairs: bool) -> Any:
    """Return the compiled function that ranks a tile; one per model and shape, so that epochs share it.

    A tile of users scores the catalog ``part`` items at a time and keeps the best K so far. So neither scores nor
    neighbors of all items ever exist at once.
    """

    @jax.jit
    def rank_tile(params: Params, users: jax.Array, places: jax.Array, packed: Distinct[RankingInputs]) -> Ranking:
        inputs = packed.tree
        tile = Tile.of(model, params, users, inputs, part)

        def add_part(best: Ranking, starts: tuple[jax.Array, jax.Array]) -> tuple[Ranking, None]:
            """Return the best items after scoring those of a part, without those that the part before has."""
            first, first_new = starts
            ids, items, item_users = tile.items_from(first)
            real = ids >= first_new
            if inputs.allowed is not None:
                real &= inputs.allowed[ids]

            def add_scores(user: jax.Array, place: jax.Array, scores: jax.Array, best: Ranking) -> Ranking:
                scores = jnp.where(real, scores, -jnp.inf)
                added = best_allowed(scores, inputs, user, place, min(k, part), first)
                return best_of(jax.tree.map(lambda *each: jnp.concatenate(each), best, added), k)

            def rank_user(given: tuple[jax.Array, jax.Array, Params, NeighborIds, Ranking]) -> Ranking:
                user, place, row, near, best = given
                return add_scores(user, place, tile.score(row, near, items, item_users), best)

            if not by_pairs:
                everyone = users, places, tile.users, tile.histories, best
                return jax.lax.map(rank_user, everyone, batch_size=users_at_once), None
            given = users, places, tile.score_by_pairs(items, item_users, users_at_once), best
            return jax.lax.map(lambda given: add_scores(*given), given, batch_size=users_at_once), None

        nothing = Ranking(jnp.full((len(users), k), NO_ITEM), jnp.full((len(users), k), -jnp.inf))
        starts = part_starts(inputs.num_items, part), jnp.arange(0, inputs.num_items, part)
        return jax.lax.scan(add_part, nothing, starts)[0]

    return rank_tile
