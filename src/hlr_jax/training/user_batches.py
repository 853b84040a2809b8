"""Batches of users: B users, each with all its training items as positives, one history and C negatives for them all.

A user's attention meets W + C targets, where triplets meet W (1 + n) of them. A positive that stands in the history is
left out of it exactly, for itself alone. Users are grouped by their number of positives into a few widths W, so that
padding stays small and each width is one compiled shape.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from hlr_jax.data.csr import contains, csr_of, padded_row
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborSources, draw_neighbors, neighbor_sources
from hlr_jax.data.sampling import ItemPopularity, shuffled
from hlr_jax.errors import InputError
from hlr_jax.losses import LossParams, Objective, positive_losses
from hlr_jax.models.base import Model
from hlr_jax.scoring import score_items
from hlr_jax.training.batches import (
    Batch,
    Negatives,
    SharedNegatives,
    batch_positions,
    contains_shared,
    draw_users_of_shared,
)
from hlr_jax.training.gradients import SharedVectors, Vectors, shared_distances
from hlr_jax.training.triplet_batches import draw_own_negatives
from hlr_jax.types import CSR, Neighbors, Padded, Params

_PADDING = 1.2  # the most targets that are computed for each that is needed, on average
_CANDIDATES = 256  # widths to choose from


@struct.dataclass
class UserSource:
    """Where batches of users come from.

    Attributes:
      groups: the users of each width, who together are all with a positive.
      positives: each user's positives.
      neighbors: what neighbors are drawn from.
      known: what negatives must avoid.
      popularity: what popular negatives are drawn by; None where they are uniform.
      widths: the most positives of a user in each group (static).
      num_positives: of all users (static).
      num_items: I (static).
    """

    groups: tuple[jax.Array, ...]
    positives: CSR
    neighbors: NeighborSources
    known: CSR
    popularity: ItemPopularity | None
    widths: tuple[int, ...] = struct.field(pytree_node=False)
    num_positives: int = struct.field(pytree_node=False)
    num_items: int = struct.field(pytree_node=False)


def check_batches_of_users(model: Model) -> None:
    """Check that a model can be trained with batches of users.

    Raises:
      InputError: it is defined on triplets.
    """
    if model.share_relation or model.penalty is not None:
        reason = "model.share_relation" if model.share_relation else "a penalty on each triplet"
        raise InputError(f"train.batch=users has no triplets, but model {model.name} has {reason}; set triplets")


def user_source(
    positives: Interactions, near: Interactions, known: Interactions, sizes: tuple[int, int], model: Model,
    negatives: Negatives,
) -> UserSource:  # fmt: skip
    """Return the source of some positives; the arguments are those of ``triplet_batches.triplet_source``.

    Raises:
      InputError: a model that is defined on triplets.
    """
    check_batches_of_users(model)
    num_users, num_items = sizes
    neighbors = neighbor_sources(near, *sizes, model.history, model.item_users, model.derived is not None)
    near_rows = neighbors.history.rows if neighbors.history.rows is not None else csr_of(near, num_users)
    rows = near_rows if positives is near else csr_of(positives, num_users)
    degrees = positives.degrees(num_users)
    widths = group_widths(degrees, num_items if negatives.kind == "all" else negatives.number)
    group = np.searchsorted(widths, degrees)
    groups = tuple(
        jnp.asarray(np.flatnonzero((group == place) & (degrees > 0)), jnp.int32) for place in range(len(widths))
    )
    return UserSource(
        groups, rows, neighbors, near_rows if known is near else csr_of(known, num_users),
        negatives.drawn_by(near, num_items), widths, len(positives), num_items,
    )  # fmt: skip


def group_widths(degrees: np.ndarray, negatives: int = 0) -> tuple[int, ...]:
    """Return the fewest widths that keep padding small, and of as many those with the least: increasing.

    A user with d positives computes W + n targets where d + n are needed, W the least width that holds them. All users
    together compute at most ``_PADDING`` times what is needed. Each width is compiled, so few of them are wanted.

    Args:
      degrees: each user's number of positives [U].
      negatives: n, that are computed beside the positives of a user.
    """
    width, users = np.unique(degrees[degrees > 0], return_counts=True)
    if len(width) > _CANDIDATES:  # widths that lie closer than a percent are as good as one
        spread = np.searchsorted(width, np.geomspace(width[0], width[-1], _CANDIDATES))
        kept = np.unique(spread.clip(max=len(width) - 1))
        group = np.searchsorted(kept, np.arange(len(width)))
        width, users = width[kept], np.bincount(group, users).astype(int)
    before = np.concatenate([[0], np.cumsum(users)])
    # cost[i, j]: of one width for all users from the i-th to the j-th candidate.
    cost = (width + negatives)[None] * (before[None, 1:] - before[:-1, None]).astype(np.float64)
    cost[np.tril_indices(len(width), -1)] = np.inf
    needed = float(np.sum(degrees[degrees > 0] + negatives))
    least, choices = cost[0], list[np.ndarray]()
    while least[-1] > _PADDING * needed and len(choices) < len(width) - 1:
        total = least[:-1, None] + cost[1:]
        choices.append(total.argmin(axis=0))
        least = total.min(axis=0)
    last, chosen = len(width) - 1, [int(width[-1])]
    for choice in reversed(choices):
        last = int(choice[last])
        chosen.append(int(width[last]))
    return tuple(sorted(set(chosen)))


def epoch_schedule(epoch: jax.Array, source: UserSource, size: int) -> tuple[jax.Array, jax.Array]:
    """Return the group of every step of an epoch and the step's number within it: [steps], [steps].

    The order of groups depends on the epoch alone, so that runs that are trained at once take the same branch.
    """
    counts = [-(-len(users) // size) for users in source.groups]
    group = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    within = np.concatenate([np.arange(count) for count in counts]).astype(np.int32)
    order = jax.random.permutation(jax.random.fold_in(jax.random.key(0), epoch), len(group))
    return jnp.asarray(group)[order], jnp.asarray(within)[order]


def users_of_step(
    order_key: jax.Array | None, source: UserSource, group: int, index: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """Return the users [B] of a group's step, in a random order or as they stand, and their weights [B]."""
    users = source.groups[group]
    positions, weight = batch_positions(index, size, len(users))
    if order_key is not None:
        positions = shuffled(jax.random.fold_in(order_key, group), positions, len(users))
    return users[positions], weight


def sample_users(
    key: jax.Array, source: UserSource, users: jax.Array, weight: jax.Array, width: int, negatives: Negatives
) -> Batch:
    """Draw the negatives and the history of users [B] with at most ``width`` positives, and weights [B]."""
    near, count = source.neighbors, negatives.own
    negative_key, history_key, user_key = jax.random.split(key, 3)
    positives, is_positive = jax.vmap(padded_row, in_axes=(None, 0, None))(source.positives, users, width)
    bits = jax.random.bits(negative_key, (len(users), count))
    own, log_expected = draw_own_negatives(bits, source.known, source.popularity, users, source.num_items)
    known = jnp.zeros(own.shape, bool)
    if source.popularity is not None and count:
        known = jax.vmap(contains, in_axes=(None, 0, 0))(source.known, users, own)
    history_bits = jax.random.bits(history_key, (len(users), near.history.num_bits))
    history = jax.vmap(draw_neighbors, in_axes=(0, None, 0))(history_bits, near.history, users)
    items = jnp.concatenate([positives, own], axis=1)
    shared, user_bits_key = None, jax.random.fold_in(user_key, 0)
    if negatives.kind == "all":
        everything = jnp.arange(source.num_items)
        near_users = draw_users_of_shared(user_key, near.item_users, everything)
        shared = SharedNegatives(everything, near_users, jnp.zeros(source.num_items))
        known = contains_shared(source.known, users, everything, source.num_items)
    bits = jax.random.bits(user_bits_key, (*items.shape, near.item_users.num_bits))
    draw_item_users = jax.vmap(jax.vmap(draw_neighbors, in_axes=(0, None, 0, None)), in_axes=(0, None, 0, 0))
    item_users = draw_item_users(bits, near.item_users, items, users)
    return Batch(users, items, is_positive, known, log_expected, history, item_users, weight, shared)


def user_loss(
    model: Model, objective: Objective, loss_params: LossParams, params: Params, vectors: Vectors, example: Batch,
    shared: SharedVectors | None,
) -> jax.Array:  # fmt: skip
    """Return the sum of the losses of one user's positives: ``example`` is a batch without its leading axis."""
    width = example.is_positive.shape[0]
    user, items = vectors.user | example.derived.user, vectors.items | example.derived.items
    history = Padded(vectors.history, example.history.mask)
    # A negative is no item of the user, so that this leaves out each positive for itself and nothing else.
    mask = example.history.mask & (example.history.ids != example.items[:, None])
    near = Neighbors(Padded(vectors.history, mask), Padded(vectors.item_users, example.item_users.mask))
    distances = -score_items(model, params, user, items, near)
    negatives, log_expected = distances[width:], example.log_expected
    if shared is not None:
        negatives = jnp.concatenate([negatives, shared_distances(model, params, user, history, example, shared)])
        log_expected = jnp.concatenate([log_expected, shared.log_expected])
    negatives = jnp.where(example.known, jnp.inf, negatives)
    losses = positive_losses(objective, distances[:width], negatives, log_expected, loss_params)
    return jnp.sum(jnp.where(example.is_positive, losses, 0))


def padding_of(widths: tuple[int, ...], degrees: np.ndarray, negatives: int = 0) -> float:
    """Return how many targets are computed for each that is needed; the arguments are those of ``group_widths``."""
    counts = degrees[degrees > 0]
    computed = np.asarray(widths)[np.searchsorted(widths, counts)] + negatives
    return float(computed.sum() / (counts + negatives).sum())
