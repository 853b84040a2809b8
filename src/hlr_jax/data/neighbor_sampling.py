"""Samples the neighbors of a pair: items of the user, and users of the item."""

import jax
import jax.numpy as jnp
from flax import struct

from hlr_jax.data.csr import csr_of, position_in_row
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.sampling import history_bits, inverse_popularity, sample_history
from hlr_jax.types import CSR, NeighborSpec, Padded

SHORTEST = 64  # ``capped`` never reduces a size below this


@struct.dataclass
class NeighborIds:
    """Ids of neighbors, padded: ``ids`` [..., H] and ``mask`` [..., H]."""

    ids: jax.Array
    mask: jax.Array

    def vectors(self, table: jax.Array) -> Padded:
        """Return the vectors of the neighbors from a table [I, D]: [..., H, D]."""
        return Padded(table[self.ids], self.mask)


@struct.dataclass
class NeighborSource:
    """What the neighbors on one side of a pair are sampled from.

    ``rows`` has the items of each user, or the users of each item. It is None where a model does not use this side.
    ``weights`` are for sampling by inverse popularity, else None.
    """

    rows: CSR | None
    weights: jax.Array | None
    spec: NeighborSpec = struct.field(pytree_node=False)

    @property
    def num_bits(self) -> int:
        """How many 32-bit random words ``sample_neighbors`` needs."""
        return 0 if self.rows is None else history_bits(self.rows, self.spec.size, self.weights is not None)


@struct.dataclass
class NeighborSources:
    """What the histories of users and the users of items are sampled from."""

    history: NeighborSource
    item_users: NeighborSource

    @property
    def both_sides(self) -> tuple[CSR, CSR]:
        """All items of users and all users of items, which ``Model.derived`` reads."""
        assert self.history.rows is not None
        assert self.item_users.rows is not None
        return self.history.rows, self.item_users.rows


def neighbor_source(
    interactions: Interactions, num_owners: int, num_neighbors: int, spec: NeighborSpec, derived: bool
) -> NeighborSource:
    """Return the source of interactions sorted by owner (``interactions.user``).

    With ``derived`` it has rows even where no neighbors are sampled, because the model derives arrays from them.
    """
    rows = csr_of(interactions, num_owners) if spec.size or derived else None
    weighted = spec.size and spec.sampling == "inverse_popularity"
    weights = inverse_popularity(interactions.item_degrees(num_neighbors)) if weighted else None
    return NeighborSource(rows, weights, capped(spec, rows))


def capped(spec: NeighborSpec, rows: CSR | None) -> NeighborSpec:
    """Return the spec with its size reduced to the length of the longest row, rounded up to a power of two.

    Sizes up to 64 are kept, so that data sets share few distinct sizes. All neighbors fit in either case.
    """
    if rows is None:
        return spec
    return spec._replace(size=min(spec.size, max(SHORTEST, 1 << max(rows.longest - 1, 0).bit_length())))


def sample_neighbors(
    bits: jax.Array, source: NeighborSource, owner: jax.Array, other: jax.Array | None = None
) -> NeighborIds:
    """Return sampled neighbors [H] of an owner [], from ``source.num_bits`` random words.

    ``other`` [] is the other side of the pair, which is never sampled.
    """
    rows, size = source.rows, source.spec.size
    if rows is None or not size:
        return NeighborIds(jnp.zeros(0, jnp.int32), jnp.zeros(0, bool))
    skip = rows.degree(owner) if other is None else position_in_row(rows, owner, other)
    return NeighborIds(*sample_history(bits, rows, owner, skip, size, source.weights))
