"""What lies near what in the learned space: items, users, and the keys that items and pairs address."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborSources
from hlr_jax.errors import InputError, check_range
from hlr_jax.kernels.distance import squared_distance
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import ranking_inputs
from hlr_jax.scoring import with_derived
from hlr_jax.serving.explain import pair_outputs
from hlr_jax.serving.population import codes_of, known_interactions
from hlr_jax.types import Params


def similar_items(
    model: Model, params: Params, dataset: Dataset, items: Sequence[object], *, k: int = 10
) -> pl.DataFrame:
    """Return the ``k`` items that lie nearest to each item, without the item itself.

    In a metric model the distance is |q_v - q_w|: what the same users like lies together (Hsieh et al. 2017).
    In a factorisation (MF-ALS) long vectors have large products with all others, so that popular items would be
    similar to everything; there the distance is 1 - cos(q_v, q_w).

    Args:
      model: tells how its space is measured.
      params: its parameters.
      dataset: gives ids and titles.
      items: original ids.
      k: how many; all others where there are fewer.

    Returns:
      A frame of ``item``, ``title``, ``rank`` (from 1), ``similar``, ``similar_title``, ``distance``; of equally near
      items the one that stands first in the data set comes first. Memory beside it is one distance per item.

    Raises:
      InputError: an unknown id, or ``k`` out of range.
    """
    return _similar(model, params["item"], dataset.item_ids, items, "item", k, dataset.item_titles)


def similar_users(
    model: Model, params: Params, dataset: Dataset, users: Sequence[object], *, k: int = 10
) -> pl.DataFrame:
    """Return the ``k`` users that lie nearest to each user, without the user; all else as in ``similar_items``.

    Returns:
      A frame of ``user``, ``rank`` (from 1), ``similar``, ``distance``.

    Raises:
      InputError: an unknown id, or ``k`` out of range.
    """
    return _similar(model, params["user"], dataset.user_ids, users, "user", k)


def _similar(
    model: Model,
    table: jax.Array,
    ids: pl.Series,
    wanted: Sequence[object],
    role: str,
    k: int,
    titles: pl.Series | None = None,
) -> pl.DataFrame:
    """Return the frame of the rows [R, D] of a table that lie nearest to those of the wanted ids.

    One row after the other, so that no array of wanted ids by R is made; and by differences, not by
    |a|^2 + |b|^2 - 2 a.b, which loses what tells near rows apart.
    """
    codes = codes_of(ids, wanted, f"{role}s")
    check_range("similar", k=(k, 1, 10**6))
    count, cosine = min(k, len(ids) - 1), model.similarity == "cosine"

    @jax.jit
    def nearest(table: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        if cosine:  # directions are compared: |a - b|^2 / 2 = 1 - cos on the sphere
            table = table / jnp.maximum(jnp.linalg.norm(table, axis=1, keepdims=True), jnp.finfo(table.dtype).tiny)

        def nearest_to(row: jax.Array) -> tuple[jax.Array, jax.Array]:
            squared = squared_distance(table, table[row]).at[row].set(jnp.inf)
            best, near = jax.lax.top_k(-squared, count)
            return near, -best / 2 if cosine else jnp.sqrt(-best)

        return jax.lax.map(nearest_to, rows)

    near, distances = (np.asarray(array).ravel() for array in nearest(table[: len(ids)], jnp.asarray(codes)))
    code, rank = _flat(codes, count)
    frame = pl.DataFrame({role: ids.gather(code), "rank": rank, "similar": ids.gather(near), "distance": distances})
    if titles is None:
        return frame
    frame = frame.insert_column(1, titles.gather(code).alias("title"))
    return frame.insert_column(4, titles.gather(near).alias("similar_title"))


def _flat(codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the code and the rank, from 1, of every entry of lists [Q, k] of codes [Q]."""
    return np.repeat(codes, k), np.tile(np.arange(1, k + 1), len(codes))


def nearest_keys(
    model: Model,
    params: Params,
    dataset: Dataset,
    items: Sequence[object],
    *,
    other: object = None,
    user: object = None,
    k: int = 3,
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
      items: original ids.
      other: the original id of another item.
      user: the original id of a user.
      k: how many keys; all where there are fewer.
      seed: as given to ``recommend``: it draws the same history.

    Returns:
      A frame of ``item``, ``title``, ``rank`` (from 1), ``key`` (its row), ``weight``.

    Raises:
      InputError: an unknown id, both ``other`` and ``user``, ``k`` out of range, a model without keys, or without
        ``user`` one whose keys are not addressed by pairs of items.
    """
    check_range("nearest_keys", k=(k, 1, 10**6))
    if "keys" not in params:
        raise InputError(f"model {model.name} has no keys")
    if other is not None and user is not None:
        raise InputError("nearest_keys takes another item or a user, not both")
    codes = codes_of(dataset.item_ids, items, "items")
    if user is not None:
        weights = _of_relations(model, params, dataset, user, codes, seed)
    elif model.item_pairs is None:
        raise InputError(f"model {model.name} addresses its keys by pairs of user and item: give a user too")
    else:
        weights = _of_items(model, params, dataset, other, codes)
    best = np.argsort(-weights, axis=1, kind="stable")[:, :k]
    code, rank = _flat(codes, best.shape[1])
    shown = {"item": dataset.item_ids.gather(code), "title": dataset.item_titles.gather(code), "rank": rank}
    return pl.DataFrame(shown | {"key": best.ravel(), "weight": np.take_along_axis(weights, best, axis=1).ravel()})


def _of_relations(
    model: Model, params: Params, dataset: Dataset, user: object, items: np.ndarray, seed: int
) -> np.ndarray:
    """Return w [items, N] of a user and each item."""
    code = jnp.asarray(codes_of(dataset.user_ids, [user], "users")[0])
    known = known_interactions(dataset)
    inputs = ranking_inputs(model, known, known, (dataset.num_users, dataset.num_items), seed)

    @jax.jit
    def mixtures(params: Params, sources: NeighborSources, code: jax.Array, targets: jax.Array) -> jax.Array:
        everything = with_derived(model, params, sources)
        _, outputs = pair_outputs(model, everything, sources, inputs.key, code, targets)
        return jax.vmap(jnp.matmul)(outputs.neighbor_weights, outputs.memory_weights)

    return np.asarray(mixtures(params, inputs.sources, code, jnp.asarray(items)))


def _of_items(model: Model, params: Params, dataset: Dataset, other: object, items: np.ndarray) -> np.ndarray:
    """Return the weights [items, N] of each item's pairs: with one other item, or with those met beside it."""
    form, table, pairs = model.item_pairs, params["item"][: dataset.num_items], known_interactions(dataset)
    assert form is not None

    @jax.jit
    def mean(item: jax.Array, shares: jax.Array) -> jax.Array:
        return shares @ form(params, table, table[item][None])[..., 0]

    if other is not None:
        share = np.zeros(dataset.num_items, np.float32)
        share[codes_of(dataset.item_ids, [other], "items")] = 1
    weights = [mean(item, _company(pairs, item, dataset) if other is None else share) for item in items]
    return np.asarray(weights).reshape(len(items), -1)


def _company(pairs: Interactions, item: int, dataset: Dataset) -> np.ndarray:
    """Return each item's share [I] of what the users of one item have met beside it."""
    met = np.zeros(dataset.num_users, bool)
    met[pairs.user[pairs.item == item]] = True
    counts = np.bincount(pairs.item[met[pairs.user]], minlength=dataset.num_items)
    counts[item] = 0
    return (counts / max(int(counts.sum()), 1)).astype(np.float32)
