"""Which neighbors a pair sees, on either side: drawn ids, and the tables that the ids point into."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from hlr_jax.data.neighbors import Rows, Segments, mean_rows, place_of, rows_on, segments_of
from hlr_jax.data.pairs import Pairs
from hlr_jax.data.sampling import draw_history, history_bits, inverse_popularity
from hlr_jax.sharding import replicate
from hlr_jax.types import Neighborhood, Padded, Params


@struct.dataclass
class Drawn:
    """Ids of neighbors, padded: ``ids`` [..., H] and ``mask`` [..., H]."""

    ids: jax.Array
    mask: jax.Array


@struct.dataclass
class Side:
    """What the neighbors on one side of a pair are drawn from: the items of users, or the users of items.

    Attributes:
      rows: each owner's neighbors; None where the model draws none.
      weights: of the draws by inverse popularity.
      segments: of the means.
      neighborhood: what the model asks for (static).
    """

    rows: Rows | None
    weights: jax.Array | None
    segments: Segments | None
    neighborhood: Neighborhood = struct.field(pytree_node=False)


@struct.dataclass
class Sides:
    """Both sides: what the ``history`` of users and the ``audience`` of items are drawn from."""

    history: Side
    audience: Side


class NeighborTables(NamedTuple):
    """What the ids of neighbors point into: ``items`` for histories, ``users`` for audiences."""

    items: jax.Array
    users: jax.Array


def side_of(
    pairs: Pairs, num_owners: int, num_neighbors: int, neighborhood: Neighborhood, mesh: Mesh | None = None
) -> Side:
    """Return the side of interactions sorted by owner (``pairs.user``), as the model wants it.

    Rows that neighbors are drawn from are divided over the devices of a mesh; the rest stands on all.
    """
    if not neighborhood.size:
        return Side(None, None, None, neighborhood)
    if not neighborhood.drawn:
        return Side(None, None, replicate(segments_of(pairs, num_owners, num_neighbors), mesh), neighborhood)
    weighted = neighborhood.sampling == "inverse_popularity"
    weights = replicate(inverse_popularity(pairs.item_degrees(num_neighbors)), mesh) if weighted else None
    return Side(rows_on(pairs, num_owners, mesh), weights, None, neighborhood)


def sides_of(
    near: Pairs,
    num_users: int,
    num_items: int,
    history: Neighborhood,
    audience: Neighborhood,
    mesh: Mesh | None = None,
) -> Sides:
    """Return both sides of the interactions that neighbors are from, sorted by user, as a model wants them."""
    by_item = near.transposed() if audience.size else near  # sorting takes its time, and most models need no audience
    return Sides(
        side_of(near, num_users, num_items, history, mesh), side_of(by_item, num_items, num_users, audience, mesh)
    )


def owns(side: Side, owner: jax.Array) -> jax.Array | None:
    """Return whether it is here that ``draw_neighbors`` has a meaning for an owner, [...]; None: it has everywhere."""
    return None if side.rows is None else side.rows.owns(owner)


def neighbor_bits(side: Side) -> int:
    """Return how many 32-bit words ``draw_neighbors`` takes."""
    if side.rows is None:
        return 0
    return history_bits(side.rows, side.neighborhood.size, side.weights is not None)


def draw_neighbors(bits: jax.Array, side: Side, owner: jax.Array, other: jax.Array | None = None) -> Drawn:
    """Return the neighbors [H] that an owner [] is seen with, from ``neighbor_bits(side)`` random words.

    ``other`` [] is the other end of the pair, which is never drawn. A mean is one neighbor, whose id is the owner's:
    its table has a row for each owner. It leaves nobody out, as in the released code.
    """
    if side.segments is not None:
        return Drawn(owner[None], (side.segments.degrees[owner] > 0)[None])
    if side.rows is None:
        return Drawn(jnp.zeros(0, jnp.int32), jnp.zeros(0, bool))
    skip = side.rows.degree(owner) if other is None else place_of(side.rows, owner, other)
    return Drawn(*draw_history(bits, side.rows, owner, skip, side.neighborhood.size, side.weights))


def neighbor_tables(
    params: Params, sides: Sides, users: jax.Array | None = None, items: jax.Array | None = None
) -> NeighborTables:
    """Return what drawn ids point into: the tables of items and users, or for means one row per owner.

    Means are taken for the owners that are given, ``users`` [...] and ``items`` [...]; None: for all.
    """

    def table_of(table: jax.Array, side: Side, owners: jax.Array | None) -> jax.Array:
        if side.segments is None:
            return table
        wanted = None if owners is None else jnp.zeros(len(side.segments.degrees), bool).at[owners].set(True)
        return mean_rows(jax.lax.stop_gradient(table), side.segments, wanted)

    tables = table_of(params["item"], sides.history, users), table_of(params["user"], sides.audience, items)
    return NeighborTables(*tables)


def look_up(table: jax.Array, drawn: Drawn) -> Padded:
    """Return the vectors of drawn neighbors."""
    return Padded(table[drawn.ids], drawn.mask)
