"""The best K items of every user among all they have not seen, a tile of users at a time."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.data.interactions import Pairs
from hlr_jax.data.neighbors import Rows, padded_rows, rows_of
from hlr_jax.data.sampling import draw_history, history_bits, inverse_popularity
from hlr_jax.models.base import CATALOGUE_TILE, Model, score_catalogue
from hlr_jax.types import Params

NO_ITEM = -1
_MOST_USERS = 1024  # in a tile: larger ones are no faster


class Ranking(NamedTuple):
    """Lists of users: ``items`` [users, K] (``NO_ITEM`` where nothing unseen is left) and ``scores`` [users, K]."""

    items: np.ndarray
    scores: np.ndarray


def user_history(
    key: jax.Array, rows: Rows, user: jax.Array, model: Model, weights: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Return the history [H] and mask [H] that a user is ranked with: a draw that depends on key and user alone."""
    size, skip = model.history.size, rows.degree(user)
    bits = jax.random.bits(jax.random.fold_in(key, user), (history_bits(rows, size, weights is not None),))
    return draw_history(bits, rows, user, skip, size, weights)


def history_weights(model: Model, rows: Rows, num_items: int) -> jax.Array | None:
    """Return the weights [I] with which the model draws histories, or None for uniform draws."""
    inverse = model.history.size and model.history.sampling == "inverse_popularity"
    return inverse_popularity(rows, num_items) if inverse else None


@lru_cache(maxsize=32)
def _tile_ranker(
    model: Model, num_items: int, k: int, width: int, together: int | None
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return the compiled function that ranks a tile; one per model and shape, so that epochs share it."""

    @jax.jit
    def rank_tile(
        params: Params, key: jax.Array, users: jax.Array, rows: Rows, weights: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        def one(user: jax.Array) -> tuple[jax.Array, jax.Array]:
            history, mask = user_history(key, rows, user, model, weights)
            scores = score_catalogue(model, params, user, history, mask)[:num_items]
            seen, is_seen = padded_rows(rows, user, width)
            # Places past the end are dropped: the padding of `seen` masks nothing.
            scores = scores.at[jnp.where(is_seen, seen, num_items)].set(-jnp.inf, mode="drop")
            best, items = jax.lax.top_k(scores, k)
            return jnp.where(jnp.isneginf(best), NO_ITEM, items), best

        return jax.lax.map(one, users, batch_size=together)

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
    memory_budget: int = 512,
    seed: int = 0,
) -> Ranking:
    """Rank the whole catalogue for each of ``users`` and return their best ``k`` unseen items.

    Args:
      model: scores the pairs.
      params: its parameters.
      users: [users].
      seen: interactions that are masked, and that histories are drawn from.
      num_users: U.
      num_items: I; tables may have more rows (padding), which are never ranked.
      k: K; lists are shorter than K only where I is.
      memory_budget: MiB for a tile of users.
      seed: of the draw of histories longer than H; each user's draw depends on nothing else.
    """
    k = min(k, num_items)
    rows = rows_of(seen, num_users)
    weights = history_weights(model, rows, num_items)
    # Power-of-two widths: validation and test, whose longest histories differ little, share one compilation.
    width = 1 << max(rows.longest - 1, 0).bit_length()
    rows = Rows(rows.offsets, rows.items, longest=width)
    budget, per_user = memory_budget << 20, 4 * (2 * k + 2 * width + model.history.size)
    tile = max(1, min(len(users), budget // per_user, _MOST_USERS))
    # A CPU ranks one user after the other, each in cache; an accelerator as many at once as the budget takes.
    heads, (rows_of_memory, dim) = model.history.size, params["keys"].shape if "keys" in params else (0, 0)
    at_once = 4 * (3 * num_items + heads * rows_of_memory * (dim + 3 * CATALOGUE_TILE))
    # None and 1 differ: a batch of one still turns each matrix product into a batched one, at half the speed.
    together = None if jax.default_backend() == "cpu" else max(1, min(tile, budget // at_once))
    tile = -(-len(users) // -(-len(users) // tile)) if len(users) else 1
    ranker = partial(_tile_ranker(model, num_items, k, width, together), params, jax.random.key(seed))
    items, scores = [], []
    for start in range(0, len(users), tile):
        chunk = users[start : start + tile]
        padded = np.pad(chunk, (0, tile - len(chunk)), mode="edge")
        found, best = ranker(jnp.asarray(padded, jnp.int32), rows, weights)
        items.append(np.asarray(found)[: len(chunk)])
        scores.append(np.asarray(best)[: len(chunk)])
    shape = (0, k)
    return Ranking(
        np.concatenate(items) if items else np.empty(shape, np.int32),
        np.concatenate(scores) if scores else np.empty(shape, np.float32),
    )
