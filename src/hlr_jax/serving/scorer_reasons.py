"""Why a scorer gives an item: what each item of a history adds to its score."""

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.ranking.population import Population
from hlr_jax.scorers.base import Scorer


def scorer_reasons(
    scorer: Scorer, population: Population, dataset: Dataset, rows: np.ndarray, items: np.ndarray, most: int
) -> pl.DataFrame:
    """Return the frame of ``explain.reasons_of`` for a scorer that explains itself.

    The weight of an item of the history is its share of all that raises the score, so that weights are comparable
    between items and sum to 1. Items that lower the score are no reasons. A scorer has no memories and no distances:
    those columns are null.

    Args:
      scorer: whose ``parts`` are read.
      population: its state, and histories.
      dataset: gives ids and titles.
      rows: [users] of the population.
      items: [users, T], codes.
      most: neighbors that are named, at most.
    """
    histories = population.histories(dataset.num_items)
    pairs, neighbors, weights = [], [], []
    lengths = np.zeros(items.shape, np.int64)
    for place, (row, targets) in enumerate(zip(rows, items, strict=True)):
        history = histories.indices[histories.indptr[row] : histories.indptr[row + 1]]
        raised = np.maximum(scorer.parts(population.params, history, targets), 0)
        share = raised / np.maximum(raised.sum(axis=0), np.finfo(np.float32).tiny)
        lengths[place] = (share > 0).sum(axis=0)
        best = np.argsort(-share, axis=0, kind="stable")[:most].T
        chosen = np.take_along_axis(share.T, best, axis=1)
        target, rank = np.nonzero(chosen > 0)
        pairs.append(place * items.shape[1] + target)
        neighbors.append(history[best[target, rank]])
        weights.append(chosen[target, rank])
    near = np.concatenate(neighbors)
    listed = pl.DataFrame(
        {
            "pair": np.concatenate(pairs), "neighbor": dataset.item_ids.gather(near),
            "neighbor_title": dataset.item_titles.gather(near),
            "neighbor_weight": np.concatenate(weights).astype(np.float32),
        }
    )  # fmt: skip
    listed = listed.with_columns(memory=pl.lit(None, pl.Int64), memory_weight=pl.lit(None, pl.Float32))
    lists = listed.group_by("pair", maintain_order=True).agg(pl.all())
    return (
        pl.DataFrame({"pair": np.arange(items.size), "length": lengths.ravel().astype(np.int32)})
        .join(lists, "pair", "left", maintain_order="left")
        .with_columns(
            key=pl.lit(None, pl.Int64),
            **{name: pl.lit(None, pl.Float32) for name in ("key_weight", "distance_before", "distance_after")},
        )
    )
