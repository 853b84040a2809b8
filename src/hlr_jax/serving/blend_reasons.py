"""Why a blend gives an item: each part's share of its score, and the items of the history behind those."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from hlr_jax.blended_systems import Blend
from hlr_jax.data.dataset import Dataset
from hlr_jax.ranking.population import Population
from hlr_jax.ranking.scores import part_scores

_TILE = 256  # users whose scores of all items are alive at once


def part_shares(
    blend: Blend, population: Population, places: np.ndarray, items: np.ndarray, num_items: int
) -> dict[str, np.ndarray]:
    """Return what each part has of all that raises the scores of some pairs, by label: [n, T].

    A part adds w_p z_p(u, v) to a score. Its share is of the sum over the parts that add more than 0. The shares of a
    pair sum to 1, or to 0 where no part adds anything.

    Args:
      blend: the parts.
      population: the users.
      places: [n], of some of them.
      items: [n, T], codes.
      num_items: I.
    """
    raised = {label: np.zeros(items.shape, np.float32) for label in blend.parts}
    for start in range(0, len(places), _TILE):
        rows = slice(start, start + _TILE)
        for label, part in blend.parts.items():
            if part.weight:
                scores = part_scores(blend, label, population, places[rows], num_items)
                standard = np.take_along_axis(scores, items[rows], axis=1)
                raised[label][rows] = np.maximum(np.float32(part.weight) * standard, 0)
    total = np.maximum(sum(raised.values()), np.finfo(np.float32).tiny)
    return {label: each / total for label, each in raised.items()}


def blended_reasons(
    shares: Mapping[str, np.ndarray], reasons: Mapping[str, pl.DataFrame], dataset: Dataset, most: int
) -> pl.DataFrame:
    """Return the frame of ``explain.reasons_of`` for a blend, with the parts and their shares behind its columns.

    An item of a history weighs the sum over the parts of the part's share times its weight there. What parts without
    reasons have of a score is nobody's, so that the weights of a pair may sum to less than 1. Keys, memories and
    distances are those of single parts: they are null.

    Args:
      shares: of each part, by label: [n, T].
      reasons: ``reasons_of`` each part that gives some, by label, with all its neighbors.
      dataset: of the items.
      most: neighbors that are named, at most.
    """
    pairs = pl.DataFrame({"pair": np.arange(next(iter(shares.values())).size)})
    columns = {
        "pair": pl.Int64(), "neighbor": dataset.item_ids.dtype, "neighbor_title": pl.String(),
        "neighbor_weight": pl.Float32(),
    }  # fmt: skip
    each = [pl.DataFrame(schema=columns)]
    for label, frame in reasons.items():
        rows = frame.select(*columns).drop_nulls("neighbor").explode("neighbor", "neighbor_title", "neighbor_weight")
        share = pairs.with_columns(share=shares[label].ravel())
        rows = rows.join(share, "pair", maintain_order="left")
        each.append(rows.with_columns(pl.col("neighbor_weight") * pl.col("share")).drop("share"))
    by_neighbor = pl.concat(each).group_by("pair", "neighbor", maintain_order=True)
    merged = by_neighbor.agg(pl.col("neighbor_title").first(), pl.col("neighbor_weight").sum())
    merged = merged.filter(pl.col("neighbor_weight") > 0)
    merged = merged.sort("pair", "neighbor_weight", descending=[False, True], maintain_order=True)
    merged = merged.with_columns(memory=pl.lit(None, pl.Int64), memory_weight=pl.lit(None, pl.Float32))
    length = pl.len().cast(pl.Int32).alias("length")
    lists = merged.group_by("pair", maintain_order=True).agg(pl.exclude("pair").head(most), length)
    nulls = {name: pl.lit(None, pl.Float32) for name in ("key_weight", "distance_before", "distance_after")}
    joined = pairs.join(lists, "pair", "left", maintain_order="left").with_columns(pl.col("length").fill_null(0))
    return joined.with_columns(key=pl.lit(None, pl.Int64), **nulls).hstack(_named(shares))


def _named(shares: Mapping[str, np.ndarray]) -> pl.DataFrame:
    """Return ``parts`` and ``part_shares`` of each pair as lists, the largest share first."""
    of_pairs = np.stack([share.ravel() for share in shares.values()], axis=1)
    labels, order = list(shares), np.argsort(-of_pairs, axis=1, kind="stable")
    kept = [[part for part in row if of_pairs[pair, part] > 0] for pair, row in enumerate(order)]
    named = [[labels[part] for part in row] for row in kept]
    values = [[float(of_pairs[pair, part]) for part in row] for pair, row in enumerate(kept)]
    types = {"parts": pl.List(pl.String), "part_shares": pl.List(pl.Float32)}
    return pl.DataFrame({"parts": named, "part_shares": values}, schema=types)
