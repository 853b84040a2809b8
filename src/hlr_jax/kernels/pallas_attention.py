"""The user attention of HLR as a GPU kernel: ``memory_attention.memory_mixture`` in Pallas, for Triton.

One program holds one user's neighbors and the keys, and loops over its targets. For a target q it computes the
addresses q * k_n [N, D], one matrix product with the neighbors [H, D], and both softmaxes. The [H, N] weights stay in
registers and are never written. The backward pass recomputes them from the same inputs.

A history of more than ``_MOST_HEADS`` neighbors is processed in blocks. The forward pass keeps a running maximum and
sum of the softmax over neighbors, as in FlashAttention (Dao et al. 2022). The backward pass only needs the logarithmic
normalizer of that softmax, so each block is a separate program there.

Values and gradients were checked in Pallas's interpreter, and compiled on an H200. Training with this kernel takes
longer there than with XLA (docs/results/scaling.md). Compiled for an H100 (compute capability 9.0), the kernels take
48 KiB (forward) and 80 KiB (backward) of shared memory at H = 50, N = 20, D = 100, and spill no registers. At N = 100
the backward pass spills some; at N = 100, D = 256 it needs 256 KiB, more than an H100 has.

Matrix products follow ``jax_default_matmul_precision``, as with XLA: TF32 by default.

From version 0.11 on, JAX deprecates the Triton backend of Pallas and warns when the kernel is compiled. The XLA
version, ``memory_attention``, does not need that backend.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

_LEAST = 16  # minimum side of a matrix product in Triton; sides must also be powers of two
_MOST_HEADS = 64  # neighbors in registers at once
_TARGETS = 16  # targets of one program of the forward pass
_NO_VALUE = -1e30  # below every value, but finite, so that differences are 0 instead of NaN

# The axes of arrays: T targets, H neighbors, N memories, D dimensions, B blocks of neighbors.
_INPUTS = ("TD", "HD", "N", "ND", "H")  # targets, neighbors, memory scores, keys, which neighbors are real


def memory_mixture(
    targets: jax.Array,
    neighbors: jax.Array,
    anchor: jax.Array,
    keys: jax.Array,
    memories: jax.Array,
    *,
    where: jax.Array,
    interpret: bool = False,
) -> jax.Array:
    """Return ``memory_attention(target, ...).mixture`` for every target at once: [T, D] -> [T, N].

    Arguments and gradients are those of ``memory_attention.memory_mixture``, with a mask [H]. Vectors of padding are
    never read. Arithmetic is in float32, whatever the arrays' types. ``interpret`` runs the kernel in Pallas's
    interpreter, slowly and on any device, for tests.

    ``jax.vmap`` over users adds them to the kernel's grid, without copying shared keys. The gradient by the keys is one
    [N, D] array per user, which ``vmap`` sums. It is smaller than the gradient by the neighbors [H, D], which is per
    user in any case. The gradient by the memories is one matrix product.
    """
    # XLA computes M p_u efficiently, also batched over users; the kernel reads its [N] values.
    memory_scores = memories.astype(jnp.float32) @ anchor.astype(jnp.float32)
    return _mixtures((targets, neighbors, memory_scores, keys, where.astype(jnp.int32)), interpret)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _mixtures(inputs: tuple, interpret: bool) -> jax.Array:
    return _mixtures_forward(inputs, interpret)[0]


def _mixtures_forward(inputs: tuple, interpret: bool) -> tuple[jax.Array, tuple]:
    sizes = _Sizes.of(inputs)
    result, normalizers = _call(
        _forward_kernel, pl.cdiv(sizes.targets, _TARGETS), sizes, (inputs,), (_INPUTS,), ("TN", "T"), interpret
    )
    return result, (inputs, result, normalizers)


def _mixtures_backward(interpret: bool, saved: tuple, grad_mixtures: jax.Array) -> tuple:
    inputs, result, normalizers = saved
    sizes = _Sizes.of(inputs)
    # sum_h alpha[h] dL/dalpha[h], which the gradient of the softmax over neighbors subtracts.
    shifts = jnp.sum(result * grad_mixtures, axis=-1)
    given, axes = (inputs, (normalizers, grad_mixtures, shifts)), (_INPUTS, ("T", "TN", "T"))
    # The last three have one summand for each block of neighbors.
    grad_axes = ("HD", "BTD", "BN", "BND")
    grad_neighbors, *sums = _call(_backward_kernel, sizes.blocks, sizes, given, axes, grad_axes, interpret)
    grad_targets, grad_gains, grad_keys = (array.sum(axis=0) for array in sums)
    grad_inputs = zip((grad_targets, grad_neighbors, grad_gains, grad_keys), inputs, strict=False)
    return ((*(gradient.astype(array.dtype) for gradient, array in grad_inputs), None),)


_mixtures.defvjp(_mixtures_forward, _mixtures_backward)


def _padded(size: int) -> int:
    return max(_LEAST, pl.next_power_of_2(size))


class _Sizes(NamedTuple):
    """The sizes of axes in device memory, and their padded sizes within a program."""

    targets: int
    neighbors: int
    memories: int
    dim: int

    @classmethod
    def of(cls, inputs: tuple) -> "_Sizes":
        targets, neighbors, _, keys, _ = inputs
        return cls(len(targets), len(neighbors), *keys.shape)

    @property
    def context(self) -> int:
        """The number of neighbors in a block."""
        return min(_padded(self.neighbors), _MOST_HEADS)

    @property
    def blocks(self) -> int:
        return pl.cdiv(self.neighbors, self.context)

    @property
    def real(self) -> dict[str, int]:
        return {"T": self.targets, "H": self.neighbors, "N": self.memories, "D": self.dim, "B": self.blocks}

    @property
    def padded(self) -> dict[str, int]:
        sides = {"H": self.blocks * self.context, "N": _padded(self.memories), "D": _padded(self.dim)}
        return self.real | sides


def _call(
    kernel: Callable[..., None],
    programs: int,
    sizes: _Sizes,
    given: tuple,
    axes: tuple,
    result_axes: tuple[str, ...],
    interpret: bool,
) -> tuple[jax.Array, ...]:
    """Run ``programs`` programs of a kernel on arrays of the given axes."""
    real, padded = sizes.real, sizes.padded

    def whole(letters: str) -> pl.BlockSpec:
        # The block of a program is the whole array, extended to the padded sizes. Arrays are not padded in device
        # memory, because the kernels mask their loads and stores.
        return pl.BlockSpec(tuple(padded[letter] for letter in letters), lambda _: (0,) * len(letters))

    # With 4 warps the backward pass runs out of registers at H = 50, N = 20, D = 100.
    warps = 8 if (sizes.context + padded["N"]) * padded["D"] > 8192 else 4
    call = pl.pallas_call(
        partial(kernel, sizes),
        out_shape=[jax.ShapeDtypeStruct([real[letter] for letter in letters], jnp.float32) for letters in result_axes],
        grid=(programs,),
        in_specs=jax.tree.map(whole, axes),
        out_specs=[whole(letters) for letters in result_axes],
        interpret=interpret,
        compiler_params=triton.CompilerParams(num_warps=warps, num_stages=1),
    )
    return call(*given)


def _load(ref: Any, *where: Any, mask: jax.Array) -> jax.Array:
    """Return a part of an array in float32, with 0 where ``mask`` is false."""
    return triton.load(ref.at[where], mask=mask, other=0).astype(jnp.float32)


def _held(sizes: _Sizes, gains_ref: Any, keys_ref: Any) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return what a program keeps: keys [N, D], memory scores [N], and masks of the real n [N] and d [D]."""
    memories, dim = keys_ref.shape
    real_n, real_d = jnp.arange(memories) < sizes.memories, jnp.arange(dim) < sizes.dim
    keys = _load(keys_ref, slice(None), slice(None), mask=real_n[:, None] & real_d[None])
    return keys, _load(gains_ref, slice(None), mask=real_n), real_n, real_d


def _rows(sizes: _Sizes, block: jax.Array | int) -> tuple[Any, jax.Array]:
    """Return the slice of a block of neighbors, and which of its rows [H] are in the array."""
    start = block * sizes.context
    return pl.ds(start, sizes.context), start + jnp.arange(sizes.context) < sizes.neighbors


def _block(
    sizes: _Sizes, block: jax.Array | int, neighbors_ref: Any, real_ref: Any, real_d: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return a block of neighbors [H, D] and which of them are real [H]."""
    rows, inside = _rows(sizes, block)
    real = triton.load(real_ref.at[rows], mask=inside, other=0) > 0
    return _load(neighbors_ref, rows, slice(None), mask=real[:, None] & real_d[None]), real


def _attend(
    target: jax.Array, neighbors: jax.Array, keys: jax.Array, memory_scores: jax.Array, real_n: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the addresses [N, D], the memory weights [H, N] and p_u . r_vh [H] (eq. 2-5)."""
    addresses = target[None] * keys
    logits = jnp.where(real_n[None], jnp.dot(neighbors, addresses.T), -jnp.inf)
    exponentials = jnp.exp(logits - jnp.max(logits, axis=1)[:, None])
    weights = exponentials / jnp.sum(exponentials, axis=1)[:, None]
    return addresses, weights, jnp.sum(weights * memory_scores[None], axis=1)


def _forward_kernel(sizes: _Sizes, inputs: tuple, mixtures_ref: Any, normalizers_ref: Any) -> None:
    """Write the mixtures [T, N] of a tile of targets and the normalizers [T] of their softmaxes over neighbors."""
    targets_ref, neighbors_ref, gains_ref, keys_ref, real_ref = inputs
    keys, memory_scores, real_n, real_d = _held(sizes, gains_ref, keys_ref)
    first = pl.program_id(0) * _TARGETS
    load_block = partial(_block, sizes, neighbors_ref=neighbors_ref, real_ref=real_ref, real_d=real_d)
    whole = load_block(0) if sizes.blocks == 1 else None

    def add_target(index: jax.Array, _: None) -> None:
        target = _load(targets_ref, index, slice(None), mask=real_d)

        def add(block: jax.Array | int, sums: tuple) -> tuple:
            highest, total, mixture = sums
            neighbors, real = load_block(block) if whole is None else whole
            _, weights, values = _attend(target, neighbors, keys, memory_scores, real_n)
            new = jnp.maximum(highest, jnp.max(jnp.where(real, values, _NO_VALUE)))
            exponentials, shrink = jnp.where(real, jnp.exp(values - new), 0.0), jnp.exp(highest - new)
            mixture = shrink * mixture + jnp.sum(exponentials[:, None] * weights, axis=0)
            return new, shrink * total + jnp.sum(exponentials), mixture

        nothing = jnp.float32(_NO_VALUE), jnp.float32(0), jnp.zeros(len(memory_scores), jnp.float32)
        highest, total, mixture = add(0, nothing) if whole else jax.lax.fori_loop(0, sizes.blocks, add, nothing)
        total = jnp.where(total > 0, total, 1.0)
        triton.store(mixtures_ref.at[index], mixture / total, mask=real_n)
        normalizers_ref[index] = highest + jnp.log(total)

    jax.lax.fori_loop(first, jnp.minimum(first + _TARGETS, sizes.targets), add_target, None)


def _backward_kernel(sizes: _Sizes, inputs: tuple, saved: tuple, *grad_refs: Any) -> None:
    """Write the gradients by a block's neighbors [H, D], and the block's summands of the other gradients."""
    targets_ref, neighbors_ref, gains_ref, keys_ref, real_ref = inputs
    normalizers_ref, grad_mixtures_ref, shifts_ref = saved
    grad_neighbors_ref, grad_targets_ref, grad_gains_ref, grad_keys_ref = grad_refs
    keys, memory_scores, real_n, real_d = _held(sizes, gains_ref, keys_ref)
    block = pl.program_id(0)
    neighbors, real = _block(sizes, block, neighbors_ref, real_ref, real_d)

    def add_target(index: jax.Array, sums: tuple) -> tuple:
        target = _load(targets_ref, index, slice(None), mask=real_d)
        addresses, weights, values = _attend(target, neighbors, keys, memory_scores, real_n)
        alpha = jnp.where(real, jnp.exp(values - normalizers_ref[index]), 0.0)
        grad_mixture = _load(grad_mixtures_ref, index, slice(None), mask=real_n)
        grad_alpha = jnp.sum(weights * grad_mixture[None], axis=1)
        grad_values = alpha * (grad_alpha - shifts_ref[index])
        # As in `memory_attention`, the softmax over memories needs no extra sum.
        grad_logits = weights * (
            alpha[:, None] * (grad_mixture[None] - grad_alpha[:, None])
            + grad_values[:, None] * (memory_scores[None] - values[:, None])
        )
        grad_addresses = jnp.dot(grad_logits.T, neighbors)
        grad_target = jnp.sum(grad_addresses * keys, axis=0)
        triton.store(grad_targets_ref.at[block, index], grad_target, mask=real_d)
        grad_neighbors, grad_gains, grad_keys = sums
        return (
            grad_neighbors + jnp.dot(grad_logits, addresses),
            grad_gains + jnp.sum(grad_values[:, None] * weights, axis=0),
            grad_keys + grad_addresses * target[None],
        )

    zeros = tuple(jnp.zeros(array.shape, jnp.float32) for array in (neighbors, memory_scores, keys))
    grad_neighbors, grad_gains, grad_keys = jax.lax.fori_loop(0, sizes.targets, add_target, zeros)
    rows, inside = _rows(sizes, block)
    triton.store(grad_neighbors_ref.at[rows], grad_neighbors, mask=inside[:, None] & real_d[None])
    triton.store(grad_gains_ref.at[block], grad_gains, mask=real_n)
    triton.store(grad_keys_ref.at[block], grad_keys, mask=real_n[:, None] & real_d[None])
