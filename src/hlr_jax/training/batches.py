"""What a step of training is made of: examples (triplets, or users) with the ids of all that they read."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from hlr_jax.data.csr import contains
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborIds, NeighborSource, NeighborSources, draw_neighbors
from hlr_jax.data.sampling import ItemPopularity, item_popularity
from hlr_jax.models.base import Model
from hlr_jax.types import CSR, Params

BATCHES = ("triplets", "users")
NEGATIVES = {
    "per_triplet": ("triplets",), "per_user": ("users",), "in_batch": ("triplets",), "shared": ("triplets",),
    "all": ("users",),
}  # fmt: skip
"""Kinds of negatives, and the kinds of batches that have them."""


class Negatives(NamedTuple):
    """Which negatives a positive is measured against; an item that the user knows never counts.

    Attributes:
      kind: ``per_triplet`` and ``per_user``: each triplet, or user, draws its own; ``shared``: all triplets of a batch
        share them, so that they cost one product of matrices; ``in_batch``: the positives of the whole batch, which are
        drawn by popularity; ``all``: every item.
      number: n, how many are drawn; without meaning for ``in_batch`` and ``all``.
      popularity: b; items are drawn in proportion to their popularity to the power of b, 0 for uniformly.
    """

    kind: str = "per_triplet"
    number: int = 1
    popularity: float = 0.0

    @property
    def own(self) -> int:
        """How many each example draws for itself."""
        return self.number if self.kind in ("per_triplet", "per_user") else 0

    def drawn_by(self, near: Interactions, num_items: int) -> ItemPopularity | None:
        """Return what they are drawn by, given the interactions of training; None: uniformly."""
        exponent = 1.0 if self.kind == "in_batch" else self.popularity
        return item_popularity(near.item_degrees(num_items), exponent) if exponent else None


@struct.dataclass
class DerivedRows:
    """Rows of ``Model.derived`` that a batch reads: of ``user`` [B, ...], ``items`` [B, T, ...], ``shared`` [S,
    ...]."""

    user: Params
    items: Params
    shared: Params


NOTHING_DERIVED = DerivedRows({}, {}, {})


@struct.dataclass
class SharedNegatives:
    """S negatives of all examples of a batch: ``items`` [S], ``item_users`` [S, A], ``log_expected`` [S]."""

    items: jax.Array
    item_users: NeighborIds
    log_expected: jax.Array


@struct.dataclass
class Batch:
    """B examples. A triplet has one positive and n negatives; a user has W positives, padded, and n negatives.

    Attributes:
      user: [B].
      items: [B, T], the positives first: T = 1 + n, or W + n.
      is_positive: [B, W] true for the positives of users that are no padding; [B, 1] for triplets.
      known: [B, n + S], true for negatives that do not count; the shared ones come last.
      log_expected: [B, n], the log of how often a negative is expected among the n.
      history: neighbors of the user [B, H].
      item_users: neighbors of each item [B, T, A].
      weight: [B], 0 for what fills up the last batch.
      shared: the shared negatives, where there are some.
      derived: what the model derives for these users and items.
    """

    user: jax.Array
    items: jax.Array
    is_positive: jax.Array
    known: jax.Array
    log_expected: jax.Array
    history: NeighborIds
    item_users: NeighborIds
    weight: jax.Array
    shared: SharedNegatives | None = None
    derived: DerivedRows = NOTHING_DERIVED

    def examples(self) -> "Batch":
        """Return the same without what all examples share: every leaf has the leading axis [B]."""
        return self.replace(shared=None, derived=self.derived.replace(shared={}))  # type: ignore[attr-defined]


def derive_rows(model: Model, params: Params, sources: NeighborSources, batch: Batch) -> Batch:
    """Return the batch with what the model derives, computed once for each user and item that it reads."""
    if model.derived is None:
        return batch
    others = jnp.zeros(0, jnp.int32) if batch.shared is None else batch.shared.items
    parts = batch.user, jnp.concatenate([batch.items.reshape(-1), others])
    users, items = (
        jnp.unique(ids, size=min(ids.size, rows.num_rows), fill_value=rows.num_rows)
        for ids, rows in zip(parts, sources.both_sides, strict=True)
    )
    derived = model.derived(params, *sources.both_sides, users, items)

    def rows_of(axis: str, owners: jax.Array, ids: jax.Array) -> Params:
        return model.rows(derived, axis, jnp.searchsorted(owners, ids))

    shared = {} if batch.shared is None else rows_of("item", items, others)
    rows = DerivedRows(rows_of("user", users, batch.user), rows_of("item", items, batch.items), shared)
    return batch.replace(derived=rows)  # type: ignore[attr-defined]


def contains_shared(rows: CSR, users: jax.Array, items: jax.Array, num_items: int) -> jax.Array:
    """Return whether each of the same items stands in the rows of users: [B], [S] -> [B, S].

    On a CPU one walk through a user's row is far less work than a bisection for each item. A walk of many users at once
    would go on to the longest row of them all.
    """
    count = len(items)
    if jax.default_backend() != "cpu":
        return jax.vmap(lambda user: contains(rows, user, items))(users)
    # An item that stands twice among them has one place of the two.
    places = jnp.full(num_items, count).at[items].set(jnp.arange(count))

    def of_user(user: jax.Array) -> jax.Array:
        start = rows.start(user)

        def mark(index: jax.Array, marked: jax.Array) -> jax.Array:
            return marked.at[places[rows.items[start + index]]].set(True, mode="drop")

        return jax.lax.fori_loop(0, rows.degree(user), mark, jnp.zeros(count, bool))

    return jax.lax.map(of_user, users)[:, places[items]]


def draw_users_of_shared(key: jax.Array, source: NeighborSource, items: jax.Array) -> NeighborIds:
    """Return the neighbors [S, A] of items that a batch shares."""
    bits = jax.random.bits(key, (len(items), source.num_bits))
    return jax.vmap(draw_neighbors, in_axes=(0, None, 0))(bits, source, items)


def batch_positions(index: jax.Array, size: int, count: int) -> tuple[jax.Array, jax.Array]:
    """Return the positions of a batch [B] in an epoch of ``count``, and weights that are 0 past its end."""
    positions = index * size + jnp.arange(size)
    return jnp.minimum(positions, count - 1), (positions < count).astype(jnp.float32)
