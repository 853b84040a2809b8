"""What lies near what in the learned space: items and users."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import check_range
from hlr_jax.kernels.distance import squared_distance
from hlr_jax.models.base import Model
from hlr_jax.serving.lists import codes_of
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
    codes = codes_of(dataset.item_ids, _as_list(items), "items")
    near, distances = _nearest(model, params["item"][: dataset.num_items], codes, k)
    return pl.DataFrame(
        {
            "item": dataset.item_ids.gather(np.repeat(codes, near.shape[1])),
            "title": _titles(dataset, np.repeat(codes, near.shape[1])),
            "rank": np.tile(np.arange(1, near.shape[1] + 1), len(codes)),
            "similar": dataset.item_ids.gather(near.ravel()),
            "similar_title": _titles(dataset, near.ravel()),
            "distance": distances.ravel(),
        }
    )


def similar_users(
    model: Model, params: Params, dataset: Dataset, users: Sequence[object], *, k: int = 10
) -> pl.DataFrame:
    """Return the ``k`` users that lie nearest to each user, without the user; distances are those of ``similar_items``.

    Args:
      model: tells how its space is measured.
      params: its parameters.
      dataset: gives ids.
      users: original ids.
      k: how many; all others where there are fewer.

    Returns:
      A frame of ``user``, ``rank`` (from 1), ``similar``, ``distance``.

    Raises:
      InputError: an unknown id, or ``k`` out of range.
    """
    codes = codes_of(dataset.user_ids, _as_list(users), "users")
    near, distances = _nearest(model, params["user"][: dataset.num_users], codes, k)
    return pl.DataFrame(
        {
            "user": dataset.user_ids.gather(np.repeat(codes, near.shape[1])),
            "rank": np.tile(np.arange(1, near.shape[1] + 1), len(codes)),
            "similar": dataset.user_ids.gather(near.ravel()),
            "distance": distances.ravel(),
        }
    )


def _as_list(ids: Sequence[object]) -> Sequence[object]:
    return [ids] if isinstance(ids, str) else ids


def _titles(dataset: Dataset, items: np.ndarray) -> list[str]:
    return [dataset.title(int(item)) for item in items]


def _nearest(model: Model, table: jax.Array, codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a table [R, D] nearest to each of some rows [Q], and their distances: [Q, k] each.

    One row after the other, so that no [Q, R] array is made; and by differences, not by |a|^2 + |b|^2 - 2 a.b, which
    loses what tells near rows apart.
    """
    check_range("similar", k=(k, 1, 10**6))
    count, cosine = min(k, len(table) - 1), model.similarity == "cosine"

    @jax.jit
    def nearest(table: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        if cosine:  # directions are compared: |a - b|^2 / 2 = 1 - cos on the sphere
            table = table / jnp.maximum(jnp.linalg.norm(table, axis=1, keepdims=True), jnp.finfo(table.dtype).tiny)

        def nearest_to(row: jax.Array) -> tuple[jax.Array, jax.Array]:
            squared = squared_distance(table, table[row]).at[row].set(jnp.inf)
            best, near = jax.lax.top_k(-squared, count)
            return near, -best / 2 if cosine else jnp.sqrt(-best)

        return jax.lax.map(nearest_to, rows)

    near, distances = nearest(table, jnp.asarray(codes))
    return np.asarray(near), np.asarray(distances)
