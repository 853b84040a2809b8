import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hlr_jax.data.interactions import Interactions
from hlr_jax.data.means import means, rows_for_means
from hlr_jax.data.neighbor_sampling import (
    NeighborIds,
    draw_neighbors,
    look_up,
    neighbor_bits,
    neighbor_tables,
    sides_of,
    tables_of_met,
)
from hlr_jax.sharding import create_mesh, pad_rows, shardings
from hlr_jax.types import NeighborSpec

LENGTHS = [3, 0, 16, 17, 40, 1, 0]
NEIGHBORS, DIM = 50, 4
MEAN = NeighborSpec(1, "mean")


@pytest.fixture
def rows(rng):
    return [np.sort(rng.choice(NEIGHBORS, length, replace=False)) for length in LENGTHS]


@pytest.fixture
def pairs(rows):
    return Interactions(np.repeat(np.arange(len(rows), dtype=np.int32), LENGTHS), np.concatenate(rows).astype(np.int32))


@pytest.fixture
def table(rng):
    return rng.normal(size=(NEIGHBORS, DIM))


def expected(rows, table):
    return np.array([table[row].mean(axis=0) if len(row) else np.zeros(DIM) for row in rows])


def test_means_are_over_all_items_of_a_row(rows, pairs, table):
    padded = np.concatenate([table, np.full((3, DIM), np.nan)])  # rows that no owner has met
    read = rows_for_means(pairs, len(rows), NEIGHBORS, None)
    found = means(jnp.asarray(padded, jnp.float32), read)
    np.testing.assert_allclose(found, expected(rows, table), rtol=1e-5, atol=1e-6)
    owners = np.array([4, 1, 4, 2, len(rows)])  # the last is nobody
    of_some = means(jnp.asarray(padded, jnp.float32), read, jnp.asarray(owners))
    np.testing.assert_allclose(of_some[:-1], expected(rows, table)[owners[:-1]], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(of_some[-1], np.zeros(DIM))


def test_many_pieces_are_more_than_one_block(rng):
    rows = [np.sort(rng.choice(2000, length, replace=False)) for length in (1500, 3, 1999, 700)]
    pairs = Interactions(
        np.repeat(np.arange(4, dtype=np.int32), list(map(len, rows))), np.concatenate(rows).astype(np.int32)
    )
    table = rng.normal(size=(2000, DIM))
    found = means(jnp.asarray(table, jnp.float32), rows_for_means(pairs, 4, 2000, None))
    np.testing.assert_allclose(found, expected(rows, table), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 4), (8, 1), (1, 8)])
def test_a_mesh_has_the_means_of_one_device(shape, rows, pairs, table):
    mesh = create_mesh(*shape)
    params = pad_rows({"item": jnp.asarray(table, jnp.float32)}, mesh)
    divided = jax.device_put(params, shardings(params, mesh))["item"]
    read = rows_for_means(pairs, len(rows), NEIGHBORS, mesh)
    # No device has more than its share of the interactions.
    assert read.items.addressable_shards[0].data.size <= -(-NEIGHBORS // shape[1]) * len(rows) // shape[0] + 2
    of_all = jax.jit(lambda table, read: means(table, read, mesh=mesh))(divided, read)
    np.testing.assert_allclose(of_all[: len(rows)], expected(rows, table), rtol=1e-5, atol=1e-6)
    owners = jnp.array([5, 4, 1, 0])
    of_some = jax.jit(lambda table, read: means(table, read, owners, mesh))(divided, read)
    np.testing.assert_allclose(of_some, expected(rows, table)[np.asarray(owners)], rtol=1e-5, atol=1e-6)


def test_a_mean_is_one_neighbor_whose_id_is_its_owner(rows, pairs, table):
    sides = sides_of(pairs, len(rows), NEIGHBORS, MEAN, NeighborSpec())
    items = jnp.asarray(table, jnp.float32)
    found = neighbor_tables({"item": items, "user": items}, sides).items
    assert found.shape == (len(rows), DIM)
    assert neighbor_bits(sides.history) == 0
    for owner in range(len(rows)):
        drawn = draw_neighbors(jnp.zeros(0, jnp.uint32), sides.history, jnp.asarray(owner), jnp.asarray(7))
        assert (drawn.ids.tolist(), drawn.mask.tolist()) == ([owner], [True])
        np.testing.assert_array_equal(look_up(found, drawn).vectors, found[owner][None])


@pytest.mark.parametrize("met", [[4, 0, 4], list(range(7)) * 2])
def test_tables_of_those_who_are_met_hold_their_means_alone(met, rows, pairs, table):
    sides = sides_of(pairs, len(rows), NEIGHBORS, MEAN, NeighborSpec())
    items = jnp.asarray(table, jnp.float32)
    drawn = NeighborIds(jnp.asarray(met)[:, None], jnp.ones((len(met), 1), bool))
    tables, (history,), item_users = tables_of_met({"item": items, "user": items}, sides, [drawn], [])
    np.testing.assert_allclose(tables.items[history.ids[:, 0]], expected(rows, table)[met], rtol=1e-5, atol=1e-6)
    assert len(tables.items) == min(len(met), len(rows))
    assert item_users == []
