"""Which neighbors a pair sees, on either side: drawn ids, and the table that the ids point into."""

import jax
import jax.numpy as jnp
from flax import struct

from hlr_jax.data.interactions import Pairs
from hlr_jax.data.neighbors import Rows, Segments, mean_rows, rows_of, segments_of
from hlr_jax.data.sampling import draw_history, history_bits, inverse_popularity
from hlr_jax.types import Neighborhood, Padded


@struct.dataclass
class Drawn:
    """Ids of neighbors, padded: ``ids`` [..., H] and ``mask`` [..., H]."""

    ids: jax.Array
    mask: jax.Array


@struct.dataclass
class Side:
    """What the neighbors on one side of a pair are drawn from: the items of users, or the users of items.

    Attributes:
      rows: each owner's neighbors; None where the model reads none.
      weights: of the draws by inverse popularity.
      segments: of the means.
      neighborhood: what the model asks for (static).
    """

    rows: Rows | None
    weights: jax.Array | None
    segments: Segments | None
    neighborhood: Neighborhood = struct.field(pytree_node=False)


def side_of(pairs: Pairs, num_owners: int, num_neighbors: int, neighborhood: Neighborhood) -> Side:
    """Return the side of interactions sorted by owner (``pairs.user``), as the model wants it."""
    if not neighborhood.size:
        return Side(None, None, None, neighborhood)
    rows = rows_of(pairs, num_owners)
    weights = inverse_popularity(rows, num_neighbors) if neighborhood.sampling == "inverse_popularity" else None
    segments = segments_of(pairs, num_owners, num_neighbors) if neighborhood.sampling == "mean" else None
    return Side(rows, weights, segments, neighborhood)


def neighbor_bits(side: Side) -> int:
    """Return how many 32-bit words ``draw_neighbors`` takes."""
    if side.rows is None or side.segments is not None:
        return 0
    return history_bits(side.rows, side.neighborhood.size, side.weights is not None)


def draw_neighbors(bits: jax.Array, side: Side, owner: jax.Array, skip: jax.Array) -> Drawn:
    """Return the neighbors [H] that an owner [] is seen with, from ``neighbor_bits(side)`` random words.

    ``skip`` [] is the place in the owner's row that must not be drawn; the row's length, or more, for none. A mean is
    one neighbor, whose id is the owner's: its table has a row for each owner. It skips nobody, as in the released code.
    """
    if side.rows is None:
        return Drawn(jnp.zeros(0, jnp.int32), jnp.zeros(0, bool))
    if side.segments is not None:
        return Drawn(owner[None], (side.rows.degree(owner) > 0)[None])
    return Drawn(*draw_history(bits, side.rows, owner, skip, side.neighborhood.size, side.weights))


def neighbor_table(table: jax.Array, side: Side) -> jax.Array:
    """Return what the drawn ids point into: the table of the neighbors, or for means one row per owner."""
    return table if side.segments is None else mean_rows(jax.lax.stop_gradient(table), side.segments)


def look_up(table: jax.Array, drawn: Drawn) -> Padded:
    """Return the vectors of drawn neighbors."""
    return Padded(table[drawn.ids], drawn.mask)
