"""Records shared by the whole package, and the legend of names and shapes.

Letters of shapes, everywhere in this package:

| letter | meaning | option |
| --- | --- | --- |
| U, I | users, items | |
| D | dimension of the metric space | ``embed_dim`` |
| N | keys, and as many memories | ``num_memories`` |
| H | neighbors of a pair: the user's history, padded | ``max_history`` |
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

from typing import TypeAlias

import jax
from flax import struct

Params: TypeAlias = dict[str, jax.Array]
"""Arrays by name: always ``user`` [U, D] and ``item`` [I, D], and what the model shares (``keys``, ``memories``)."""


@struct.dataclass
class Neighbors:
    """The padded neighbors of one user-item pair: ``vectors`` [H, D] and ``mask`` [H], true where one is real."""

    vectors: jax.Array
    mask: jax.Array


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
