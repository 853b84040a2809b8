"""What lies near what in the learned space: items, users, and the keys that items and pairs address."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.neighbor_sampling import NeighborSources
from hlr_jax.errors import InputError, check_range
from hlr_jax.kernels.distance import squared_distance
from hlr_jax.models.base import Model
from hlr_jax.parameters import check_params
from hlr_jax.ranking.inputs import draw_key, filled_up
from hlr_jax.ranking.population import Population, codes_of, population_of, user_table
from hlr_jax.scoring import with_derived
from hlr_jax.serving.model_reasons import pair_outputs
from hlr_jax.types import Params


def similar_items(model: Model, params: Params, dataset: Dataset, items: Any, *, k: int = 10) -> pl.DataFrame:
    """Return the ``k`` items that lie nearest to each item, without the item itself.

    In a metric model the distance is |q_v - q_w|: what the same users like lies together (Hsieh et al. 2017).
    In a factorisation (MF-ALS) long vectors have large products with all others, so that popular items would be
    similar to everything; there the distance is 1 - cos(q_v, q_w).

    Args:
      model: tells how its space is measured.
      params: its parameters.
      dataset: gives ids and titles.
      items: original ids, or one.
      k: how many; all others where there are fewer.

    Returns:
      A frame of ``item``, ``title``, ``rank`` (from 1), ``similar``, ``similar_title``, ``distance``; of equally near
      items the one that stands first in the data set comes first. Memory beside it is one distance per item.

    Raises:
      InputError: an unknown id, ``k`` out of range, or parameters of another model or data set.

    Example:
      >>> hlr_jax.similar_items(model, params, data, items=[3, 7], k=2)["rank"].to_list()
      [1, 2, 1, 2]
    """
    check_params(model, params, dataset.num_users, dataset.num_items)
    codes, titles = codes_of(dataset.item_index, items, "items"), dataset.item_titles
    near, rank, distances = _nearest(model, params["item"], dataset.num_items, codes, k)
    code = np.repeat(codes, near.shape[1])
    return pl.DataFrame(
        {
            "item": dataset.item_ids.gather(code), "title": titles.gather(code), "rank": rank,
            "similar": dataset.item_ids.gather(near.ravel()), "similar_title": titles.gather(near.ravel()),
            "distance": distances.ravel(),
        }
    )  # fmt: skip


def similar_users(model: Model, params: Params, dataset: Dataset, users: Any, *, k: int = 10) -> pl.DataFrame:
    """Return the ``k`` users that lie nearest to each user, without the user; all else as in ``similar_items``.

    Returns:
      A frame of ``user``, ``rank`` (from 1), ``similar``, ``distance``.

    Raises:
      InputError: see ``similar_items``.

    Example:
      >>> hlr_jax.similar_users(model, params, data, users=7, k=3).columns
      ['user', 'rank', 'similar', 'distance']
    """
    check_params(model, params, dataset.num_users, dataset.num_items)
    codes = codes_of(dataset.user_index, users, "users")
    near, rank, distances = _nearest(model, user_table(model, params, dataset), dataset.num_users, codes, k)
    user, similar = (dataset.user_ids.gather(code) for code in (np.repeat(codes, near.shape[1]), near.ravel()))
    return pl.DataFrame({"user": user, "rank": rank, "similar": similar, "distance": distances.ravel()})


def _nearest(
    model: Model, table: jax.Array, num_rows: int, codes: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of a table that lie nearest to some of them: codes [Q, k], ranks [Q k], distances [Q, k]."""
    check_range("similar", k=(k, 1, 10**6))
    count = min(k, num_rows - 1)
    found = _nearest_rows(table, filled_up(codes), num_rows, count, model.similarity == "cosine")
    near, distances = (np.asarray(array)[: len(codes)] for array in found)
    return near, np.tile(np.arange(1, count + 1), len(codes)), distances


@partial(jax.jit, static_argnames=("num_rows", "count", "cosine"))
def _nearest_rows(
    table: jax.Array, rows: jax.Array, num_rows: int, count: int, cosine: bool
) -> tuple[jax.Array, jax.Array]:
    """Return the rows of a table [R, D], without padding, that lie nearest to some of them, and their distances [Q, k].

    One row after the other, so that no array of Q by R is made; and by differences, not by
    |a|^2 + |b|^2 - 2 a.b, which loses what tells near rows apart.
    """
    table = table[:num_rows]
    if cosine:  # directions are compared: |a - b|^2 / 2 = 1 - cos on the sphere
        table = table / jnp.maximum(jnp.linalg.norm(table, axis=1, keepdims=True), jnp.finfo(table.dtype).tiny)

    def nearest_to(row: jax.Array) -> tuple[jax.Array, jax.Array]:
        squared = squared_distance(table, table[row]).at[row].set(jnp.inf)
        best, near = jax.lax.top_k(-squared, count)
        return near, -best / 2 if cosine else jnp.sqrt(-best)

    return jax.lax.map(nearest_to, rows)


def nearest_keys(
    model: Model,
    params: Params,
    dataset: Dataset,
    items: Any,
    *,
    other: object = None,
    user: object = None,
    k: int = 3,
    among: Population | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the keys that each item addresses most, with the weights of their memories.

    - with ``user``, of the pair of user and item: the weights w of the relation, r = w M (HLR, eq. 6 with eq. 4), which
      sum to 1. For HLR++ those of its user attention.
    - with ``other``, of the pair of two items (HLR, eq. 2-3), which sum to 1.
    - with neither, of the item's pairs with all items that its users have met, averaged over these meetings; 0 for
      an item that nobody has met together with another one.

    Args:
      model: one with keys.
      params: its parameters.
      dataset: gives ids, titles, and who met what (train and validation items).
      items: original ids, or one.
      other: the original id of another item.
      user: the original id of a user.
      k: how many keys; all where there are fewer.
      among: whose ids ``user`` is one of: from ``fold_in``; None: the users of ``dataset``.
      seed: as given to ``recommend``: it draws the same history.

    Returns:
      A frame of ``item``, ``title``, ``rank`` (from 1), ``key`` (its row), ``weight``.

    Raises:
      InputError: an unknown id, both ``other`` and ``user``, ``k`` out of range, a model without keys, or without
        ``user`` one whose keys are not addressed by pairs of items, or parameters of another model or data set.

    Example:
      >>> hlr = hlr_jax.create_model("hlr", embed_dim=4, num_memories=3)
      >>> start = hlr.init(jax.random.key(0), data.num_users, data.num_items)
      >>> hlr_jax.nearest_keys(hlr, start, data, items=3, other=7, k=2).columns
      ['item', 'title', 'rank', 'key', 'weight']
    """
    check_range("nearest_keys", k=(k, 1, 10**6))
    check_params(model, params, dataset.num_users, dataset.num_items)
    if "keys" not in params:
        raise InputError(f"model {model.name} has no keys")
    if other is not None and user is not None:
        raise InputError("nearest_keys takes another item or a user, not both")
    codes = codes_of(dataset.item_index, items, "items")
    if user is not None:
        weights = _of_relations(model, population_of(model, params, dataset, among), user, codes, seed)
    elif model.item_pairs is None:
        raise InputError(f"model {model.name} addresses its keys by pairs of user and item: give a user too")
    else:
        weights = _of_items(model, params, dataset, other, codes)
    best = np.argsort(-weights, axis=1, kind="stable")[:, :k]
    code, rank = np.repeat(codes, best.shape[1]), np.tile(np.arange(1, best.shape[1] + 1), len(codes))
    shown = {"item": dataset.item_ids.gather(code), "title": dataset.item_titles.gather(code), "rank": rank}
    return pl.DataFrame(shown | {"key": best.ravel(), "weight": np.take_along_axis(weights, best, axis=1).ravel()})


def _of_relations(model: Model, population: Population, user: object, items: np.ndarray, seed: int) -> np.ndarray:
    """Return w [items, N] of a user and each item."""
    row = population.rows[codes_of(population.index, [user], "users")[0]]
    padded = filled_up(items)
    weights = _mixtures(model, population.params, population.placed[1], draw_key(seed), row, padded)
    return np.asarray(weights)[: len(items)]


@partial(jax.jit, static_argnames="model")
def _mixtures(
    model: Model, params: Params, sources: NeighborSources, key: jax.Array, user: jax.Array, items: jax.Array
) -> jax.Array:
    """Return the weights of the memories [T, N] in the relations of a user and some items [T]."""
    _, outputs = pair_outputs(model, with_derived(model, params, sources), sources, key, user, items)
    return jax.vmap(jnp.matmul)(outputs.neighbor_weights, outputs.memory_weights)


def _of_items(model: Model, params: Params, dataset: Dataset, other: object, items: np.ndarray) -> np.ndarray:
    """Return the weights [items, N] of each item's pairs: with one other item, or with those met beside it."""
    share = np.zeros(dataset.num_items, np.float32)
    if other is not None:
        share[codes_of(dataset.item_index, [other], "items")] = 1
    shares = [_company(dataset, item) if other is None else share for item in items]
    weights = [_mean_weights(model, params, item, share) for item, share in zip(items, shares, strict=True)]
    return np.asarray(weights).reshape(len(items), -1)


@partial(jax.jit, static_argnames="model")
def _mean_weights(model: Model, params: Params, item: jax.Array, shares: jax.Array) -> jax.Array:
    """Return the mean weights [N] of an item's pairs with all items, of which each has a share [I]."""
    assert model.item_pairs is not None
    table = params["item"][: len(shares)]
    return shares @ model.item_pairs(params, table, table[item][None])[..., 0]


def _company(dataset: Dataset, item: int) -> np.ndarray:
    """Return each item's share [I] of what the users of one item have met beside it."""
    pairs, met = dataset.known, np.zeros(dataset.num_users, bool)
    met[pairs.user[pairs.item == item]] = True
    counts = np.bincount(pairs.item[met[pairs.user]], minlength=dataset.num_items)
    counts[item] = 0
    return (counts / max(int(counts.sum()), 1)).astype(np.float32)
