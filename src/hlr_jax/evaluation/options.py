"""The settings of evaluation, checked where they are made."""

from dataclasses import dataclass

from hlr_jax.errors import check_range, pick

SELECT_BY = ("loss", "ndcg")


@dataclass(frozen=True)
class EvalOptions:
    """How to rank and measure.

    Attributes:
      k: K, the length of the lists.
      select_by: what chooses the best epoch: the validation ``loss``, or ``ndcg``@k on the validation items.
      num_valid_users: users whose validation lists are made, drawn once, where ranking all takes too long; 0: all.
      memory_limit_mib: MiB that one tile of users may take in ranking; the results do not depend on it.
      num_cohorts: disjoint random groups of users whose means give a mean and standard deviation; 1: none.

    Raises:
      InputError: a value out of range, by name.
    """

    k: int = 10
    select_by: str = "loss"
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
        pick(self.select_by, SELECT_BY, "eval.select_by")
