"""Shared code of the systems of ``curve.py``: the clock, the split, and NDCG@10.

It imports only NumPy, SciPy and polars, so that other packages start as fast as they can.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

STARTED = "HLR_JAX_STARTED"
"""The environment variable with the ``time.time()`` at which a process was started."""
K = 10
_CELLS = 2**22  # scores in one block of users

Scores = Callable[[np.ndarray, str], np.ndarray]
"""(users [B], ``valid`` or ``test``) -> the scores of all items [B, I]; higher is better."""


class Stopwatch:
    """Seconds since the process was started, without pauses."""

    def __init__(self) -> None:
        """Start at the time that the environment gives, or now."""
        self._start = float(os.environ.get(STARTED) or time.time())

    @property
    def seconds(self) -> float:
        """The seconds so far."""
        return time.time() - self._start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time of the block."""
        began = time.time()
        yield
        self._start += time.time() - began


class Split(NamedTuple):
    """The interactions of a split file, each matrix [U, I] with a 1 for each, U and I those of the whole file."""

    train: csr_matrix
    valid: csr_matrix
    test: csr_matrix

    def known(self, part: str) -> csr_matrix:
        """Return the known interactions when ``valid`` or ``test`` is ranked: train, and at test also valid."""
        return self.train if part == "valid" else (self.train + self.valid).tocsr()


def read_split(path: str) -> Split:
    """Return the interactions of a Parquet file with the columns ``user``, ``item`` and ``split``.

    Rows and columns are in the order of the sorted ids.
    """
    frame = pl.read_parquet(path)
    row, column = (frame[name].rank("dense").to_numpy().astype(np.int32) - 1 for name in ("user", "item"))
    shape, part = (int(row.max()) + 1, int(column.max()) + 1), frame["split"].to_numpy()
    places = (np.flatnonzero(part == name) for name in Split._fields)
    return Split(*(csr_matrix((np.ones(len(p), np.float32), (row[p], column[p])), shape) for p in places))


def ndcg(scores: Scores, split: Split, part: str) -> float:
    """Return NDCG@10 of the best unseen items, the mean over users who have an item in ``part``.

    The gain of a hit at rank i is 1 / log2(1 + i), and the sum is divided by that of min(10, relevant items) hits at
    the top. It is the ``ndcg`` of hlr_jax.
    """
    relevant, known = getattr(split, part), split.known(part)
    users = np.flatnonzero(np.diff(relevant.indptr))
    gains = 1 / np.log2(np.arange(2, K + 2))
    ideal, total = np.cumsum(gains), 0.0
    step = max(1, _CELLS // relevant.shape[1])
    for block in (users[start : start + step] for start in range(0, len(users), step)):
        values = np.array(scores(block, part), np.float32)
        values[known[block].nonzero()] = -np.inf
        top = np.argpartition(-values, K, axis=1)[:, :K] if values.shape[1] > K else np.argsort(-values, axis=1)
        order = np.argsort(-np.take_along_axis(values, top, axis=1), axis=1, kind="stable")
        found = np.take_along_axis(relevant[block].toarray(), np.take_along_axis(top, order, axis=1), axis=1)
        counts = np.minimum(np.diff(relevant.indptr)[block], K)
        total += float((found @ gains[: found.shape[1]] / ideal[counts - 1]).sum())
    return total / len(users)


def print_point(seconds: float, valid: float, test: float | None) -> None:
    """Print a point of a curve."""
    print(json.dumps({"seconds": round(seconds, 3), "valid": valid, "test": test}), flush=True)


class Curve:
    """The points of one system. Evaluating them is not timed; test is evaluated if valid is the best so far."""

    def __init__(self, watch: Stopwatch, split: Split) -> None:
        """Begin without points."""
        self._watch, self._split, self._best = watch, split, -1.0

    def point(self, scores: Scores) -> None:
        """Evaluate the system now, and print the point."""
        seconds = self._watch.seconds
        with self._watch.paused():
            valid, test = ndcg(scores, self._split, "valid"), None
            if valid > self._best:
                self._best, test = valid, ndcg(scores, self._split, "test")
            print_point(seconds, valid, test)


def product(users: np.ndarray, items: np.ndarray, biases: np.ndarray | float = 0.0) -> Scores:
    """Return the scores of vectors [U, D] and [I, D], with biases of items [I]."""
    return lambda block, _: users[block] @ items.T + biases


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
