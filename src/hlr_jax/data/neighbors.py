"""Who met what, as compressed rows on the device: the form that sampling and ranking read."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from hlr_jax.data.interactions import Pairs


@struct.dataclass
class Rows:
    """Items of each user, one behind the other, in increasing order.

    Attributes:
      offsets: [U + 1]; the items of user u stand at ``offsets[u]`` up to ``offsets[u + 1]``.
      items: [interactions].
      longest: the most items of a user (static: it bounds loops and shapes).
    """

    offsets: jax.Array
    items: jax.Array
    longest: int = struct.field(pytree_node=False)

    def degree(self, user: jax.Array) -> jax.Array:
        """Return the number of items of a user: [] -> []."""
        return self.offsets[user + 1] - self.offsets[user]


def rows_of(pairs: Pairs, num_users: int) -> Rows:
    """Return the compressed rows of sorted interactions."""
    degrees = np.bincount(pairs.user, minlength=num_users)
    offsets = np.concatenate([[0], np.cumsum(degrees)]).astype(np.int32)
    # One trailing entry keeps the array from being empty, so that gathers stay legal.
    items = np.append(pairs.item, 0).astype(np.int32)
    return Rows(jnp.asarray(offsets), jnp.asarray(items), longest=int(degrees.max(initial=0)))


def padded_rows(rows: Rows, user: jax.Array, width: int) -> tuple[jax.Array, jax.Array]:
    """Return the first ``width`` items of a user and their mask: [] -> [width], [width]."""
    position = jnp.arange(width)
    mask = position < rows.degree(user)
    items = rows.items[jnp.where(mask, rows.offsets[user] + position, 0)]
    return jnp.where(mask, items, 0), mask
