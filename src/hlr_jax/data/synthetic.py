"""Planted worlds: synthetic interactions whose causes are known, of any size.

Items lie in clusters and have power-law popularity. Each relation type is a permutation of the clusters: type 0 is
the identity ("more of the same"), every other leads from a cluster to another one ("those who like this go on to
that"). A user has several tastes (clusters) and a leaning to some relation types; an interaction starts at one of the
tastes, follows one of the relations and takes an item there by popularity. So the type of a pair of items is known:
``relation_of[cluster of the first, cluster of the second]``.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.encoding import divided
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.report import ReadingReport
from hlr_jax.data.splits import random_split
from hlr_jax.errors import InputError, check_range
from hlr_jax.protocols import Protocol

SYNTHETIC_PREFIX = "planted-"


class SyntheticWorld(NamedTuple):
    """Interactions and their ground truth.

    Attributes:
      pairs: distinct interactions, sorted.
      item_cluster: [I].
      relation_of: [clusters, clusters] relation type of an ordered pair of clusters, -1 for none.
      user_tastes: [U, tastes] clusters.
      user_relations: [U, relations] how likely the user follows each type; rows sum to 1.

    Example:
      >>> world = hlr_jax.synthetic_world(60, 50, 900, num_relations=3)
      >>> len(world.pairs), world.item_cluster.shape, int(world.relation_of.max())
      (900, (50,), 2)
    """

    pairs: Interactions
    item_cluster: np.ndarray
    relation_of: np.ndarray
    user_tastes: np.ndarray
    user_relations: np.ndarray


def synthetic_world(
    num_users: int,
    num_items: int,
    num_interactions: int,
    *,
    num_relations: int = 4,
    num_clusters: int = 0,
    num_tastes: int = 3,
    popularity_exponent: float = 0.8,
    seed: int = 0,
) -> SyntheticWorld:
    """Generate a world with exactly ``num_interactions`` distinct user-item pairs.

    Args:
      num_users: U.
      num_items: I.
      num_interactions: at least 5 a user, and at most half of all pairs.
      num_relations: relation types, at most ``num_clusters``.
      num_clusters: 0: about one per 100 items, at least 8.
      num_tastes: clusters that a user starts from.
      popularity_exponent: of the power law of items within a cluster.
      seed: of everything.

    Raises:
      InputError: a size out of range.

    Example:
      >>> world = hlr_jax.synthetic_world(60, 50, 900)
      >>> len(world.pairs), world.user_relations.shape
      (900, (60, 4))
    """
    clusters = num_clusters or max(8, num_items // 100)
    if not 5 * num_users <= num_interactions <= num_users * num_items // 2:
        raise InputError(
            f"planted world: {num_interactions} interactions must be at least 5 a user ({5 * num_users}) and at most "
            f"half of all pairs ({num_users * num_items // 2})"
        )
    if not 1 <= num_relations <= clusters <= num_items:
        raise InputError(
            f"planted world: needs relations ({num_relations}) <= clusters ({clusters}) <= items ({num_items})"
        )
    rng = np.random.default_rng(seed)
    # Type r shifts the clusters, in a hidden order, by r places: no two types lead to the same cluster.
    ring = rng.permutation(clusters)
    place = np.argsort(ring)
    successors = np.stack([ring[(place + r) % clusters] for r in range(num_relations)])
    relation_of = np.full((clusters, clusters), -1, np.int8)
    relation_of[np.arange(clusters), successors] = np.arange(num_relations)[:, None]
    item_cluster = rng.permutation(np.arange(num_items) % clusters).astype(np.int32)
    tastes = rng.integers(0, clusters, (num_users, num_tastes))
    leanings = rng.dirichlet(np.full(num_relations, 0.5), num_users)
    degrees = _degrees(rng, num_users, num_items, num_interactions)
    popular_items = _popular_items(item_cluster, clusters, popularity_exponent)
    draw = partial(_draw_items, rng, tastes, np.cumsum(leanings, axis=1), successors, popular_items)
    keys = _distinct_pairs(rng, degrees, num_items, draw)
    pairs = Interactions((keys // num_items).astype(np.int32), (keys % num_items).astype(np.int32))
    return SyntheticWorld(pairs, item_cluster, relation_of, tastes, leanings)


def _popular_items(item_cluster: np.ndarray, clusters: int, exponent: float) -> tuple[np.ndarray, ...]:
    """Return the items [I] by cluster, their popularity added up [I + 1], and where each cluster starts in the sum."""
    sizes = np.bincount(item_cluster, minlength=clusters)
    rank = np.arange(len(item_cluster)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    cumulative = np.concatenate([[0.0], np.cumsum((rank + 1.0) ** -exponent)])
    return np.argsort(item_cluster, kind="stable"), cumulative, cumulative[np.concatenate([[0], np.cumsum(sizes)])]


def _draw_items(
    rng: np.random.Generator, tastes: np.ndarray, leaning_edges: np.ndarray, successors: np.ndarray,
    popular_items: tuple[np.ndarray, ...], user: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Draw one item for each entry of ``user``, by taste, relation and popularity."""
    by_cluster, cumulative, edges = popular_items
    start = tastes[user, rng.integers(0, tastes.shape[1], len(user))]
    spin = rng.random(len(user))
    relation = np.zeros(len(user), np.int64)
    for r in range(len(successors) - 1):
        relation += spin > leaning_edges[user, r]
    cluster = successors[relation, start]
    low, high = edges[cluster], edges[cluster + 1]
    position = np.searchsorted(cumulative, low + rng.random(len(user)) * (high - low), side="right") - 1
    return by_cluster[np.minimum(position, len(by_cluster) - 1)]


def _distinct_pairs(
    rng: np.random.Generator, degrees: np.ndarray, num_items: int, draw: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Draw items until each user has as many different ones as its degree; return user * I + item, increasing."""
    keys, missing, attempt = np.empty(0, np.int64), degrees, 0
    while missing.sum():
        user = np.repeat(np.arange(len(degrees)), missing)
        # A user may have used up the clusters in reach; then the rest comes from anywhere.
        item = draw(user) if attempt < 20 else rng.integers(0, num_items, len(user))
        fresh = np.unique(user * num_items + item)
        if len(keys):
            fresh = fresh[keys[np.minimum(np.searchsorted(keys, fresh), len(keys) - 1)] != fresh]
        # A stable sort merges two sorted runs in one pass.
        keys = np.sort(np.concatenate([keys, fresh]), kind="stable")
        missing = missing - np.bincount(fresh // num_items, minlength=len(degrees))
        attempt += 1
    return keys


def _degrees(rng: np.random.Generator, num_users: int, num_items: int, total: int) -> np.ndarray:
    """Return interactions per user: log-normal, between 5 and three quarters of the items, summing to ``total``."""
    highest = max(5, 3 * num_items // 4)
    raw = rng.lognormal(0.0, 1.0, num_users)
    degrees = np.clip(np.rint(raw * total / raw.sum()), 5, highest).astype(np.int64)
    while gap := total - int(degrees.sum()):
        movable = np.flatnonzero(degrees < highest if gap > 0 else degrees > 5)
        chosen = rng.choice(movable, min(abs(gap), len(movable)), replace=False)
        degrees[chosen] += np.sign(gap)
    return degrees


def synthetic_world_of(name: str, seed: int) -> SyntheticWorld:
    """Return the world that the data set ``planted-USERSxITEMSxINTERACTIONS`` is made from.

    Raises:
      InputError: the name has another form.
    """
    if not (match := re.fullmatch(SYNTHETIC_PREFIX + r"(\d+)x(\d+)x(\d+)", name)):
        raise InputError(f'"{name}": a planted world is called {SYNTHETIC_PREFIX}USERSxITEMSxINTERACTIONS')
    users, items, count = map(int, match.groups())
    check_range(name, users=(users, 1, 10**9), items=(items, 8, 10**9))
    return synthetic_world(users, items, count, seed=seed)


def synthetic_dataset(name: str, protocol: Protocol, seed: int) -> Dataset:
    """Return the world ``planted-USERSxITEMSxINTERACTIONS``, split at random by the protocol.

    Raises:
      InputError: the name has another form.
    """
    world = synthetic_world_of(name, seed)
    user_ids = pl.Series("user", np.arange(len(world.user_tastes)))
    item_ids = pl.Series("item", np.arange(len(world.item_cluster)))
    splits = divided(world.pairs, random_split(world.pairs.user, protocol, seed))
    reading = ReadingReport(len(world.pairs))
    return Dataset(
        name, **splits, user_ids=user_ids, item_ids=item_ids, titles=None, protocol=protocol, reading=reading
    )
