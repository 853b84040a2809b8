"""The hierarchical relation of one pair: attention over memories, then over neighbors (HLR, eq. 2-6).

Each r_vj is a mixture of the same N memory vectors. So the second attention only needs the mixture weights [H, N], and
no [H, D] array of relations:

    s[h, n] = q_v . (q_h * k_n)         eq. 2      a[h] = softmax_n s[h]              eq. 3
    r_vh    = a[h] M                    eq. 4      alpha = softmax_h a[h] . (M p_u)   eq. 5: p_u . r_vh without r_vh
    w       = sum_h alpha[h] a[h]       [N]        r_uv = w M                         eq. 6
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from hlr_jax.kernels import tpu_attention

_FEW = 64  # targets; above this number, neighbors are along the slowest axis, which is faster for many items


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
    """Return the attention weights of one pair (eq. 2-6, factored as above); the relation is ``mixture @ memories``.

    Args:
      target: [D], the vector that multiplies each neighbor; q_v in the user attention.
      neighbors: [H, D], padded; q_j of the user's history in the user attention.
      anchor: [D], the vector that attends over the neighbors; p_u in the user attention.
      keys: [N, D].
      memories: [N, D].
      where: [H], true for real neighbors. Without real neighbors, all neighbor weights and the relation are 0.
    """
    # The target multiplies the keys [N, D], which is far smaller than target * neighbors [H, D].
    logits = neighbors @ (target * keys).T
    memory_weights = jax.nn.softmax(logits, axis=-1)
    # Without real neighbors, `where=` gives 0 and finite gradients; minus infinity would give NaN.
    neighbor_weights = jax.nn.softmax(memory_weights @ (memories @ anchor), where=where)
    return Attention(neighbor_weights @ memory_weights, memory_weights, neighbor_weights)


def memory_mixture(
    targets: jax.Array,
    neighbors: jax.Array,
    anchor: jax.Array,
    keys: jax.Array,
    memories: jax.Array,
    *,
    where: jax.Array,
) -> jax.Array:
    """Return ``memory_attention(target, ...).mixture`` for every target of one anchor: [T, D] -> [T, N].

    The arguments are those of ``memory_attention``; the mask may also be [T, H], one for each target. All targets are
    computed together. There are two implementations: one for few targets, with a custom gradient, and one for the
    many targets of a catalogue. TPUs have their own, ``tpu_attention``.
    """
    form = tpu_attention.memory_mixture if jax.default_backend() == "tpu" else _mixture
    return form(targets, neighbors, memories @ anchor, keys, where)


def _weigh(
    targets: jax.Array, neighbors: jax.Array, memory_scores: jax.Array, keys: jax.Array, where: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    """Return the mixtures [T, N] and the residuals of the gradient: a [T, N, H], alpha [T, H] and l [T, H].

    Neighbors are along the fastest axis.
    """
    memory = jax.nn.softmax(_logits(targets, neighbors, keys), axis=1)
    values = jnp.sum(memory_scores[:, None] * memory, axis=1)
    neighbor = jax.nn.softmax(values, where=where)
    return jnp.sum(neighbor[:, None] * memory, axis=-1), (memory, neighbor, values)


def _logits(targets: jax.Array, neighbors: jax.Array, keys: jax.Array) -> jax.Array:
    """Return the logits (eq. 2) of targets [T, D] and neighbors [H, D]: [T, N, H].

    Two factors are multiplied before the matrix product with the third: the keys, and the fewer of the others.
    """
    shape = len(targets), len(keys), len(neighbors)
    if len(targets) <= len(neighbors):
        return (_all_products(targets, keys) @ neighbors.T).reshape(shape)
    return (targets @ _all_products(keys, neighbors).T).reshape(shape)


def _all_products(left: jax.Array, right: jax.Array) -> jax.Array:
    """Return the products of all pairs of rows: [A, D], [B, D] -> [A B, D]."""
    return (left[:, None] * right).reshape(-1, right.shape[1])


@jax.custom_vjp
def _mixture(
    targets: jax.Array, neighbors: jax.Array, memory_scores: jax.Array, keys: jax.Array, where: jax.Array
) -> jax.Array:
    if targets.shape[0] <= _FEW:
        return _weigh(targets, neighbors, memory_scores, keys, where)[0]
    return weigh_neighbors(item_weights(neighbors, targets, keys), memory_scores, where=where)


def _mixture_forward(*inputs: jax.Array) -> tuple[jax.Array, tuple]:
    result, weights = _weigh(*inputs)
    return result, (*inputs[:4], weights)


def _mixture_backward(saved: tuple, grad_mixture: jax.Array) -> tuple:
    """Return the gradients by targets, neighbors, memory_scores and keys, given that by the mixtures w [T, N].

    With a, s and alpha as in the module's docstring, g = M p_u and l[h] = a[h] . g:

        d alpha[h] = sum_n dw[n] a[h, n]
        d l[h] = alpha[h] (d alpha[h] - sum_j alpha[j] d alpha[j])
        d g[n] = sum_h d l[h] a[h, n]
        d s[h, n] = a[h, n] (alpha[h] (dw[n] - d alpha[h]) + d l[h] (g[n] - l[h]))

    The softmax over n needs no extra sum, since sum_n a[h, n] dw[n] = d alpha[h] and sum_n a[h, n] g[n] = l[h].
    """
    targets, neighbors, memory_scores, keys, (memory, neighbor, values) = saved
    grad_neighbor = jnp.sum(grad_mixture[:, :, None] * memory, axis=1)
    grad_values = neighbor * (grad_neighbor - jnp.sum(neighbor * grad_neighbor, axis=-1, keepdims=True))
    grad_gains = jnp.sum(grad_values[:, None] * memory, axis=(0, 2))
    grad_logits = memory * (
        neighbor[:, None] * (grad_mixture[:, :, None] - grad_neighbor[:, None])
        + grad_values[:, None] * (memory_scores[:, None] - values[:, None])
    )
    _, pull_back = jax.vjp(_logits, targets, neighbors, keys)
    grad_targets, grad_neighbors, grad_keys = pull_back(grad_logits)
    return grad_targets, grad_neighbors, grad_gains, grad_keys, None


_mixture.defvjp(_mixture_forward, _mixture_backward)


def item_weights(neighbors: jax.Array, targets: jax.Array, keys: jax.Array) -> jax.Array:
    """Return the memory weights (eq. 2-3) of every neighbor [J, D] and target [T, D]: [J, N, T].

    They do not depend on the user, so they are computed once for all pairs of items and reused for many users. Targets
    are along the fastest axis, so that later steps run over long contiguous rows.
    """
    queries = (keys.T[:, :, None] * targets.T[:, None]).reshape(keys.shape[1], -1)
    logits = (neighbors @ queries).reshape(len(neighbors), *keys.shape[:1], -1)
    exponentials = jnp.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials * (1 / exponentials.sum(axis=1, keepdims=True))


def weigh_neighbors(weights: jax.Array, memory_scores: jax.Array, *, where: jax.Array) -> jax.Array:
    """Return the mixtures [T, N] (eq. 4-6) of memory weights [H, N, T], given M p_u [N] and the mask [H] or [T, H]."""
    return _weighed(weights, memory_scores, where[:, None] if where.ndim == 1 else where.T)


@jax.custom_vjp
def _weighed(weights: jax.Array, memory_scores: jax.Array, where: jax.Array) -> jax.Array:
    return _weighed_forward(weights, memory_scores, where)[0]


def _weighed_forward(weights: jax.Array, memory_scores: jax.Array, where: jax.Array) -> tuple[jax.Array, tuple]:
    # Both sums are unrolled, so that each is one pass on a CPU.
    values = sum(memory_scores[n] * weights[:, n] for n in range(weights.shape[1]))
    # Without the barrier, a GPU computes each alpha again for every one of the N sums.
    alpha = jax.lax.optimization_barrier(jax.nn.softmax(values, axis=0, where=where))
    mixtures = jnp.asarray(sum(alpha[h] * weights[h] for h in range(weights.shape[0]))).T
    return mixtures, (weights, memory_scores, alpha)


def _weighed_backward(saved: tuple, grad_mixture: jax.Array) -> tuple:
    """Return the gradients by weights and memory_scores; see ``_mixture_backward``, without the softmax over memories.

    Automatic differentiation of the unrolled sums would pad every slice to the whole [H, N, T].
    """
    weights, memory_scores, alpha = saved
    grad_mixture = grad_mixture.T
    grad_alpha = sum(grad_mixture[n] * weights[:, n] for n in range(weights.shape[1]))
    grad_values = alpha * (grad_alpha - jnp.sum(alpha * grad_alpha, axis=0))
    grad_gains = jnp.stack([jnp.sum(grad_values * weights[:, n]) for n in range(weights.shape[1])])
    grad_weights = alpha[:, None] * grad_mixture + grad_values[:, None] * memory_scores[:, None]
    return grad_weights, grad_gains, None


_weighed.defvjp(_weighed_forward, _weighed_backward)


def attention_flops(dim: int, memories: int, context: int) -> int:
    """Return the floating-point operations of eq. 2-6 for one pair and h neighbors.

    q_v * K: ND; logits: 2hND; softmax over N: 4hN; M p_u: 2ND; a (M p_u): 2hN; softmax over h: 4h; mixture: 2hN.
    """
    return 2 * context * memories * dim + 3 * memories * dim + 8 * context * memories + 4 * context


def translation_flops(dim: int, memories: int) -> int:
    """Return the floating-point operations of a translated distance, given w.

    q_v . q_v and p_u . q_v: 4D; M q_v: 2ND; w M M^T w: 2N^2 + 5N.
    """
    return 2 * memories * dim + 2 * memories**2 + 5 * memories + 4 * dim
