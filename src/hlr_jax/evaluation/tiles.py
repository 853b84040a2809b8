"""What the two ways of ranking a tile of users share: the neighbors that are drawn, what is masked, and the sizes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from hlr_jax.data.csr import CSR, rows_on
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborIds, Side, Sides, draw_neighbors, neighbor_bits, sides_of
from hlr_jax.models.base import CATALOGUE_TILE, Model
from hlr_jax.types import Params

NO_ITEM = -1
_ITEM_USERS = 2**31  # apart from every user's own draw


class Known(NamedTuple):
    """What a ranking reads of interactions.

    Attributes:
      seen: the items of each user that are masked.
      width: at least the most of them.
      sides: what neighbors are drawn from.
      allowed: [I] bool, the items that may stand in a list; None: all.
    """

    seen: CSR
    width: int
    sides: Sides
    allowed: jax.Array | None = None


class TileRanker(NamedTuple):
    """A way to rank a tile of users.

    Attributes:
      program: the jitted function of ``arguments(users)``: items [tile, K] and scores [tile, K].
      arguments: (users [tile]) -> what the program takes.
      workers: tiles that are ranked side by side.
      shares: devices that divide the users of a tile.
    """

    program: Callable[..., tuple[jax.Array, jax.Array]]
    arguments: Callable[[Any], tuple]
    workers: int
    shares: int


def known_of(
    model: Model, seen: Interactions, near: Interactions, num_users: int, num_items: int, mesh: Mesh | None = None
) -> Known:
    """Return what a ranking reads, with widths of powers of two; on a mesh each device has a share of the interactions.

    So validation and test, whose longest rows differ little, share one compilation.
    """
    sides = sides_of(near, num_users, num_items, model.history, model.item_users, mesh)
    rows = sides.history.rows if near is seen and (mesh is None or model.history.drawn) else None
    return known_from(rows_on(seen, num_users, mesh) if rows is None else rows, sides)


def known_from(seen: CSR, sides: Sides, allowed: jax.Array | None = None) -> Known:
    """Return the same of what is prepared already."""
    seen, sides = jax.tree.map(_rounded, (seen, sides), is_leaf=lambda leaf: isinstance(leaf, CSR))
    return Known(seen, seen.longest, sides, allowed)


def power_of_two(count: int) -> int:
    """Return the least power of two that is at least ``count``."""
    return 1 << max(count - 1, 0).bit_length()


def _rounded(leaf: Any) -> Any:
    """Return rows with their longest row as a power of two, other leaves as they are."""
    return replace(leaf, longest=power_of_two(leaf.longest)) if isinstance(leaf, CSR) else leaf


def drawn_for_ranking(key: jax.Array, side: Side, owner: jax.Array) -> NeighborIds:
    """Return the neighbors that a user (or an item) is ranked with: a draw that depends on key and owner alone."""
    bits = jax.random.bits(jax.random.fold_in(key, owner), (neighbor_bits(side),))
    return draw_neighbors(bits, side, owner)


def drawn_item_users(key: jax.Array, side: Side, items: jax.Array) -> NeighborIds:
    """Return the neighbors [T, A] that items [T] are ranked with, the same for all users."""
    return jax.vmap(lambda item: drawn_for_ranking(jax.random.fold_in(key, _ITEM_USERS), side, item))(items)


class Lists(NamedTuple):
    """The best items of users [..., K], best first, and their scores; ``NO_ITEM`` and minus infinity where none is."""

    items: jax.Array
    scores: jax.Array


def best_unseen(scores: jax.Array, seen: jax.Array, is_seen: jax.Array, k: int, first: jax.Array | int = 0) -> Lists:
    """Return the best k of a user's scores without what the user has seen.

    Args:
      scores: [T], of the items from ``first`` on; minus infinity for what must not stand in a list.
      seen: [width], items.
      is_seen: [width], false for padding.
      k: at most T.
      first: the item that comes first.
    """
    # Places past the end are dropped: padding, and items of other parts of the catalogue, mask nothing.
    here = is_seen & (first <= seen) & (seen < first + len(scores))
    scores = scores.at[jnp.where(here, seen - first, len(scores))].set(-jnp.inf, mode="drop")
    best, places = jax.lax.top_k(scores, k)
    return Lists(jnp.where(jnp.isneginf(best), NO_ITEM, first + places), best)


def best_of(candidates: Lists, k: int) -> Lists:
    """Return the best k of candidates in any order [..., at least k]; of equal scores those that stand first."""
    best, places = jax.lax.top_k(candidates.scores, k)
    return Lists(jnp.take_along_axis(candidates.items, places, axis=-1), best)


def users_per_call(model: Model, params: Params, num_items: int, budget: int) -> int | None:
    """Return how many users of a tile are scored at once in ``budget`` bytes, each against ``num_items`` items.

    A CPU ranks one user after the other, each in cache: None. An accelerator takes as many as the budget holds. None
    and 1 differ: a batch of one still turns each matrix product into a batched one, at half the speed.
    """
    if jax.default_backend() == "cpu":
        return None
    context, (memories, dim) = model.history.size, params["keys"].shape if "keys" in params else (0, 0)
    among = context * (dim + 3 * CATALOGUE_TILE) + 3 * CATALOGUE_TILE * model.item_users.size
    return max(1, budget // (4 * (3 * num_items + memories * among)))
