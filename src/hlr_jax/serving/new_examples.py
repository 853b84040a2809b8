"""The triplets of new users or new items, and how a step samples from them."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from hlr_jax.data.csr import contains, csr_of
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborSource, NeighborSources, capped, neighbor_source
from hlr_jax.data.sampling import below, inverse_popularity
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import padded_rows
from hlr_jax.training.batches import Batch, BatchSource, Negatives
from hlr_jax.training.examples import sample_triplets
from hlr_jax.training.options import TrainOptions
from hlr_jax.types import CSR, NeighborSpec

_IN_BATCH = 64  # sampled negatives in place of those in the batch


@struct.dataclass
class Examples:
    """The triplets of new rows.

    Attributes:
      owners: the interactions of each row, in compressed rows: the examples one after another.
      source: triplets in which a new row is the user, or the positive; one for each of ``owners``.
      others: triplets in which a new item is a negative; None for users.
      log_count: [new], for a new item: log of its expected count among the negatives of a triplet. With uniform
        negatives per triplet, subtract the log of the number of items that the user has not interacted with.
    """

    owners: CSR
    source: BatchSource
    others: BatchSource | None
    log_count: jax.Array


def sources_with(
    model: Model, axis: str, interactions: Interactions, known: Interactions, total: int, sizes: tuple[int, int]
) -> NeighborSources:
    """Return the neighbor sources: new rows use what is given, all others their training interactions."""
    (num_users, num_items), derived = sizes, model.derived is not None
    by_item = known.transposed() if model.item_users.size or derived else known

    def with_new(rows: Interactions, spec: NeighborSpec, popularity: np.ndarray) -> NeighborSource:
        # Sampling by inverse popularity uses the popularity in training; new rows do not change it.
        weighted = spec.size and spec.sampling == "inverse_popularity"
        weights = inverse_popularity(popularity) if weighted else None
        padded = padded_rows(rows, total) if spec.size or derived else None
        return NeighborSource(padded, weights, capped(spec, padded))

    if axis == "user":
        history = with_new(interactions, model.history, known.item_degrees(num_items))
        return NeighborSources(history, neighbor_source(by_item, num_items, total, model.item_users, derived))
    of_items = by_item + interactions if by_item is not known else known
    item_users = with_new(of_items, model.item_users, known.degrees(num_users))
    return NeighborSources(neighbor_source(known, num_users, total, model.history, derived), item_users)


def negatives_of(training: TrainOptions, num_items: int) -> Negatives:
    """Return the negatives of training, for one positive at a time."""
    trained = Negatives.of(training)
    if trained.kind == "all":
        return Negatives("shared", num_items)
    if trained.kind == "in_batch":  # the positives of a batch are items sampled by popularity
        return Negatives("shared", _IN_BATCH, 1.0)
    return trained._replace(kind="per_triplet") if trained.kind == "per_user" else trained


def examples_of_users(source: BatchSource) -> Examples:
    """Return the triplets of new users, whose items are ``source.known``."""
    return Examples(source.known, source, None, jnp.zeros(0))


def examples_of(
    axis: str, interactions: Interactions, owners: CSR, sources: NeighborSources, negatives: Negatives, dataset: Dataset
) -> Examples:
    """Return the triplets of new rows on an axis, which come after those of the data set; see ``solve_rows``."""
    known, num_items = dataset.known, dataset.num_items
    popularity = negatives.drawn_by(known, num_items)
    of_owner = jnp.asarray(
        np.pad(interactions.user, (0, len(owners.items) - len(interactions)))
    )  # the padding is never read

    def source(users: jax.Array, positives: CSR, seen: CSR) -> BatchSource:
        return BatchSource((users,), positives, sources, seen, popularity, None, len(users), num_items)

    if axis == "user":
        return examples_of_users(source(of_owner, owners, owners))
    trained, degrees = csr_of(known, dataset.num_users), interactions.degrees()[num_items:]
    if negatives.popularity:
        shares = known.item_degrees(num_items).astype(np.float64) ** negatives.popularity
        log_count = np.log(negatives.number * degrees**negatives.popularity / shares.sum())
    else:
        among = 1 if negatives.own else num_items
        log_count = np.full(len(degrees), math.log(min(negatives.number, num_items) / among))
    log_count = np.pad(log_count, (0, owners.num_rows - num_items - len(degrees)))
    own_source = source(owners.items, replace(owners, items=of_owner), trained)
    others = source(jnp.asarray(known.user, jnp.int32), trained, trained)
    return Examples(owners, own_source, others, jnp.asarray(log_count, jnp.float32))


def as_own(
    positive_key: jax.Array, triplet_key: jax.Array, examples: Examples, rows: jax.Array, count: int,
    negatives: Negatives,
) -> Batch:  # fmt: skip
    """Sample ``count`` triplets from each row's own interactions."""
    owners, bits = examples.owners, jax.random.bits(positive_key, (len(rows), count))
    # Rows of padding have no interaction: they read anything, and their results are discarded.
    chosen = owners.start(rows)[:, None] + below(bits, jnp.maximum(owners.degree(rows), 1)[:, None])
    return sample_triplets(triplet_key, examples.source, chosen.reshape(-1), jnp.ones(chosen.size), negatives)


def as_negative(
    key: jax.Array, examples: Examples, rows: jax.Array, first: jax.Array, count: int, negatives: Negatives
) -> Batch:
    """Sample ``count`` triplets of trained users for each new item, which is a negative in them.

    With these weights the mean over samples represents all triplets of an epoch, relative to the mean over an item's
    own interactions.
    """
    source, owners = examples.others, examples.owners
    assert source is not None
    pick_key, triplet_key = jax.random.split(key)
    chosen = below(jax.random.bits(pick_key, (len(rows) * count,)), source.num_positives)
    items, users = jnp.repeat(rows, count), source.groups[0][chosen]
    log_count = examples.log_count[items - first]
    if negatives.own and not negatives.popularity:
        log_count -= jnp.log((source.num_items - source.known.degree(users)).astype(jnp.float32))
    is_positive = jax.vmap(lambda item, user: contains(owners, item, user[None])[0])(items, users)
    per_positive = source.num_positives / jnp.maximum(owners.degree(items), 1)
    weight = jnp.where(is_positive, 0, per_positive * jnp.exp(log_count))
    batch = sample_triplets(triplet_key, source, chosen, jnp.ones(len(chosen)), negatives, (items, log_count))
    return replace(batch, weight=weight)
