import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hlr_jax.data.csr import csr_of
from hlr_jax.data.interactions import Interactions
from hlr_jax.kernels.row_means import row_means

NEIGHBORS, DIM = 2000, 4


@pytest.mark.parametrize(
    ("lengths", "owners"),
    [
        ([3, 0, 16, 17, 40, 1, 0], range(7)),
        # Some rows, repeated and in any order; the last is padding.
        ([3, 0, 16, 17, 40, 1, 0], [4, 1, 4, 2, 7]),
        # More pieces than one step sums.
        ([1500, 3, 1999, 700], range(4)),
        ([0, 0], range(2)),
    ],
)
def test_means_are_over_all_items_of_a_row(rng, lengths, owners):
    rows = [np.sort(rng.choice(NEIGHBORS, length, replace=False)) for length in lengths]
    user = np.repeat(np.arange(len(rows), dtype=np.int32), lengths)
    pairs = Interactions(user, np.concatenate(rows).astype(np.int32))
    table = rng.normal(size=(NEIGHBORS, DIM))
    means = jax.jit(row_means)(jnp.asarray(table, jnp.float32), csr_of(pairs, len(rows)), jnp.asarray(owners))
    expected = [table[row].mean(axis=0) if len(row) else np.zeros(DIM) for row in (*rows, [])]
    np.testing.assert_allclose(means, np.array(expected)[list(owners)], rtol=1e-4, atol=1e-6)


def test_rows_without_owners_are_ignored(rng):
    """On a mesh, tables have rows of padding at their ends."""
    pairs = Interactions(np.array([0, 0, 2], np.int32), np.array([1, 4, 4], np.int32))
    table = np.full((7, DIM), np.nan, np.float32)
    table[[1, 4]] = [[1, 2, 3, 4], [3, 2, 1, 0]]
    means = jax.jit(row_means)(jnp.asarray(table), csr_of(pairs, 3), jnp.arange(3))
    np.testing.assert_allclose(means, [[2, 2, 2, 2], [0, 0, 0, 0], [3, 2, 1, 0]])
