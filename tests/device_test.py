"""What only a device can show: compiled kernels beside float64, and every model trained and ranked on it.

Run by experiments/gpu_check.sh; on a CPU the kernel is skipped, and the models are those of the other tests.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hlr_jax
from hlr_jax import EvalOptions, TrainOptions
from hlr_jax.kernels import memory_attention, pallas_attention

# JAX deprecates the backend that compiles the kernel, from 0.11 on.
pytestmark = pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")

SIZES = {"hlr": {"num_memories": 5, "max_history": 12}, "hlrpp": {"num_memories": 5, "max_history": 12}}
needs_gpu = pytest.mark.skipif(jax.default_backend() != "gpu", reason="the Pallas kernel is compiled for GPUs alone")


def arrays(users, targets, context, memories, dim):
    rng = np.random.default_rng(0)
    shapes = [(users, targets, dim), (users, context, dim), (users, dim), (memories, dim), (memories, dim)]
    given = [(rng.normal(size=shape) / np.sqrt(dim)).astype(np.float32) for shape in shapes]
    return given, rng.random((users, context)) < 0.7


def expected_mixtures(given, where):
    """Eq. 2-6 in float64, one target and neighbor after the other."""
    targets, neighbors, anchors, keys, memories = (np.asarray(array, np.float64) for array in given)
    result = np.zeros((*targets.shape[:2], len(keys)))
    for user, (items, anchor, real) in enumerate(zip(targets, anchors, where, strict=True)):
        for target, q in enumerate(items):
            logits = np.array([[(q * near) @ key for key in keys] for near in neighbors[user][real]])
            weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            alpha = np.exp(weights @ (memories @ anchor))
            result[user, target] = alpha / alpha.sum() @ weights
    return result


def over_users(kernel):
    def one(targets, neighbors, anchor, keys, memories, where):
        return kernel(targets, neighbors, anchor, keys, memories, where=where)

    return jax.jit(jax.vmap(one, in_axes=(0, 0, 0, None, None, 0)))


@needs_gpu
@pytest.mark.parametrize("sizes", [(5, 2, 50, 20, 100), (3, 19, 70, 17, 18), (4, 3, 10, 4, 128)])
def test_the_compiled_kernel_equals_float64(sizes):
    given, where = arrays(*sizes)
    with jax.default_matmul_precision("highest"):
        for kernel in (pallas_attention.memory_mixture, memory_attention.memory_mixture):
            mixtures = np.asarray(over_users(kernel)(*given, where))
            np.testing.assert_allclose(mixtures, expected_mixtures(given, where), rtol=2e-4, atol=2e-6)


@needs_gpu
@pytest.mark.parametrize("sizes", [(5, 2, 50, 20, 100), (3, 19, 70, 17, 18)])
def test_gradients_of_the_compiled_kernel_are_those_of_xla(sizes):
    given, where = arrays(*sizes)
    given = [3 * array for array in given]  # so that no softmax is near uniform

    def gradient(kernel):
        def total(*inputs):
            mixtures = over_users(kernel)(*inputs, where)
            return jnp.sum(jnp.cos(jnp.arange(mixtures.size)).reshape(mixtures.shape) * mixtures)

        return jax.jit(jax.grad(total, argnums=range(5)))(*given)

    with jax.default_matmul_precision("highest"):
        by_kernel, by_xla = gradient(pallas_attention.memory_mixture), gradient(memory_attention.memory_mixture)
    for ours, expected in zip(by_kernel, by_xla, strict=True):
        assert np.linalg.norm(ours - expected) <= 1e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", hlr_jax.model_names())
def test_every_model_learns_and_ranks(name):
    world = hlr_jax.load_dataset("planted-60x50x900", cache=False, log=lambda _: None)
    model = hlr_jax.create_model(name, embed_dim=8, **SIZES.get(name, {}))
    options = TrainOptions(num_epochs=3, batch_size=64, learning_rate=0.02, num_negatives=2)
    trained = hlr_jax.train_model(world, model, options, EvalOptions(monitor="ndcg"), quiet=True)
    losses = [record["train_loss"] for record in trained.history]
    assert losses[-1] < losses[0]
    ranking = hlr_jax.evaluate(model, trained.params, world).ranking
    assert (ranking.items >= 0).all()
    assert (np.diff(ranking.scores, axis=1) <= 0).all()
