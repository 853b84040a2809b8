import numpy as np
import pytest

from hlr_jax.errors import InputError
from hlr_jax.evaluation.significance import bootstrap_interval


def test_intervals_are_those_of_the_normal_approximation_where_that_holds(rng):
    values = np.stack([rng.normal(0.3, 0.2, 4000), rng.uniform(0, 1, 4000)], axis=1)
    low, high = bootstrap_interval(values)
    error = values.std(axis=0) / np.sqrt(len(values))
    np.testing.assert_allclose(low, values.mean(axis=0) - 1.96 * error, atol=0.2 * error.max())
    np.testing.assert_allclose(high, values.mean(axis=0) + 1.96 * error, atol=0.2 * error.max())


def test_equal_values_have_no_width_and_resampling_repeats(rng):
    low, high = bootstrap_interval(np.full((50, 1), 0.25))
    assert low == pytest.approx(0.25)
    assert high == pytest.approx(0.25)
    values = rng.uniform(size=(30, 2))
    np.testing.assert_array_equal(bootstrap_interval(values, seed=3), bootstrap_interval(values, seed=3))
    assert not np.array_equal(bootstrap_interval(values, seed=3), bootstrap_interval(values, seed=4))


def test_metrics_of_one_user_are_sampled_together(rng):
    values = rng.uniform(size=(40, 1))
    low, high = bootstrap_interval(np.hstack([values, 1 - values]))
    assert low[1] == pytest.approx(1 - high[0])
    assert high[1] == pytest.approx(1 - low[0])


def test_no_users_is_an_error():
    with pytest.raises(InputError, match="users must be at least 1"):
        bootstrap_interval(np.empty((0, 2)))
