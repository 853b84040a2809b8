"""Splits interactions into train (0), valid (1) and test (2)."""

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from hlr_jax.data.time_cuts import Cuts
from hlr_jax.errors import InputError
from hlr_jax.protocols import Protocol

if TYPE_CHECKING:
    from hlr_jax.data.options import DataOptions

SPLIT_KINDS = ("random", "per-user", "time", "leave-last-out", "given")
BY_TIME = ("time", "leave-last-out")
RANDOM_SPLITS = ("random", "per-user", "leave-last-out")
"""Kinds of split that depend on the seed."""


def split_counts(total: int, protocol: Protocol) -> tuple[int, int]:
    """Return the numbers of test and valid rows among ``total``, rounded up."""
    num_test = math.ceil(total * protocol.test_size)
    return num_test, math.ceil((total - num_test) * protocol.valid_size)


def assign_splits(
    rows: pl.DataFrame, user_ids: pl.Series, item_ids: pl.Series, options: "DataOptions", cuts: Cuts | None, where: str
) -> np.ndarray:
    """Return the split of each row, int8 [rows], by ``options.split``.

    - ``random`` samples from all interactions.
    - ``per-user`` samples the protocol's share of each user's interactions.
    - ``time`` cuts the whole data set at two times.
    - ``leave-last-out`` puts each user's last interaction into test and the one before into valid. Interactions with
      equal times are ordered at random.
    - ``given`` reads the ``split`` column.

    In the random kinds, each user keeps at least one interaction in train. In ``per-user`` and ``leave-last-out``, a
    user's split depends only on the seed and the ids of that user's pairs: see ``pair_hashes``.

    Args:
      rows: ``user`` and ``item``, codes from 0, each pair once; ``timestamp`` or ``split`` where the split needs it.
      user_ids: the id of each user code.
      item_ids: the id of each item code.
      options: the kind of split, the protocol and the seed.
      cuts: where ``time`` cuts.
      where: name of the source in messages.

    Raises:
      InputError: a given split without train rows.
    """
    kind, protocol = options.split, options.measured_by
    if kind == "given":
        if "split" not in rows.columns:
            raise InputError(f'{where}: dataset.split=given needs a column "split"')
        given = rows["split"].to_numpy()
        if not (given == 0).any():
            raise InputError(f'{where}: no row has split "train"')
        return given
    if cuts is not None:
        return cuts.parts(rows["timestamp"].to_numpy())
    user = rows["user"].to_numpy()
    if kind == "random":
        return random_split(user, protocol, options.seed)
    hashes = pair_hashes(user, rows["item"].to_numpy(), user_ids, item_ids, options.seed)
    if kind == "per-user":
        return _by_rank(user, np.argsort(hashes, kind="stable"), protocol)
    from_last = _rank_within_user(user, np.lexsort([hashes, rows["timestamp"].to_numpy()])[::-1])
    long_enough = np.bincount(user)[user] >= 3
    return np.where(long_enough & (from_last < 2), 2 - from_last, 0).astype(np.int8)


def random_split(user: np.ndarray, protocol: Protocol, seed: int) -> np.ndarray:
    """Return a random split of each row, int8 [rows]; ``user`` is the code of each row's user."""
    count, parts = len(user), np.zeros(len(user), np.int8)
    order = np.random.default_rng(seed).permutation(count)
    num_test, num_valid = split_counts(count, protocol)
    parts[order[:num_test]] = 2
    parts[order[num_test : num_test + num_valid]] = 1
    # Users without a training interaction get their first interaction back.
    users, first_rows = np.unique(user, return_index=True)
    lacking = np.bincount(user[parts == 0], minlength=user.max() + 1) == 0
    parts[first_rows[lacking[users]]] = 0
    return parts


def pair_hashes(user: np.ndarray, item: np.ndarray, user_ids: pl.Series, item_ids: pl.Series, seed: int) -> np.ndarray:
    """Return a hash of the seed and the two ids of each pair, uint64 [rows].

    Ids are hashed as UTF-8 text, so the hash is the same in every data set, on every machine and in any order of the
    rows. It is ``mix(mix(mix(seed) ^ user) ^ item)``. ``mix`` is the step of SplitMix64 (Steele, Lea and Flood,
    OOPSLA 2014); each id is the first 8 bytes of its BLAKE2b hash, little-endian.

    Args:
      user: code of each row's user [rows].
      item: code of each row's item [rows].
      user_ids: the id of each user code.
      item_ids: the id of each item code.
      seed: of the hash.
    """
    users, items = (_id_hashes(ids) for ids in (user_ids, item_ids))
    hashes = _mixed(users ^ _mixed(np.array([seed], np.uint64)))[user]
    hashes ^= items[item]
    return _mixed(hashes)


def _id_hashes(ids: pl.Series) -> np.ndarray:
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in ids.cast(pl.String))
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _mixed(values: np.ndarray) -> np.ndarray:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values ^= values >> np.uint64(shift)
        values *= np.uint64(factor)
    values ^= values >> np.uint64(31)
    return values


def _rank_within_user(user: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return for each row how many rows of the same user come before it in ``order``."""
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
