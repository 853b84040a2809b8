import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hlr_jax.data.csr import rows_of
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.sampling import below, draw_history, draw_negatives, history_bits, inverse_popularity, shuffled

KNOWN = {0: [0, 1, 2, 8], 1: [], 2: [3], 3: [0, 1, 2, 3, 4, 5, 6, 7, 8]}
ITEMS = 10
DRAWS = 20_000


@pytest.fixture(scope="module")
def rows():
    pairs = [(user, item) for user, items in KNOWN.items() for item in items]
    return rows_of(Interactions(*np.array(pairs, np.int32).T), len(KNOWN))


def assert_uniform(counts, tolerance=5.0):
    """Counts of equally likely outcomes lie within some standard deviations of their mean."""
    expected = counts.sum() / len(counts)
    assert np.abs(counts - expected).max() < tolerance * np.sqrt(expected)


def test_bounded_numbers_are_the_high_word_of_the_product():
    bits = np.random.default_rng(0).integers(0, 2**32, 1000, dtype=np.uint32)
    bits[:2] = 0, 2**32 - 1
    for bound in (1, 7, 65535, 65536, 11_508, 100_000_019, 2**31 - 1):
        expected = [(int(word) * bound) >> 32 for word in bits]
        np.testing.assert_array_equal(below(jnp.asarray(bits), jnp.int32(bound)), expected)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 49, 50, 997, 4096])
def test_an_order_has_every_position_once(count):
    order = shuffled(jax.random.key(3), jnp.arange(count), count)
    np.testing.assert_array_equal(np.sort(order), np.arange(count))
    part = shuffled(jax.random.key(3), jnp.arange(count)[::3], count)
    np.testing.assert_array_equal(part, order[::3])  # whatever else is asked for


def test_orders_are_as_random_as_positions_need():
    keys = jax.random.split(jax.random.key(4), DRAWS)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: shuffled(key, jnp.arange(11), 11)))(keys))
    for place in range(11):
        assert_uniform(np.bincount(orders[:, place], minlength=11))
        for later in range(place):
            pairs = np.bincount(orders[:, place] * 11 + orders[:, later], minlength=121)
            assert np.count_nonzero(pairs) == 110
            assert_uniform(pairs[pairs > 0])
    # Neighbors in the order are as far apart as in a random one: a third of the range.
    distances = np.abs(np.diff(np.asarray(shuffled(keys[0], jnp.arange(100_000), 100_000))))
    np.testing.assert_allclose(distances.mean(), 100_000 / 3, rtol=0.01)


@pytest.mark.parametrize("user", KNOWN)
def test_negatives_are_uniform_over_exactly_the_unknown(rows, user):
    drawn = np.asarray(draw_negatives(jax.random.bits(jax.random.key(1), (DRAWS,)), rows, user, ITEMS))
    counts = np.bincount(drawn, minlength=ITEMS)
    unknown = np.setdiff1d(np.arange(ITEMS), KNOWN[user])
    assert counts[KNOWN[user]].sum() == 0
    assert_uniform(counts[unknown])


def histories(rows, user, skip, size, weights=None, most=None):
    bits = jax.random.bits(jax.random.key(2), (DRAWS, history_bits(rows, size, weights is not None)))
    items, mask = jax.jit(jax.vmap(lambda bits: draw_history(bits, rows, user, skip, size, weights, most)))(bits)
    return np.asarray(items), np.asarray(mask)


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


@pytest.mark.parametrize(("most", "length"), [(0, 0), (2, 2), (5, 4)])
def test_a_smaller_bound_draws_fewer_and_as_evenly(rows, most, length):
    for weights in (None, jnp.ones(ITEMS)):
        items, mask = histories(rows, 3, 9, 4, weights, jnp.int32(most))
        assert (mask.sum(axis=1) == length).all()
        if length == 2:
            low, high = np.sort(np.where(mask, items, ITEMS), axis=1).T[:2]
            subsets = np.bincount(low * ITEMS + high)
            assert np.count_nonzero(subsets) == 9 * 8 // 2
            assert_uniform(subsets[subsets > 0])


def test_weighted_draws_follow_the_weights(rows):
    weights = jnp.arange(1.0, ITEMS + 1)
    items, mask = histories(rows, 0, 1, 1, weights)
    counts = np.bincount(items[mask], minlength=ITEMS)
    expected = DRAWS * np.array([1, 3, 9]) / 13  # items 0, 2 and 8; item 1 is the positive
    np.testing.assert_allclose(counts[[0, 2, 8]], expected, atol=5 * np.sqrt(expected.max()))


def test_no_items_give_an_empty_history(rows):
    items, mask = histories(rows, 1, 0, 4)
    assert not mask.any()
    items, mask = histories(rows, 2, 0, 4)  # the only item is the positive
    assert not mask.any()
    assert not items.any()
