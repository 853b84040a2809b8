"""Ways to divide interactions into train (0), valid (1) and test (2)."""

import math

import numpy as np

from hlr_jax.data.dataset import Coded
from hlr_jax.errors import InputError
from hlr_jax.protocols import Protocol

SPLIT_KINDS = ("random", "per-user", "time", "leave-last-out", "given")


def split_counts(total: int, protocol: Protocol) -> tuple[int, int]:
    """Return the numbers of test and valid rows among ``total``; a fraction of a row counts as one."""
    num_test = math.ceil(total * protocol.test_size)
    return num_test, math.ceil((total - num_test) * protocol.valid_size)


def needs_time(kind: str) -> bool:
    """Whether this kind of split reads timestamps."""
    return kind in ("time", "leave-last-out")


def assign_splits(rows: Coded, kind: str, protocol: Protocol, seed: int, where: str) -> np.ndarray:
    """Return the part of each row, int8 [rows], by the given kind of split.

    ``random`` draws over all interactions; ``per-user`` draws the protocol's share of each user; ``time`` cuts the
    whole data set at two moments; ``leave-last-out`` gives each user's last interaction to test and the one before
    to valid; ``given`` takes the file's ``split`` column. In the kinds that draw, a user always keeps one
    interaction in train.

    Raises:
      InputError: a given split without train rows.
    """
    if kind == "given":
        if rows.split is None:
            raise InputError(f'{where}: dataset.split=given needs a column "split"')
        if not (rows.split == 0).any():
            raise InputError(f'{where}: no row has split "train"')
        return rows.split
    count, parts = len(rows.user), np.zeros(len(rows.user), np.int8)
    if kind in ("random", "per-user"):
        order = np.random.default_rng(seed).permutation(count)
        if kind == "random":
            num_test, num_valid = split_counts(count, protocol)
            parts[order[:num_test]] = 2
            parts[order[num_test : num_test + num_valid]] = 1
            return _keep_one_in_train(rows.user, parts)
        return _by_rank(rows.user, order, protocol)
    assert rows.timestamp is not None
    order = np.lexsort((rows.item, rows.user, rows.timestamp))
    if kind == "time":
        num_test, num_valid = split_counts(count, protocol)
        parts[order[count - num_test :]] = 2
        parts[order[count - num_test - num_valid : count - num_test]] = 1
        return parts
    from_last = _rank_within_user(rows.user, order[::-1])
    long_enough = np.bincount(rows.user)[rows.user] >= 3
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


def _keep_one_in_train(user: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Move the first interaction of each user that the draw left without any back to train."""
    lacking = np.bincount(user[parts == 0], minlength=user.max() + 1) == 0
    first_rows = np.unique(user, return_index=True)[1]
    parts[first_rows[lacking]] = 0
    return parts


def settle_unknown_users(rows: Coded, parts: np.ndarray, policy: str, where: str) -> np.ndarray:
    """Return the mask of rows to keep, given that valid and test may name users that train does not.

    Raises:
      InputError: there are such users and the policy is ``error``; names the first.
    """
    known = np.bincount(rows.user[parts == 0], minlength=len(rows.user_ids)) > 0
    unknown = ~known[rows.user]
    if policy == "error" and unknown.any():
        users = np.unique(rows.user[unknown])
        row = int(np.flatnonzero(unknown)[0])
        raise InputError(
            f"{where}: user {rows.user_ids[int(rows.user[row])]} is in {('', 'valid', 'test')[parts[row]]} but not in "
            f"train ({len(users)} such users); pass dataset.unknown_users=drop to leave their rows out, or keep"
        )
    return ~unknown if policy == "drop" else np.ones(len(parts), bool)
