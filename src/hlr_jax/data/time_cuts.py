"""The two moments at which ``split="time"`` cuts: from one on rows are for valid, from the other on for test."""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hlr_jax.data.timestamps import TimestampForm
from hlr_jax.errors import InputError

if TYPE_CHECKING:
    from hlr_jax.data.options import DataOptions


class Cuts(NamedTuple):
    """Moments in seconds since 1970; rows before both are for train.

    Attributes:
      valid_from: the first moment of valid; that of test where valid is empty.
      test_from: the first moment of test; infinite where test is empty.
    """

    valid_from: float
    test_from: float

    def parts(self, stamps: np.ndarray) -> np.ndarray:
        """Return the part of each row, int8 [rows]."""
        return (stamps >= self.valid_from).astype(np.int8) + (stamps >= self.test_from).astype(np.int8)

    def note(self, form: TimestampForm) -> str:
        """Return the cuts, for people."""
        if math.isinf(self.test_from):
            return "split: all rows are of one moment, so valid and test are empty"
        test = f"test from {form.written(self.test_from)}"
        if self.valid_from == self.test_from:
            return f"split: {test}; too few moments lie before it for valid"
        return f"split: valid from {form.written(self.valid_from)}, {test}"


def find_cuts(stamps: np.ndarray, options: "DataOptions", form: TimestampForm, where: str) -> Cuts:
    """Return where to cut: as the options say, and else at the moments nearest to the protocol's shares.

    Rows of one moment lie in one part. A part is empty only where there are too few moments, or where a given cut
    leaves it empty.

    Args:
      stamps: seconds since 1970 [rows].
      options: with ``split="time"``.
      form: how the source writes timestamps, and so cuts.
      where: what the source is called.

    Raises:
      InputError: a cut that is no time, out of order, or outside the data.
    """
    protocol, first, last = options.measured_by, float(stamps.min()), float(stamps.max())
    if options.test_from:
        test_from = form.moment(options.test_from, "dataset.test_from")
        if not first < test_from <= last:
            part = "train" if test_from <= first else "test"
            raise InputError(
                f"{where}: dataset.test_from={options.test_from} leaves no row for {part}; pass a time after "
                f"{form.written(first)} and not after {form.written(last)}"
            )
    else:
        test_from = _last_share(stamps, protocol.test_size, moments_before=2)
    if options.valid_from:
        valid_from = form.moment(options.valid_from, "dataset.valid_from")
        if not first < valid_from < test_from:
            raise InputError(
                f"{where}: dataset.valid_from={options.valid_from} must lie after {form.written(first)}, the first "
                f"time, and before dataset.test_from={options.test_from}"
            )
        return Cuts(valid_from, test_from)
    rest = stamps[stamps < test_from]
    return Cuts(min(_last_share(rest, protocol.valid_size, moments_before=1), test_from), test_from)


def _last_share(stamps: np.ndarray, share: float, moments_before: int) -> float:
    """Return the moment from which on there are about a share of the rows; infinite where all are of one moment.

    So many moments lie before it, or all but one.
    """
    moments, counts = np.unique(stamps, return_counts=True)
    if len(moments) < 2:
        return math.inf
    before, least = np.cumsum(counts) - counts, min(moments_before, len(moments) - 1)
    wanted = len(stamps) - math.ceil(len(stamps) * share)
    return float(moments[least + np.argmin(np.abs(before[least:] - wanted))])
