"""Which neighbors a pair reads, on either side: what they are drawn from, and the draws."""

import jax
import jax.numpy as jnp
from flax import struct

from hlr_jax.data.csr import csr_of, position_in_row
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.sampling import draw_history, history_bits, inverse_popularity
from hlr_jax.types import CSR, NeighborSpec, Padded

SHORTEST = 64  # neighbors for which there is always room


@struct.dataclass
class NeighborIds:
    """Ids of neighbors, padded: ``ids`` [..., H] and ``mask`` [..., H]."""

    ids: jax.Array
    mask: jax.Array

    def vectors(self, table: jax.Array) -> Padded:
        """Return their vectors in a table [I, D]: [..., H, D]."""
        return Padded(table[self.ids], self.mask)


@struct.dataclass
class NeighborSource:
    """What neighbors on one side of a pair are drawn from: ``rows`` of the items of users, or of the users of items.

    There are none where a model reads nothing of this side. ``weights`` are of the draws by inverse popularity.
    """

    rows: CSR | None
    weights: jax.Array | None
    spec: NeighborSpec = struct.field(pytree_node=False)

    @property
    def num_bits(self) -> int:
        """How many 32-bit words ``draw_neighbors`` takes."""
        return 0 if self.rows is None else history_bits(self.rows, self.spec.size, self.weights is not None)


@struct.dataclass
class NeighborSources:
    """What the histories of users and the users of items are drawn from."""

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

    With ``derived`` it has rows even where no neighbors are drawn: a model derives arrays from them.
    """
    rows = csr_of(interactions, num_owners) if spec.size or derived else None
    weighted = spec.size and spec.sampling == "inverse_popularity"
    weights = inverse_popularity(interactions.item_degrees(num_neighbors)) if weighted else None
    return NeighborSource(rows, weights, capped(spec, rows))


def capped(spec: NeighborSpec, rows: CSR | None) -> NeighborSpec:
    """Return the neighbors that are drawn from rows, no more than the longest one holds: sizes follow the data.

    Sizes up to 64 stay, so that few differ between data sets; all neighbors are read either way.
    """
    if rows is None:
        return spec
    return spec._replace(size=min(spec.size, max(SHORTEST, 1 << max(rows.longest - 1, 0).bit_length())))


def draw_neighbors(
    bits: jax.Array, source: NeighborSource, owner: jax.Array, other: jax.Array | None = None
) -> NeighborIds:
    """Return the neighbors [H] that an owner [] is read with, from ``source.num_bits`` random words.

    ``other`` [] is the other end of the pair, which is never drawn.
    """
    rows, size = source.rows, source.spec.size
    if rows is None or not size:
        return NeighborIds(jnp.zeros(0, jnp.int32), jnp.zeros(0, bool))
    skip = rows.degree(owner) if other is None else position_in_row(rows, owner, other)
    return NeighborIds(*draw_history(bits, rows, owner, skip, size, source.weights))
