"""Who met what, as compressed rows on the device: the form that sampling, ranking and means read."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, PartitionSpec

from hlr_jax.data.interactions import Interactions
from hlr_jax.sharding import ALL_DEVICES, shares

T = TypeVar("T")


@struct.dataclass
class CSR:
    """Items of each user (or users of each item), one behind the other, in increasing order.

    They may be those of some users alone: the share of a device, whose neighbors on the mesh have the others. Then what
    is read of other users has no meaning. (A share for means has all users, and some items of each.) The shares of P
    devices stand in arrays [P, ...], see ``shares_of_rows``.

    Attributes:
      offsets: [U + 1]; the items of user ``first`` + u stand at ``offsets[u]`` up to ``offsets[u + 1]``.
      items: [interactions].
      first: [], the first user.
      owners: [], how many users there are.
      longest: the most items of any user (static: it bounds loops and shapes).
    """

    offsets: jax.Array
    items: jax.Array
    first: jax.Array
    owners: jax.Array
    longest: int = struct.field(pytree_node=False)

    def owns(self, user: jax.Array) -> jax.Array:
        """Return whether these are the rows of a user: [...] -> [...]."""
        return (self.first <= user) & (user < self.first + self.owners)

    def start(self, user: jax.Array) -> jax.Array:
        """Return where a user's items begin: [] -> []."""
        return self.offsets[jnp.maximum(user - self.first, 0)]

    def degree(self, user: jax.Array) -> jax.Array:
        """Return the number of items of a user: [] -> []."""
        return self.offsets[jnp.maximum(user + 1 - self.first, 0)] - self.start(user)


def rows_of(pairs: Interactions, num_users: int) -> CSR:
    """Return the compressed rows of sorted interactions."""
    degrees = pairs.degrees(num_users)
    offsets = np.concatenate([[0], np.cumsum(degrees)]).astype(np.int32)
    # One trailing entry keeps the array from being empty, so that gathers stay legal.
    items = np.append(pairs.item, 0).astype(np.int32)
    first, owners = jnp.int32(0), jnp.int32(num_users)
    return CSR(jnp.asarray(offsets), jnp.asarray(items), first, owners, longest=int(degrees.max(initial=0)))


def shares_of_rows(pairs: Interactions, num_users: int, mesh: Mesh) -> CSR:
    """Return the rows of sorted interactions in as many shares as there are devices, arrays [P, ...].

    A share is the rows of consecutive users, cut so that each device has about as many interactions. A process
    reads those of its own devices.
    """
    degrees = pairs.degrees(num_users)
    offsets = np.concatenate([[0], np.cumsum(degrees)])
    even = np.arange(1, mesh.size) * offsets[-1] // mesh.size
    cuts = np.concatenate([[0], np.searchsorted(offsets, even), [num_users]])
    owners, sizes = np.diff(cuts), np.diff(offsets[cuts])

    def offsets_of(device: int) -> np.ndarray:
        own = offsets[cuts[device] : cuts[device + 1] + 1]
        return np.pad(own - own[0], (0, owners.max() - owners[device]), mode="edge")

    def items_of(device: int) -> np.ndarray:
        own = pairs.between(offsets[cuts[device]], offsets[cuts[device + 1]]).item
        return np.pad(own, (0, sizes.max() + 1 - sizes[device]))

    return CSR(
        shares(offsets_of, (owners.max() + 1,), mesh),
        shares(items_of, (sizes.max() + 1,), mesh),
        shares(lambda device: cuts[device], (), mesh),
        shares(lambda device: owners[device], (), mesh),
        longest=int(degrees.max(initial=0)),
    )


def own_share(tree: T) -> T:
    """Return a tree with its ``CSR`` those of this device, from shares as ``shard_map`` hands them over: [1, ...]."""

    def one(node: Any) -> Any:
        return jax.tree.map(lambda array: array[0], node) if isinstance(node, CSR) else node

    return jax.tree.map(one, tree, is_leaf=lambda node: isinstance(node, CSR))


def specs_of_shares(tree: T) -> T:
    """Return for ``shard_map`` how a tree lies on a mesh: its ``CSR`` in shares, all else whole on every device."""
    return jax.tree.map(
        lambda node: ALL_DEVICES if isinstance(node, CSR) else PartitionSpec(),
        tree,
        is_leaf=lambda node: isinstance(node, CSR),
    )


def rows_on(pairs: Interactions, num_users: int, mesh: Mesh | None) -> CSR:
    """Return the rows of sorted interactions on one device, or in shares on a mesh."""
    return rows_of(pairs, num_users) if mesh is None else shares_of_rows(pairs, num_users, mesh)


def place_of(rows: CSR, user: jax.Array, item: jax.Array) -> jax.Array:
    """Return where an item stands in its user's row, by bisection; the row's length if it does not: [] -> []."""
    start, degree = rows.start(user), rows.degree(user)

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) // 2
        right = (rows.items[start + middle] < item) & (low < high)
        return jnp.where(right, middle + 1, low), jnp.where(right, high, middle)

    low, _ = jax.lax.fori_loop(0, rows.longest.bit_length(), halve, (jnp.zeros_like(degree), degree))
    return jnp.where((low < degree) & (rows.items[start + low] == item), low, degree)


def padded_rows(rows: CSR, user: jax.Array, width: int) -> tuple[jax.Array, jax.Array]:
    """Return the first ``width`` items of a user and their mask: [] -> [width], [width]."""
    position = jnp.arange(width)
    mask = position < rows.degree(user)
    items = rows.items[jnp.where(mask, rows.start(user) + position, 0)]
    return jnp.where(mask, items, 0), mask
