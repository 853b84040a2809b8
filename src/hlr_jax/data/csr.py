"""Interactions as compressed sparse rows (CSR) on the device, for sampling, ranking and solvers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.data.interactions import Interactions
from hlr_jax.types import CSR


def csr_of(interactions: Interactions, num_users: int) -> CSR:
    """Return the compressed rows of sorted interactions."""
    degrees = interactions.degrees(num_users)
    offsets = np.concatenate([[0], np.cumsum(degrees)]).astype(np.int32)
    items = np.append(interactions.item, 0).astype(np.int32)
    return CSR(jnp.asarray(offsets), jnp.asarray(items), longest=int(degrees.max(initial=0)))


def bisect(rows: CSR, degree: jax.Array, before: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Return the first place in a row of ``degree`` entries where ``before`` is false; else the degree: [...]."""

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) // 2
        right = before(middle) & (low < high)
        return jnp.where(right, middle + 1, low), jnp.where(right, high, middle)

    # On an accelerator each step of a loop launches its own kernels.
    unroll = jax.default_backend() != "cpu"
    bounds = jnp.zeros_like(degree), degree
    return jax.lax.fori_loop(0, rows.longest.bit_length(), halve, bounds, unroll=unroll)[0]


def position_in_row(rows: CSR, user: jax.Array, item: jax.Array) -> jax.Array:
    """Return the place of an item in its user's row; the row's length if the row lacks it: [] -> []."""
    start, degree = rows.start(user), rows.degree(user)
    place = bisect(rows, degree, lambda place: rows.items[start + place] < item)
    return jnp.where((place < degree) & (rows.items[start + place] == item), place, degree)


def contains(rows: CSR, user: jax.Array, items: jax.Array) -> jax.Array:
    """Return whether a user's row has each of some items: [], [n] -> [n]."""
    return jax.vmap(lambda item: position_in_row(rows, user, item) < rows.degree(user))(items)


def padded_row(rows: CSR, user: jax.Array, width: int) -> tuple[jax.Array, jax.Array]:
    """Return the first ``width`` items of a user and their mask: [] -> [width], [width]."""
    position = jnp.arange(width)
    mask = position < rows.degree(user)
    items = rows.items[jnp.where(mask, rows.start(user) + position, 0)]
    return jnp.where(mask, items, 0), mask


def groups_by_width(degrees: np.ndarray, widths: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """Return the numbers of the nonempty rows, grouped by the smallest of the increasing widths that fits the row."""
    group = np.where(degrees > 0, np.searchsorted(widths, degrees), -1)
    return tuple(jnp.asarray(np.flatnonzero(group == place), jnp.int32) for place in range(len(widths)))
