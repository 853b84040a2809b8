"""A few example users, chosen by rule."""

import numpy as np

from hlr_jax.data.dataset import Dataset

_QUANTILES = (0.1, 0.5, 0.9)


def sample_users(dataset: Dataset) -> np.ndarray:
    """Return the codes of users with few, a median number of, and many items; with test items if there are any."""
    known, test = dataset.known, dataset.test
    degrees = known.degrees(dataset.num_users)
    eligible = np.flatnonzero((degrees > 0) & ((test.degrees(dataset.num_users) > 0) | (len(test) == 0)))
    ordered = eligible[np.argsort(degrees[eligible], kind="stable")]
    places = dict.fromkeys(round(quantile * (len(ordered) - 1)) for quantile in _QUANTILES if len(ordered))
    return ordered[list(places)]
