"""The settings of a data set, checked where they are made."""

from dataclasses import dataclass, replace
from typing import ClassVar

from hlr_jax.data.clean_ids import MISSING_WORDS
from hlr_jax.data.dataset import TRAIN_SPLITS
from hlr_jax.data.source_files import Paths, check_paths
from hlr_jax.data.splits import BY_TIME, SPLIT_KINDS
from hlr_jax.data.timestamps import check_timestamp_format
from hlr_jax.data.values import Rules
from hlr_jax.errors import MAX_SEED, InputError, pick
from hlr_jax.protocols import PROTOCOLS, Protocol, protocol_for
from hlr_jax.settings import Settings, number, word

ROLES = ("user", "item", "rating", "timestamp", "split")
PASSED_OVER = "_"
"""What ``dataset.columns`` calls a column that is not read."""
SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
FILE_SETTINGS = ("path", "glob", "format", "header", "separator", "columns", "quotes", "encoding", "decimal")
READING_SETTINGS = (*FILE_SETTINGS[3:], "missing_ids", "missing_words", "timestamp_format")
UNKNOWN_USERS = ("auto", "error", "drop", "keep")


@dataclass(frozen=True)
class DataOptions(Settings):
    """Which interactions, and how they are prepared.

    Attributes:
      name: a data set of the registry, or ``planted-USERSxITEMSxINTERACTIONS``; with ``path``, any label.
      path: a file of one's own, a folder of part files (those in it, at any depth, whose names start with neither ``.``
        nor ``_``) or a list of files; with a registry name, that data set's file of interactions, wherever it lies.
      glob: whether ``path`` is a pattern such as ``logs/2024-*.csv``, with ``**`` for folders of any depth.
      format: a name of ``hlr-jax formats``; ``auto`` goes by the file's ending.
      header: whether the first line of a delimited file names the columns; ``auto`` goes by what stands there.
      separator: between the fields of a delimited file: one character, ``tab`` or ``::``; empty: what its first lines
        show.
      columns: the columns of a delimited file in order, such as ``user,item,rating``; ``_`` for one that is not read.
        For files without a header.
      quotes: whether fields may stand in double quotes; ``no``: quotes are plain characters; ``auto``: as the format
        says, and a quoted field that looks like swallowed lines is refused.
      encoding: of a text file, such as ``latin-1``; empty: UTF-8, or what its byte-order mark says.
      decimal: what stands before the fraction of a rating.
      missing_ids: what becomes of rows that lack a user or an item.
      missing_words: what stands for a missing id, divided by commas; empty: nothing but an empty field does.
      user_column: the column of users; empty: the format's (``user`` in CSV, TSV, Parquet and NDJSON).
      item_column: the column of items; empty: the format's (``item``).
      rating_column: the column of ratings; empty: the format's (``rating``). Read with a threshold.
      timestamp_column: the column of times; empty: the format's (``timestamp``). Read by splits that need it.
      timestamp_format: how times are written: ``s``, ``ms``, ``us`` or ``ns`` since 1970, or a pattern such as
        ``%d/%m/%Y``; empty: found from all rows.
      split_column: the column of splits; empty: the format's (``split``). Read with ``split=given``.
      threshold: keep rows with at least this rating; None: the registry's, and for own data no threshold.
      k_core: least interactions of users and items; None: the registry's, and for own data 1.
      protocol: how metrics are measured: the sizes of the parts (paper: 80/10/10, reference: 72/8/20) and all else in
        ``protocols.Protocol``.
      split: how interactions are divided; ``given``: by the file's split column.
      valid_from: the first moment of valid, with ``split=time``: a date or a number as in the column. Needs
        ``test_from``; empty: the protocol's share of what comes before that.
      test_from: the first moment of test, likewise; empty: the protocol's share of all.
      unknown_users: what becomes of users of valid or test that train lacks; those kept are ranked by an untrained
        vector. ``auto`` is ``drop`` for ``time``, where there nearly always are some, and else ``error``.
      train_splits: the splits whose interactions are trained on, for settings that were chosen before; see
        ``runs.refit``.
      seed: of the draw of a split, and of the order of a user's interactions at one moment.

    Raises:
      InputError: a value out of range, by name.
    """

    section: ClassVar[str] = "dataset"

    name: str = ""
    path: Paths = ""
    glob: bool = False
    format: str = "auto"
    header: str = word("auto", ("auto", "yes", "no"))
    separator: str = ""
    columns: str = ""
    quotes: str = word("auto", ("auto", "yes", "no"))
    encoding: str = ""
    decimal: str = word(".", (".", ","))
    missing_ids: str = word("error", ("error", "drop"))
    missing_words: str = ",".join(MISSING_WORDS)
    user_column: str = ""
    item_column: str = ""
    rating_column: str = ""
    timestamp_column: str = ""
    timestamp_format: str = ""
    split_column: str = ""
    threshold: float | None = number(None, -1e300, 1e300)
    k_core: int | None = number(None, 1, 10**9)
    protocol: str = word("reference", PROTOCOLS)
    split: str = word("random", SPLIT_KINDS)
    valid_from: str = ""
    test_from: str = ""
    unknown_users: str = word("auto", UNKNOWN_USERS)
    train_splits: str = word("train", TRAIN_SPLITS)
    seed: int = number(2021, 0, MAX_SEED)

    def __post_init__(self) -> None:
        """Check every field, and those that exclude each other."""
        check_paths(self.path)
        super().__post_init__()
        protocol_for(self.protocol, self.split)
        self._check_layout()
        self._check_times()
        if self.split_column and self.split != "given":
            raise InputError(f"dataset.split_column is read only with dataset.split=given, and that is {self.split}")

    def _check_layout(self) -> None:
        if self.separator and len(SEPARATORS.get(self.separator, self.separator)) != 1 and self.separator != "::":
            raise InputError(f'dataset.separator is one character, tab or "::", not "{self.separator}"')
        for role in self.column_order:
            pick(role, (*ROLES, PASSED_OVER), "role in dataset.columns")
        if repeated := [role for role in ROLES if self.column_order.count(role) > 1]:
            raise InputError(f"dataset.columns names {repeated[0]} twice")

    def _check_times(self) -> None:
        check_timestamp_format(self.timestamp_format)
        if self.timestamp_format and "timestamp" not in self.roles:
            raise InputError(f"dataset.timestamp_format is for splits by time, and dataset.split is {self.split}")
        if self.split != "time" and (self.valid_from or self.test_from):
            raise InputError(f"dataset.valid_from and test_from are for dataset.split=time, and that is {self.split}")
        if self.valid_from and not self.test_from:
            raise InputError("dataset.valid_from needs dataset.test_from, where valid ends; pass both, or test_from")

    def with_defaults(self, threshold: float | None = None, k_core: int = 1) -> "DataOptions":
        """Return the settings with a threshold and a k-core where they have none.

        Raises:
          InputError: a rating column that would not be read, for want of a threshold.
        """
        filled = replace(
            self,
            threshold=threshold if self.threshold is None else self.threshold,
            k_core=k_core if self.k_core is None else self.k_core,
        )
        if filled.rating_column and filled.threshold is None:
            raise InputError("a rating column is read only with a threshold; pass dataset.threshold, or leave it out")
        return filled

    @property
    def unknown_user_policy(self) -> str:
        """What becomes of users of valid or test that train lacks: ``error``, ``drop`` or ``keep``."""
        if self.unknown_users == "auto":
            return "drop" if self.split == "time" else "error"
        return self.unknown_users

    @property
    def measured_by(self) -> Protocol:
        """The protocol, for this kind of split."""
        return protocol_for(self.protocol, self.split)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of the columns to read. One that is named is read in any case, so that a wrong name is noticed."""
        wanted = {"user": True, "item": True, "rating": self.threshold is not None}
        wanted |= {"timestamp": self.split in BY_TIME, "split": self.split == "given"}
        return tuple(role for role, needed in wanted.items() if needed or self.named_columns[role])

    @property
    def named_columns(self) -> dict[str, str]:
        """The columns that are named, by role; empty for the format's own."""
        return {role: getattr(self, f"{role}_column") for role in ROLES}

    @property
    def column_order(self) -> tuple[str, ...]:
        """The roles of a file's columns in order; empty where they are not given."""
        return tuple(role.strip() or PASSED_OVER for role in self.columns.split(",")) if self.columns else ()

    @property
    def rules(self) -> Rules:
        """What values mean."""
        words = tuple(filter(None, self.missing_words.split(",")))
        return Rules(self.threshold, self.missing_ids, words, self.decimal, self.timestamp_format)

    @property
    def frame_columns(self) -> dict[str, str]:
        """The column of each of ``roles`` in a frame, which is called as the role unless another one is named."""
        return {role: role if self.named_columns[role] == "" else self.named_columns[role] for role in self.roles}
