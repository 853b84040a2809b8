"""The settings of a data set, checked on construction."""

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
"""Marks a column in ``dataset.columns`` that is not read."""
SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
FILE_SETTINGS = ("path", "glob", "format", "header", "separator", "columns", "quotes", "encoding", "decimal")
READING_SETTINGS = (*FILE_SETTINGS[3:], "missing_ids", "missing_words", "timestamp_format")
UNKNOWN_USERS = ("auto", "error", "drop", "keep")


@dataclass(frozen=True)
class DataOptions(Settings):
    """Which interactions to read, and how to prepare them.

    Attributes:
      name: a data set of the registry, or ``planted-USERSxITEMSxINTERACTIONS``; with ``path``, any label.
      path: your own file, a folder of part files, or a list of files; with a registry name, that data set's file of
        interactions. A folder is read at any depth, without names that start with ``.`` or ``_``.
      glob: whether ``path`` is a pattern such as ``logs/2024-*.csv``, with ``**`` for folders of any depth.
      format: a name listed by ``hlr-jax formats``; ``auto``: chosen by the file extension.
      header: whether the first line of a delimited file names the columns; ``auto``: decided from its content.
      separator: between the fields of a delimited file: one character, ``tab`` or ``::``; empty: found from the first
        lines.
      columns: the columns of a delimited file in order, such as ``user,item,rating``; ``_`` for a column that is not
        read. For files without a header.
      quotes: whether fields may be in double quotes; ``no``: quotes are plain characters; ``auto``: as the format
        defines. With ``auto``, a quoted field that seems to contain whole records is an error.
      encoding: of a text file, such as ``latin-1``; empty: UTF-8, or the encoding of its byte-order mark.
      decimal: the decimal separator of ratings.
      missing_ids: how rows without a user or an item are handled.
      missing_words: texts that mean a missing id, separated by commas; empty: only an empty field does.
      user_column: the column of users; empty: the format's (``user`` in CSV, TSV, Parquet and NDJSON).
      item_column: the column of items; empty: the format's (``item``).
      rating_column: the column of ratings; empty: the format's (``rating``). Read with a threshold.
      timestamp_column: the column of times; empty: the format's (``timestamp``). Read by splits that need it.
      timestamp_format: how times are written: ``s``, ``ms``, ``us`` or ``ns`` since 1970, or a pattern such as
        ``%d/%m/%Y``; empty: found from all rows.
      split_column: the column of splits; empty: the format's (``split``). Read with ``split=given``.
      threshold: keep rows with at least this rating; None: the registry's; for your own data no threshold.
      k_core: minimum number of interactions of each user and item; None: the registry's; for your own data 1.
      protocol: how metrics are measured: the split sizes (paper: 80/10/10, reference: 72/8/20) and the metric
        definitions; see ``protocols.Protocol``.
      split: how interactions are split; ``given``: by the file's split column.
      valid_from: the first time of valid, with ``split=time``: a date or a number as in the column. Needs
        ``test_from``; empty: the protocol's share of the rows before ``test_from``.
      test_from: the first time of test, in the same form; empty: the protocol's share of all rows.
      unknown_users: how users of valid or test without training interactions are handled; ``keep``: rank them by
        untrained vectors; ``auto``: ``drop`` for ``split=time``, which nearly always has some, else ``error``.
      train_splits: the splits to train on, once the settings were chosen; see ``runs.refit``.
      seed: of random splits, and of the order of a user's interactions with equal times.

    Raises:
      InputError: a value out of range; names the setting.
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
        """Check every field, and combinations of fields."""
        check_paths(self.path)
        super().__post_init__()
        protocol_for(self.protocol, self.split)
        self._check_layout()
        self._check_times()
        if self.split_column and self.split != "given":
            raise InputError(f"dataset.split_column is read only with dataset.split=given, but it is {self.split}")

    def _check_layout(self) -> None:
        if self.separator and len(SEPARATORS.get(self.separator, self.separator)) != 1 and self.separator != "::":
            raise InputError(f'dataset.separator must be one character, tab or "::", got "{self.separator}"')
        for role in self.column_order:
            pick(role, (*ROLES, PASSED_OVER), "role in dataset.columns")
        if repeated := [role for role in ROLES if self.column_order.count(role) > 1]:
            raise InputError(f"dataset.columns names {repeated[0]} twice")

    def _check_times(self) -> None:
        check_timestamp_format(self.timestamp_format)
        if self.timestamp_format and "timestamp" not in self.roles:
            raise InputError(f"dataset.timestamp_format is for splits by time, but dataset.split is {self.split}")
        if self.split != "time" and (self.valid_from or self.test_from):
            raise InputError(f"dataset.valid_from and test_from need dataset.split=time, but it is {self.split}")
        if self.valid_from and not self.test_from:
            raise InputError("dataset.valid_from needs dataset.test_from, where valid ends; pass test_from too")

    def with_defaults(self, threshold: float | None = None, k_core: int = 1) -> "DataOptions":
        """Return the settings with these defaults for a missing threshold and k-core.

        Raises:
          InputError: a rating column is given without a threshold, so it would not be read.
        """
        filled = replace(
            self,
            threshold=threshold if self.threshold is None else self.threshold,
            k_core=k_core if self.k_core is None else self.k_core,
        )
        if filled.rating_column and filled.threshold is None:
            raise InputError(
                "a rating column is read only with a threshold; pass dataset.threshold, or leave out the column"
            )
        return filled

    @property
    def unknown_user_policy(self) -> str:
        """How users without training interactions are handled: ``error``, ``drop`` or ``keep``."""
        if self.unknown_users == "auto":
            return "drop" if self.split == "time" else "error"
        return self.unknown_users

    @property
    def measured_by(self) -> Protocol:
        """The evaluation protocol for this kind of split."""
        return protocol_for(self.protocol, self.split)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of the columns to read. A named column is always read, so a wrong name is an error."""
        wanted = {"user": True, "item": True, "rating": self.threshold is not None}
        wanted |= {"timestamp": self.split in BY_TIME, "split": self.split == "given"}
        return tuple(role for role, needed in wanted.items() if needed or self.named_columns[role])

    @property
    def named_columns(self) -> dict[str, str]:
        """The name of each role's column; empty for the format's own name."""
        return {role: getattr(self, f"{role}_column") for role in ROLES}

    @property
    def column_order(self) -> tuple[str, ...]:
        """The roles of a file's columns in order; empty if not given."""
        return tuple(role.strip() or PASSED_OVER for role in self.columns.split(",")) if self.columns else ()

    @property
    def rules(self) -> Rules:
        """How values are read."""
        words = tuple(filter(None, self.missing_words.split(",")))
        return Rules(self.threshold, self.missing_ids, words, self.decimal, self.timestamp_format)

    @property
    def frame_columns(self) -> dict[str, str]:
        """The column of each of ``roles`` in a frame; its default name is the role."""
        return {role: role if self.named_columns[role] == "" else self.named_columns[role] for role in self.roles}
