"""The settings of a data set, checked where they are made."""

from dataclasses import dataclass

from hlr_jax.data.dataset import TRAIN_SPLITS
from hlr_jax.data.splits import SPLIT_KINDS
from hlr_jax.errors import check_range, check_seed, pick
from hlr_jax.protocols import Protocol, protocol_for


@dataclass(frozen=True)
class DataOptions:
    """Which interactions, and how they are prepared.

    Attributes:
      name: a data set of the registry, or ``planted-USERSxITEMSxINTERACTIONS``; with ``path``, any label.
      path: a file of one's own; with a registry name, that data set's file of interactions, wherever it lies.
      format: a name of ``readers.FORMATS``; ``auto`` goes by the file's ending.
      user_column: its name, where that differs from the format's (``user`` in CSV, TSV, Parquet and NDJSON).
      item_column: likewise (``item``).
      rating_column: likewise (``rating``).
      timestamp_column: likewise (``timestamp``).
      split_column: likewise (``split``).
      threshold: keep rows with at least this rating; None: the registry's, and for own files no threshold.
      k_core: least interactions of users and items; None: the registry's, and for own files 1.
      protocol: how metrics are measured, ``paper`` or ``reference``: the sizes of the parts (80/10/10, 72/8/20) and
        all else in ``protocols.Protocol``.
      split: ``random``, ``per-user``, ``time``, ``leave-last-out`` or ``given`` (the file's split column).
      unknown_users: what to do with users of valid or test that train lacks: ``error``, ``drop``, ``keep`` (they are
        ranked by an untrained vector). ``time`` splits always drop them.
      train_splits: ``train``, ``train+valid`` or ``train+valid+test``: the splits whose interactions are trained on. It
        is for settings that were chosen before; see ``runs.refit``.
      seed: of the draw of a split.

    Raises:
      InputError: a value out of range, by name.
    """

    name: str = ""
    path: str = ""
    format: str = "auto"
    user_column: str = ""
    item_column: str = ""
    rating_column: str = ""
    timestamp_column: str = ""
    split_column: str = ""
    threshold: float | None = None
    k_core: int | None = None
    protocol: str = "reference"
    split: str = "random"
    unknown_users: str = "error"
    train_splits: str = "train"
    seed: int = 2021

    def __post_init__(self) -> None:
        """Check every range."""
        pick(self.split, SPLIT_KINDS, "dataset.split")
        protocol_for(self.protocol, self.split)
        pick(self.unknown_users, ("error", "drop", "keep"), "dataset.unknown_users")
        pick(self.train_splits, TRAIN_SPLITS, "dataset.train_splits")
        check_seed("dataset.seed", self.seed)
        check_range(
            "dataset",
            k_core=(1 if self.k_core is None else self.k_core, 1, 10**9),
            threshold=(self.threshold or 0.0, -1e300, 1e300),
        )

    @property
    def measured_by(self) -> Protocol:
        """The protocol, for this kind of split."""
        return protocol_for(self.protocol, self.split)

    @property
    def columns(self) -> dict[str, str]:
        """The columns that are named, by role; empty for the format's own."""
        return {role: getattr(self, f"{role}_column") for role in ("user", "item", "rating", "timestamp", "split")}
