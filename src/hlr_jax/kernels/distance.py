"""Squared distances, and the projection onto a ball."""

import jax
import jax.numpy as jnp

_FEW = 16


def squared_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return |a - b|^2 over the last axis: [..., D], [..., D] -> [...]."""
    difference = a - b
    return jnp.sum(difference * difference, axis=-1)


def squared_distances(point: jax.Array, points: jax.Array) -> jax.Array:
    """Return |a - b_t|^2 of one point [D] and many [T, D]: [T].

    For many points it uses products. Under ``vmap`` over ``point`` they become one matrix product, where differences
    would need an array [.., T, D]. The error is about 1e-7 of the squared lengths. For the few items of a triplet,
    differences are faster.
    """
    if points.shape[0] <= _FEW:
        return squared_distance(point, points)
    return jnp.sum(point * point) + jnp.sum(points * points, axis=-1) - 2 * (points @ point)


def translated_distances(
    point: jax.Array, memory_mixture: jax.Array, memories: jax.Array, points: jax.Array
) -> jax.Array:
    """Return |a + w_t M - b_t|^2 of one point [D], mixtures [T, N] of memories [N, D] and points [T, D]: [T].

    For many points it avoids an array [T, D]: |a - b|^2 + w (2 M (a - b) + M M^T w), where M b is the same for all a.
    """
    if points.shape[0] <= _FEW:
        return squared_distance(point + memory_mixture @ memories, points)
    along = memories @ point - points @ memories.T
    return squared_distances(point, points) + jnp.sum(
        memory_mixture * (2 * along + memory_mixture @ (memories @ memories.T)), axis=-1
    )


def project_to_ball(rows: jax.Array, radius: float = 1.0) -> jax.Array:
    """Scale each row [..., D] outside the ball back onto it; rows inside are not changed.

    This is the constraint |p_u|, |q_v| <= 1 of CML (Hsieh et al. 2017, section 3.3) and of HLR (section 3.4).
    """
    norms = jnp.sqrt(jnp.sum(rows * rows, axis=-1, keepdims=True))
    return rows * (radius / jnp.maximum(norms, radius))
