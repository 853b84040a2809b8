"""Types shared by the whole package, and the names of shapes and symbols.

The letters of shapes have the same meaning everywhere in this package:

| letter | meaning | option |
| --- | --- | --- |
| U, I | users, items | |
| D | dimension of the metric space | ``embed_dim`` |
| N | memory keys, and memory vectors | ``num_memories`` |
| H | items in the history of a user, padded | ``max_history`` |
| A | users of an item, padded | ``max_item_users`` |
| B | triplets, or users, in a batch | ``batch_size`` |
| n | negatives of a triplet, or of a user | ``num_negatives`` |
| K | recommendations per user | ``k`` |

Symbols of the paper and their names here:

| paper | here | shape |
| --- | --- | --- |
| p_u, q_v | ``user``, ``item`` | [D] |
| r_uv | ``relation`` | [D] |
| K (keys), M (memories) | ``keys``, ``memories`` | [N, D] |
| weights of the memories for each neighbor | ``memory_weights`` | [H, N] |
| alpha | ``neighbor_weights`` | [H] |
| x_j, source vectors of users (CML) | ``source`` | [I, D] |
"""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from flax import struct

Params: TypeAlias = dict[str, jax.Array]
"""Arrays by name: ``item`` [I, D]; ``user`` [U, D], unless users are computed from their items; and others.

``Model.arrays`` describes the others.
"""


class NeighborSpec(NamedTuple):
    """The neighbors that a model reads on one side of a pair.

    Attributes:
      size: the maximum number of neighbors; 0: none.
      sampling: ``uniform`` or ``inverse_popularity``. If there are more neighbors than ``size``, they are sampled
        without replacement, anew each time.
    """

    size: int = 0
    sampling: str = "uniform"


@struct.dataclass
class CSR:
    """The items of each user (or the users of each item) as compressed sparse rows, each sorted.

    Attributes:
      offsets: [U + 1]; the items of user u are at ``offsets[u]`` up to ``offsets[u + 1]``, exclusive.
      items: [interactions + 1]; the additional entry keeps the array from being empty.
      longest: the largest number of items of a user (static, because it bounds loops and shapes).
    """

    offsets: jax.Array
    items: jax.Array
    longest: int = struct.field(pytree_node=False)

    @property
    def num_rows(self) -> int:
        """The number of users."""
        return self.offsets.shape[0] - 1

    def start(self, user: jax.Array) -> jax.Array:
        """Return the position of a user's first item: [...] -> [...]."""
        return self.offsets[user]

    def degree(self, user: jax.Array) -> jax.Array:
        """Return the number of items of a user: [...] -> [...]."""
        return self.offsets[user + 1] - self.offsets[user]


@struct.dataclass
class Padded:
    """Vectors of neighbors, padded: ``vectors`` [H, D] and ``mask``, true for real neighbors.

    The mask is [H], or [T, H] for T candidates that may each leave out a different neighbor.
    """

    vectors: jax.Array
    mask: jax.Array

    def appended(self, vector: jax.Array) -> "Padded":
        """Return the neighbors with one more vector [D]."""
        real = jnp.ones((*self.mask.shape[:-1], 1), bool)
        return Padded(jnp.concatenate([self.vectors, vector[None]]), jnp.concatenate([self.mask, real], axis=-1))


@struct.dataclass
class Neighbors:
    """The neighbors of one pair: ``items`` of the user ([H, D], its history), ``users`` of the item ([A, D]).

    Example:
      >>> from hlr_jax.types import Padded
      >>> history = Padded(jnp.ones((3, 4)), jnp.array([True, True, False]))  # two items, padded to H = 3
      >>> hlr_jax.Neighbors(items=history, users=history).items.mask.sum().item()
      2
    """

    items: Padded
    users: Padded


@struct.dataclass
class PairOutput:
    """The output of a model for one pair. Unused intermediates cost nothing, because ``jit`` removes them.

    Attributes:
      score: [], higher is better; for metric models minus the squared distance |p_u + r_uv - q_v|^2.
      relation: [D], the translation r_uv.
      memory_weights: [H, N], the first attention; empty if the model has none.
      neighbor_weights: [H], the second attention.

    Example:
      >>> found = model.pair(params, jnp.zeros(4), jnp.ones(4), None)
      >>> found.score.item(), found.relation.tolist()
      (-4.0, [0.0, 0.0, 0.0, 0.0])
    """

    score: jax.Array
    relation: jax.Array
    memory_weights: jax.Array
    neighbor_weights: jax.Array


class Ranking(NamedTuple):
    """The best items of users [..., K], best first, and their scores; missing items are -1 with score minus infinity.

    Both are NumPy arrays, except in compiled functions.
    """

    items: Any
    scores: Any
