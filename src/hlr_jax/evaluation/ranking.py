"""The best K items of every user among all they have not seen, a tile of users at a time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.data.interactions import Pairs
from hlr_jax.data.neighborhoods import (
    Drawn,
    Side,
    Sides,
    draw_neighbors,
    look_up,
    neighbor_bits,
    neighbor_tables,
    sides_of,
)
from hlr_jax.data.neighbors import Rows, padded_rows, rows_of
from hlr_jax.models.base import CATALOGUE_TILE, Model, score_catalogue, score_catalogue_of_many
from hlr_jax.sharding import available_cores
from hlr_jax.storage import widened
from hlr_jax.types import Padded, Params

NO_ITEM = -1
_AUDIENCE = 2**31  # apart from every user's own draw
_MOST_USERS = 1024  # in a tile: larger ones are no faster


class Ranking(NamedTuple):
    """Lists of users: ``items`` [users, K] (``NO_ITEM`` where nothing unseen is left) and ``scores`` [users, K]."""

    items: np.ndarray
    scores: np.ndarray


def drawn_for_ranking(key: jax.Array, side: Side, owner: jax.Array) -> Drawn:
    """Return the neighbors that a user (or an item) is ranked with: a draw that depends on key and owner alone."""
    bits = jax.random.bits(jax.random.fold_in(key, owner), (neighbor_bits(side),))
    return draw_neighbors(bits, side, owner)


def drawn_audiences(key: jax.Array, side: Side, items: jax.Array) -> Drawn:
    """Return the neighbors [T, A] that items [T] are ranked with, the same for all users."""
    return jax.vmap(lambda item: drawn_for_ranking(jax.random.fold_in(key, _AUDIENCE), side, item))(items)


def audiences(key: jax.Array, table: jax.Array, side: Side, items: jax.Array) -> Padded:
    """Return the vectors [T, A, D] of these neighbors, from their table."""
    return look_up(table, drawn_audiences(key, side, items))


@lru_cache(maxsize=32)
def _tile_ranker(
    model: Model, num_items: int, k: int, width: int, together: int | None, by_pairs: bool
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return the compiled function that ranks a tile; one per model and shape, so that epochs share it."""

    @jax.jit
    def rank_tile(
        params: Params, key: jax.Array, users: jax.Array, seen_rows: Rows, sides: Sides
    ) -> tuple[jax.Array, jax.Array]:
        # Tables that a mesh padded end in rows that are no items.
        params = widened(params | {"item": params["item"][:num_items]})
        tables = neighbor_tables(params, sides)
        audience = audiences(key, tables.users, sides.audience, jnp.arange(num_items))

        def best_of(user: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
            seen, is_seen = padded_rows(seen_rows, user, width)
            # Places past the end are dropped: the padding of `seen` masks nothing.
            scores = scores.at[jnp.where(is_seen, seen, num_items)].set(-jnp.inf, mode="drop")
            best, items = jax.lax.top_k(scores, k)
            return jnp.where(jnp.isneginf(best), NO_ITEM, items), best

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


def rank(
    model: Model,
    params: Params,
    users: np.ndarray,
    seen: Pairs,
    *,
    num_users: int,
    num_items: int,
    k: int,
    near: Pairs | None = None,
    memory_budget: int = 512,
    seed: int = 0,
) -> Ranking:
    """Rank the whole catalogue for each of ``users`` and return their best ``k`` unseen items.

    Args:
      model: scores the pairs.
      params: its parameters.
      users: [users].
      seen: interactions that are masked.
      num_users: U.
      num_items: I; tables may have more rows (padding), which are never ranked.
      k: K; lists are shorter than K only where I is.
      near: interactions that neighbors are from; None: ``seen``.
      memory_budget: MiB for a tile of users.
      seed: of the draw of neighbors where there are more than the model reads; each user's and each item's draw depends
        on nothing else.
    """
    k = min(k, num_items)
    near = seen if near is None else near
    sides = sides_of(near, num_users, num_items, model.history, model.audience)
    rows = sides.history.rows if near is seen and sides.history.rows is not None else rows_of(seen, num_users)
    # Power-of-two widths: validation and test, whose longest rows differ little, share one compilation.
    width = power_of_two(rows.longest)
    rows, sides = jax.tree.map(rounded, (rows, sides), is_leaf=lambda leaf: isinstance(leaf, Rows))
    workers = _workers()
    by_pairs = _pairs_pay(model, params, len(users), memory_budget // workers)
    budget = (memory_budget << 20) // workers
    per_user = 4 * (2 * k + 2 * width + model.history.size + 3 * num_items * by_pairs)
    tile = max(1, min(-(-len(users) // workers), budget // per_user, _MOST_USERS))
    # A CPU ranks one user after the other, each in cache; an accelerator as many at once as the budget takes.
    heads, (rows_of_memory, dim) = model.history.size, params["keys"].shape if "keys" in params else (0, 0)
    among = heads * (dim + 3 * CATALOGUE_TILE) + 3 * CATALOGUE_TILE * model.audience.size
    at_once = 4 * (3 * num_items + rows_of_memory * among)
    # None and 1 differ: a batch of one still turns each matrix product into a batched one, at half the speed.
    together = None if jax.default_backend() == "cpu" else max(1, min(tile, budget // at_once))
    tile = -(-len(users) // -(-len(users) // tile)) if len(users) else 1
    ranker = partial(_tile_ranker(model, num_items, k, width, together, by_pairs), params, jax.random.key(seed))

    def rank_from(start: int) -> tuple[np.ndarray, np.ndarray]:
        chunk = users[start : start + tile]
        padded = np.pad(chunk, (0, tile - len(chunk)), mode="edge")
        found, best = ranker(jnp.asarray(padded, jnp.int32), rows, sides)
        return np.asarray(found)[: len(chunk)], np.asarray(best)[: len(chunk)]

    with ThreadPoolExecutor(workers) as pool:
        lists = list(pool.map(rank_from, range(0, len(users), tile)))
    nothing = np.empty((0, k), np.int32), np.empty((0, k), np.float32)
    items, scores = (np.concatenate(parts) for parts in zip(nothing, *lists, strict=True))
    return Ranking(items, scores)


def _workers() -> int:
    """Return how many tiles are ranked side by side: on a CPU the cores, divided among its devices; else one.

    A tile of users is a chain of small operations, in which several cores find little to share.
    """
    if jax.default_backend() != "cpu":
        return 1
    return max(1, available_cores() // jax.local_device_count())


def _pairs_pay(model: Model, params: Params, users: int, memory_budget: int) -> bool:
    """Return whether scores by pairs of items cost less than scores by users, and fit in the budget (MiB).

    They meet each item once as a neighbor, where scores by users meet every neighbor of every user.
    """
    if model.item_pairs is None:
        return False
    num_items, tile = len(params["item"]), min(CATALOGUE_TILE, len(params["item"]))
    pairs = jax.eval_shape(model.item_pairs.weights, params, params["item"], params["item"][:tile])
    return users * model.history.size >= num_items and 3 * pairs.size * pairs.dtype.itemsize <= memory_budget << 20


def power_of_two(count: int) -> int:
    """Return the least power of two that is at least ``count``."""
    return 1 << max(count - 1, 0).bit_length()


def rounded(leaf: Any) -> Any:
    """Return rows with their longest row as a power of two, other leaves as they are."""
    return Rows(leaf.offsets, leaf.items, power_of_two(leaf.longest)) if isinstance(leaf, Rows) else leaf
