import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.data.csr import contains, csr_of, padded_row, position_in_row
from hlr_jax.data.interactions import Interactions

LENGTHS = [3, 0, 16, 17, 40, 1]
OWNERS = jnp.arange(len(LENGTHS))


def interactions(rng):
    rows = [np.sort(rng.choice(50, length, replace=False)) for length in LENGTHS]
    user = np.repeat(np.arange(len(rows)), LENGTHS)
    return rows, Interactions(user.astype(np.int32), np.concatenate(rows).astype(np.int32))


def test_an_item_has_a_position_only_in_its_own_row(rng):
    rows, pairs = interactions(rng)
    compressed, items = csr_of(pairs, len(rows)), jnp.arange(50)
    of_each = jax.vmap(jax.vmap(position_in_row, in_axes=(None, None, 0)), in_axes=(None, 0, None))
    expected = [[row.tolist().index(item) if item in row else len(row) for item in range(50)] for row in rows]
    assert jax.jit(of_each)(compressed, OWNERS, items).tolist() == expected
    stands = jax.jit(jax.vmap(contains, in_axes=(None, 0, None)))(compressed, OWNERS, items)
    assert stands.tolist() == [[item in row for item in range(50)] for row in rows]


def test_rows_have_their_degrees_and_are_cut_or_padded_to_a_width(rng):
    rows, pairs = interactions(rng)
    compressed = csr_of(pairs, len(rows) + 1)  # the last user has no items
    assert (compressed.num_rows, compressed.longest) == (len(rows) + 1, max(LENGTHS))
    assert compressed.degree(jnp.arange(len(rows) + 1)).tolist() == [*LENGTHS, 0]
    padded_rows = jax.jit(jax.vmap(padded_row, in_axes=(None, 0, None)), static_argnums=2)
    for width in (16, 50):
        items, mask = padded_rows(compressed, OWNERS, width)
        for row, entries, real in zip(rows, items, mask, strict=True):
            assert real.tolist() == [place < len(row) for place in range(width)]
            assert entries.tolist() == (row.tolist() + [0] * width)[:width]


def test_there_may_be_no_interactions():
    nothing = csr_of(Interactions(np.empty(0, np.int32), np.empty(0, np.int32)), 2)
    assert (nothing.num_rows, nothing.longest, nothing.degree(jnp.arange(2)).tolist()) == (2, 0, [0, 0])
    assert not jax.jit(contains)(nothing, jnp.int32(1), jnp.arange(3)).any()


def test_transposed_pairs_are_the_users_of_each_item(rng):
    _, pairs = interactions(rng)
    other = pairs.transposed()
    assert set(zip(other.item.tolist(), other.user.tolist(), strict=True)) == set(
        zip(pairs.user.tolist(), pairs.item.tolist(), strict=True)
    )
    assert (np.diff(other.user) >= 0).all()
    np.testing.assert_array_equal(other.transposed().item, pairs.item)
