"""Which keys an item addresses, or a pair: those whose memories its relation is made of."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborSources
from hlr_jax.errors import InputError, check_range
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import ranking_inputs, ranking_item_users, ranking_neighbors
from hlr_jax.scoring import pair_params, with_derived
from hlr_jax.serving.lists import codes_of, known_interactions
from hlr_jax.types import Neighbors, Padded, Params


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
    codes = codes_of(dataset.item_ids, [items] if isinstance(items, str) else items, "items")
    if user is not None:
        weights = _of_relations(model, params, dataset, user, codes, seed)
    elif model.item_pairs is None:
        raise InputError(f"model {model.name} addresses its keys by pairs of user and item: give a user too")
    else:
        weights = _of_items(model, params, dataset, other, codes)
    best = np.argsort(-weights, axis=1, kind="stable")[:, :k]
    return pl.DataFrame(
        {
            "item": dataset.item_ids.gather(np.repeat(codes, best.shape[1])),
            "title": [dataset.title(int(item)) for item in np.repeat(codes, best.shape[1])],
            "rank": np.tile(np.arange(1, best.shape[1] + 1), len(codes)),
            "key": best.ravel(),
            "weight": np.take_along_axis(weights, best, axis=1).ravel(),
        }
    )


def _of_relations(
    model: Model, params: Params, dataset: Dataset, user_id: object, items: np.ndarray, seed: int
) -> np.ndarray:
    """Return w [items, N] of a user and each item."""
    code = jnp.asarray(codes_of(dataset.user_ids, [user_id], "users")[0])
    known = known_interactions(dataset)
    inputs = ranking_inputs(model, known, known, (dataset.num_users, dataset.num_items), seed)

    @jax.jit
    def mixtures(params: Params, sources: NeighborSources, code: jax.Array, targets: jax.Array) -> jax.Array:
        everything = with_derived(model, params, sources)
        history = ranking_neighbors(inputs.key, sources.history, code).vectors(params["item"])
        item_users = ranking_item_users(inputs.key, sources.item_users, targets).vectors(params["user"])
        user = model.rows(everything, "user", code)

        def mixture(item: Params, users: Padded) -> jax.Array:
            near = Neighbors(history, users)
            output = model.pair(pair_params(model, params, user, item), user["user"], item["item"], near)
            return output.neighbor_weights @ output.memory_weights

        return jax.vmap(mixture)(model.rows(everything, "item", targets), item_users)

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
    return (counts / max(counts.sum(), 1)).astype(np.float32)
