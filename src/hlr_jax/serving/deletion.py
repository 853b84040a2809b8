"""Scores after an item is removed from a history and the system scores again: the test of reasons."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from hlr_jax.blended_systems import Blend, Part
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.models.base import Model
from hlr_jax.ranking.population import Population
from hlr_jax.ranking.scores import scores, standardized
from hlr_jax.serving.contributions import Contributions
from hlr_jax.serving.fold_in import new_users_of
from hlr_jax.serving.new_rows import FoldInOptions
from hlr_jax.systems import System

_FEW, _MANY = 512, 8192  # approximate number of histories scored in one call; few calls mean few compiled shapes
_CELLS = 2**24  # scores in memory at once


def drops_of(
    system: System, population: Population, dataset: Dataset, places: np.ndarray, targets: np.ndarray,
    found: Sequence[Contributions], seed: int = 0,
) -> Iterator[np.ndarray]:  # fmt: skip
    """Yield, for each user, how far the scores of T items drop when each item of the history is removed [H, T].

    The whole system scores again: MF-ALS solves for the user again, a pooled user vector is pooled again, and a blend
    standardizes each part again. A user with a row in a trained table keeps it, and only the history that the model
    reads changes. Scores are relative to the catalog mean, in standard deviations of the user's scores with the whole
    history.

    Args:
      system: a model, a scorer or a blend.
      population: the users that it was trained on.
      dataset: the data set that it was trained on.
      places: [n], rows of users, each with at least two training items.
      targets: [n, T], codes of items.
      found: the ``contributions`` of these users and items, which contain the histories.
      seed: as given to ``contributions``.
    """
    start, at_once = 0, int(np.clip(_CELLS // dataset.num_items, _FEW, _MANY))
    while start < len(places):
        sizes = np.cumsum([1 + len(each.items) for each in found[start:]])
        some = slice(start, start + 1 + int(np.searchsorted(sizes, at_once)))
        yield from _drops(system, population, dataset, places[some], targets[some], found[some], seed)
        start = some.stop


def _drops(
    system: System, population: Population, dataset: Dataset, places: np.ndarray, targets: np.ndarray,
    found: Sequence[Contributions], seed: int,
) -> Iterator[np.ndarray]:  # fmt: skip
    removed = [each.items for each in found]
    if isinstance(system, Blend):
        values = np.zeros((sum(1 + len(items) for items in removed), dataset.num_items), np.float32)
        for label, part in system.parts.items():
            own = [each.parts[label].items for each in found]
            standard, _ = standardized(_rescored(part, population.parts[label], dataset, places, own, removed))
            values += np.float32(part.weight) * standard
    else:
        values = _rescored(Part(system, 1.0, seed), population, dataset, places, removed, removed)
        values -= values.mean(axis=1, keepdims=True)
    ends = np.cumsum([1 + len(items) for items in removed])
    for of_user, wanted in zip(np.split(values, ends[:-1]), targets, strict=True):
        whole = of_user[-1]
        yield (whole[wanted] - of_user[:-1, wanted]) / max(float(whole.std()), np.finfo(np.float32).tiny)


def _rescored(
    part: Part, population: Population, dataset: Dataset, places: np.ndarray, own: Sequence[np.ndarray],
    removed: Sequence[np.ndarray],
) -> np.ndarray:  # fmt: skip
    """Return scores of all items: a row for each item removed from a user's history, then a row for the whole history.

    Args:
      part: the system and its seed.
      population: its users.
      dataset: the data set that it was trained on.
      places: [n].
      own: the items of each user's history that the system reads.
      removed: the items of each user that are removed, one at a time.
    """
    counts = [1 + len(items) for items in removed]
    if not any(map(len, own)):  # the system reads no history, so nothing changes
        return np.repeat(scores(part.system, population, places, dataset.num_items, seed=part.seed), counts, axis=0)
    histories = [np.setdiff1d(items, out) for items, outs in zip(own, removed, strict=True) for out in [*outs, -1]]
    user = np.repeat(np.arange(len(histories), dtype=np.int32), [len(items) for items in histories])
    interactions, ids = Interactions(user, np.concatenate(histories).astype(np.int32)), pl.Series(range(len(histories)))
    like = np.repeat(population.rows[places], counts) if isinstance(part.system, Model) else None
    users = new_users_of(part, population.params, dataset, ids, interactions, FoldInOptions(), like)
    return scores(part.system, users, np.arange(len(histories)), dataset.num_items, seed=part.seed)
