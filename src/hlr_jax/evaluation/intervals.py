"""How far a mean over users could have come out otherwise, had other users been met."""

import numpy as np

from hlr_jax.errors import check_range

RESAMPLES = 2000
LEVEL = 0.95


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
    means = np.empty((RESAMPLES, values.shape[1]))
    for row in means:
        # How often each user is drawn says all of a draw, and takes [users] numbers however many metrics there are.
        row[:] = np.bincount(rng.integers(users, size=users), minlength=users) @ values
    low, high = np.quantile(means / users, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
