"""The losses over all items in ``all_items``: the parts of users and items as a whole, and the part of each cell.

A loss is the sum of ``whole`` over users, of ``known`` over known pairs and of ``positive`` over positives. All of them
are differentiable. ``rest`` [b] is what a positive needs from the other items.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from hlr_jax.kernels.distance import squared_distance

Term: TypeAlias = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(users [C, D], items [C, D], their users' rest [C]) -> the parts of pairs [C]."""


class Softmax(NamedTuple):
    """-log of the softmax of -|p_u - q_v|^2 / t over a positive and all items that the user does not know."""

    temperature: jax.Array

    @property
    def meets_all(self) -> bool:
        """Whether it computes all distances [b, I] of users, which needs a mask of the known items."""
        return True

    def rest(self, people: jax.Array, items: jax.Array, known: jax.Array | None) -> jax.Array:
        """Return log sum exp(-|p_u - q_v|^2 / t) over the items [I, D] that users [b, D] do not know: [b]."""
        assert known is not None
        distances = jnp.sum(people**2, axis=1)[:, None] + jnp.sum(items**2, axis=1) - 2 * people @ items.T
        some = ~known.all(axis=1)  # an empty sum has no gradient
        logits = jnp.where(known & some[:, None], -jnp.inf, -distances / self.temperature)
        return jnp.where(some, jax.nn.logsumexp(logits, axis=1), -jnp.inf)

    def whole(self, rest: jax.Array) -> jax.Array:
        """Return the parts of users: [b]."""
        return jnp.zeros_like(rest)

    def positive(self, people: jax.Array, items: jax.Array, rest: jax.Array) -> jax.Array:
        """Return the parts of pairs: [C, D], [C, D], [C] -> [C]."""
        near = -squared_distance(people, items) / self.temperature
        return jnp.logaddexp(near, rest) - near


class Square(NamedTuple):
    """sum s_v^2 over the items that the user does not know + c sum (1 - s_v)^2 over positives.

    s_v = (1 + |p_u|^2 - |p_u - q_v|^2) / 2 = p_u . q_v + (1 - |q_v|^2) / 2 ranks as the distance does. It is the
    product where |q_v| = 1. Its squares over all items are a form in the Gram matrix of the items, so that no distance
    is computed.
    """

    confidence: float

    @property
    def meets_all(self) -> bool:
        """Whether it computes all distances."""
        return False

    def rest(self, people: jax.Array, items: jax.Array, known: jax.Array | None) -> jax.Array:
        """Return sum s_v^2 over all items: [b]."""
        del known
        items = jnp.concatenate([items, (1 - jnp.sum(items**2, axis=1, keepdims=True)) / 2], axis=1)
        people = jnp.concatenate([people, jnp.ones((len(people), 1))], axis=1)
        return jnp.sum((people @ (items.T @ items)) * people, axis=1)

    def whole(self, rest: jax.Array) -> jax.Array:
        """Return the parts of users: [b]."""
        return rest

    def known(self, people: jax.Array, items: jax.Array, rest: jax.Array) -> jax.Array:
        """Return the parts of known pairs: their squares, to subtract."""
        del rest
        return -(self._score(people, items) ** 2)

    def positive(self, people: jax.Array, items: jax.Array, rest: jax.Array) -> jax.Array:
        """Return the parts of pairs: [C, D], [C, D], [C] -> [C]."""
        del rest
        return self.confidence * (1 - self._score(people, items)) ** 2

    def _score(self, people: jax.Array, items: jax.Array) -> jax.Array:
        return jnp.sum(people * items, axis=1) + (1 - jnp.sum(items**2, axis=1)) / 2


ItemLoss: TypeAlias = Softmax | Square
