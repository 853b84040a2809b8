"""Ways to divide interactions into train (0), valid (1) and test (2)."""

import math

import numpy as np
import polars as pl

from hlr_jax.errors import InputError
from hlr_jax.protocols import Protocol

SPLIT_KINDS = ("random", "per-user", "time", "leave-last-out", "given")
BY_TIME = ("time", "leave-last-out")


def split_counts(total: int, protocol: Protocol) -> tuple[int, int]:
    """Return the numbers of test and valid rows among ``total``; a fraction of a row counts as one."""
    num_test = math.ceil(total * protocol.test_size)
    return num_test, math.ceil((total - num_test) * protocol.valid_size)


def assign_splits(rows: pl.DataFrame, kind: str, protocol: Protocol, seed: int, where: str) -> np.ndarray:
    """Return the part of each row, int8 [rows], by the given kind of split.

    ``random`` draws over all interactions; ``per-user`` draws the protocol's share of each user; ``time`` cuts the
    whole data set at two moments; ``leave-last-out`` gives each user's last interaction to test and the one before
    to valid; ``given`` takes the file's ``split`` column. In the kinds that draw, a user always keeps one
    interaction in train.

    Raises:
      InputError: a given split without train rows.
    """
    if kind == "given":
        if "split" not in rows.columns:
            raise InputError(f'{where}: dataset.split=given needs a column "split"')
        given = rows["split"].to_numpy()
        if not (given == 0).any():
            raise InputError(f'{where}: no row has split "train"')
        return given
    user = rows["user"].to_numpy()
    count, parts = len(user), np.zeros(len(user), np.int8)
    num_test, num_valid = split_counts(count, protocol)
    if kind in ("random", "per-user"):
        order = np.random.default_rng(seed).permutation(count)
        if kind == "per-user":
            return _by_rank(user, order, protocol)
        parts[order[:num_test]] = 2
        parts[order[num_test : num_test + num_valid]] = 1
        # The first interaction of each user that the draw left without any goes back to train.
        users, first_rows = np.unique(user, return_index=True)
        lacking = np.bincount(user[parts == 0], minlength=user.max() + 1) == 0
        parts[first_rows[lacking[users]]] = 0
        return parts
    order = np.lexsort([rows[column].to_numpy() for column in ("item", "user", "timestamp")])
    if kind == "time":
        parts[order[count - num_test :]] = 2
        parts[order[count - num_test - num_valid : count - num_test]] = 1
        return parts
    from_last = _rank_within_user(user, order[::-1])
    long_enough = np.bincount(user)[user] >= 3
    parts[long_enough & (from_last == 0)] = 2
    parts[long_enough & (from_last == 1)] = 1
    return parts


def _rank_within_user(user: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return, for each row, how many rows of its user come before it in ``order``."""
    by_user = order[np.argsort(user[order], kind="stable")]
    degrees = np.bincount(user)
    starts = np.repeat(np.cumsum(degrees) - degrees, degrees)
    rank = np.empty(len(user), np.int64)
    rank[by_user] = np.arange(len(user)) - starts
    return rank


def _by_rank(user: np.ndarray, order: np.ndarray, protocol: Protocol) -> np.ndarray:
    rank, degree = _rank_within_user(user, order), np.bincount(user)[user]
    num_test = np.minimum(np.rint(degree * protocol.test_size), degree - 1)
    num_valid = np.minimum(np.rint((degree - num_test) * protocol.valid_size), degree - 1 - num_test)
    return np.where(rank < num_test, 2, np.where(rank < num_test + num_valid, 1, 0)).astype(np.int8)
