"""Prepared interactions: who met what, as small whole numbers, and what was left out on the way there."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from hlr_jax.data.encoding import SPLITS
from hlr_jax.data.ids import IdIndex
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.report import ReadingReport
from hlr_jax.data.unknown_users import bring_back, leave_out
from hlr_jax.errors import InputError, pick
from hlr_jax.protocols import Protocol

TRAIN_SPLITS = ("train", "train+valid", "train+valid+test")
Log = Callable[[str], None]


@dataclass(frozen=True)
class Dataset:
    """A prepared data set.

    Attributes:
      name: for people.
      train, valid, test: disjoint interactions; users are 0..U-1 and items 0..I-1.
      user_ids, item_ids: the original id of each user [U] and item [I], strings or whole numbers.
      titles: [I] frame of ``title`` and ``genres``, or None where the source has none.
      protocol: how figures on it are measured.
      reading: what became of the source's rows, up to the interactions of all users; see ``reading_report``.
      left_out: None, or the interactions of valid and test whose users train lacks, where those were dropped: ``user``,
        ``item``, ``split``, and with titles ``title`` and ``genres``. Training on all splits brings them back.

    Example:
      >>> users, splits = ["ann", "ann", "bob", "bob"], ["train", "test"] * 2
      >>> log = pl.DataFrame({"user": users, "item": [7, 8, 7, 9], "split": splits})
      >>> own = hlr_jax.Dataset.from_frame(log, split="given", log=lambda line: None)
      >>> own.num_users, own.num_items, len(own.train), own.user_ids.to_list()
      (2, 3, 2, ['ann', 'bob'])
    """

    name: str
    train: Interactions
    valid: Interactions
    test: Interactions
    user_ids: pl.Series
    item_ids: pl.Series
    titles: pl.DataFrame | None
    protocol: Protocol
    reading: ReadingReport
    left_out: pl.DataFrame | None = None

    @classmethod
    def from_frame(
        cls, frame: Any = None, user: str = "user", item: str = "item", rating: str | None = None,
        timestamp: str | None = None, *, split: str = "random", split_column: str | None = None,
        threshold: float | None = None, k_core: int | None = None, train: Any = None, valid: Any = None,
        test: Any = None, name: str = "frame", log: Log = print, **options: Any,
    ) -> "Dataset":  # fmt: skip
        """Make a data set of a frame, or of one for each split, as ``load_dataset`` does of a file with the same rows.

        Args:
          frame: of polars (lazy too), pandas, pyarrow or anything with ``__arrow_c_stream__``.
          user: the column of the users' ids: whole numbers, texts or categories. Of pandas, a level of the index with
            that name is a column too.
          item: the column of the items' ids, likewise.
          rating: the column that ``threshold`` is about; None: ``rating``.
          timestamp: the column that ``split="time"`` and ``"leave-last-out"`` go by; None: ``timestamp``.
          split: ``random``, ``per-user``, ``time``, ``leave-last-out`` or ``given``.
          split_column: the column of a given split, ``train``, ``valid`` or ``test``; None: ``split``.
          threshold: keep rows with at least this rating; None: all, and ratings are not read.
          k_core: least interactions of users and items; None: 1.
          train: a frame of training rows instead of ``frame``.
          valid: with ``train``, a frame of validation rows; None: there are none.
          test: with ``train``, a frame of test rows; None: there are none.
          name: for people.
          log: takes lines for people.
          options: ``protocol``, ``unknown_users``, ``train_splits``, ``seed``, ``timestamp_format``, ``valid_from``,
            ``test_from``: see ``DataOptions``.

        Raises:
          InputError: everything that can be wrong with the frame or a setting, in one line.

        Example:
          >>> frame = pl.DataFrame({"user": ["ann", "ann", "bob"], "item": [7, 8, 9]})
          >>> Dataset.from_frame(frame, log=lambda line: None).num_items
          3
        """
        from hlr_jax.data import constructors

        named = {
            "user_column": user, "item_column": item, "rating_column": rating or "",
            "timestamp_column": timestamp or "", "split_column": split_column or "", "split": split,
        }  # fmt: skip
        if twice := sorted(named.keys() & options):
            raise InputError(f"from_frame: {twice[0]} is called {twice[0].removesuffix('_column')} here")
        options |= named | {"threshold": threshold, "k_core": k_core}
        return constructors.from_frame(frame, {"train": train, "valid": valid, "test": test}, name, log, **options)

    @classmethod
    def from_csr(
        cls, matrix: Any, user_ids: Any = None, item_ids: Any = None, *, name: str = "matrix", log: Log = print,
        **options: Any,
    ) -> "Dataset":  # fmt: skip
        """Make a data set of a SciPy sparse matrix or array [U, I] of any format.

        Its entries that are not zero are the interactions; with a ``threshold``, those that reach it. Entries at one
        place are added up, as SciPy does. Users and items without an interaction are not in the data set.

        Args:
          matrix: a row for each user and a column for each item.
          user_ids: the id of each row [U]; None: its number.
          item_ids: the id of each column [I]; None: its number.
          name: for people.
          log: takes lines for people.
          options: ``threshold``, ``k_core``, ``split`` (``random`` or ``per-user``), ...: see ``DataOptions``.

        Raises:
          InputError: everything that can be wrong with the matrix, the ids or a setting, in one line.

        Example:
          >>> import scipy
          >>> matrix = scipy.sparse.csr_array([[1, 1, 0], [0, 0, 1]])
          >>> Dataset.from_csr(matrix, user_ids=["ann", "bob"], log=lambda line: None).user_ids.to_list()
          ['ann', 'bob']
        """
        from hlr_jax.data import constructors

        return constructors.from_csr(matrix, user_ids, item_ids, name, log, **options)

    @classmethod
    def from_arrays(
        cls, users: Any, items: Any, ratings: Any = None, timestamps: Any = None, splits: Any = None, *,
        name: str = "arrays", log: Log = print, **options: Any,
    ) -> "Dataset":  # fmt: skip
        """Make a data set of columns: lists, arrays of NumPy or JAX, series of polars or pandas, Arrow arrays.

        Args:
          users: the id of the user of each interaction [n].
          items: the id of its item [n].
          ratings: what ``threshold`` is about [n].
          timestamps: what ``split="time"`` and ``"leave-last-out"`` go by [n]: numbers or dates.
          splits: ``train``, ``valid`` or ``test`` for each interaction [n], for ``split="given"``.
          name: for people.
          log: takes lines for people.
          options: ``threshold``, ``k_core``, ``split``, ...: see ``DataOptions``.

        Raises:
          InputError: everything that can be wrong with the columns or a setting, in one line.

        Example:
          >>> Dataset.from_arrays([1, 1, 2], [5, 6, 7], log=lambda line: None).num_users
          2
        """
        from hlr_jax.data import constructors

        columns = {"user": users, "item": items, "rating": ratings, "timestamp": timestamps, "split": splits}
        return constructors.from_arrays(columns, name, log, **options)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the ids and of the interactions of each split: the same for the same data, wherever it came from."""
        parts = self.splits.values()
        sizes, ids = [len(part) for part in parts], [self.user_ids.to_list(), self.item_ids.to_list()]
        digest = hashlib.sha256(json.dumps([sizes, *ids]).encode())
        for part in parts:
            for codes in (part.user, part.item):
                digest.update(np.ascontiguousarray(codes, "<i4").data)
        return digest.hexdigest()

    @property
    def splits(self) -> dict[str, Interactions]:
        """The interactions by the name of their split."""
        return {name: getattr(self, name) for name in SPLITS}

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

        The splits that went into them are empty then: nothing is left to choose or to measure by. Users who were left
        out because train lacks them are back in where the new training interactions have them; ids and codes may then
        be more than before.

        Raises:
          InputError: other splits, one without interactions, or a user for whom no negative is left.
        """
        names = pick(splits, TRAIN_SPLITS, "dataset.train_splits").split("+")
        if names == ["train"]:
            return self
        everyone = bring_back(self)
        for name in names:
            if not len(getattr(everyone, name)):
                raise InputError(f"data set {self.name} has no {name} interactions for dataset.train_splits={splits}")
        train = sum((getattr(everyone, name) for name in names[1:]), everyone.train)
        nothing = train.where(np.zeros(len(train), bool))
        test = nothing if "test" in names else everyone.test
        trained = replace(everyone, train=train, valid=nothing, test=test)
        if self.left_out is not None:
            trained = leave_out(trained)
        check_negatives_exist(trained.train, trained.user_ids, trained.num_items, f"dataset.train_splits={splits}")
        return trained

    def to_frame(self) -> pl.DataFrame:
        """Return all interactions by their original ids: ``user``, ``item`` and ``split``."""
        frames = []
        for name, part in self.splits.items():
            ids = {"user": self.user_ids.gather(part.user), "item": self.item_ids.gather(part.item)}
            frames.append(pl.DataFrame(ids).with_columns(split=pl.lit(name)))
        return pl.concat(frames)

    @cached_property
    def known(self) -> Interactions:
        """What may be known when recommending: train and validation interactions."""
        return self.train + self.valid

    @cached_property
    def user_index(self) -> IdIndex:
        """Finds users by their original ids."""
        return IdIndex(self.user_ids)

    @cached_property
    def item_index(self) -> IdIndex:
        """Finds items by their original ids."""
        return IdIndex(self.item_ids)

    @cached_property
    def popular_items(self) -> np.ndarray:
        """All items [I], those with the most known interactions first."""
        return np.argsort(-self.known.item_degrees(self.num_items), kind="stable")

    @cached_property
    def item_titles(self) -> pl.Series:
        """The title of every item [I], or its original id where it has none."""
        ids = self.item_ids.cast(pl.String)
        return ids if self.titles is None else pl.select(pl.coalesce(self.titles["title"], ids)).to_series()

    def title(self, item: int) -> str:
        """Return the item's title, or its original id where it has none."""
        return self.item_titles[item]

    def reading_report(self) -> ReadingReport:
        """Return how many rows the source had and how many were left out, for which reason.

        Example:
          >>> print(data.reading_report())
          900 rows read, left out: none; 8 users are without test interactions
        """
        unknown = int((self.train.degrees(self.num_users) == 0).sum())
        untested = int((self.test.degrees(self.num_users) == 0).sum()) if len(self.test) else 0
        report = replace(self.reading, users_kept=unknown, users_without_test=untested)
        if self.left_out is None:
            return report
        dropped = self.left_out["user"].n_unique()
        return replace(report, of_unknown_users=self.left_out.height, users_dropped=dropped)

    def summary(self) -> str:
        """Return a line like the paper's Table 1, and the users without training interactions, if there are some."""
        everything = self.train + self.valid + self.test
        count, median = len(everything), float(np.median(everything.degrees(self.num_users)))
        sizes, report = " / ".join(f"{len(part):,}" for part in self.splits.values()), self.reading_report()
        unknown = f"{report.users_kept:,} kept, {report.users_dropped:,} dropped"
        return (
            f"{self.name}: {self.num_users:,} users, {self.num_items:,} items, {count:,} interactions "
            f"({sizes} train/valid/test), density {count / self.num_users / self.num_items:.2%}, "
            f"median interactions/user {median:g}"
            + (f"; users without training interactions: {unknown}" if report.users_kept or report.users_dropped else "")
        )

    def announce(self, log: Log) -> None:
        """Tell people what was decided about the source, what became of its rows, and what the data set is."""
        report = self.reading_report()
        for note in report.notes:
            log(note)
        log(f"{self.name}: {report}")
        log(self.summary())


def check_negatives_exist(
    met: Interactions, user_ids: pl.Series, num_items: int, where: str, read: ReadingReport | None = None
) -> None:
    """Check that every user has an item that it has not met; ``read`` tells what became of the rows.

    Raises:
      InputError: one has met all.
    """
    degrees = met.degrees(1)
    if degrees.max() >= num_items:
        user, told = user_ids[int(np.argmax(degrees))], "" if read is None else f" ({read})"
        raise InputError(
            f"{where}: user {user} has met all {num_items} items, so no negative exists; leave it out{told}"
        )
