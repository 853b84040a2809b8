"""What became of the rows of a source."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadingReport:
    """How many rows a source had, and how many were left out for which reason; ``str`` of it is one line.

    Attributes:
      rows: rows of the source.
      below_threshold: rows whose rating is below ``threshold``.
      duplicates: rows that repeat a pair of user and item.
      outside_k_core: pairs that the ``k_core`` leaves out.
      of_unknown_users: pairs of valid and test that are left out because their user has no training interaction.
      users_dropped: the users of those pairs.
      users_kept: users without training interactions who stay (``unknown_users="keep"``).
      threshold: the least rating that counts as an interaction; None: every row does.
      k_core: the least interactions of a user and of an item.
      notes: what was decided about the source, a line each.
    """

    rows: int
    below_threshold: int = 0
    duplicates: int = 0
    outside_k_core: int = 0
    of_unknown_users: int = 0
    users_dropped: int = 0
    users_kept: int = 0
    threshold: float | None = None
    k_core: int = 1
    notes: tuple[str, ...] = ()

    @property
    def interactions(self) -> int:
        """What is left."""
        return self.rows - self.below_threshold - self.duplicates - self.outside_k_core - self.of_unknown_users

    def __str__(self) -> str:
        """Return one line: the rows, and each reason that left some out."""
        reasons = {
            f"below the threshold of {self.threshold or 0:g}": self.below_threshold,
            "repeated": self.duplicates,
            f"outside the {self.k_core}-core": self.outside_k_core,
            "of users without training interactions": self.of_unknown_users,
        }
        counted = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
        return f"{self.rows:,} rows read, left out: {counted or 'none'}"
