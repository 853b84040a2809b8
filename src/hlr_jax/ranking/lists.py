"""The best K items by score."""

import jax
import jax.numpy as jnp

from hlr_jax.data.csr import padded_row
from hlr_jax.ranking.inputs import RankingInputs
from hlr_jax.types import Ranking

NO_ITEM = -1


def best_unseen(scores: jax.Array, seen: jax.Array, is_seen: jax.Array, k: int, first: jax.Array | int = 0) -> Ranking:
    """Return the best k of a user's scores without the items that the user has seen.

    Args:
      scores: [T], of the items from ``first`` on; minus infinity for items that must not be recommended.
      seen: [width], items.
      is_seen: [width], false for padding.
      k: at most T.
      first: the first item.
    """
    # Places out of range are dropped: padding, and items of other parts of the catalog, mask nothing.
    here = is_seen & (first <= seen) & (seen < first + len(scores))
    scores = scores.at[jnp.where(here, seen - first, len(scores))].set(-jnp.inf, mode="drop")
    best, places = jax.lax.top_k(scores, k)
    return Ranking(jnp.where(jnp.isneginf(best), NO_ITEM, first + places), best)


def best_allowed(
    scores: jax.Array, inputs: RankingInputs, user: jax.Array, place: jax.Array, k: int, first: jax.Array | int = 0
) -> Ranking:
    """Return the best k of a user's scores without the items masked for the user; see ``best_unseen``.

    ``place`` is the user's place in the call, as in ``RankingInputs.excluded`` and ``candidates``.
    """
    items, masked = padded_row(inputs.seen, user, inputs.seen.longest)
    if inputs.excluded is not None:
        more = padded_row(inputs.excluded, place, inputs.excluded.longest)
        items, masked = (jnp.concatenate(pair) for pair in zip((items, masked), more, strict=True))
    if inputs.candidates is not None:
        wanted, real = padded_row(inputs.candidates, place, inputs.candidates.longest)
        here = real & (first <= wanted) & (wanted < first + len(scores))
        is_candidate = (
            jnp.zeros(len(scores), bool).at[jnp.where(here, wanted - first, len(scores))].set(True, mode="drop")
        )
        scores = jnp.where(is_candidate, scores, -jnp.inf)
    return best_unseen(scores, items, masked, k, first)


def best_of(candidates: Ranking, k: int) -> Ranking:
    """Return the best k of candidates in any order [..., at least k]; ties keep their order."""
    best, places = jax.lax.top_k(candidates.scores, k)
    return Ranking(jnp.take_along_axis(candidates.items, places, axis=-1), best)
