"""Is one system better than another, and how sure is a mean? Tests over users, Holm's correction, intervals."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from hlr_jax.errors import InputError, check_range, pick
from hlr_jax.evaluation.metrics import standard_error
from hlr_jax.evaluation.names import TESTS

RESAMPLES = 10_000  # of a test
INTERVAL_RESAMPLES = 2000
LEVEL = 0.95  # of an interval
_DRAWS_AT_ONCE = 2**20  # bounds the memory of the bootstrap: 4 MiB of places and 8 of values


def paired_p_value(a: np.ndarray, b: np.ndarray, method: str = "t", seed: int = 0) -> float:
    """Return the two-sided p-value of the hypothesis that a [users] and b [users] have the same mean.

    - ``t``: the paired t-test.
    - ``bootstrap``: how often the mean difference of users drawn with replacement, shifted to a mean of 0, is at least
      as far from 0 as the one found (Efron and Tibshirani 1993, section 16.4). It is never below 1 / 10,001.

    Where all differences are equal there is no spread to judge them by, and it is 1.

    Args:
      a: a metric of each user by one system.
      b: the same metric of the same users, in the same order, by another.
      method: a name of ``TESTS``.
      seed: of the bootstrap's draws.

    Raises:
      InputError: an unknown method, or other users.
    """
    pick(method, TESTS, "test")
    if a.shape != b.shape or a.ndim != 1:
        raise InputError(f"a paired test takes one value of each user from both systems, got {a.shape} and {b.shape}")
    difference = np.asarray(a, np.float64) - b
    if len(difference) < 2 or np.allclose(difference, difference[0], rtol=1e-9, atol=0):
        return 1.0
    if method == "t":
        return float(stats.ttest_rel(a, b).pvalue)
    return _bootstrap(difference, np.random.default_rng(seed))


def _bootstrap(difference: np.ndarray, rng: np.random.Generator) -> float:
    mean = difference.mean()
    centred = difference - mean
    rows, as_far = max(1, _DRAWS_AT_ONCE // len(difference)), 0
    for start in range(0, RESAMPLES, rows):
        drawn = rng.integers(len(difference), size=(min(rows, RESAMPLES - start), len(difference)), dtype=np.int32)
        as_far += int((np.abs(centred.take(drawn).mean(axis=1)) >= abs(mean)).sum())
    return (1 + as_far) / (1 + RESAMPLES)


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the p-values [tests] adjusted by Holm's step-down method (1979), in the order given.

    The i-th smallest of m (from 0) is multiplied by m - i; none may be below that of a smaller p-value, nor above 1.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


class Difference(NamedTuple):
    """How much better one system is than another, over users.

    Attributes:
      mean: of the users' differences.
      low, high: the interval of the mean at ``LEVEL``, of this difference alone.
      p_value: of the hypothesis that the mean is 0; adjusted where there are several.
    """

    mean: float
    low: float
    high: float
    p_value: float


def difference_interval(difference: np.ndarray, method: str = "t", seed: int = 0) -> tuple[float, float]:
    """Return the interval of the mean of differences [users] at ``LEVEL``.

    - ``t``: mean +- t s / sqrt(users), with the quantile t of Student's distribution.
    - ``bootstrap``: see ``bootstrap_interval``.

    One user has no spread: both bounds are then the difference itself.

    Args:
      difference: of a metric of each user by two systems.
      method: a name of ``TESTS``.
      seed: of the bootstrap's draws.

    Raises:
      InputError: an unknown method, or no users.

    Example:
      >>> low, high = difference_interval(np.array([0.0, 0.2]))
      >>> round(high, 3)  # 0.1 + 12.706 * 0.1
      1.371
    """
    if pick(method, TESTS, "test") == "bootstrap":
        low, high = bootstrap_interval(difference[:, None], seed)
        return float(low[0]), float(high[0])
    users = len(difference)
    check_range("interval", users=(users, 1, 2**31))
    mean, reach = float(difference.mean()), 0.0
    if users > 1:
        reach = float(stats.t.ppf((1 + LEVEL) / 2, users - 1)) * standard_error(difference)
    return mean - reach, mean + reach


def best_against_rest(scores: Mapping[str, np.ndarray], method: str = "t") -> tuple[str, dict[str, Difference]]:
    """Return the system with the highest mean, and its difference from each other one, with adjusted p-values.

    Args:
      scores: a metric [users] by system; the same users in the same order.
      method: a name of ``TESTS``.

    Raises:
      InputError: see ``paired_p_value``; or no system.
    """
    if not scores:
        raise InputError("there is no system to compare")
    best = max(scores, key=lambda system: scores[system].mean())
    others = [system for system in scores if system != best]
    adjusted = holm([paired_p_value(scores[best], scores[other], method) for other in others])
    differences = {}
    for other, p_value in zip(others, adjusted.tolist(), strict=True):
        difference = np.asarray(scores[best], np.float64) - scores[other]
        bounds = difference_interval(difference, method)
        differences[other] = Difference(float(difference.mean()), *bounds, p_value)
    return best, differences


def bootstrap_interval(values: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds [M] and [M] of the percentile bootstrap interval of each mean, at ``LEVEL``.

    Users are drawn with replacement, the same ones for all metrics (Efron and Tibshirani 1993, section 13.3).

    Args:
      values: [users, M], M metrics of each user.
      seed: of the draws.

    Raises:
      InputError: no users.
    """
    users = len(values)
    check_range("bootstrap", users=(users, 1, 2**31))
    rng = np.random.default_rng(seed)
    means = np.empty((INTERVAL_RESAMPLES, values.shape[1]))
    for row in means:
        # How often each user is drawn says all of a draw, and takes [users] numbers however many metrics there are.
        row[:] = np.bincount(rng.integers(users, size=users), minlength=users) @ values
    low, high = np.quantile(means / users, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
