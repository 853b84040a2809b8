from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hlr_jax.data.csr import csr_of
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.sampling import (
    _replaced_at_once,
    _replaced_in_turn,
    below,
    history_bits,
    inverse_popularity,
    sample_history,
    sample_negatives,
    shuffled,
)

KNOWN = {0: [0, 1, 2, 8], 1: [], 2: [3], 3: [0, 1, 2, 3, 4, 5, 6, 7, 8]}
ITEMS = 10
SAMPLES = 20_000


@pytest.fixture(scope="module")
def rows():
    pairs = [(user, item) for user, items in KNOWN.items() for item in items]
    return csr_of(Interactions(*np.array(pairs, np.int32).T), len(KNOWN))


def assert_uniform(counts, tolerance=5.0):
    """Check that counts of equally likely outcomes are within some standard deviations of their mean."""
    expected = counts.sum() / len(counts)
    assert np.abs(counts - expected).max() < tolerance * np.sqrt(expected)


def test_bounded_numbers_are_the_high_word_of_the_product():
    bits = np.random.default_rng(0).integers(0, 2**32, 1000, dtype=np.uint32)
    bits[:2] = 0, 2**32 - 1
    for bound in (1, 7, 65535, 65536, 11_508, 100_000_019, 2**31 - 1):
        expected = [(int(word) * bound) >> 32 for word in bits]
        np.testing.assert_array_equal(below(jnp.asarray(bits), jnp.int32(bound)), expected)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 49, 997])
def test_a_permutation_has_every_position_once(count):
    def both(key):
        return shuffled(key, jnp.arange(count), count), shuffled(key, jnp.arange(0, count, 3), count)

    order, part = jax.jit(both)(jax.random.key(3))
    np.testing.assert_array_equal(np.sort(order), np.arange(count))
    np.testing.assert_array_equal(part, order[::3])  # independent of the other positions


def test_permutations_are_random():
    keys = jax.random.split(jax.random.key(4), SAMPLES)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: shuffled(key, jnp.arange(11), 11)))(keys))
    for place in range(11):
        assert_uniform(np.bincount(orders[:, place], minlength=11))
        for later in range(place):
            pairs = np.bincount(orders[:, place] * 11 + orders[:, later], minlength=121)
            assert np.count_nonzero(pairs) == 110
            assert_uniform(pairs[pairs > 0])
    # The mean distance of successive entries is that of a random permutation: a third of the range.
    order = jax.jit(lambda key: shuffled(key, jnp.arange(100_000), 100_000))(keys[0])
    distances = np.abs(np.diff(np.asarray(order)))
    np.testing.assert_allclose(distances.mean(), 100_000 / 3, rtol=0.01)


@pytest.mark.parametrize("user", KNOWN)
def test_negatives_are_uniform_over_exactly_the_unknown_items(rows, user):
    bits = jax.random.bits(jax.random.key(1), (SAMPLES,))
    sampled = np.asarray(jax.jit(sample_negatives, static_argnums=3)(bits, rows, user, ITEMS))
    counts = np.bincount(sampled, minlength=ITEMS)
    unknown = np.setdiff1d(np.arange(ITEMS), KNOWN[user])
    assert counts[KNOWN[user]].sum() == 0
    assert_uniform(counts[unknown])


def histories(rows, user, skip, size, weights=None):
    bits = jax.random.bits(jax.random.key(2), (SAMPLES, history_bits(rows, size, weights is not None)))
    return tuple(map(np.asarray, _histories(bits, rows, user, skip, size, weights)))


@partial(jax.jit, static_argnames="size")
def _histories(bits, rows, user, skip, size, weights):
    return jax.vmap(lambda bits: sample_history(bits, rows, user, skip, size, weights))(bits)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("skip", "size"), [(2, 3), (9, 4), (0, 20)])
def test_histories_are_distinct_items_without_the_positive(rows, weighted, skip, size):
    weights = inverse_popularity(np.bincount(rows.items[:-1], minlength=ITEMS)) if weighted else None
    items, mask = histories(rows, 3, skip, size, weights)
    allowed = [item for place, item in enumerate(KNOWN[3]) if place != skip]
    length = min(size, len(allowed))
    assert (mask.sum(axis=1) == length).all()
    for row, real in zip(items[:200], mask[:200], strict=True):
        assert len(set(row[real])) == length
        assert set(row[real]) <= set(allowed)
    if not weighted:
        assert_uniform(np.bincount(items[mask], minlength=ITEMS)[allowed])


def test_every_subset_is_equally_likely(rows):
    items, _ = histories(rows, 3, 4, 2)
    low, high = np.sort(items, axis=1).T
    subsets = np.bincount(low * ITEMS + high, minlength=ITEMS * ITEMS)
    subsets = subsets[subsets > 0]
    assert len(subsets) == 8 * 7 // 2
    assert_uniform(subsets)


def floyd(candidates, first):
    """Floyd's published method: a number that was sampled before is replaced by the highest."""
    chosen, replaced = [], []
    for step, candidate in enumerate(candidates):
        replaced.append(candidate in chosen)
        chosen.append(first + step if replaced[-1] else candidate)
    return replaced


def test_both_implementations_are_floyds_method(rng):
    for size, first, cases in ((1, 0, 20), (2, 1, 50), (5, 0, 300), (5, 2, 300), (16, 0, 300), (16, 3, 300)):
        last = first + np.arange(size)  # the highest number of each step
        candidates = rng.integers(0, last + 1, (cases, size))
        # A third of the steps repeat an earlier step, which makes chains of any length.
        chained = np.where(rng.random((cases, size)) < 0.9, np.maximum(last - 1, 0), candidates)
        candidates[::3] = chained[::3]
        candidates[0] = np.maximum(last - 1, 0)  # the longest chain
        expected = [floyd(row, first) for row in candidates.tolist()]
        for form in (_replaced_in_turn, _replaced_at_once):
            flags = jax.jit(jax.vmap(form, in_axes=(0, None)))(candidates.astype(np.int32), jnp.int32(first))
            assert flags.tolist() == expected, form.__name__


def test_weighted_sampling_follows_the_weights(rows):
    weights = jnp.arange(1.0, ITEMS + 1)
    items, mask = histories(rows, 0, 1, 1, weights)
    counts = np.bincount(items[mask], minlength=ITEMS)
    expected = SAMPLES * np.array([1, 3, 9]) / 13  # items 0, 2 and 8; item 1 is the positive
    np.testing.assert_allclose(counts[[0, 2, 8]], expected, atol=5 * np.sqrt(expected.max()))


def test_no_items_give_an_empty_history(rows):
    items, mask = histories(rows, 1, 0, 4)
    assert not mask.any()
    items, mask = histories(rows, 2, 0, 4)  # the only item is the positive
    assert not mask.any()
    assert not items.any()
