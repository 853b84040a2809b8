"""The hierarchical relation of one pair: attention over memories, then over neighbors (HLR, eq. 2-6).

Each r_vj is a mixture of the same N memory vectors, so the whole second attention can be done on mixture weights
[H, N]; no [H, D] array of relations is ever made:

    s[h, n] = q_v . (q_h * k_n)         eq. 2      a[h] = softmax_n s[h]              eq. 3
    r_vh    = a[h] M                    eq. 4      alpha = softmax_h a[h] . (M p_u)   eq. 5: p_u . r_vh without r_vh
    w       = sum_h alpha[h] a[h]       [N]        r_uv = w M                         eq. 6
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Attention(NamedTuple):
    """Weights of one pair: ``mixture`` [N] over memories, ``memory_weights`` [H, N], ``neighbor_weights`` [H]."""

    mixture: jax.Array
    memory_weights: jax.Array
    neighbor_weights: jax.Array


def memory_attention(
    target: jax.Array,
    neighbors: jax.Array,
    anchor: jax.Array,
    keys: jax.Array,
    memories: jax.Array,
    *,
    where: jax.Array,
) -> Attention:
    """Return the attention weights of one pair (eq. 2-6, factored as in the module's docstring).

    Args:
      target: [D], the vector that meets each neighbor; q_v in the user attention.
      neighbors: [H, D], padded; q_j of the user's history in the user attention.
      anchor: [D], the vector that attends over the neighbors; p_u in the user attention.
      keys: [N, D].
      memories: [N, D].
      where: [H], true for real neighbors. With none, every weight is 0 and so is the relation.

    Returns:
      The relation is ``mixture @ memories``.
    """
    # The keys meet the target first: [N, D] is far smaller than the [H, D] of target * neighbors.
    logits = neighbors @ (target * keys).T
    memory_weights = jax.nn.softmax(logits, axis=-1)
    # `where=` gives 0 and finite gradients on a history without neighbors; minus infinity would give NaN.
    neighbor_weights = jax.nn.softmax(memory_weights @ (memories @ anchor), where=where)
    return Attention(neighbor_weights @ memory_weights, memory_weights, neighbor_weights)


def catalogue_mixtures(
    targets: jax.Array,
    neighbors: jax.Array,
    anchor: jax.Array,
    keys: jax.Array,
    memories: jax.Array,
    *,
    where: jax.Array,
) -> jax.Array:
    """Return ``memory_attention(target, ...).mixture`` for every target at once: [T, D] -> [T, N].

    One matrix product of the targets with the [N H, D] products key * neighbor, which are made once for all targets.
    Targets lie along the fastest axis and the N memories are an unrolled loop, so that every operation between the
    two softmaxes runs over long contiguous rows.
    """
    num_memories, num_neighbors = keys.shape[0], neighbors.shape[0]
    products = (keys[:, None, :] * neighbors).reshape(num_memories * num_neighbors, -1)
    logits = (products @ targets.T).reshape(num_memories, num_neighbors, -1)
    logits = logits - logits.max(axis=0)
    gains = memories @ anchor
    exponentials = [jnp.exp(logits[n]) for n in range(num_memories)]
    total = sum(exponentials)
    values = sum(gains[n] * exponentials[n] for n in range(num_memories)) / total
    neighbor_weights = jax.nn.softmax(values, axis=0, where=where[:, None]) / total
    return jnp.stack([(neighbor_weights * e).sum(axis=0) for e in exponentials], axis=-1)
