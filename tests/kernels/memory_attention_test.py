import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hlr_jax.kernels.distance import project_to_ball
from hlr_jax.kernels.memory_attention import memory_attention, memory_mixture


def arrays(seed=0, context=6, memories=4, dim=5):
    keys = jax.random.split(jax.random.key(seed), 5)
    shapes = [(dim,), (context, dim), (dim,), (memories, dim), (memories, dim)]
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


def test_weights_are_distributions_over_the_unmasked():
    where = jnp.array([True, False, True, True, False, True])
    mixture, memory_weights, neighbor_weights = memory_attention(*arrays(), where=where)
    np.testing.assert_allclose(memory_weights.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(neighbor_weights.sum(), 1, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(neighbor_weights)[[1, 4]], 0)
    np.testing.assert_allclose(mixture.sum(), 1, rtol=1e-6)


def test_weights_of_one_key_and_one_neighbor_are_one():
    target, neighbors, anchor, keys, memories = arrays(context=1, memories=1)
    attention = memory_attention(target, neighbors, anchor, keys, memories, where=jnp.array([True]))
    np.testing.assert_allclose(attention.mixture, [1.0])


def test_two_keys_by_hand():
    # q_v * q_j = [2, 0]; keys give logits [0, 2 ln 3 / 2] = [0, ln 3]: weights [1/4, 3/4].
    keys = jnp.array([[0.0, 7.0], [np.log(3.0) / 2, -4.0]])
    attention = memory_attention(
        jnp.array([1.0, 0.0]), jnp.array([[2.0, 5.0]]), jnp.array([1.0, 1.0]), keys, jnp.eye(2), where=jnp.array([True])
    )
    np.testing.assert_allclose(attention.memory_weights, [[0.25, 0.75]], rtol=1e-6)


def test_without_neighbors_relation_is_zero_and_gradients_are_finite():
    where = jnp.zeros(6, bool)
    assert not memory_attention(*arrays(), where=where).mixture.any()
    gradients = jax.grad(lambda args: memory_attention(*args, where=where).mixture.sum())(arrays())
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("count", [7, 70])  # the targets of a triplet, those of a catalogue
@pytest.mark.parametrize("where", [[True] * 6, [False] * 6, [True, False, True, False, False, False]])
def test_many_targets_equal_the_pairs(where, count):
    _, neighbors, anchor, keys, memories = arrays()
    targets = 30 * jax.random.normal(jax.random.key(9), (count, 5))  # logits that would overflow exp without a shift
    where = jnp.array(where)
    found = memory_mixture(targets, neighbors, anchor, keys, memories, where=where)
    pairs = [memory_attention(t, neighbors, anchor, keys, memories, where=where).mixture for t in targets]
    np.testing.assert_allclose(found, pairs, rtol=1e-4, atol=1e-6)


def test_projection_by_hand():
    rows = jnp.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    np.testing.assert_allclose(project_to_ball(rows), [[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(project_to_ball(rows, 0.25)[1], [0.15, 0.2], rtol=1e-6)
