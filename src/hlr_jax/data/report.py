"""What became of the rows of a source."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class ReadingReport:
    """How many rows a source had, and how many were left out for which reason; ``str`` of it is one line.

    The rows are the sum of all reasons and of ``interactions``.

    Attributes:
      rows: rows of the source; the first line of a file is none where it names the columns.
      repeated_headers: lines that name the columns once more, as in files that were joined.
      below_threshold: rows whose rating is below ``threshold``.
      without_ids: rows that lack a user or an item (``missing_ids="drop"``).
      duplicates: rows that repeat a pair of user and item.
      outside_k_core: pairs that the ``k_core`` leaves out.
      of_unknown_users: pairs of valid and test that are left out because their user has no training interaction.
      users_dropped: the users of those pairs.
      users_kept: users without training interactions who stay (``unknown_users="keep"``).
      users_without_test: users of whom no interaction is left for test.
      threshold: the least rating that counts as an interaction; None: every row does.
      k_core: the least interactions of a user and of an item.
      notes: what was decided about the source, a line each. Reports with the same counts are equal whatever they say.

    Example:
      >>> log = pl.DataFrame({"user": [1, 1, 1, 2], "item": [5, 5, 6, 7], "rating": [4, 4, 1, 5]})
      >>> own = hlr_jax.load_dataset(log, threshold=3, log=lambda line: None)
      >>> report = own.reading_report()
      >>> report.rows, report.duplicates, report.below_threshold, report.interactions
      (4, 1, 1, 2)
    """

    rows: int
    repeated_headers: int = 0
    below_threshold: int = 0
    without_ids: int = 0
    duplicates: int = 0
    outside_k_core: int = 0
    of_unknown_users: int = 0
    users_dropped: int = 0
    users_kept: int = 0
    users_without_test: int = 0
    threshold: float | None = None
    k_core: int = 1
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def _reasons(self) -> dict[str, int]:
        return {
            "repeated headers": self.repeated_headers,
            f"below the threshold of {self.threshold or 0:g}": self.below_threshold,
            "without ids": self.without_ids,
            "repeated": self.duplicates,
            f"outside the {self.k_core}-core": self.outside_k_core,
            "of users without training interactions": self.of_unknown_users,
        }

    @property
    def interactions(self) -> int:
        """What is left."""
        return self.rows - sum(self._reasons.values())

    def __str__(self) -> str:
        """Return one line: the rows, and each reason that left some out."""
        counted = ", ".join(f"{count:,} {reason}" for reason, count in self._reasons.items() if count)
        line = f"{self.rows:,} rows read, left out: {counted or 'none'}"
        without = f"; {self.users_without_test:,} users are without test interactions"
        return line + without * (self.users_without_test > 0)

    def joined(self, other: "ReadingReport") -> "ReadingReport":
        """Return the report of two parts of one source, before anything is left out for its neighbors' sake."""
        return replace(
            self,
            rows=self.rows + other.rows,
            repeated_headers=self.repeated_headers + other.repeated_headers,
            below_threshold=self.below_threshold + other.below_threshold,
            without_ids=self.without_ids + other.without_ids,
            notes=self.notes + other.notes,
        )
