"""The two times at which ``split="time"`` cuts: the first time of valid, and the first time of test."""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hlr_jax.data.timestamps import TimestampForm
from hlr_jax.errors import InputError

if TYPE_CHECKING:
    from hlr_jax.data.options import DataOptions


class Cuts(NamedTuple):
    """Times in seconds since 1970; earlier rows are for train.

    Attributes:
      valid_from: the first time of valid; equal to ``test_from`` where valid is empty.
      test_from: the first time of test; infinite where test is empty.
    """

    valid_from: float
    test_from: float

    def parts(self, stamps: np.ndarray) -> np.ndarray:
        """Return the split of each row, int8 [rows]."""
        return (stamps >= self.valid_from).astype(np.int8) + (stamps >= self.test_from).astype(np.int8)

    def note(self, form: TimestampForm) -> str:
        """Return the cuts as a log line."""
        if math.isinf(self.test_from):
            return "split: all rows have the same time, so valid and test are empty"
        test = f"test from {form.written(self.test_from)}"
        if self.valid_from == self.test_from:
            return f"split: {test}; valid is empty, because too few distinct times are earlier"
        return f"split: valid from {form.written(self.valid_from)}, {test}"


def find_cuts(stamps: np.ndarray, options: "DataOptions", form: TimestampForm, where: str) -> Cuts:
    """Return the cuts in the options or, without them, the times nearest to the protocol's shares.

    Rows with equal times are in the same split. A split is empty only where there are too few distinct times, or where
    a given cut leaves it empty.

    Args:
      stamps: seconds since 1970 [rows].
      options: with ``split="time"``.
      form: how the source writes timestamps; cuts may be written in the same way.
      where: name of the source in messages.

    Raises:
      InputError: a cut that is not a time, out of order, or outside the data.
    """
    protocol, first, last = options.measured_by, float(stamps.min()), float(stamps.max())
    if options.test_from:
        test_from = form.moment(options.test_from, "dataset.test_from")
        if not first < test_from <= last:
            part = "train" if test_from <= first else "test"
            raise InputError(
                f"{where}: dataset.test_from={options.test_from} leaves no rows for {part}; pass a time after "
                f"{form.written(first)} and at most {form.written(last)}"
            )
    else:
        test_from = _last_share(stamps, protocol.test_size, moments_before=2)
    if options.valid_from:
        valid_from = form.moment(options.valid_from, "dataset.valid_from")
        if not first < valid_from < test_from:
            raise InputError(
                f"{where}: dataset.valid_from={options.valid_from} must be after the first time, "
                f"{form.written(first)}, and before dataset.test_from={options.test_from}"
            )
        return Cuts(valid_from, test_from)
    rest = stamps[stamps < test_from]
    return Cuts(min(_last_share(rest, protocol.valid_size, moments_before=1), test_from), test_from)


def _last_share(stamps: np.ndarray, share: float, moments_before: int) -> float:
    """Return the time from which on about ``share`` of the rows are; infinite if all rows have the same time.

    At least ``moments_before`` distinct times are earlier or, if there are fewer, all but the last.
    """
    moments, counts = np.unique(stamps, return_counts=True)
    if len(moments) < 2:
        return math.inf
    before, least = np.cumsum(counts) - counts, min(moments_before, len(moments) - 1)
    wanted = len(stamps) - math.ceil(len(stamps) * share)
    return float(moments[least + np.argmin(np.abs(before[least:] - wanted))])
