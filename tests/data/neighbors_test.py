import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.data.neighborhoods import draw_neighbors, look_up, neighbor_bits, neighbor_tables, sides_of
from hlr_jax.data.neighbors import mean_rows, place_of, rows_of, segments_of
from hlr_jax.data.pairs import Pairs
from hlr_jax.types import Neighborhood

LENGTHS = [3, 0, 16, 17, 40, 1]


def interactions(rng):
    rows = [np.sort(rng.choice(50, length, replace=False)) for length in LENGTHS]
    user = np.repeat(np.arange(len(rows)), LENGTHS)
    return rows, Pairs(user.astype(np.int32), np.concatenate(rows).astype(np.int32))


def test_means_are_over_all_items_of_a_row(rng):
    rows, pairs = interactions(rng)
    table = rng.normal(size=(53, 4))  # three padding rows, as a mesh adds
    table[50:] = 0
    found = mean_rows(jnp.asarray(table, jnp.float32), segments_of(pairs, len(rows), 50))
    expected = [table[row].mean(axis=0) if len(row) else np.zeros(4) for row in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_mean_is_one_neighbor_whose_id_is_its_owner(rng):
    rows, pairs = interactions(rng)
    sides = sides_of(pairs, len(rows), 50, Neighborhood(1, "mean"), Neighborhood())
    side, items = sides.history, jnp.asarray(rng.normal(size=(50, 4)), jnp.float32)
    table = neighbor_tables({"item": items, "user": items}, sides).items
    assert table.shape == (len(rows), 4)
    assert neighbor_bits(side) == 0
    for owner, length in enumerate(LENGTHS):
        drawn = draw_neighbors(jnp.zeros(0, jnp.uint32), side, jnp.asarray(owner), jnp.asarray(7))
        assert (drawn.ids.tolist(), drawn.mask.tolist()) == ([owner], [length > 0])
        np.testing.assert_array_equal(look_up(table, drawn).vectors, table[owner][None])


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
