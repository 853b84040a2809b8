"""Prepared interactions: who met what, as small whole numbers, and the steps that make them from raw rows."""

from dataclasses import dataclass, replace
from functools import cached_property

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
        nothing = self.train.where(np.zeros(len(self.train), bool))
        fingerprint = sha256_of({"of": self.fingerprint, "train_splits": splits})
        test = nothing if "test" in names else self.test
        return replace(self, train=train, valid=nothing, test=test, fingerprint=fingerprint)

    @cached_property
    def item_titles(self) -> pl.Series:
        """The title of every item [I], or its original id where it has none."""
        ids = self.item_ids.cast(pl.String)
        return ids if self.titles is None else pl.select(pl.coalesce(self.titles["title"], ids)).to_series()

    def title(self, item: int) -> str:
        """Return the item's title, or its original id where it has none."""
        return self.item_titles[item]

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
        user = user_ids[int(np.argmax(degrees))]
        raise InputError(f"{where}: user {user} has met all {num_items} items, so no negative exists; leave it out")


def encode(frame: pl.DataFrame, where: str) -> tuple[pl.DataFrame, pl.Series, pl.Series]:
    """Replace ids by codes in the order of the ids, sort the rows by user and item, and drop duplicate pairs.

    Of duplicates the earliest stays. The result does not depend on the order of the rows.

    Returns:
      Rows with int32 ``user`` and ``item``, and ``timestamp`` and ``split`` (0, 1, 2) where the frame has them; the ids
      behind the codes of users, and of items.

    Raises:
      InputError: one pair stands in two splits, or a split has an unknown name.
    """
    user_ids, item_ids = (frame[role].unique().sort() for role in ("user", "item"))
    order = [column for column in ("user", "item", "timestamp", "split") if column in frame.columns]
    rows = frame.with_columns(pl.col("user", "item").rank("dense").cast(pl.Int32) - 1)
    if "split" in order:
        names = frame["split"].cast(pl.String)
        unknown = names.filter(~names.is_in(list(SPLITS)))
        if len(unknown):
            raise InputError(f'{where}: column "split" holds "{unknown[0]}"; it must be one of {", ".join(SPLITS)}')
        rows = rows.with_columns(names.replace_strict(list(SPLITS), [0, 1, 2], return_dtype=pl.Int8))
    rows = rows.select(order).sort(order)
    repeated = pl.all_horizontal(pl.col("user", "item").eq_missing(pl.col("user", "item").shift()))
    if "split" in order:
        clashes = rows.filter(repeated & (pl.col("split") != pl.col("split").shift()))
        if len(clashes):
            user, item = user_ids[clashes["user"][0]], item_ids[clashes["item"][0]]
            raise InputError(f"{where}: user {user} and item {item} stand in two splits; keep one")
    return rows.filter(~repeated), user_ids, item_ids


def k_core(rows: pl.DataFrame, k: int, where: str) -> pl.DataFrame:
    """Drop users and items with fewer than ``k`` interactions until none is left.

    Raises:
      InputError: nothing is left.
    """
    user, item = rows["user"].to_numpy(), rows["item"].to_numpy()
    keep = np.arange(len(rows))
    while k > 1:
        enough = (np.bincount(user[keep]) >= k)[user[keep]] & (np.bincount(item[keep]) >= k)[item[keep]]
        if enough.all():
            break
        keep = keep[enough]
    if not len(keep):
        raise InputError(
            f"{where}: no interaction is left after the {k}-core; pass a smaller dataset.k_core or threshold"
        )
    return rows[keep]


def divided(everything: Interactions, parts: np.ndarray) -> dict[str, Interactions]:
    """Return the interactions of each split, given the part of each row: 0, 1 or 2."""
    return {split: everything.where(parts == code) for code, split in enumerate(SPLITS)}
