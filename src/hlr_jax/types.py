"""Records shared by the whole package, and the legend of names and shapes.

Letters of shapes, everywhere in this package:

| letter | meaning | option |
| --- | --- | --- |
| U, I | users, items | |
| D | dimension of the metric space | ``embed_dim`` |
| N | keys, and as many memories | ``num_memories`` |
| H | items of the user that a pair sees: its history, padded | ``max_history`` |
| A | users of the item that a pair sees: its item_users, padded | ``max_item_users`` |
| B | triplets in a batch | ``batch_size`` |
| n | negatives of a triplet | ``num_negatives`` |
| K | recommendations per user | ``k`` |

Symbols of the paper and their names here:

| paper | here | shape |
| --- | --- | --- |
| p_u, q_v | ``user``, ``item`` | [D] |
| r_uv | ``relation`` | [D] |
| K (keys), M (memories) | ``keys``, ``memories`` | [N, D] |
| the weights of the memories for each neighbor | ``memory_weights`` | [H, N] |
| alpha | ``neighbor_weights`` | [H] |
"""

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from flax import struct

Params: TypeAlias = dict[str, jax.Array]
"""Arrays by name: always ``user`` [U, D] and ``item`` [I, D], and what the model shares (``keys``, ``memories``)."""


class NeighborSpec(NamedTuple):
    """Which neighbors a model reads on one side of a pair.

    Attributes:
      size: the most of them; 0: none.
      sampling: ``uniform`` and ``inverse_popularity`` draw up to ``size`` without replacement, anew at each visit.
        ``mean`` is one vector, the mean over all of them, through which no gradient flows.
      refresh: training steps between two computations of the means.
    """

    size: int = 0
    sampling: str = "uniform"
    refresh: int = 1

    @property
    def drawn(self) -> bool:
        """Whether neighbors are drawn one by one, not met as their mean."""
        return self.size > 0 and self.sampling != "mean"


@struct.dataclass
class Padded:
    """Vectors of neighbors, padded: ``vectors`` [H, D] and ``mask`` [H], true where one is real."""

    vectors: jax.Array
    mask: jax.Array

    def joined(self, vector: jax.Array) -> "Padded":
        """Return the same neighbors and one more [D]."""
        return Padded(jnp.concatenate([self.vectors, vector[None]]), jnp.append(self.mask, True))


@struct.dataclass
class Neighbors:
    """The neighbors of one pair: ``items`` of the user ([H, D], its history), ``users`` of the item ([A, D])."""

    items: Padded
    users: Padded


@struct.dataclass
class PairOutput:
    """What a model says of one pair. Intermediates cost nothing where nobody reads them: ``jit`` prunes them.

    Attributes:
      score: [], higher is better; for metric models minus the squared distance |p_u + r_uv - q_v|^2.
      relation: [D], the translation r_uv.
      memory_weights: [H, N], the first attention; H = 0 where a model has none.
      neighbor_weights: [H], the second attention.
    """

    score: jax.Array
    relation: jax.Array
    memory_weights: jax.Array
    neighbor_weights: jax.Array
