"""Batches of training: examples (triplets, or users) with the ids of all rows that they read.

Users are grouped by their number of positives into a few widths W. So padding stays small, and each width is one
compiled shape.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from hlr_jax.data.csr import csr_of, groups_by_width
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborIds, NeighborSources
from hlr_jax.data.sampling import ItemPopularity, item_popularity, shuffled
from hlr_jax.errors import InputError
from hlr_jax.models.base import Model
from hlr_jax.scoring import neighbor_sources
from hlr_jax.training.options import NEGATIVES, TrainOptions
from hlr_jax.types import CSR, Params

_ROUND = 4  # steps
_PADDING = 1.2  # the most computed targets per needed target, on average
_ACCELERATOR_PADDING = 1.5  # where compiling another width costs more than computing its padding
_CANDIDATES = 256  # widths to choose from


class Negatives(NamedTuple):
    """How negatives are chosen; an item that the user knows never counts.

    Attributes:
      kind: ``per_triplet`` and ``per_user``: each triplet, or user, samples its own. ``shared``: all triplets of a
        batch share them, so that they cost one matrix product. ``in_batch``: the positives of the whole batch, sampled
        by popularity. ``all``: every item.
      number: n, the number of negatives; ignored for ``in_batch`` and ``all``.
      popularity: b; items are sampled in proportion to their popularity to the power of b; 0: uniformly.
    """

    kind: str = "per_triplet"
    number: int = 1
    popularity: float = 0.0

    @classmethod
    def of(cls, options: TrainOptions) -> "Negatives":
        """Return the negatives of the settings."""
        return cls(options.negatives, options.num_negatives, options.negative_popularity)

    @property
    def own(self) -> int:
        """How many each example samples for itself."""
        return self.number if self.kind in ("per_triplet", "per_user") else 0

    def drawn_by(self, near: Interactions, num_items: int) -> ItemPopularity | None:
        """Return the popularity to sample by, from the training interactions; None: uniformly."""
        exponent = 1.0 if self.kind == "in_batch" else self.popularity
        return item_popularity(near.item_degrees(num_items), exponent) if exponent else None


@struct.dataclass
class BatchSource:
    """The source of batches of triplets, or of users.

    Attributes:
      groups: the user of each example, in groups of one shape. Triplets are one group, in the order of the positives.
        Users are grouped by width, and all groups together have every user with a positive.
      positives: each user's positives.
      neighbors: what neighbors are sampled from.
      known: the items that negatives must avoid.
      popularity: the popularity that negatives are sampled by; None: uniform.
      widths: the most positives of a user in each group; empty where batches are of users alone; None for triplets
        (static).
      num_positives: of all users (static).
      num_items: I (static).
    """

    groups: tuple[jax.Array, ...]
    positives: CSR
    neighbors: NeighborSources
    known: CSR
    popularity: ItemPopularity | None
    widths: tuple[int, ...] | None = struct.field(pytree_node=False)
    num_positives: int = struct.field(pytree_node=False)
    num_items: int = struct.field(pytree_node=False)


def batch_source(
    positives: Interactions, near: Interactions, known: Interactions, sizes: tuple[int, int], model: Model,
    negatives: Negatives, as_cells: bool = False,
) -> BatchSource:  # fmt: skip
    """Return the source of some positives, in the kind of batches that the negatives need.

    Args:
      positives: the positives to train on, or to measure.
      near: what neighbors are sampled from, and popularity is counted in.
      known: the items that negatives must avoid.
      sizes: U, I.
      model: sets which neighbors are read.
      negatives: how they are sampled.
      as_cells: whether batches are of users alone, for ``all_items``: all in one group, without widths.

    Raises:
      InputError: batches of users for a model that is defined on triplets.
    """
    num_users, num_items = sizes
    neighbors = neighbor_sources(model, near, sizes)
    groups: tuple[jax.Array, ...] = (jnp.asarray(positives.user, jnp.int32),)
    widths: tuple[int, ...] | None = None
    if NEGATIVES[negatives.kind] == "users":
        check_batches_of_users(model)
        degrees = positives.degrees(num_users)
        if as_cells:
            widths, groups = (), (jnp.asarray(np.flatnonzero(degrees), jnp.int32),)
        else:
            widths = group_widths(degrees, num_items if negatives.kind == "all" else negatives.number)
            groups = groups_by_width(degrees, widths)

    @cache
    def rows_of(part: Interactions) -> CSR:
        drawn_from = neighbors.history.rows
        return drawn_from if part is near and drawn_from is not None else csr_of(part, num_users)

    popularity = negatives.drawn_by(near, num_items)
    rows = rows_of(positives), neighbors, rows_of(known)
    return BatchSource(groups, *rows, popularity, widths, len(positives), num_items)


def check_batches_of_users(model: Model) -> None:
    """Check that a model can be trained with batches of users.

    Raises:
      InputError: the model is defined on triplets.
    """
    if model.share_relation or model.penalty is not None:
        reason = "model.share_relation" if model.share_relation else "a penalty on each triplet"
        raise InputError(f"train.batch=users has no triplets, but model {model.name} has {reason}; set triplets")


def group_widths(degrees: np.ndarray, negatives: int = 0) -> tuple[int, ...]:
    """Return the fewest widths that keep padding small, and of equally many those with the least padding: increasing.

    A user with d positives needs d + n targets and computes W + n, where W is the least width with W >= d. All users
    together compute at most 1.2 times the targets they need, on accelerators 1.5 times. Each width is compiled, which
    takes an accelerator's compiler longer than many epochs, so there should be few.

    Args:
      degrees: each user's number of positives [U].
      negatives: n, computed in addition to the positives of a user.
    """
    width, users = np.unique(degrees[degrees > 0], return_counts=True)
    if len(width) > _CANDIDATES:  # widths closer than a percent are as good as one
        spread = np.searchsorted(width, np.geomspace(width[0], width[-1], _CANDIDATES))
        kept = np.unique(spread.clip(max=len(width) - 1))
        group = np.searchsorted(kept, np.arange(len(width)))
        width, users = width[kept], np.bincount(group, users).astype(int)
    before = np.concatenate([[0], np.cumsum(users)])
    # cost[i, j]: the cost of one width for all users from the i-th to the j-th candidate.
    cost = (width + negatives)[None] * (before[None, 1:] - before[:-1, None]).astype(np.float64)
    cost[np.tril_indices(len(width), -1)] = np.inf
    needed = float(np.sum(degrees[degrees > 0] + negatives))
    most = needed * (_PADDING if jax.default_backend() == "cpu" else _ACCELERATOR_PADDING)
    least, choices = cost[0], list[np.ndarray]()
    while least[-1] > most and len(choices) < len(width) - 1:
        total = least[:-1, None] + cost[1:]
        choices.append(total.argmin(axis=0))
        least = total.min(axis=0)
    last, chosen = len(width) - 1, [int(width[-1])]
    for choice in reversed(choices):
        last = int(choice[last])
        chosen.append(int(width[last]))
    return tuple(sorted(set(chosen)))


def padding_of(widths: tuple[int, ...], degrees: np.ndarray, negatives: int = 0) -> float:
    """Return the number of computed targets per needed target; the arguments are those of ``group_widths``."""
    counts = degrees[degrees > 0]
    computed = np.asarray(widths)[np.searchsorted(widths, counts)] + negatives
    return float(computed.sum()) / float((counts + negatives).sum())


def steps_per_group(source: BatchSource, size: int) -> list[int]:
    """Return how many batches of ``size`` visit each group of examples once."""
    return [-(-len(users) // size) for users in source.groups]


def rounds_of_epoch(epoch: jax.Array, steps: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """Divide the steps of the G groups of an epoch into R rounds, at random.

    A round has ``_ROUND`` steps, those of one group after another. The rounds depend on the epoch alone, so runs
    trained at once have the same ones.

    Returns:
      The number of each group's first step in a round [R, G], and how many steps it has there [R, G].
    """
    groups = np.arange(len(steps), dtype=np.int32)
    order = jax.random.permutation(jax.random.fold_in(jax.random.key(0), epoch), np.repeat(groups, steps))
    missing = -len(order) % _ROUND
    rounds = jnp.pad(order, (0, missing), constant_values=len(steps)).reshape(-1, _ROUND)
    counts = jnp.sum(rounds[:, :, None] == groups, axis=1, dtype=jnp.int32)
    return jnp.cumsum(counts, axis=0) - counts, counts


def examples_of_step(
    order_key: jax.Array | None, source: BatchSource, group: int, index: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """Return the users [B] of a group's step, or the places of its positives, and weights that are 0 past the end.

    They are in a random order of the whole group, or without a key in their own order.
    """
    users = source.groups[group]
    positions = index * size + jnp.arange(size)
    weight = (positions < len(users)).astype(jnp.float32)
    positions = jnp.minimum(positions, len(users) - 1)
    if order_key is not None:
        key = order_key if source.widths is None else jax.random.fold_in(order_key, group)
        positions = shuffled(key, positions, len(users))
    return positions if source.widths is None else users[positions], weight


@struct.dataclass
class SharedNegatives:
    """S negatives shared by all examples of a batch.

    Attributes:
      items: [S].
      item_users: neighbors of each item [S, A].
      log_expected: [S], the log of the expected count of each.
      derived: their rows of what the model derives.
      learned: the arrays that get a gradient, once ``gradients.shared_vectors`` has set them. They are the rows, with
        ``item`` [S, D] among them; the vectors of ``item_users`` [S, A, D]; and ``Model.item_pairs`` [I, M, S] of all
        rows of the table of items. Each example takes the pairs of its user's neighbors. The last is None where pairs
        are made from the vectors.
    """

    items: jax.Array
    item_users: NeighborIds
    log_expected: jax.Array
    derived: Params = struct.field(default_factory=dict)
    learned: tuple[Params, jax.Array, jax.Array | None] | None = None


@struct.dataclass
class Batch:
    """B examples. A triplet has one positive and n negatives; a user has W positives, padded, and n negatives.

    Attributes:
      user: [B].
      items: [B, T], the positives first: T = 1 + n, or W + n.
      is_positive: [B, W] true for the positives of users that are not padding; [B, 1] for triplets.
      known: [B, n + S], true for negatives that do not count; the shared ones come last.
      log_expected: [B, n], the log of the expected count of a negative among the n.
      history: neighbors of the user [B, H].
      item_users: neighbors of each item [B, T, A].
      weight: [B], 0 for padding of the last batch.
      shared: the shared negatives, if there are any.
      user_derived, items_derived: rows of what the model derives, [B, ...] and [B, T, ...].
      words: [2], random bits for what is sampled while the loss is computed: the dropout of histories (``all_items``).
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
    user_derived: Params = struct.field(default_factory=dict)
    items_derived: Params = struct.field(default_factory=dict)
    words: jax.Array | None = None

    def examples(self) -> "Batch":
        """Return the batch without what all examples share: every leaf has the leading axis [B]."""
        return replace(self, shared=None)


def derive_rows(model: Model, params: Params, sources: NeighborSources, batch: Batch) -> Batch:
    """Return the batch with what the model derives, computed once for each user and item in it."""
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

    shared = None if batch.shared is None else replace(batch.shared, derived=rows_of("item", items, others))
    of_user, of_items = rows_of("user", users, batch.user), rows_of("item", items, batch.items)
    return replace(batch, shared=shared, user_derived=of_user, items_derived=of_items)
