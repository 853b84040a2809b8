"""Distances, and the ball that keeps them bounded."""

import jax
import jax.numpy as jnp


def squared_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return |a - b|^2 over the last axis: [..., D], [..., D] -> [...]."""
    difference = a - b
    return jnp.sum(difference * difference, axis=-1)


def project_to_ball(rows: jax.Array, radius: float = 1.0) -> jax.Array:
    """Scale each row [..., D] that lies outside the ball back onto it; rows inside stay as they are.

    The constraint |p_u|, |q_v| <= 1 of CML (Hsieh et al. 2017, section 3.3), kept by HLR (section 3.4).
    """
    norms = jnp.sqrt(jnp.sum(rows * rows, axis=-1, keepdims=True))
    return rows * (radius / jnp.maximum(norms, radius))
