"""Why an item is recommended: the contribution of each history item to its score, as a frame and as a sentence."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from hlr_jax.blended_systems import Blend
from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import InputError
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import filled_up
from hlr_jax.ranking.population import Population, codes_of, population_of
from hlr_jax.serving.contributions import Contributions, contributions, explains
from hlr_jax.sharding import mesh_of
from hlr_jax.systems import System
from hlr_jax.types import Params

MOST_REASONS = 65536  # per recommended item
_ATTENTION = ("alpha", "memory", "memory_weight")
_RELATION = ("key", "key_weight", "distance_before", "distance_after")
_NAMES = {
    "neighbor": "reason_items", "neighbor_title": "reason_titles", "neighbor_contribution": "reason_contributions",
    "neighbor_weight": "reason_weights",
}  # fmt: skip


def explain(
    model: System,
    params: Params,
    dataset: Dataset,
    user: object,
    items: Any,
    *,
    among: Population | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Return what each item of the user's history adds to the score of each item.

    A contribution is relative to what the same history item adds to the mean item of the catalog, because what all
    scores share does not change a ranking. It is exact for EASE, MF-ALS, models that make users from their items, and
    blends of these: contributions add up to the score minus its mean over the catalog. For a model that attends over
    the history, it is what the score loses when the item is removed. ``docs/guides/reasons.md`` has the formulas.

    Args:
      model: one that reads the history, a scorer with contributions, such as EASE, or a blend.
      params: its parameters, or its state; for a blend, those of its parts by label.
      dataset: the data set that the model was trained on.
      user: an original id.
      items: original ids, or one.
      among: new users, from ``fold_in``; None: the users of ``dataset``.
      seed: as given to ``recommend``: it samples the same history.

    Returns:
      A frame with these columns; for each item, the largest contribution comes first.

      - ``item`` and ``title``: the item that is explained.
      - ``neighbor`` and ``neighbor_title``: an item of the history.
      - ``neighbor_contribution``: in units of the score; negative if the neighbor lowers it.
      - ``neighbor_weight``: the contribution as a share of the sum of positive contributions.
      - ``stands_out``: whether it is a reason to show, see ``Contributions.stands_out``.

      A model that attends over the history adds columns for each neighbor:

      - ``alpha``: the attention weight of the neighbor. It is not a contribution.
      - ``memory`` and ``memory_weight``: the key that neighbor and item address most; null without memories.

      It also adds columns that are equal for all neighbors of an item:

      - ``key`` and ``key_weight``: the key with the largest weight in the relation.
      - ``distance_before`` |p_u - q_v|^2 and ``distance_after`` |p_u + r_uv - q_v|^2.

      A blend adds ``parts`` and ``part_shares``: the labels of the parts that raise the item's score, and the share of
      each. An item has one row without a neighbor if no part reads the history.

    Raises:
      InputError: an unknown id, a model that gives no reasons, or parameters of another model or data set.

    Example:
      >>> ease = hlr_jax.fit(data, "ease", quiet=True)
      >>> reasons = hlr_jax.explain(ease.model, ease.params, data, user=7, items=3)
      >>> reasons.columns[4:], reasons["neighbor_contribution"].is_sorted(descending=True)
      (['neighbor_contribution', 'neighbor_weight', 'stands_out'], True)
    """
    check_reasons(model, params)
    population = population_of(model, params, dataset, among)
    places = codes_of(population.index, [user], "users")
    targets = codes_of(dataset.item_index, items, "items")
    (found,) = contributions(model, population, dataset, places, filled_up(targets)[None], seed)
    neighbors, pairs = _frames([found], len(filled_up(targets)), dataset)
    reasons = pairs.head(len(targets)).join(neighbors, "pair", "left", maintain_order="left_right")
    if not isinstance(model, Blend):
        reasons = reasons.drop_nulls("neighbor")
    reasons = reasons.select(*neighbors.columns, *pairs.columns[1:])
    shown = targets[reasons["pair"].to_numpy()]
    names = {"item": dataset.item_ids.gather(shown), "title": dataset.item_titles.gather(shown)}
    return pl.DataFrame(names).hstack(reasons.drop("pair"))


def gives_reasons(model: System) -> bool:
    """Return whether a system gives reasons; a blend always does, since it has at least the shares of its parts."""
    return isinstance(model, Blend) or explains(model)


def check_reasons(model: System, params: Params) -> None:
    """Raise ``InputError`` if a model gives no reasons, or its parameters are on a mesh."""
    if not gives_reasons(model):
        raise InputError(f"model {model.name} reads no history, so it gives no reasons")
    if isinstance(model, Model) and mesh_of(params) is not None:
        raise InputError("reasons are given on one device: load the run without a mesh")


def reason_columns(
    model: System, population: Population, dataset: Dataset, places: np.ndarray, items: np.ndarray, most: int, seed: int
) -> pl.DataFrame:
    """Return the reasons for ``items`` [n, T] (codes) of users: one row per pair, as columns of ``recommend``'s frame.

    Args:
      model: one that gives reasons.
      population: the population of the users.
      dataset: the data set that the model was trained on.
      places: [n], rows of the users in the population.
      items: codes.
      most: the largest number of history items in a reason.
      seed: that of the recommendations: it samples the same histories.

    Returns:
      ``reason``, a sentence, and lists of equal length for the history items that stand out, largest first:
      ``reason_items`` (ids), ``reason_titles``, ``reason_contributions`` and ``reason_weights``. The lists are null if
      no item stands out. For a blend also ``parts`` and ``part_shares``; see ``explain``.
    """
    if not len(places):  # the same columns without a row
        one = np.zeros(1, np.int64)
        return reason_columns(model, population, dataset, one, one[None], most, seed).clear()
    found = contributions(model, population, dataset, places, items, seed)
    neighbors, pairs = _frames(found, items.shape[1], dataset, most)
    named = neighbors.select("pair", *_NAMES).group_by("pair", maintain_order=True).agg(pl.all())
    of_parts = [name for name in ("parts", "part_shares") if name in pairs.columns]
    lists = pairs.select("pair", *of_parts).join(named, "pair", "left", maintain_order="left")
    lists = lists.select(*_NAMES, *of_parts).rename(_NAMES)
    sentences = [_sentence(row) for row in lists.iter_rows(named=True)]
    return lists.insert_column(0, pl.Series("reason", sentences, dtype=pl.String))


def _sentence(row: dict[str, Any]) -> str:
    shares = zip(row.get("parts") or (), row.get("part_shares") or (), strict=True)
    by = ", ".join(f"{label} ({share:.0%})" for label, share in shares)
    text = because_of(row["reason_titles"], row["reason_weights"])
    return f"{text[0].upper()}{text[1:]}{f'; by {by}' if by else ''}."


def because_of(titles: Sequence[str] | None, weights: Sequence[float] | None) -> str:
    """Return a reason in words.

    Args:
      titles: of the history items that stand out; None: no item does.
      weights: their shares.

    Example:
      >>> because_of(["Alien", "Vertigo"], [0.23, 0.12])
      'because of Alien (23%), Vertigo (12%)'
      >>> because_of(None, None)
      'no single item of the history stands out'
    """
    if not titles or weights is None:
        return "no single item of the history stands out"
    return "because of " + ", ".join(f"{title} ({share:.0%})" for title, share in zip(titles, weights, strict=True))


def _frames(
    found: Iterable[Contributions], count: int, dataset: Dataset, most: int | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return contributions as a frame of neighbors, the largest of each pair first, and a frame of pairs.

    Args:
      found: the contributions for ``count`` items of each user. A pair is a user and an item, numbered from 0.
      count: T.
      dataset: has the ids and titles.
      most: the number of neighbors to keep for each pair, of those that stand out; None: all neighbors.
    """
    neighbors, pairs = [], []
    for user, each in enumerate(found):
        of_pairs = {"pair": np.arange(count)} | {name: each.arrays[name] for name in _RELATION if name in each.arrays}
        pairs.append(pl.DataFrame(of_pairs | _parts_of(each)).with_columns(pl.col("pair") + user * count))
        neighbors.append(pl.DataFrame(_neighbors_of(each, most)).with_columns(pl.col("pair") + user * count))
    rows = pl.concat(neighbors)
    codes = rows["neighbor"]
    named = {"neighbor": dataset.item_ids.gather(codes), "neighbor_title": dataset.item_titles.gather(codes)}
    rows = rows.with_columns(**named).select("pair", *named, pl.exclude("pair", *named))
    return _without_missing(rows, "memory"), _without_missing(pl.concat(pairs), "key")


def _neighbors_of(each: Contributions, most: int | None) -> dict[str, np.ndarray]:
    """Return columns with a row for each item and neighbor of a user; ``pair`` is the position of the item."""
    order = np.argsort(-each.values, axis=0, kind="stable")[:most]
    columns = {
        "neighbor_contribution": each.values, "neighbor_weight": each.weights, "stands_out": each.stands_out,
    } | {name: each.arrays[name] for name in _ATTENTION if name in each.arrays}  # fmt: skip
    sorted_columns = {name: np.take_along_axis(values, order, axis=0).T for name, values in columns.items()}
    kept = sorted_columns["stands_out"] if most is not None else np.ones(order.T.shape, bool)
    rows = {name: _plain(values[kept]) for name, values in sorted_columns.items()}
    return {"pair": kept.nonzero()[0], "neighbor": each.items[order.T[kept]]} | rows


def _parts_of(each: Contributions) -> dict[str, pl.Series]:
    """Return ``parts`` and ``part_shares`` of each pair in a blend as lists, the largest share first."""
    if not each.shares:
        return {}
    labels, shares = list(each.shares), np.stack(list(each.shares.values()), axis=1)
    orders = [[part for part in np.argsort(-row, kind="stable") if row[part] > 0] for row in shares]
    named = [[labels[part] for part in order] for order in orders]
    values = [row[order].tolist() for row, order in zip(shares, orders, strict=True)]
    return {
        "parts": pl.Series(named, dtype=pl.List(pl.String)),
        "part_shares": pl.Series(values, dtype=pl.List(pl.Float32)),
    }


def _plain(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32 if values.dtype.kind == "f" else values.dtype)


def _without_missing(frame: pl.DataFrame, key: str) -> pl.DataFrame:
    """Replace a key of -1 and its weight by null, if the frame has these columns."""
    if key not in frame.columns:
        return frame
    return frame.cast({key: pl.Int64}).with_columns(pl.when(pl.col(key) >= 0).then(pl.col(key, f"{key}_weight")))
