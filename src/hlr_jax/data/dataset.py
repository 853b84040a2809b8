"""Prepared interactions: who met what, as small whole numbers, and the steps that make them from raw rows."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl

from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError, pick
from hlr_jax.files import sha256_of
from hlr_jax.protocols import Protocol

SPLITS = ("train", "valid", "test")
TRAIN_SPLITS = ("train", "train+valid", "train+valid+test")


@dataclass(frozen=True)
class Dataset:
    """A prepared data set.

    Attributes:
      name: for people.
      train, valid, test: disjoint interactions; users are 0..U-1 and items 0..I-1.
      user_ids, item_ids: the original id of each user [U] and item [I], strings or whole numbers.
      titles: [I] frame of ``title`` and ``genres``, or None where the source has none.
      protocol: how figures on it are measured.
      fingerprint: hash of the source's bytes and of every setting that shaped the splits.
    """

    name: str
    train: Interactions
    valid: Interactions
    test: Interactions
    user_ids: pl.Series
    item_ids: pl.Series
    titles: pl.DataFrame | None
    protocol: Protocol
    fingerprint: str

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.item_ids)

    def trained_on(self, splits: str) -> "Dataset":
        """Return the data set whose training interactions are those of ``splits``, one of ``TRAIN_SPLITS``.

        The splits that went into them are empty then: nothing is left to choose or to measure by.

        Raises:
          InputError: other splits, one without interactions, or a user for whom no negative is left.
        """
        names = pick(splits, TRAIN_SPLITS, "dataset.train_splits").split("+")
        if names == ["train"]:
            return self
        for name in names:
            if not len(getattr(self, name)):
                raise InputError(f"data set {self.name} has no {name} interactions for dataset.train_splits={splits}")
        train = sum((getattr(self, name) for name in names[1:]), self.train)
        check_negatives_exist(train, self.user_ids, self.num_items, f"dataset.train_splits={splits}")
        nothing = Interactions(np.zeros(0, np.int32), np.zeros(0, np.int32))
        fingerprint = sha256_of({"of": self.fingerprint, "train_splits": splits})
        test = nothing if "test" in names else self.test
        return replace(self, train=train, valid=nothing, test=test, fingerprint=fingerprint)

    def title(self, item: int) -> str:
        """Return the item's title, or its original id where it has none."""
        name = None if self.titles is None else self.titles["title"][item]
        return str(self.item_ids[item]) if name is None else name

    def summary(self) -> str:
        """Return a line like the paper's Table 1."""
        everything = self.train + self.valid + self.test
        count, median = len(everything), float(np.median(everything.degrees(self.num_users)))
        sizes = " / ".join(f"{len(getattr(self, split)):,}" for split in SPLITS)
        return (
            f"{self.name}: {self.num_users:,} users, {self.num_items:,} items, {count:,} interactions "
            f"({sizes} train/valid/test), density {count / self.num_users / self.num_items:.2%}, "
            f"median interactions/user {median:g}"
        )


def check_negatives_exist(met: Interactions, user_ids: pl.Series, num_items: int, where: str) -> None:
    """Check that every user has an item that it has not met.

    Raises:
      InputError: one has met all.
    """
    degrees = met.degrees(1)
    if degrees.max() >= num_items:
        user = user_ids[int(degrees.argmax())]
        raise InputError(f"{where}: user {user} has met all {num_items} items, so no negative exists; leave it out")


class Coded(NamedTuple):
    """Raw rows with ids replaced by codes: int32 ``user`` and ``item``, the ids behind them, and the other columns."""

    user: np.ndarray
    item: np.ndarray
    user_ids: pl.Series
    item_ids: pl.Series
    timestamp: np.ndarray | None
    split: np.ndarray | None


def encode(frame: pl.DataFrame, where: str) -> Coded:
    """Replace ids by codes in the order of the ids, sort the rows by user and item, and drop duplicate pairs.

    Of duplicates the earliest stays. The result does not depend on the order of the rows.

    Raises:
      InputError: one pair stands in two splits, or a split has an unknown name.
    """
    ids = {role: frame[role].unique().sort() for role in ("user", "item")}
    codes = {role: frame[role].rank("dense").cast(pl.Int32).to_numpy() - np.int32(1) for role in ("user", "item")}
    timestamp = frame["timestamp"].to_numpy() if "timestamp" in frame.columns else None
    split = _split_codes(frame["split"], where) if "split" in frame.columns else None
    key = codes["user"].astype(np.int64) * max(len(ids["item"]), 1) + codes["item"]
    tie_breakers = [column for column in (split, timestamp) if column is not None]
    order = np.lexsort((*tie_breakers, key)) if tie_breakers else np.argsort(key, kind="stable")
    key = key[order]
    first = np.ones(len(key), bool)
    first[1:] = key[1:] != key[:-1]
    if split is not None:
        clash = ~first[1:] & (split[order][1:] != split[order][:-1])
        if clash.any():
            row = int(order[1:][clash][0])
            raise InputError(
                f"{where}: user {frame['user'][row]} and item {frame['item'][row]} stand in two splits; keep one"
            )
    kept = order[first]
    return Coded(
        codes["user"][kept], codes["item"][kept], ids["user"], ids["item"],
        None if timestamp is None else timestamp[kept], None if split is None else split[kept],
    )  # fmt: skip


def _split_codes(column: pl.Series, where: str) -> np.ndarray:
    names = column.cast(pl.String)
    unknown = names.filter(~names.is_in(list(SPLITS)))
    if len(unknown):
        raise InputError(f'{where}: column "split" holds "{unknown[0]}"; it must be one of {", ".join(SPLITS)}')
    return names.replace_strict(list(SPLITS), [0, 1, 2], return_dtype=pl.Int8).to_numpy()


def k_core(rows: Coded, k: int, where: str) -> Coded:
    """Drop users and items with fewer than ``k`` interactions until none is left, and number the rest anew.

    Raises:
      InputError: nothing is left.
    """
    user, item = rows.user, rows.item
    keep = np.arange(len(user))
    while k > 1:
        enough_user = np.bincount(user[keep], minlength=len(rows.user_ids)) >= k
        enough_item = np.bincount(item[keep], minlength=len(rows.item_ids)) >= k
        good = enough_user[user[keep]] & enough_item[item[keep]]
        if good.all():
            break
        keep = keep[good]
    if not len(keep):
        raise InputError(
            f"{where}: no interaction is left after the {k}-core; pass a smaller dataset.k_core or threshold"
        )
    return select(rows, keep)


def select(rows: Coded, keep: np.ndarray) -> Coded:
    """Return the rows that an index or mask keeps, with the users and items that are left numbered anew."""
    user, user_ids = _renumber(rows.user[keep], rows.user_ids)
    item, item_ids = _renumber(rows.item[keep], rows.item_ids)
    timestamp, split = (None if column is None else column[keep] for column in (rows.timestamp, rows.split))
    return Coded(user, item, user_ids, item_ids, timestamp, split)


def _renumber(codes: np.ndarray, ids: pl.Series) -> tuple[np.ndarray, pl.Series]:
    present = np.zeros(len(ids), bool)
    present[codes] = True
    return (np.cumsum(present, dtype=np.int32) - np.int32(1))[codes], ids.filter(pl.Series(present))
