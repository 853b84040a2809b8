"""The memory keys of HLR and HLR++: the pairs that address them, their usage and similarity, and cards of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from hlr_jax.analysis.attention import Attended, ItemPairs, item_pairs, pair_weights, top_pairs
from hlr_jax.analysis.categories import item_categories, key_categories
from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import check_range
from hlr_jax.types import Params

SIGNIFICANT = 0.05
_DEAD_SHARE = 0.1  # of 1/N
_SAME = 0.95  # the cosine from which two keys are nearly the same


def key_usage(sample: Attended, params: Params) -> pl.DataFrame:
    """Return the usage of each key by a sample of interactions.

    Returns:
      A frame with a row for each key:

      - ``key``
      - ``usage``: its weight in the relation, sum_h alpha_h a_hn, averaged over interactions. The usages sum to 1 where
        the user's own vector is no neighbor.
      - ``mean_weight``, ``largest``: of its weights on all pairs of items, as often as they occur
      - ``first``: the share of those pairs that address it most
      - ``entropy``: of the P distinct pairs in proportion to their weight on it, over log P; 1 for equal weights
      - ``key_norm``, ``memory_norm``: the lengths of the vectors
      - ``dead``: whether its usage is below a tenth of 1/N

    Raises:
      InputError: the sample has no pair of items.
    """
    pairs = item_pairs(sample)
    usage = np.einsum("bh,bhn->n", sample.neighbor_weights, sample.memory_weights, dtype=np.float64)
    usage /= max(1, int(sample.mask.any(axis=1).sum()))
    weights = pair_weights(sample).astype(np.float64)
    number = weights.shape[1]
    keys, memories = (np.linalg.norm(np.asarray(params[name], np.float64), axis=1) for name in ("keys", "memories"))
    return pl.DataFrame(
        {
            "key": np.arange(number),
            "usage": usage,
            "mean_weight": weights.mean(axis=0),
            "first": np.bincount(weights.argmax(axis=1), minlength=number) / len(weights),
            "largest": weights.max(axis=0),
            "entropy": _entropy(pairs.weights, axis=0),
            "key_norm": keys,
            "memory_norm": memories,
            "dead": usage < _DEAD_SHARE / number,
        }
    )


def attention_summary(sample: Attended) -> pl.DataFrame:
    """Return the sharpness of the attentions of a sample, in one row; entropies are relative to uniform weights.

    Returns:
      A frame with one row:

      - ``memory_entropy``: the mean entropy of a pair's weights over keys
      - ``usage_entropy``: the entropy of the mean weights
      - ``selectivity``: their difference, the mutual information of pair and key over log N. 0: every pair has the
        same weights. 1: each pair takes one key, and all keys are used equally.
      - ``neighbor_entropy``: the mean entropy of alpha over the neighbors of an interaction with two or more

    Raises:
      InputError: the sample has no pair of items.
    """
    weights = pair_weights(sample)
    several = sample.mask.sum(axis=1) > 1
    alpha = sample.neighbor_weights[several]
    alpha = alpha / alpha.sum(axis=1, keepdims=True)  # in the variant `reference` the user's own vector has some
    neighbors = _entropy(alpha, axis=1, count=sample.mask[several].sum(axis=1))
    by_pair, over_all = float(_entropy(weights, axis=1).mean()), float(_entropy(weights.mean(axis=0), axis=0))
    return pl.DataFrame(
        {
            "memory_entropy": [by_pair],
            "usage_entropy": [over_all],
            "selectivity": [over_all - by_pair],
            "neighbor_entropy": [float(neighbors.mean()) if len(neighbors) else None],
        }
    )


def _entropy(weights: np.ndarray, axis: int, count: np.ndarray | None = None) -> np.ndarray:
    """Return the entropy of weights along an axis over that of ``count`` equal ones (None: all); 1 of a single one."""
    weights = weights.astype(np.float64)
    weights = weights / weights.sum(axis=axis, keepdims=True)
    entropy = -np.sum(weights * np.log(np.where(weights > 0, weights, 1.0)), axis=axis)
    number = np.asarray(weights.shape[axis] if count is None else count)
    return np.where(number > 1, entropy / np.log(np.maximum(number, 2)), 1.0)


def key_pairs(sample: Attended, dataset: Dataset, *, top: int = 10) -> pl.DataFrame:
    """Return the pairs of items that address each key most.

    The frame has these columns:

    - ``key``, ``rank`` (from 1)
    - ``item``, ``title``, ``neighbor``, ``neighbor_title``
    - ``weight``, and ``ratio``: the weight over the key's mean on all distinct pairs
    - ``count``: the interactions of the sample with the pair
    """
    check_range("analysis", top=(top, 1, 10**6))
    pairs = item_pairs(sample)
    order = np.argsort(-pairs.weights, axis=0, kind="stable")[:top]
    key, rank = np.indices(order.T.shape).reshape(2, -1)
    places = order.T.ravel()
    weight = pairs.weights[places, key]
    first, second = pairs.first[places], pairs.second[places]
    return pl.DataFrame(
        {
            "key": key,
            "rank": rank + 1,
            "item": dataset.item_ids.gather(first),
            "title": dataset.item_titles.gather(first),
            "neighbor": dataset.item_ids.gather(second),
            "neighbor_title": dataset.item_titles.gather(second),
            "weight": weight,
            "ratio": weight / pairs.weights.mean(axis=0)[key],
            "count": pairs.times[places],
        }
    )


def vector_similarity(params: Params) -> pl.DataFrame:
    """Return the cosine of every two keys and of every two memories: ``key``, ``other``, ``keys``, ``memories``."""
    number = len(params["keys"])
    key, other = np.indices((number, number)).reshape(2, -1)
    cosines = {}
    for name in ("keys", "memories"):
        rows = np.asarray(params[name], np.float64)
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        cosines[name] = (rows @ rows.T).ravel()
    return pl.DataFrame({"key": key, "other": other} | cosines)


def key_table(
    sample: Attended,
    params: Params,
    dataset: Dataset,
    *,
    categories: pl.DataFrame | None = None,
    top: int = 5,
    permutations: int = 500,
    seed: int = 0,
) -> pl.DataFrame:
    """Return a row for each key with its usage, top pairs and categories; ``key_cards`` turns it into text.

    Args:
      sample: of interactions, of HLR or HLR++.
      params: the model's parameters.
      dataset: the data set that it was trained on.
      categories: a row for each ``item`` and ``category``; None: the genres of the data set, if it has any.
      top: the number of pairs of items and of categories listed for a key.
      permutations: see ``key_categories``.
      seed: of the permutations.

    Returns:
      The columns of ``key_usage``, and:

      - ``popularity``: the median number of training users of the items in the pairs that address the key most (a
        twentieth of all), and ``popularity_of_all`` in all pairs
      - ``nearest_key``, with its ``nearest_cosine``
      - ``pairs``: structs of ``title``, ``neighbor_title``, ``weight`` and ``ratio``
      - ``categories``: structs of ``category``, ``lift``, ``count`` and ``p_adjusted``, the largest lift above 1 first;
        only with categories
      - ``shared``, ``shared_of_all``: the shares of these pairs and of all that have a category in common; likewise

    Raises:
      InputError: the model has no keys for pairs of items, or a setting is out of range.
    """
    pairs = item_pairs(sample)
    users = dataset.train.item_degrees(dataset.num_items)[np.stack([pairs.first, pairs.second], axis=1)]
    listed = key_pairs(sample, dataset, top=top)
    others = vector_similarity(params).filter(pl.col("key") != pl.col("other"))
    nearest = others.sort("keys", descending=True, maintain_order=True).unique("key", keep="first", maintain_order=True)
    parts = [
        _top_and_all(pairs, "popularity", users, np.median),
        nearest.select("key", nearest_key="other", nearest_cosine="keys"),
        _nested(listed, "pairs", ["title", "neighbor_title", "weight", "ratio"]),
    ]
    if categories is not None or (dataset.titles is not None and (dataset.titles["genres"] != "").any()):
        tested = key_categories(sample, dataset, categories, permutations=permutations, seed=seed)
        largest = tested.filter(pl.col("lift") > 1).group_by("key", maintain_order=True).head(top)
        parts.append(_nested(largest, "categories", ["category", "lift", "count", "p_adjusted"]))
        _, member = item_categories(dataset, categories)
        common = (member[pairs.first] & member[pairs.second]).any(axis=1)
        parts.append(_top_and_all(pairs, "shared", common, np.mean))
    table = key_usage(sample, params)
    for part in parts:
        table = table.join(part, on="key", how="left", maintain_order="left")
    return table


def _top_and_all(
    pairs: ItemPairs, name: str, values: np.ndarray, statistic: Callable[[np.ndarray], Any]
) -> pl.DataFrame:
    """Return a statistic of values [P, ...] over the pairs that address each key most, and over all pairs."""
    top = [float(statistic(values[places])) for places in top_pairs(pairs)]
    return pl.DataFrame({"key": np.arange(len(top)), name: top, f"{name}_of_all": float(statistic(values))})


def _nested(frame: pl.DataFrame, name: str, columns: list[str]) -> pl.DataFrame:
    return frame.group_by("key", maintain_order=True).agg(pl.struct(columns).alias(name))


def key_cards(table: pl.DataFrame) -> list[str]:
    """Return a card in Markdown for each row of ``key_table``.

    A card has the usage of the key, its weight on pairs, the most similar key, the pairs that address it most, and
    their over-represented categories. A key whose weight hardly varies over pairs treats all pairs alike, even if its
    top pairs look similar.
    """
    return [_card(row, len(table)) for row in table.iter_rows(named=True)]


def significant_categories(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the categories of a row of ``key_table`` that chance does not explain."""
    return [entry for entry in row["categories"] or [] if entry["p_adjusted"] < SIGNIFICANT]


def deviation(usage: float, number: int) -> str:
    """Return the usage of a key relative to the equal share of ``number`` keys.

    Example:
      >>> deviation(0.22, 5), deviation(0.2, 5)
      ('10.0% above', 'at')
    """
    relative = number * usage - 1
    return f"{abs(relative):.1%} {'above' if relative > 0 else 'below'}" if abs(relative) >= 5e-4 else "at"


def _card(row: dict[str, Any], number: int) -> str:
    lines = [
        f"### Key {row['key']}: {traits(row)}\n",
        f"Usage: {row['usage']:.1%} of the weight, {deviation(row['usage'], number)} the equal share of "
        f"{1 / number:.1%}. Weight on a pair: {row['mean_weight']:.1%} on average, {row['largest']:.1%} at most.",
    ]
    if row["nearest_key"] is not None and row["nearest_cosine"] > _SAME:
        lines.append(f"Nearly the same as key {row['nearest_key']} (cosine {row['nearest_cosine']:.3f}).")
    lines.append("\nPairs with the largest weight on it:\n")
    lines += [f"- {pair['title']} & {pair['neighbor_title']} ({pair['weight']:.1%})" for pair in row["pairs"]]
    text = (
        f"\nThe items of its top pairs have a median of {row['popularity']:.0f} training users, the items of all "
        f"pairs {row['popularity_of_all']:.0f}."
    )
    if "categories" in row:
        named = [f"{c['category']} ({c['lift']:.1f} times, {c['count']} items)" for c in significant_categories(row)]
        text += f" {row['shared']:.0%} of its top pairs have a common category, and {row['shared_of_all']:.0%} of all."
        text += f" Over-represented categories: {', '.join(named) or 'none'}."
    return "\n".join([*lines, text])


def traits(row: dict[str, Any]) -> str:
    """Return in a few words what the pairs that address a key most have in common, from a row of ``key_table``."""
    if row["dead"]:
        return "dead"
    words = []
    for name, more, less in (
        ("shared", "items of a kind", "items of different kinds"),
        ("popularity", "popular items", "rare items"),
    ):
        ratio = row.get(name, 1) / max(row.get(f"{name}_of_all", 1), 1e-9)
        words += [more] if ratio > 1.2 else [less] if ratio < 0.8 else []
    if row["largest"] < 1.5 * row["mean_weight"]:
        words.append("weight nearly the same for all pairs")
    return ", ".join(words) or "no common trait found"
