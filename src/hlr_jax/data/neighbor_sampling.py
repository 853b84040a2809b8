"""Which neighbors a pair sees, on either side: drawn ids, and the tables that the ids point into."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from hlr_jax.data.csr import CSR, place_of, rows_on
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.means import means, rows_for_means
from hlr_jax.data.sampling import draw_history, history_bits, inverse_popularity
from hlr_jax.sharding import replicate
from hlr_jax.types import NeighborSpec, Padded, Params


@struct.dataclass
class NeighborIds:
    """Ids of neighbors, padded: ``ids`` [..., H] and ``mask`` [..., H]."""

    ids: jax.Array
    mask: jax.Array


@struct.dataclass
class Side:
    """What the neighbors on one side of a pair are drawn from: the items of users, or the users of items.

    Attributes:
      rows: each owner's neighbors, to draw from or for ``means``; None where the model reads none.
      weights: of the draws by inverse popularity.
      neighborhood: what the model asks for (static).
    """

    rows: CSR | None
    weights: jax.Array | None
    neighborhood: NeighborSpec = struct.field(pytree_node=False)


@struct.dataclass
class Sides:
    """Both sides: what the ``history`` of users and the ``item_users`` of items are drawn from."""

    history: Side
    item_users: Side


class NeighborTables(NamedTuple):
    """What the ids of neighbors point into: ``items`` for histories, ``users`` for item_users."""

    items: jax.Array
    users: jax.Array


def side_of(
    pairs: Interactions, num_owners: int, num_neighbors: int, neighborhood: NeighborSpec, mesh: Mesh | None = None
) -> Side:
    """Return the side of interactions sorted by owner (``pairs.user``), as the model wants it.

    CSR are divided over the devices of a mesh; weights stand on all.
    """
    if not neighborhood.size:
        return Side(None, None, neighborhood)
    if not neighborhood.drawn:
        return Side(rows_for_means(pairs, num_owners, num_neighbors, mesh), None, neighborhood)
    weighted = neighborhood.sampling == "inverse_popularity"
    weights = replicate(inverse_popularity(pairs.item_degrees(num_neighbors)), mesh) if weighted else None
    return Side(rows_on(pairs, num_owners, mesh), weights, neighborhood)


def sides_of(
    near: Interactions,
    num_users: int,
    num_items: int,
    history: NeighborSpec,
    item_users: NeighborSpec,
    mesh: Mesh | None = None,
) -> Sides:
    """Return both sides of the interactions that neighbors are from, sorted by user, as a model wants them."""
    by_item = near.transposed() if item_users.size else near  # sorting takes its time, and most models need none
    return Sides(
        side_of(near, num_users, num_items, history, mesh), side_of(by_item, num_items, num_users, item_users, mesh)
    )


def owns(side: Side, owner: jax.Array) -> jax.Array | None:
    """Return whether it is here that ``draw_neighbors`` has a meaning for an owner, [...]; None: it has everywhere."""
    return side.rows.owns(owner) if side.rows is not None and side.neighborhood.drawn else None


def neighbor_bits(side: Side) -> int:
    """Return how many 32-bit words ``draw_neighbors`` takes."""
    if side.rows is None or not side.neighborhood.drawn:
        return 0
    return history_bits(side.rows, side.neighborhood.size, side.weights is not None)


def draw_neighbors(
    bits: jax.Array, side: Side, owner: jax.Array, other: jax.Array | None = None, most: jax.Array | None = None
) -> NeighborIds:
    """Return the neighbors [H] that an owner [] is seen with, from ``neighbor_bits(side)`` random words.

    ``other`` [] is the other end of the pair, which is never drawn; ``most`` [] bounds how many are. A mean is one
    neighbor, whose id is the owner's: its table has a row for each owner, zero for one without neighbors. It leaves
    nobody out, as in the released code.
    """
    if side.rows is None:
        return NeighborIds(jnp.zeros(0, jnp.int32), jnp.zeros(0, bool))
    if not side.neighborhood.drawn:
        return NeighborIds(owner[None], jnp.ones(1, bool))
    skip = side.rows.degree(owner) if other is None else place_of(side.rows, owner, other)
    return NeighborIds(*draw_history(bits, side.rows, owner, skip, side.neighborhood.size, side.weights, most))


def neighbor_tables(params: Params, sides: Sides, mesh: Mesh | None = None) -> NeighborTables:
    """Return what drawn ids point into: the tables of items and users, or for means those of all owners."""

    def table_of(table: jax.Array, side: Side) -> jax.Array:
        return table if side.rows is None or side.neighborhood.drawn else means(table, side.rows, mesh=mesh)

    return NeighborTables(table_of(params["item"], sides.history), table_of(params["user"], sides.item_users))


def tables_of_met(
    params: Params,
    sides: Sides,
    histories: Sequence[NeighborIds],
    item_users: Sequence[NeighborIds],
    mesh: Mesh | None = None,
) -> tuple[NeighborTables, list[NeighborIds], list[NeighborIds]]:
    """Return tables like ``neighbor_tables``, but with the means of those owners alone that are met, and the ids that
    then point into them.
    """

    def of_side(table: jax.Array, side: Side, drawn: Sequence[NeighborIds]) -> tuple[jax.Array, list[NeighborIds]]:
        if side.rows is None or side.neighborhood.drawn:
            return table, list(drawn)
        owners, most = side.rows.offsets.shape[-1] - 1, sum(one.ids.size for one in drawn)
        if most >= owners:
            return means(table, side.rows, mesh=mesh), list(drawn)
        flat = jnp.concatenate([one.ids.reshape(-1) for one in drawn])
        met = jnp.unique(flat, size=most, fill_value=owners)  # of places past the last owner nothing is read
        return means(table, side.rows, met, mesh), [
            replace(one, ids=jnp.searchsorted(met, one.ids).astype(jnp.int32)) for one in drawn
        ]

    items, histories = of_side(params["item"], sides.history, histories)
    users, item_users = of_side(params["user"], sides.item_users, item_users)
    return NeighborTables(items, users), histories, item_users


def look_up(table: jax.Array, drawn: NeighborIds) -> Padded:
    """Return the vectors of drawn neighbors."""
    return Padded(table[drawn.ids], drawn.mask)
