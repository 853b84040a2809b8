"""The sum or mean of the vectors of each user's items, or of each item's users, for many rows at once."""

import jax
import jax.numpy as jnp

from hlr_jax.types import CSR

_PIECE = 16  # entries of a row that are summed together; the fastest of 8, 16 and 32 on a CPU
_BLOCK = 256  # pieces that are summed in one step


def row_means(table: jax.Array, rows: CSR, owners: jax.Array) -> jax.Array:
    """Return the mean of the table's vectors over each owner's row: [O, D]; arguments as in ``row_sums``."""
    totals, degrees = row_sums(table, rows, owners), rows.degree(owners)
    return totals / jnp.maximum(degrees, 1)[:, None].astype(totals.dtype)


def row_sums(table: jax.Array, rows: CSR, owners: jax.Array) -> jax.Array:
    """Return the sum of the table's vectors over each owner's row, 0 for an empty row: [O, D].

    Sixteen gathers are fused into one sum per piece, and only the pieces are added by owner. On a CPU this is twenty
    times faster than one sum over all interactions, and three times faster than a dense product at 3 % density. The
    loop runs over as many blocks of pieces as the owners have.

    Args:
      table: [I, D].
      rows: entries are row numbers of the table.
      owners: [O], row numbers of ``rows``; the number after the last row is padding.
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
