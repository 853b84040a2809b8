import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.data.csr import place_of, rows_of
from hlr_jax.data.interactions import Interactions

LENGTHS = [3, 0, 16, 17, 40, 1]


def interactions(rng):
    rows = [np.sort(rng.choice(50, length, replace=False)) for length in LENGTHS]
    user = np.repeat(np.arange(len(rows)), LENGTHS)
    return rows, Interactions(user.astype(np.int32), np.concatenate(rows).astype(np.int32))


def test_a_place_is_found_for_items_of_the_row_alone(rng):
    rows, pairs = interactions(rng)
    compressed = rows_of(pairs, len(rows))
    for owner, row in enumerate(rows):
        found = jax.vmap(place_of, in_axes=(None, None, 0))(compressed, jnp.asarray(owner), jnp.arange(50))
        assert found.tolist() == [row.tolist().index(item) if item in row else len(row) for item in range(50)]


def test_transposed_pairs_are_the_users_of_each_item(rng):
    _, pairs = interactions(rng)
    other = pairs.transposed()
    assert set(zip(other.item.tolist(), other.user.tolist(), strict=True)) == set(
        zip(pairs.user.tolist(), pairs.item.tolist(), strict=True)
    )
    assert (np.diff(other.user) >= 0).all()
    np.testing.assert_array_equal(other.transposed().item, pairs.item)
