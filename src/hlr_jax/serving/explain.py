"""Why an item: what each item of a user's history adds to its score, as frames and in a sentence."""

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

MOST_REASONS = 65536  # that one item may have
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

    It is told relative to what the same item of the history adds to the mean item of the catalogue, because what all
    scores share moves no list. Of EASE, MF-ALS, users who are made from their items, and blends of them, it is exact:
    contributions add up to the score, less its mean over the catalogue. Of a model that attends over the history
    it is what the score loses when the item is taken out. ``docs/guides/reasons.md`` has the formulas.

    Args:
      model: one that reads the history, a scorer that explains itself, such as EASE, or a blend.
      params: its parameters, or its state; of a blend, those of its parts by label.
      dataset: the data set that the model was trained on.
      user: an original id.
      items: original ids, or one.
      among: from ``fold_in``: users who were not trained in; None: those of ``dataset``.
      seed: as given to ``recommend``: it draws the same history.

    Returns:
      A frame of ``item``, ``title``, ``neighbor`` (an item of the history), ``neighbor_title``,
      ``neighbor_contribution`` (in units of the score; below 0 for what lowers it), ``neighbor_weight`` (the
      contribution as a share of the sum of those above 0) and ``stands_out`` (whether it is a reason to name, see
      ``Contributions.stands_out``); for each item the largest contribution first.

      Of a model that attends over the history also ``alpha``, the weight that the attention gives the neighbor, which
      is no contribution; ``memory`` (the key that the neighbor and the item address most) and ``memory_weight``, both
      null without memories; and, the same for all neighbors of an item, ``key`` and ``key_weight`` (the key with the
      largest weight in the relation), ``distance_before`` |p_u - q_v|^2 and ``distance_after`` |p_u + r_uv - q_v|^2.

      Of a blend also ``parts`` and ``part_shares``: the labels of the parts that raise the item's score, and what each
      has of that. An item has a row without a neighbor if no part reads the history.

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
    """Return whether a system gives reasons; a blend does, since its parts have shares at least."""
    return isinstance(model, Blend) or explains(model)


def check_reasons(model: System, params: Params) -> None:
    """Raise ``InputError`` if a model gives no reasons, or its parameters lie on a mesh."""
    if not gives_reasons(model):
        raise InputError(f"model {model.name} reads no history, so it gives no reasons")
    if isinstance(model, Model) and mesh_of(params) is not None:
        raise InputError("reasons are given on one device: load the run without a mesh")


def reason_columns(
    model: System, population: Population, dataset: Dataset, places: np.ndarray, items: np.ndarray, most: int, seed: int
) -> pl.DataFrame:
    """Return why ``items`` [n, T] (codes) for users in ``places`` [n]: a row for each pair, as columns of a list.

    Args:
      model: one that gives reasons.
      population: whose users they are.
      dataset: that the model was trained on.
      places: of the users in the population.
      items: codes.
      most: items of the history that a reason names.
      seed: that of the lists: it draws the same histories.

    Returns:
      ``reason``: a sentence; lists of equal length, largest first, of the items of the history that stand out, null
      where none does: ``reason_items`` (ids), ``reason_titles``, ``reason_contributions`` and ``reason_weights``; of a
      blend ``parts`` and ``part_shares``. See ``explain``.
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
    said = because_of(row["reason_titles"], row["reason_weights"])
    return f"{said[0].upper()}{said[1:]}{f'; by {by}' if by else ''}."


def because_of(titles: Sequence[str] | None, weights: Sequence[float] | None) -> str:
    """Return what a reason names, in words.

    Args:
      titles: of the items of the history that stand out; None: there are none.
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
      found: what the histories of some users add to the scores of ``count`` items each. A pair is a user and an item,
        numbered from 0 on.
      count: T.
      dataset: gives ids and titles.
      most: of each pair only so many neighbors are kept, of those that stand out; None: all.
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
    """Return a row for each item and neighbor of a user as columns; ``pair`` is the place of the item."""
    order = np.argsort(-each.values, axis=0, kind="stable")[:most]
    columns = {
        "neighbor_contribution": each.values, "neighbor_weight": each.weights, "stands_out": each.stands_out,
    } | {name: each.arrays[name] for name in _ATTENTION if name in each.arrays}  # fmt: skip
    sorted_columns = {name: np.take_along_axis(values, order, axis=0).T for name, values in columns.items()}
    kept = sorted_columns["stands_out"] if most is not None else np.ones(order.T.shape, bool)
    rows = {name: _plain(values[kept]) for name, values in sorted_columns.items()}
    return {"pair": kept.nonzero()[0], "neighbor": each.items[order.T[kept]]} | rows


def _parts_of(each: Contributions) -> dict[str, pl.Series]:
    """Return ``parts`` and ``part_shares`` of each pair of a blend as lists, the largest share first."""
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
    """Return a frame with null for a key of -1, and for its weight, if it has such columns."""
    if key not in frame.columns:
        return frame
    return frame.cast({key: pl.Int64}).with_columns(pl.when(pl.col(key) >= 0).then(pl.col(key, f"{key}_weight")))
