"""Significance of the difference between two systems: a test over users and seeds, Holm's method, intervals."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from hlr_jax.errors import InputError, check_range
from hlr_jax.evaluation.metrics import standard_error

INTERVAL_RESAMPLES = 2000
LEVEL = 0.95  # of an interval
_NO_SPREAD = 1e-9  # a standard error this small relative to the mean is rounding


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the p-values [tests] adjusted by Holm's step-down method (1979), in the given order.

    The i-th smallest of m (from 0) is multiplied by m - i. No adjusted value is below that of a smaller p-value, nor
    above 1.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


class Difference(NamedTuple):
    """How much better one system is than another.

    Attributes:
      mean: of the differences, over users and seeds.
      low, high: the interval of the mean at ``LEVEL``, for this difference alone.
      p_value: of the hypothesis that the mean is 0, two-sided; adjusted if there are several.
    """

    mean: float
    low: float
    high: float
    p_value: float


def paired_difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """Return how much better system ``a`` is than ``b``, with an interval that holds for new users and new seeds.

    Both systems are measured on the same users, and each has its own seeds. The mean difference has the variance

        V = V_users + max(0, V_seeds(a) - V_rest(a) + V_seeds(b) - V_rest(b))

    - V_users: the variance of the users' differences, each a mean over seeds, divided by U.
    - V_seeds of a system: the variance of the means of its seeds, divided by S.
    - V_rest of a system: the variance of the residuals of its values after the effects of user and seed, divided by
      S U. Both other terms contain it, so it is subtracted once. See Cameron, Gelbach and Miller (2011).

    The p-value and interval are those of Student's t, with the degrees of freedom of Satterthwaite (1946) for V_users
    and each V_seeds. docs/guides/significance.md has the rate of false positives.

    A system with a single seed has no V_seeds, so its variance over seeds is ignored. With one seed of both, this is
    the paired t-test over users. If the differences have no spread, or there is one user, the p-value is 1 and the
    interval is the mean.

    Args:
      a: a metric of each user in each seed of one system, [seeds, users].
      b: the same metric of another system, [its seeds, users]; the same users in the same order.

    Raises:
      InputError: no seeds or users, or different users.

    Example:
      >>> found = paired_difference(np.array([[0.5, 0.9]]), np.array([[0.5, 0.7]]))
      >>> round(found.mean, 3), round(found.high, 3)  # 0.1 + 12.706 * 0.1
      (0.1, 1.371)
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not a.size * b.size:
        raise InputError(f"a comparison needs values [seeds, users] of the same users, not {a.shape} and {b.shape}")
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    difference = a.mean(axis=0) - b.mean(axis=0)
    mean, users = float(difference.mean()), len(difference)
    of_users = standard_error(difference) ** 2
    seeds = [_seed_variances(values) for values in (a, b)]
    variance = of_users + max(0.0, sum(of_seeds - of_rest for of_seeds, of_rest in seeds))
    error = variance**0.5
    if users == 1 or error <= _NO_SPREAD * abs(mean):
        return Difference(mean, mean, mean, 1.0)
    parts = [(of_users, users - 1), (seeds[0][0], len(a) - 1), (seeds[1][0], len(b) - 1)]
    # V may be below its parts, since V_rest is subtracted; then use the smallest degrees of freedom possible.
    freedom = max(1.0, variance**2 / sum(part**2 / degrees for part, degrees in parts if part))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    return Difference(mean, mean - reach, mean + reach, float(2 * stats.t.sf(abs(mean) / error, freedom)))


def _seed_variances(values: np.ndarray) -> tuple[float, float]:
    """Return V_seeds and V_rest of values [S, U]; both are 0 for one seed."""
    seeds, users = values.shape
    if seeds == 1 or users == 1:
        return 0.0, 0.0
    of_seed, of_user = values.mean(axis=1, keepdims=True), values.mean(axis=0)
    rest = values - of_seed - of_user + of_seed.mean()
    of_rest = float((rest**2).sum()) / ((seeds - 1) * (users - 1))
    return standard_error(of_seed[:, 0]) ** 2, of_rest / (seeds * users)


def best_against_rest(values: Mapping[str, np.ndarray]) -> tuple[str, dict[str, Difference]]:
    """Return the system with the highest mean, and its difference from each other system, with adjusted p-values.

    Args:
      values: a metric [seeds, users] by system; the same users in the same order.

    Raises:
      InputError: see ``paired_difference``; or no system.
    """
    if not values:
        raise InputError("no system to compare")
    best = max(values, key=lambda system: values[system].mean())
    found = {other: paired_difference(values[best], values[other]) for other in values if other != best}
    adjusted = holm([difference.p_value for difference in found.values()]).tolist()
    return best, {
        other: difference._replace(p_value=p_value)
        for (other, difference), p_value in zip(found.items(), adjusted, strict=True)
    }


def bootstrap_interval(values: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds [M] and [M] of the percentile bootstrap interval of each mean, at ``LEVEL``.

    Users are sampled with replacement, the same ones for all metrics (Efron and Tibshirani 1993, section 13.3).

    Args:
      values: [users, M], M metrics of each user.
      seed: random seed.

    Raises:
      InputError: no users.
    """
    return interval_of(bootstrap_means(values, seed))


def bootstrap_means(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the means [R, M] of values [users, M] over users resampled R = ``INTERVAL_RESAMPLES`` times.

    Raises:
      InputError: no users.
    """
    users = len(values)
    check_range("bootstrap", users=(users, 1, 2**31))
    rng = np.random.default_rng(seed)
    means = np.empty((INTERVAL_RESAMPLES, values.shape[1]))
    for row in means:
        # The counts of users describe a resample fully, in [users] numbers for any number of metrics.
        row[:] = np.bincount(rng.integers(users, size=users), minlength=users) @ values
    return means / users


def interval_of(resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of the interval at ``LEVEL`` of resampled values [R, ...]: [...] and [...]."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
