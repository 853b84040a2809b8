"""The settings of evaluation, checked where they are made."""

from dataclasses import dataclass

from hlr_jax.errors import InputError, check_range
from hlr_jax.evaluation.metrics import METRICS


@dataclass(frozen=True)
class EvalOptions:
    """How to rank and measure.

    Attributes:
      k: K, the length of the lists.
      monitor: what chooses the best epoch: the validation ``loss``, or a metric of the validation lists, ``ndcg`` for
        example; at a K of its own as ``ndcg@20``.
      num_valid_users: users whose validation lists are made, drawn once, where ranking all takes too long; 0: all.
      memory_limit_mib: MiB that one tile of users may take in ranking; the results do not depend on it.
      num_cohorts: disjoint random groups of users whose means give a mean and standard deviation; 1: none.

    Raises:
      InputError: a value out of range, by name.
    """

    k: int = 10
    monitor: str = "loss"
    num_valid_users: int = 0
    memory_limit_mib: int = 512
    num_cohorts: int = 1

    def __post_init__(self) -> None:
        """Check every range."""
        check_range(
            "eval",
            k=(self.k, 1, 1000),
            num_valid_users=(self.num_valid_users, 0, 2**31),
            memory_limit_mib=(self.memory_limit_mib, 1, 2**24),
            num_cohorts=(self.num_cohorts, 1, 10**6),
        )
        name, _, k = self.monitor.partition("@")
        if self.monitor != "loss" and (name not in METRICS or (k and k != str(self.k))):
            known = ", ".join(["loss", *METRICS])
            raise InputError(f"eval.monitor is {self.monitor!r}; it must be one of {known}, at eval.k={self.k}")

    @property
    def monitored(self) -> str:
        """The monitored metric with its K, such as ``ndcg@10``."""
        return f"{self.monitor.partition('@')[0]}@{self.k}"

    @property
    def higher_is_better(self) -> bool:
        """Which way the monitored metric goes."""
        return self.monitor != "loss" and METRICS[self.monitor.partition("@")[0]].higher_is_better
