"""Objectives over one positive and n negatives: functions of distances alone."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Objective = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(positive distance [], negative distances [n], margin []) -> loss []."""


def hinge_hardest(positive: jax.Array, negatives: jax.Array, margin: jax.Array) -> jax.Array:
    """Return [margin + d(u, v) - min d(u, v-)]_+ : eq. 8 with the hardest of the n negatives."""
    return jax.nn.relu(margin + positive - negatives.min())


def hinge_mean(positive: jax.Array, negatives: jax.Array, margin: jax.Array) -> jax.Array:
    """Return the mean over the n negatives of [margin + d(u, v) - d(u, v-)]_+ (eq. 8 for n = 1)."""
    return jnp.mean(jax.nn.relu(margin + positive - negatives))


OBJECTIVES: dict[str, Objective] = {"hinge_hardest": hinge_hardest, "hinge_mean": hinge_mean}
