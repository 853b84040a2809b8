"""The settings of evaluation, checked where they are made."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from hlr_jax.errors import InputError
from hlr_jax.evaluation.metrics import LOWER_IS_BETTER, METRICS
from hlr_jax.settings import Settings, number, word


@dataclass(frozen=True)
class EvalOptions(Settings):
    """How to rank and measure.

    Attributes:
      k: the lengths K of lists that are measured, or a single one; the first is the main one, which tables show.
      monitor: what chooses the best epoch: the validation ``loss``, or a metric of the validation lists, ``ndcg`` for
        example; at another K than the main one as ``ndcg@20``.
      num_valid_users: users whose validation lists are made, drawn once, where ranking all takes too long; 0: all.
      memory_limit_mib: MiB that one tile of users may take in ranking; the results do not depend on it.
      num_cohorts: disjoint random groups of users whose means give a mean and standard deviation; 1: none.
      solver_mask: what is left out of the lists of MF-ALS at test, ``train`` or ``train+valid``; empty: what the
        protocol says. All other lists leave out train+valid.

    Raises:
      InputError: a value out of range, by name.

    Example:
      >>> hlr_jax.EvalOptions(k=(10, 20), monitor="ndcg@20").monitor_name
      'valid_ndcg@20'
    """

    section: ClassVar[str] = "eval"

    k: int | tuple[int, ...] = number((10,), 1, 1000)
    monitor: str = "loss"
    num_valid_users: int = number(0, 0, 2**31)
    memory_limit_mib: int = number(512, 1, 2**24)
    num_cohorts: int = number(1, 1, 10**6)
    solver_mask: str = word("", ("", "train", "train+valid"))

    def __post_init__(self) -> None:
        """Check every field, and that the monitor is one."""
        super().__post_init__()
        if not self.ks or len(set(self.ks)) < len(self.ks):
            raise InputError(f"eval.k must be one length of lists or several, each once, got {self.k}")
        name, _, at = self.monitor.partition("@")
        if self.monitor != "loss" and (name not in METRICS or (at and at not in map(str, self.ks))):
            known = ", ".join(["loss", *METRICS])
            ks = ",".join(map(str, self.ks))
            raise InputError(f"eval.monitor is {self.monitor!r}; it must be one of {known}, at a K of eval.k={ks}")

    @property
    def ks(self) -> tuple[int, ...]:
        """Every K, the main one first."""
        return tuple(self.k) if isinstance(self.k, (tuple, list)) else (self.k,)

    @property
    def longest(self) -> int:
        """The longest K: that of the lists that are made."""
        return max(self.ks)

    @property
    def of_lists(self) -> "EvalOptions":
        """The same with NDCG in the place of a monitored loss, for what has lists but no loss."""
        return replace(self, monitor="ndcg") if self.monitor == "loss" else self

    @property
    def monitored(self) -> tuple[str, int]:
        """The monitored metric and its K."""
        name, _, k = self.monitor.partition("@")
        return name, int(k or self.ks[0])

    @property
    def monitor_name(self) -> str:
        """The monitored metric's name in a record of training, such as ``valid_ndcg@10``."""
        name, k = self.monitored
        return "valid_loss" if name == "loss" else f"valid_{name}@{k}"

    @property
    def higher_is_better(self) -> bool:
        """Which way the monitored metric goes."""
        return self.monitored[0] not in LOWER_IS_BETTER

    def merit(self, value: float | None) -> float:
        """Return a monitored value so that higher is better; no value is worse than any."""
        return -math.inf if value is None else value if self.higher_is_better else -value
