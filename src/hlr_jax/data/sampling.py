"""Samples negatives and histories of one user on the device, inside the compiled step; batches use ``jax.vmap``.

Sampling is exact and takes a fixed number of steps, without rejection. Each function is a pure function of random
bits, which a batch takes from the generator in one call.
"""

import math
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.data.csr import bisect, padded_row
from hlr_jax.types import CSR

_ROUNDS = 8


def below(bits: jax.Array, bound: jax.Array | int) -> jax.Array:
    """Return numbers uniform in 0..bound-1 from 32 random bits: the high word of bits * bound, int32.

    Each probability has an error of at most 2^-32. The product is computed in halves, because JAX disables 64-bit
    numbers by default.
    """
    bound = jnp.asarray(bound).astype(jnp.uint32)
    high, low = bits >> 16, bits & 0xFFFF
    bound_high, bound_low = bound >> 16, bound & 0xFFFF
    upper = high * bound_low + ((low * bound_low) >> 16)
    lower = low * bound_high + (upper & 0xFFFF)
    return (high * bound_high + (upper >> 16) + (lower >> 16)).astype(jnp.int32)


def shuffled(key: jax.Array, positions: jax.Array, count: int) -> jax.Array:
    """Return the image of each of ``positions`` under a random permutation of 0..count-1: [B] -> [B].

    The permutation is a keyed Feistel network whose halves are the digits of a position to a base near sqrt(count), so
    few positions leave the range. Those are permuted again until they are back in the range (cycle walking). The whole
    permutation is never stored: sorting ten million positions takes seconds, and would gather them from all devices.

    Args:
      key: of the permutation.
      positions: int32, each below ``count``.
      count: number of all positions.
    """
    base = max(1, math.isqrt(count - 1) + 1)
    rest = -(-count // base)
    words = jax.random.bits(key, (2 * _ROUNDS,)).reshape(_ROUNDS, 2)

    def mix(number: jax.Array, halves: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        high, low = halves
        high = (high + below(_mixed(low, words[number, 0]), base)) % base
        return high, (low + below(_mixed(high, words[number, 1]), rest)) % rest

    def walk(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        place, moves = state
        # A loop compiles much faster, but on an accelerator each of its steps launches its own kernels.
        unroll = jax.default_backend() != "cpu"
        high, low = jax.lax.fori_loop(0, _ROUNDS, mix, (place // rest, place % rest), unroll=unroll)
        place = jnp.where(moves, high * rest + low, place)
        return place, place >= count

    everyone = positions, jnp.ones(jnp.shape(positions), bool)
    return jax.lax.while_loop(lambda state: jnp.any(state[1]), walk, everyone)[0]


def _mixed(number: jax.Array, key: jax.Array) -> jax.Array:
    """Return 32 bits that depend on every bit of the number and of the key."""
    bits = number.astype(jnp.uint32) + key
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = (bits ^ (bits >> shift)) * jnp.uint32(factor)
    return bits ^ (bits >> 16)


def pair_bits(words: jax.Array, users: jax.Array, items: jax.Array) -> jax.Array:
    """Return 32 random bits for each pair of a user and an item: [...], [...] -> [...].

    They are a function of ``words`` [2] and the pair alone, wherever the pair is in the arrays.
    """
    return _mixed(_mixed(users, words[0]) ^ items.astype(jnp.uint32), words[1])


def sample_negatives(bits: jax.Array, known: CSR, user: jax.Array, num_items: int) -> jax.Array:
    """Sample n items uniformly, with replacement, from those not in the user's row of ``known``: bits [n] -> [n].

    A rank r is sampled among the I - degree unknown items. In a sorted row, ``items[k] - k`` unknown items are below
    the k-th known one. Bisection finds the first k where that exceeds r; the r-th unknown item is then r + k.
    The user must have at least one unknown item.
    """
    start, degree = known.start(user), known.degree(user)
    rank = below(bits, num_items - degree)

    every = jnp.broadcast_to(degree, rank.shape)
    return rank + bisect(known, every, lambda place: known.items[start + place] - place <= rank)


def history_bits(rows: CSR, size: int, weighted: bool) -> int:
    """Return how many 32-bit random words ``sample_history`` needs."""
    return max(size, rows.longest) if weighted and size else size


def sample_history(
    bits: jax.Array, rows: CSR, user: jax.Array, skip: jax.Array, size: int, weights: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """Sample up to ``size`` distinct items of a user, leaving one out: items [size], mask [size].

    Args:
      bits: [history_bits(rows, size, weights is not None)] random words.
      rows: the users' items.
      user: [].
      skip: [], the position within the user's row that is left out (the positive); the degree, or more, for none.
      size: H. A user with at most H available items gets all of them.
      weights: [I], or None for a uniform subset. With weights, items are sampled one after the other in proportion to
        them, without replacement. This reads the whole row; uniform sampling takes O(H^2) at any length.
    """
    start, degree = rows.start(user), rows.degree(user)
    available = degree - (skip < degree)
    if weights is None:
        chosen, mask = _uniform_subset(bits, available, size)
        position = chosen + (chosen >= skip)
        items = rows.items[jnp.where(mask, start + position, 0)]
        return jnp.where(mask, items, 0), mask
    # Gumbel noise turns successive weighted sampling into one top-k (Efraimidis and Spirakis 2006).
    width = bits.shape[0]
    items, mask = padded_row(rows, user, width)
    mask &= jnp.arange(width) != skip
    noise = -jnp.log(-jnp.log((bits.astype(jnp.float32) + 0.5) * 2.0**-32))
    priority = jnp.where(mask, jnp.log(weights[items]) + noise, -jnp.inf)
    _, best = jax.lax.top_k(priority, size)  # in sampling order
    return jnp.where(mask[best], items[best], 0), mask[best]


def _uniform_subset(bits: jax.Array, available: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Sample min(most, available) distinct numbers below ``available``, each subset equally likely (Floyd's method).

    Step i of the method samples a candidate up to ``first + i``. If an earlier step took the candidate, step i takes
    ``first + i`` instead.
    """
    first = jnp.maximum(available - most, 0)
    last = first + jnp.arange(most)
    candidate = below(bits, last + 1)
    # A loop is fastest on a CPU; on an accelerator each of its steps is a kernel launch.
    replaced = _replaced_in_turn if jax.default_backend() == "cpu" else _replaced_at_once
    mask = last < available
    return jnp.where(mask, jnp.where(replaced(candidate, first), last, candidate), -1), mask


def _replaced_in_turn(candidate: jax.Array, first: jax.Array) -> jax.Array:
    """Return for each step of Floyd's method whether its candidate was taken: [H], [] -> [H]."""

    def add(i: jax.Array, steps: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        chosen, replaced = steps
        taken = jnp.any(chosen == candidate[i])
        return chosen.at[i].set(jnp.where(taken, first + i, candidate[i])), replaced.at[i].set(taken)

    size = candidate.shape[0]
    start = jnp.full(size, -1, jnp.int32), jnp.zeros(size, bool)
    return jax.lax.fori_loop(0, size, add, start)[1]


def _replaced_at_once(candidate: jax.Array, first: jax.Array) -> jax.Array:
    """Return the same as ``_replaced_in_turn``, without a loop over the steps.

    An earlier step took the candidate if it sampled the same one, or if the candidate is ``first + j`` and step j was
    replaced. These links to steps j are followed by pointer doubling.
    """
    step = jnp.arange(candidate.shape[0])
    replaced = jnp.any((candidate[:, None] == candidate) & (step < step[:, None]), axis=1)
    earlier = candidate - first
    earlier = jnp.where((earlier >= 0) & (earlier < step), earlier, step)
    for _ in range((candidate.shape[0] - 1).bit_length()):
        replaced |= replaced[earlier]
        earlier = earlier[earlier]
    return replaced


def inverse_popularity(counts: np.ndarray) -> jax.Array:
    """Return 1 / (number of users) of each item, the weights of ``inverse_popularity`` sampling: [I] -> [I]."""
    return jnp.asarray(1.0 / np.maximum(counts, 1), jnp.float32)


ItemPopularity: TypeAlias = tuple[jax.Array, jax.Array]
"""Sampling probabilities of items: their cumulative sums [I] as whole numbers up to 2^30, and their logarithms [I]."""


def item_popularity(counts: np.ndarray, exponent: float) -> ItemPopularity:
    """Return sampling probabilities proportional to (number of users)^exponent; ``counts`` [I] are numbers of users.

    Probabilities are rounded to multiples of 2^-30, and the logarithms are of the rounded values. Items without users
    are never sampled.
    """
    weights = np.where(counts > 0, np.maximum(counts, 1).astype(np.float64) ** exponent, 0)
    whole = np.where(counts > 0, np.maximum(1, np.floor(weights * (2.0**30 / weights.sum()))), 0).astype(np.int64)
    whole = np.minimum(whole, 2**30)
    cumulative = np.cumsum(whole)
    with np.errstate(divide="ignore"):
        log_share = np.log(whole / cumulative[-1])
    return jnp.asarray(cumulative, jnp.int32), jnp.asarray(log_share, jnp.float32)


def sample_popular(bits: jax.Array, popularity: ItemPopularity) -> tuple[jax.Array, jax.Array]:
    """Sample items by popularity, with replacement: random words [...] -> items [...], log probabilities [...]."""
    cumulative, log_share = popularity
    items = jnp.searchsorted(cumulative, below(bits, cumulative[-1]), side="right").astype(jnp.int32)
    return items, log_share[items]
