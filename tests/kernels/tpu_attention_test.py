import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hlr_jax.kernels import tpu_attention
from hlr_jax.kernels.memory_attention import memory_attention, memory_mixture

HISTORY, MEMORIES, DIM = 6, 4, 5


def arrays(count):
    keys = jax.random.split(jax.random.key(0), 5)
    shapes = [(count, DIM), (HISTORY, DIM), (DIM,), (MEMORIES, DIM), (MEMORIES, DIM)]
    return [3 * jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


def masks(count):
    """One mask for all targets, and one for each; some neighbors are padding, and the second target has none."""
    each = np.random.default_rng(0).random((count, HISTORY)) < 0.7
    each[1] = False
    return [jnp.asarray(each[0]), jnp.asarray(each)]


@pytest.mark.parametrize("kind", range(2))
@pytest.mark.parametrize("count", [2, tpu_attention._FEW + 1])  # one after another, and together
def test_values_and_gradients_are_those_of_the_pairs(count, kind):
    where = masks(count)[kind]
    weights = jax.random.normal(jax.random.key(1), (count, MEMORIES))

    def by_pairs(targets, neighbors, anchor, keys, memories):
        def of_target(target, mask):
            return memory_attention(target, neighbors, anchor, keys, memories, where=mask).mixture

        return jax.vmap(of_target)(targets, jnp.broadcast_to(where, (count, HISTORY)))

    def for_tpu(targets, neighbors, anchor, keys, memories):
        return tpu_attention.memory_mixture(targets, neighbors, memories @ anchor, keys, where)

    def gradients(form):
        return jax.grad(lambda *given: jnp.sum(weights * form(*given)), argnums=range(5))(*arrays(count))

    np.testing.assert_allclose(for_tpu(*arrays(count)), by_pairs(*arrays(count)), rtol=1e-4, atol=1e-6)
    for found, expected in zip(gradients(for_tpu), gradients(by_pairs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-5)


def test_tpus_use_it_and_others_do_not(monkeypatch):
    targets, neighbors, anchor, keys, memories = arrays(3)
    where, used = jnp.ones(HISTORY, bool), []
    monkeypatch.setattr(tpu_attention, "memory_mixture", lambda *given: used.append(len(given)))
    memory_mixture(targets, neighbors, anchor, keys, memories, where=where)
    assert not used
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    memory_mixture(targets, neighbors, anchor, keys, memories, where=where)
    assert used == [5]
