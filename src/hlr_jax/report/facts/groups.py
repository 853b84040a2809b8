"""All that a report tells of runs that may be compared."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import polars as pl

from hlr_jax.report.facts.exposure import Exposure, exposure_of
from hlr_jax.report.facts.figures import PairedTest, paired_test
from hlr_jax.report.facts.keys import keys_of
from hlr_jax.report.facts.runs import RunFacts
from hlr_jax.report.facts.samples import Listed, SampleUser, lists_for, sample_users


class GroupFacts(NamedTuple):
    """Comparable runs and all that is told of them.

    Attributes:
      runs: of the same data, protocol and K.
      test: which is best; None where that can't be tested.
      exposures: of each run; None without lists.
      users: sample users.
      lists: [runs][users], their recommendations.
      keys: the memory keys of each run; None for a model without.
    """

    runs: Sequence[RunFacts]
    test: PairedTest | None
    exposures: Sequence[Exposure | None]
    users: Sequence[SampleUser]
    lists: Sequence[Sequence[list[Listed]]]
    keys: Sequence[pl.DataFrame | None]


def collect(runs: Sequence[RunFacts], log: Callable[[str], None]) -> GroupFacts:
    """Return all that is told of comparable runs; makes their lists, the slow part, and logs each run."""
    users = sample_users(runs[0].loaded.parts.dataset)
    exposures, lists, keys = [], [], []
    for run in runs:
        log(f"{run.label}: lists and keys")
        exposures.append(None if run.split is None else exposure_of(run))
        lists.append(lists_for(run, users))
        keys.append(keys_of(run))
    return GroupFacts(runs, paired_test(runs), exposures, users, lists, keys)
