"""The GPU kernel against its reference in Pallas's interpreter, and lowered for CUDA, which needs no GPU."""

import inspect
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hlr_jax
from hlr_jax.kernels import memory_attention, pallas_attention
from hlr_jax.types import Neighbors, Padded

# From version 0.11 on, JAX deprecates the backend that compiles the kernel.
pytestmark = pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")

INPUTS = range(5)  # all arrays but the mask
# The interpreter's programs compile slowly and run fast.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
interpreted = partial(pallas_attention.memory_mixture, interpret=True)


def arrays(targets, context, memories, dim, users=()):
    """Inputs of the kernel, with a leading axis of users for arrays that belong to one user."""
    own = [(*users, targets, dim), (*users, context, dim), (*users, dim)]
    shapes = [*own, (memories, dim), (memories, dim)]
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def over_users(function):
    """Return the function for users [B, ...] with shared keys and memories, as in training and ranking."""

    def one(targets, neighbors, anchor, keys, memories, where):
        return function(targets, neighbors, anchor, keys, memories, where=where)

    return jax.vmap(one, in_axes=(0, 0, 0, None, None, 0))


def weighted(function):
    """Return a weighted sum of the function's result, with distinct weights, and its gradient."""

    def total(*inputs):
        result = function(*inputs)
        return jnp.sum(jnp.cos(jnp.arange(result.size)).reshape(result.shape) * result), result

    return jax.value_and_grad(total, argnums=tuple(INPUTS), has_aux=True)


def check_equal(given, where):
    """Check that values and all five gradients for users [B, ...] equal those of the reference."""
    (_, expected), gradients = quick(weighted(over_users(memory_attention.memory_mixture)))(*given, where)
    (_, found), by_kernel = quick(weighted(over_users(interpreted)))(*given, where)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    for one, other in zip(by_kernel, gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    return found, by_kernel


def test_users_of_some_all_and_no_neighbors_equal_the_reference():
    where = np.array([[True, False, True, False, True], [True] * 5, [False] * 5])
    memory_mixture, by_input = check_equal(arrays(3, 5, 3, 6, users=(3,)), where)
    assert not memory_mixture[2].any()
    assert not by_input[0][2].any()
    assert all(np.isfinite(gradient).all() for gradient in by_input)


def test_several_blocks_of_neighbors_equal_the_reference():
    # 70 neighbors are two blocks; 17 and 18 are no powers of two; the second user has only the last neighbor.
    where = np.stack([np.arange(70) % 3 > 0, np.arange(70) >= 66])
    check_equal(arrays(2, 70, 17, 18, users=(2,)), where)


def test_more_targets_than_one_program_has_and_logits_beyond_exp():
    targets, neighbors, anchor, keys, memories = arrays(19, 4, 3, 5)
    given = 30 * targets, neighbors, 30 * anchor, keys, memories
    where = np.array([True, True, False, True])
    found = quick(interpreted)(*given, where=where)
    expected = quick(memory_attention.memory_mixture)(*given, where=where)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_padding_is_not_read():
    targets, neighbors, anchor, keys, memories = arrays(1, 4, 3, 5)
    where = np.array([True, False, True, False])
    spoiled = np.where(where[:, None], neighbors, np.float32(np.nan))
    call = quick(interpreted)
    np.testing.assert_array_equal(
        call(targets, spoiled, anchor, keys, memories, where=where),
        call(targets, neighbors, anchor, keys, memories, where=where),
    )


def lowered(function, *inputs):
    # From JAX 0.12 on, a kernel is lowered for a GPU by the name of the platform.
    has_platform = "platform" in inspect.signature(jax.sharding.AbstractDevice).parameters
    gpu = jax.sharding.AbstractDevice("NVIDIA H100", num_cores=None, **({"platform": "gpu"} if has_platform else {}))
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=gpu)):
        return jax.jit(function).trace(*inputs).lower(lowering_platforms=("cuda",)).as_text()


def shapes_in(text):
    return {tuple(int(size) for size in shape.split("x")) for shape in re.findall(r"tensor<([\dx]+)x[a-z]", text)}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lowers_for_cuda_without_weights_in_device_memory(dtype):
    users, targets, context, memories, dim = 2, 3, 37, 5, 7
    given = [array.astype(jnp.dtype(dtype)) for array in arrays(targets, context, memories, dim, users=(users,))]
    where = np.ones((users, context), bool)
    by_kernel = lowered(weighted(over_users(pallas_attention.memory_mixture)), *given, where)
    by_xla = lowered(weighted(over_users(memory_attention.memory_mixture)), *given, where)
    assert len(re.findall(r"custom_call @.*triton", by_kernel)) == 2  # forward and backward
    weights = [shape for shape in shapes_in(by_kernel) if {context, memories} <= set(shape)]
    assert not weights
    padded = [shape for shape in shapes_in(by_kernel) if {16, 64} & set(shape)]  # the block shapes of a program
    assert not padded
    assert [shape for shape in shapes_in(by_xla) if {context, memories} <= set(shape)]


@pytest.mark.parametrize("name", ["hlr", "hlrpp"])
def test_models_use_the_kernel_with_a_gpu(name, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    model = hlr_jax.create_model(name, embed_dim=6, num_memories=5, kernel="pallas", variant="reference")
    params = {name: np.ones((5, 6), np.float32) for name in ("user", "item", "keys", "memories")}
    nobody = Padded(np.zeros((5, 0, 6), np.float32), np.zeros((5, 0), bool))
    near = Neighbors(Padded(params["item"][:3], np.ones(3, bool)), nobody)
    assert "triton" in lowered(model.catalogue, params, params["user"][0], params["item"], near)


def test_without_a_gpu_the_message_names_the_option():
    with pytest.raises(hlr_jax.InputError, match=r'model\.kernel "pallas" needs a GPU'):
        hlr_jax.create_model("hlr", kernel="pallas")
    with pytest.raises(hlr_jax.InputError, match=r"unknown model\.kernel"):
        hlr_jax.create_model("hlrpp", kernel="palas")
