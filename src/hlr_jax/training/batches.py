"""What a step of training is made of: where positives come from, and the batches that are drawn of them."""

from typing import NamedTuple

import jax
from flax import struct

from hlr_jax.data.csr import CSR
from hlr_jax.data.neighbor_sampling import NeighborIds, Sides
from hlr_jax.data.sampling import Popularity

NEGATIVES = ("own", "shared", "in_batch", "all")


class Negatives(NamedTuple):
    """Which negatives a positive is measured against; an item that the user knows never counts.

    Attributes:
      kind: ``own``: each triplet draws its own; ``shared``: all triplets of a batch share them, so that they cost one
        product of matrices; ``in_batch``: the positives of the whole batch, which are drawn by popularity; ``all``:
        every item, for all the positives of a user at once, so that a batch is of users. These cost a user as many
        distances as there are items, where ``own`` ones cost 1 + n for each positive.
      number: n, how many are drawn; without meaning for ``in_batch`` and ``all``.
      popularity: b; items are drawn in proportion to their popularity to the power of b, 0 for uniformly.
    """

    kind: str = "own"
    number: int = 1
    popularity: float = 0.0

    @property
    def own(self) -> int:
        """How many each triplet draws for itself."""
        return self.number if self.kind == "own" else 0


@struct.dataclass
class Triplets:
    """A source of triplets, on one device or in shares on a mesh.

    Attributes:
      user, item: the positive pairs [count], or their shares [P, ...] of equal lengths. For ``all`` negatives the users
        with a positive [count] on every device, and no item.
      near: what neighbors are drawn from.
      known: what negatives must avoid.
      targets: the positives of each user, for ``all`` negatives; None: all that is known of the user.
      popularity: what popular negatives are drawn by; None where they are uniform.
      count: how many positive pairs, or users, there are to visit (static).
      positives: how many positive pairs there are (static).
      num_items: I (static).
    """

    user: jax.Array
    item: jax.Array | None
    near: Sides
    known: CSR
    targets: CSR | None
    popularity: Popularity | None
    count: int = struct.field(pytree_node=False)
    positives: int = struct.field(pytree_node=False)
    num_items: int = struct.field(pytree_node=False)


@struct.dataclass
class Common:
    """S negatives that all triplets of a batch share: ``items`` [S], ``item_users`` [S, A], ``log_expected`` [S]."""

    items: jax.Array
    item_users: NeighborIds
    log_expected: jax.Array


@struct.dataclass
class Batch:
    """B positives with n negatives each, and S negatives for all; or B users, whose positives stand among S items.

    Attributes:
      user: [B].
      items: [B, 1 + n], the positive first; [B, 0] for users.
      known: [B, n + S], true for negatives that do not count; the common ones come last.
      log_expected: [B, n], the log of how often a negative is expected among the n.
      history: neighbors of the user [B, H].
      item_users: neighbors of each item [B, 1 + n, A].
      weight: [B].
      common: the shared negatives, where there are some; for users all items.
      targets: [B, S], true for the positives of users.
    """

    user: jax.Array
    items: jax.Array
    known: jax.Array
    log_expected: jax.Array
    history: NeighborIds
    item_users: NeighborIds
    weight: jax.Array
    common: Common | None
    targets: jax.Array | None = None
