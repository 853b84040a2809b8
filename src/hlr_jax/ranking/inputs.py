"""The inputs of a ranking beside the parameters: masked items, sources of neighbors, and random keys."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from hlr_jax.data.csr import csr_of
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import (
    NeighborIds,
    NeighborSource,
    NeighborSources,
    sample_neighbors,
)
from hlr_jax.models.base import Model
from hlr_jax.scoring import neighbor_sources
from hlr_jax.sharding import beside
from hlr_jax.types import CSR, Params

_MOST_ROUNDED = 1 << 24  # items
_ITEM_USERS = 2**31  # separate from every user's own samples


@struct.dataclass
class RankingInputs:
    """The inputs of a ranking from interactions.

    Attributes:
      seen: the items of each user that are masked.
      sources: what neighbors are sampled from.
      key: for sampling neighbors where there are more than the model reads; the sample of each user and each item
        depends on nothing else.
      num_items: I; tables may have more rows (padding), which are never ranked (static).
      allowed: [I] bool, the items that may be recommended; None: all.
      excluded: items that must not be recommended to a single user, by the user's place in the call; None: none.
      candidates: the only items that may be recommended to a single user, likewise; None: all.
    """

    seen: CSR
    sources: NeighborSources
    key: jax.Array
    num_items: int = struct.field(pytree_node=False)
    allowed: jax.Array | None = None
    excluded: CSR | None = None
    candidates: CSR | None = None


def ranking_inputs(
    model: Model, seen: Interactions, near: Interactions, sizes: tuple[int, int], seed: int = 0,
    params: Params | None = None,
) -> RankingInputs:  # fmt: skip
    """Return the inputs of a ranking. Its sizes are rounded: validation and test often share a compiled program.

    Args:
      model: sets which neighbors are read.
      seen: interactions that are masked.
      near: interactions that neighbors are from.
      sizes: U, I.
      seed: for sampling neighbors.
      params: the inputs are placed on their mesh; None: on one device.
    """
    sources = neighbor_sources(model, near, sizes)
    rows = sources.history.rows if near is seen and sources.history.rows is not None else csr_of(seen, sizes[0])
    return RankingInputs(*placed_rows(rows, sources, params), beside(draw_key(seed), params), sizes[1])


def placed_rows(seen: CSR, sources: NeighborSources, params: Params | None) -> tuple[CSR, NeighborSources]:
    """Return rows on the devices of the parameters, with lengths that are powers of two.

    The number of all their items is a ``rounded_size``.
    """
    made: dict[int, jax.Array] = {}  # the same array stays the same: it is passed to programs once

    def rounded(leaf: Any) -> Any:
        if not isinstance(leaf, CSR):
            return leaf
        items = leaf.items
        if id(items) not in made:
            fits = items.size == rounded_size(items.size)
            made[id(items)] = items if fits else jnp.asarray(filled_up(np.asarray(items)))
        return replace(leaf, items=made[id(items)], longest=power_of_two(leaf.longest))

    return beside(jax.tree.map(rounded, (seen, sources), is_leaf=lambda leaf: isinstance(leaf, CSR)), params)


def padded_rows(interactions: Interactions, num_users: int) -> CSR:
    """Return compressed rows with sizes that are powers of two, so that calls share compiled programs."""
    count = len(interactions)
    padding = np.zeros(power_of_two(count + 1) - 1 - count, np.int32)
    rows = csr_of(replace(interactions, item=np.append(interactions.item, padding)), num_users)
    return replace(rows, longest=power_of_two(rows.longest))


@lru_cache(maxsize=64)
def draw_key(seed: int) -> jax.Array:
    """Return the key for sampling neighbors."""
    return jax.random.key(seed)


def power_of_two(count: int) -> int:
    """Return the least power of two that is at least ``count``."""
    return 1 << max(count - 1, 0).bit_length()


def rounded_size(count: int) -> int:
    """Return the size for an array of ``count`` items, so that few sizes are compiled; large ones stay as they are."""
    return power_of_two(count) if count <= _MOST_ROUNDED else count


def filled_up(codes: np.ndarray) -> np.ndarray:
    """Return codes [n] padded with 0 to a power of two, so that few sizes are compiled."""
    return np.pad(codes.astype(np.int32), (0, power_of_two(len(codes)) - len(codes)))


def ranking_neighbors(key: jax.Array, source: NeighborSource, owner: jax.Array) -> NeighborIds:
    """Return the neighbors that a user (or an item) is ranked with, sampled by key and owner alone."""
    bits = jax.random.bits(jax.random.fold_in(key, owner), (source.num_bits,))
    return sample_neighbors(bits, source, owner)


def ranking_item_users(key: jax.Array, source: NeighborSource, items: jax.Array) -> NeighborIds:
    """Return the neighbors [T, A] that items [T] are ranked with, the same for all users."""
    key = jax.random.fold_in(key, _ITEM_USERS)
    return jax.vmap(lambda item: ranking_neighbors(key, source, item))(items)


def ranking_histories(key: jax.Array, source: NeighborSource, users: jax.Array) -> NeighborIds:
    """Return the neighbors [U', H] that users [U'] are ranked with."""
    return jax.vmap(lambda user: ranking_neighbors(key, source, user))(users)
