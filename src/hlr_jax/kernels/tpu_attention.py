"""The attention of HLR for TPUs: ``memory_attention.memory_mixture`` with other products first.

There, targets multiply the keys, and the result has one small matrix for each example. A TPU is slow at those, and
their layouts differ from those of the softmaxes, so it copies them. Here targets multiply the neighbors. All examples
then share the keys, so their logits are one large product, and the compiler makes its rows as it needs them.

The compiler's estimates for a v5e are in docs/results/accelerators.md. No TPU has run this.
"""

import jax
import jax.numpy as jnp

_FEW = 8  # targets; up to this number one after another, with a fraction of the memory and less time


def memory_mixture(
    targets: jax.Array, neighbors: jax.Array, memory_scores: jax.Array, keys: jax.Array, where: jax.Array
) -> jax.Array:
    """Return the mixtures [T, N] (eq. 2-6) of targets [T, D], given M p_u [N] and the mask [H] or [T, H]."""
    masks = jnp.broadcast_to(where, (len(targets), len(neighbors)))
    if len(targets) > _FEW:
        return _mixture(targets, neighbors, memory_scores, keys, masks)
    each = [slice(place, place + 1) for place in range(len(targets))]
    return jnp.concatenate([_mixture(targets[t], neighbors, memory_scores, keys, masks[t]) for t in each])


def _mixture(
    targets: jax.Array, neighbors: jax.Array, memory_scores: jax.Array, keys: jax.Array, where: jax.Array
) -> jax.Array:
    logits = jnp.einsum("nd,thd->nth", keys, targets[:, None] * neighbors)
    memory = jax.nn.softmax(logits, axis=0)
    values = jnp.sum(memory_scores[:, None, None] * memory, axis=0)
    return jnp.sum(jax.nn.softmax(values, where=where) * memory, axis=-1).T
