"""Records shared by the whole package, and the legend of names and shapes.

Letters of shapes, everywhere in this package:

| letter | meaning | option |
| --- | --- | --- |
| U, I | users, items | |
| D | dimension of the metric space | ``embed_dim`` |
| N | keys, and as many memories | ``num_memories`` |
| H | items of the user that a pair reads: its history, padded | ``max_history`` |
| A | users of the item that a pair reads, padded | ``max_item_users`` |
| B | triplets, or users, in a batch | ``batch_size`` |
| n | negatives of a triplet, or of a user | ``num_negatives`` |
| K | recommendations per user | ``k`` |

Symbols of the paper and their names here:

| paper | here | shape |
| --- | --- | --- |
| p_u, q_v | ``user``, ``item`` | [D] |
| r_uv | ``relation`` | [D] |
| K (keys), M (memories) | ``keys``, ``memories`` | [N, D] |
| the weights of the memories for each neighbor | ``memory_weights`` | [H, N] |
| alpha | ``neighbor_weights`` | [H] |
| x_j, what users are made from (CML) | ``source`` | [I, D] |
"""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from flax import struct

Params: TypeAlias = dict[str, jax.Array]
"""Arrays by name: ``item`` [I, D]; ``user`` [U, D], but in a model that makes users from their items; and others.

What the others are the model's ``arrays`` say.
"""


class NeighborSpec(NamedTuple):
    """Which neighbors a model reads on one side of a pair.

    Attributes:
      size: the most of them; 0: none.
      sampling: ``uniform`` or ``inverse_popularity``: up to ``size`` are drawn without replacement, anew at each visit.
    """

    size: int = 0
    sampling: str = "uniform"


@struct.dataclass
class CSR:
    """The items of each user (or the users of each item) as compressed rows: one row after the other, each increasing.

    Attributes:
      offsets: [U + 1]; the items of user u stand at ``offsets[u]`` up to ``offsets[u + 1]``.
      items: [interactions], and one entry behind them that keeps the array from being empty.
      longest: the most items of any user (static: it bounds loops and shapes).
    """

    offsets: jax.Array
    items: jax.Array
    longest: int = struct.field(pytree_node=False)

    @property
    def num_rows(self) -> int:
        """The number of users."""
        return self.offsets.shape[0] - 1

    def start(self, user: jax.Array) -> jax.Array:
        """Return where a user's items begin: [...] -> [...]."""
        return self.offsets[user]

    def degree(self, user: jax.Array) -> jax.Array:
        """Return the number of items of a user: [...] -> [...]."""
        return self.offsets[user + 1] - self.offsets[user]


@struct.dataclass
class Padded:
    """Vectors of neighbors, padded: ``vectors`` [H, D] and ``mask``, true where one is real.

    The mask is [H]; for T candidates of which each may leave out another neighbor it is [T, H].
    """

    vectors: jax.Array
    mask: jax.Array

    def appended(self, vector: jax.Array) -> "Padded":
        """Return the same neighbors and one more [D]."""
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
    """What a model says of one pair. Intermediates cost nothing where nobody reads them: ``jit`` prunes them.

    Attributes:
      score: [], higher is better; for metric models minus the squared distance |p_u + r_uv - q_v|^2.
      relation: [D], the translation r_uv.
      memory_weights: [H, N], the first attention; H = 0 where a model has none.
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
    """The best items of users [..., K], best first, and their scores; where none is left, -1 and minus infinity.

    Both are of NumPy, but in compiled functions.
    """

    items: Any
    scores: Any
