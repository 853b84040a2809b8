"""The sum, or mean, of the vectors of all that a user (or an item) has interacted with, for many of them at once."""

import jax
import jax.numpy as jnp

from hlr_jax.types import CSR

_PIECE = 16  # rows are summed in pieces of so many; of 8, 16 and 32 the fastest on a CPU
_BLOCK = 256  # pieces that are summed in one step


def row_means(table: jax.Array, rows: CSR, owners: jax.Array) -> jax.Array:
    """Return the mean over each owner's row of the table's vectors; arguments as of ``row_sums``: [O, D]."""
    totals, degrees = row_sums(table, rows, owners), rows.degree(owners)
    return totals / jnp.maximum(degrees, 1)[:, None].astype(totals.dtype)


def row_sums(table: jax.Array, rows: CSR, owners: jax.Array) -> jax.Array:
    """Return the sum over each owner's row of the table's vectors; zero for an owner whose row is empty: [O, D].

    Sixteen gathers fuse into one sum per piece, and only pieces are added by owner: twenty times faster on a CPU than
    one sum over all interactions, and three times faster than a dense product at 3 % density. As many blocks of pieces
    are summed as the owners have.

    Args:
      table: [I, D].
      rows: whose entries are rows of the table.
      owners: [O], rows of ``rows``; one past the last stands for nobody.
    """
    starts, degrees = rows.start(owners), rows.degree(owners)
    pieces = -(-degrees // _PIECE)
    ends = jnp.cumsum(pieces)
    within = jnp.arange(_PIECE)[:, None]

    def block(index: jax.Array, totals: jax.Array) -> jax.Array:
        piece = index * _BLOCK + jnp.arange(_BLOCK)
        owner = jnp.searchsorted(ends, piece, side="right")
        place = _PIECE * (piece - ends[owner] + pieces[owner]) + within
        real = (piece < ends[-1]) & (place < degrees[owner])
        ids = rows.items[jnp.where(real, starts[owner] + place, 0)]
        sums = sum(jnp.where(real[i, :, None], table[ids[i]], 0) for i in range(_PIECE))
        return totals.at[owner].add(sums, indices_are_sorted=True, mode="drop")

    blocks = (ends[-1] + _BLOCK - 1) // _BLOCK
    return jax.lax.fori_loop(0, blocks, block, jnp.zeros((len(owners), table.shape[1]), table.dtype))
