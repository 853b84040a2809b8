"""The memory keys of HLR and HLR++: which pairs of items address them, how much each is used, how alike they are."""

import jax
import numpy as np
import polars as pl

from hlr_jax.analysis.attention import Attended, attend, check_keys
from hlr_jax.analysis.categories import has_categories
from hlr_jax.analysis.key_categories import key_categories, shared_categories
from hlr_jax.analysis.pairs import check_pairs, item_pairs, top_pairs
from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import check_range
from hlr_jax.models.base import Model
from hlr_jax.types import Params

DEAD_SHARE = 0.1  # of 1/N


def key_usage(sample: Attended, params: Params) -> pl.DataFrame:
    """Return how much each key is used by a sample of interactions.

    Returns:
      A frame of

      - ``key``;
      - ``usage``: its weight in the relation, sum_h alpha_h a_hn, averaged over interactions. They sum to 1, where
        the user's own vector is no neighbor;
      - ``mean_weight``: its mean weight over the pairs of items that were met, as often as they were;
      - ``first``: the share of those pairs that address it most;
      - ``largest``: its largest weight;
      - ``entropy``: of the P distinct pairs in proportion to their weight on it, over log P: 1 says that all address it
        alike;
      - ``key_norm``, ``memory_norm``: the lengths of the vectors;
      - ``dead``: its usage is below a tenth of 1/N.

    Raises:
      InputError: the sample has no pair of items.
    """
    pairs = item_pairs(sample)
    usage = np.einsum("bh,bhn->n", sample.neighbor_weights, sample.memory_weights, dtype=np.float64)
    usage /= max(1, int(sample.mask.any(axis=1).sum()))
    met = sample.memory_weights[sample.mask].astype(np.float64)
    number = met.shape[1]
    keys, memories = (np.linalg.norm(np.asarray(params[name], np.float64), axis=1) for name in ("keys", "memories"))
    return pl.DataFrame(
        {
            "key": np.arange(number),
            "usage": usage,
            "mean_weight": met.mean(axis=0),
            "first": np.bincount(met.argmax(axis=1), minlength=number) / len(met),
            "largest": met.max(axis=0),
            "entropy": _entropy(pairs.weights, axis=0),
            "key_norm": keys,
            "memory_norm": memories,
            "dead": usage < DEAD_SHARE / number,
        }
    )


def attention_summary(sample: Attended) -> pl.DataFrame:
    """Return how sharp the attentions of a sample are, in one row; all entropies are over that of uniform weights.

    Returns:
      ``memory_entropy``: the mean entropy of a pair's weights over keys; ``usage_entropy``: the entropy of the mean
      weights; ``selectivity``: their difference, the mutual information of pair and key over log N, 0 where every pair
      has the same weights, 1 where each takes one key and all are taken alike; ``neighbor_entropy``: the mean entropy
      of alpha over the neighbors of an interaction that has two or more; 1 says that all weigh the same.

    Raises:
      InputError: the sample has no pair of items.
    """
    check_pairs(sample)
    met = sample.memory_weights[sample.mask]
    several = sample.mask.sum(axis=1) > 1
    alpha = sample.neighbor_weights[several]
    alpha = alpha / alpha.sum(axis=1, keepdims=True)  # the user's own vector takes some in the variant `reference`
    neighbors = _plain_entropy(alpha, axis=1) / np.log(sample.mask[several].sum(axis=1))
    by_pair, over_all = float(_entropy(met, axis=1).mean()), float(_entropy(met.mean(axis=0), axis=0))
    return pl.DataFrame(
        {
            "memory_entropy": [by_pair],
            "usage_entropy": [over_all],
            "selectivity": [over_all - by_pair],
            "neighbor_entropy": [float(neighbors.mean()) if len(neighbors) else None],
        }
    )


def _plain_entropy(weights: np.ndarray, axis: int) -> np.ndarray:
    weights = weights.astype(np.float64)
    weights = weights / weights.sum(axis=axis, keepdims=True)
    return -np.sum(weights * np.log(np.where(weights > 0, weights, 1.0)), axis=axis)


def _entropy(weights: np.ndarray, axis: int) -> np.ndarray:
    """Return the entropy of weights along an axis over that of uniform ones; 1 where there is only one."""
    size = weights.shape[axis]
    entropy = _plain_entropy(weights, axis)
    return entropy / np.log(size) if size > 1 else np.ones_like(entropy)


def key_pairs(sample: Attended, dataset: Dataset, *, top: int = 10) -> pl.DataFrame:
    """Return the pairs of items that address each key most.

    Returns:
      A frame of ``key``, ``rank`` (from 1), ``item``, ``title``, ``neighbor``, ``neighbor_title``, ``weight``,
      ``ratio`` (the weight over the key's mean on all distinct pairs) and ``count`` (interactions of the sample with
      the pair).
    """
    check_range("analysis", top=(top, 1, 10**6))
    pairs = item_pairs(sample)
    order = np.argsort(-pairs.weights, axis=0, kind="stable")[:top]
    rank, key = (array.T.ravel() for array in np.indices(order.shape))
    places = order.T.ravel()
    weight = pairs.weights[places, key]
    first, second = pairs.first[places], pairs.second[places]
    return pl.DataFrame(
        {
            "key": key,
            "rank": rank + 1,
            "item": dataset.item_ids.gather(first),
            "title": [dataset.title(int(item)) for item in first],
            "neighbor": dataset.item_ids.gather(second),
            "neighbor_title": [dataset.title(int(item)) for item in second],
            "weight": weight,
            "ratio": weight / pairs.weights.mean(axis=0)[key],
            "count": pairs.times[places],
        }
    )


def vector_similarity(params: Params) -> pl.DataFrame:
    """Return the cosine of every two keys and of every two memories: ``key``, ``other``, ``keys``, ``memories``."""
    number = len(params["keys"])
    key, other = (array.ravel() for array in np.indices((number, number)))
    cosines = {}
    for name in ("keys", "memories"):
        rows = np.asarray(params[name], np.float64)
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        cosines[name] = (rows @ rows.T).ravel()
    return pl.DataFrame({"key": key, "other": other} | cosines)


def key_table(
    model: Model,
    params: Params,
    dataset: Dataset,
    *,
    categories: pl.DataFrame | None = None,
    split: str = "train",
    interactions: int = 2000,
    top: int = 5,
    permutations: int = 500,
    seed: int = 0,
) -> pl.DataFrame:
    """Return a row for each key with all that is to be told of it; ``cards.key_cards`` puts it in words.

    Args:
      model: HLR or HLR++.
      params: its parameters.
      dataset: the data set that it was trained on.
      categories: a row for each ``item`` and ``category``; None: the genres of the data set, if it has some.
      split: where interactions are drawn from.
      interactions: how many.
      top: pairs of items and categories listed for a key.
      permutations: see ``key_categories``.
      seed: of all draws.

    Returns:
      The columns of ``key_usage``, and

      - ``popularity``: the median number of training users of the items in the pairs that address the key most (a
        twentieth of all), and ``popularity_of_all`` in all pairs;
      - ``nearest_key``, ``nearest_cosine``: the most similar key;
      - ``pairs``: a list of structs of ``title``, ``neighbor_title``, ``weight`` and ``ratio``;
      - with categories, ``categories``: a list of structs of ``category``, ``lift``, ``count`` and ``p_adjusted``, the
        largest lift above 1 first; ``shared`` and ``shared_of_all``: the share of the pairs that have a category in
        common, among those that address the key most and among all.

    Raises:
      InputError: a model without keys for pairs of items, or a setting out of range.
    """
    check_keys(model, params)
    params = {name: array for name, array in jax.device_get(params).items()}
    sample = attend(model, params, dataset, split=split, interactions=interactions, seed=seed)
    listed = key_pairs(sample, dataset, top=top)
    table = key_usage(sample, params).hstack(_popularity(sample, dataset))
    parts = [_nearest(params), _nested(listed, "pairs", ["title", "neighbor_title", "weight", "ratio"])]
    if has_categories(dataset, categories):
        categorized = key_categories(sample, dataset, categories, permutations=permutations, seed=seed)
        categorized = categorized.filter(pl.col("lift") > 1).group_by("key", maintain_order=True).head(top)
        parts.append(_nested(categorized, "categories", ["category", "lift", "count", "p_adjusted"]))
        parts.append(shared_categories(sample, dataset, categories))
    for part in parts:
        table = table.join(part, on="key", how="left", maintain_order="left")
    return table


def _nested(frame: pl.DataFrame, name: str, columns: list[str]) -> pl.DataFrame:
    return frame.group_by("key", maintain_order=True).agg(pl.struct(columns).alias(name))


def _popularity(sample: Attended, dataset: Dataset) -> pl.DataFrame:
    pairs = item_pairs(sample)
    users = dataset.train.item_degrees(dataset.num_items)
    both = users[np.stack([pairs.first, pairs.second], axis=1)]
    top = [float(np.median(both[places])) for places in top_pairs(pairs)]
    return pl.DataFrame({"popularity": top, "popularity_of_all": [float(np.median(both))] * len(top)})


def _nearest(params: Params) -> pl.DataFrame:
    others = vector_similarity(params).filter(pl.col("key") != pl.col("other"))
    best = others.sort("keys", descending=True, maintain_order=True).unique("key", keep="first", maintain_order=True)
    return best.select("key", nearest_key="other", nearest_cosine="keys")
