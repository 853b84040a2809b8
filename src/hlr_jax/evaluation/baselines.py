"""Popularity and EASE: what any trained model should be read beside. Closed forms, NumPy."""

from collections.abc import Callable

import numpy as np

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError
from hlr_jax.evaluation.evaluate import Evaluation, Ranker, evaluate_ranker
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.ranking.lists import NO_ITEM
from hlr_jax.types import Ranking

EASE_GRID = (30.0, 100.0, 300.0, 1000.0, 3000.0)
_EASE_MOST_ITEMS = 20_000  # its inverse takes I^2 float64 numbers: 3.2 GB there
_TILE = 512


def _incidence(pairs: Interactions, users: np.ndarray, num_items: int) -> np.ndarray:
    """Return the 0/1 matrix [users, I] of the users' interactions."""
    starts = np.searchsorted(pairs.user, users)
    counts = np.searchsorted(pairs.user, users, side="right") - starts
    row = np.repeat(np.arange(len(users)), counts)
    offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    matrix = np.zeros((len(users), num_items), np.float32)
    matrix[row, pairs.item[np.repeat(starts, counts) + offset]] = 1.0
    return matrix


def _score_ranker(score: Callable[[np.ndarray], np.ndarray], num_items: int, k: int) -> Ranker:
    """Return the ranker of a function from histories [users, I] to scores [users, I]; ties go to the lower item."""
    k = min(k, num_items)

    def ranker(users: np.ndarray, seen: Interactions, near: Interactions) -> Ranking:
        items, scores = np.empty((len(users), k), np.int32), np.empty((len(users), k), np.float32)
        for start in range(0, len(users), _TILE):
            rows = slice(start, start + _TILE)
            masked = _incidence(seen, users[rows], num_items) > 0
            value = np.where(masked, -np.inf, score(_incidence(near, users[rows], num_items)))
            best = np.argsort(-value, axis=1, kind="stable")[:, :k]
            scores[rows] = np.take_along_axis(value, best, axis=1)
            items[rows] = np.where(np.isneginf(scores[rows]), NO_ITEM, best)
        return Ranking(items, scores)

    return ranker


def popularity_ranker(dataset: Dataset, k: int) -> Ranker:
    """Return the ranker that gives everyone the items with the most training users."""
    counts = dataset.train.item_degrees(dataset.num_items).astype(np.float32)
    return _score_ranker(lambda history: counts[None].repeat(len(history), 0), dataset.num_items, k)


def ease_weights(gram: np.ndarray, regularisation: float) -> np.ndarray:
    """Return EASE's item-item weights [I, I] from the Gram matrix X^T X (Steck 2019, eq. 8).

    B = I - P diag(1 / diag P) with P = (X^T X + lambda I)^-1, so that its diagonal is 0.
    """
    inverse = np.linalg.inv(gram + regularisation * np.eye(len(gram)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights.astype(np.float32)


def gram_matrix(dataset: Dataset) -> np.ndarray:
    """Return X^T X [I, I] of the training interactions.

    Raises:
      InputError: a catalogue too large for EASE's dense inverse.
    """
    count = dataset.num_items
    if count > _EASE_MOST_ITEMS:
        raise InputError(f"EASE inverts an {count} x {count} matrix; it is offered up to {_EASE_MOST_ITEMS} items")
    gram = np.zeros((count, count), np.float64)
    for start in range(0, dataset.num_users, 4096):
        users = np.arange(start, min(start + 4096, dataset.num_users))
        rows = _incidence(dataset.train, users, count)
        gram += rows.T @ rows
    return gram


def evaluate_ease(
    dataset: Dataset, options: EvalOptions, grid: tuple[float, ...] = EASE_GRID, train_splits: str = "train"
) -> tuple[float, Evaluation]:
    """Fit EASE on train; return the lambda of ``grid`` with the best validation NDCG, and its evaluation on test.

    With ``train_splits`` ``train+valid`` it is fitted anew on both before test.

    Raises:
      InputError: a catalogue too large, or a data set without validation or test interactions.
    """

    def measure(data: Dataset, weights: np.ndarray, split: str) -> Evaluation:
        ranker = _score_ranker(lambda history: history @ weights, data.num_items, options.longest)
        return evaluate_ranker(ranker, data, split, options)

    gram = gram_matrix(dataset)
    best, chosen, kept = -1.0, grid[0], np.zeros((0, 0), np.float32)
    for strength in grid:
        weights = ease_weights(gram, strength)
        value = measure(dataset, weights, "valid").metrics.value("ndcg")
        if value > best:
            best, chosen, kept = value, strength, weights
    final = dataset.trained_on(train_splits)
    if final is not dataset:
        kept = ease_weights(gram_matrix(final), chosen)
    return chosen, measure(final, kept, "test")
