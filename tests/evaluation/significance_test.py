import numpy as np
import pytest
from command_line import command
from scipy import special

from hlr_jax.errors import InputError
from hlr_jax.evaluation.significance import best_against_rest, holm, paired_difference


def two_sided(t, freedom):
    """The tail of Student's t with v degrees of freedom is I_x(v/2, 1/2) at x = v / (v + t^2)."""
    return special.betainc(freedom / 2, 0.5, freedom / (freedom + t**2))


def test_holm_by_hand():
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1; the last is lifted to the one before it.
    np.testing.assert_allclose(holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.01, 0.9, 0.6]), [0.03, 1.0, 1.0])
    np.testing.assert_allclose(holm([0.2]), [0.2])
    assert holm([]).shape == (0,)


def test_one_seed_of_both_is_the_paired_t_test_over_users(rng):
    a, b = rng.normal(0.3, 0.2, 40), rng.normal(0.25, 0.2, 40)
    difference = a - b
    error = difference.std(ddof=1) / 40**0.5
    expected = two_sided(difference.mean() / error, 39)
    assert 0.05 < expected < 0.95
    found = paired_difference(a[None], b[None])
    assert found.p_value == pytest.approx(expected, rel=1e-9)
    assert found.high - found.mean == pytest.approx(2.02269 * error, rel=1e-5)  # the 97.5 % quantile of t(39)
    # Seeds that change nothing, such as three fits of a closed form, are one seed.
    assert paired_difference(np.tile(a, (3, 1)), b[None]) == pytest.approx(found)


def test_seeds_by_hand():
    # Users' means 0.4, 0.6, 0.65: V_users = 0.0175 / 3. Means of seeds 0.4, 0.7: V_seeds = 0.045 / 2.
    # What is left: -0.05, -0.05, 0.1 and the opposite, squares 0.03, by (2 - 1)(3 - 1): V_rest = 0.015 / 6.
    a, b = np.array([[0.2, 0.4, 0.6], [0.6, 0.8, 0.7]]), np.zeros((1, 3))
    of_users, of_seeds, of_rest = 0.0175 / 3, 0.045 / 2, 0.015 / 6
    variance = of_users + of_seeds - of_rest
    freedom = variance**2 / (of_users**2 / 2 + of_seeds**2 / 1)
    found = paired_difference(a, b)
    assert found.mean == pytest.approx(0.55)
    assert found.p_value == pytest.approx(two_sided(0.55 / variance**0.5, freedom), rel=1e-9)
    assert two_sided((found.high - found.mean) / variance**0.5, freedom) == pytest.approx(0.05)
    assert paired_difference(b, a) == pytest.approx((-0.55, -found.high, -found.low, found.p_value))


def test_seeds_closer_than_their_users_explain_leave_the_variance_over_users():
    # As above with both seeds' means at 0.55: V_seeds = 0 < V_rest, and the degrees of freedom are those of users.
    a, b = np.array([[0.35, 0.55, 0.75], [0.45, 0.65, 0.55]]), np.zeros((1, 3))
    assert paired_difference(a, b).p_value == pytest.approx(two_sided(0.55 / (0.0175 / 3) ** 0.5, 2), rel=1e-9)


def test_systems_that_are_equal_differ_by_chance_as_often_as_the_test_says(rng):
    """Two systems whose seeds move all users at once, as much as 200 users' own differences leave uncertain."""
    of_users = of_both = 0
    for _ in range(400):
        a, b = (rng.normal(0, 0.15, (3, 200)) + rng.normal(0, 0.01, (3, 1)) for _ in range(2))
        of_users += paired_difference(a.mean(axis=0)[None], b.mean(axis=0)[None]).p_value < 0.05
        of_both += paired_difference(a, b).p_value < 0.05
    assert of_users > 0.1 * 400
    assert of_both < 0.07 * 400


def test_a_difference_beyond_users_and_seeds_is_found(rng):
    users = rng.normal(0, 0.05, 900)
    a, b = (rng.normal(level, 0.06, (3, 900)) + rng.normal(0, 0.002, (3, 1)) for level in (0.33, 0.30))
    found = paired_difference(a + users, b)
    assert found.p_value < 0.01
    assert 0.02 < found.low < found.mean < found.high < 0.04


def test_every_test_of_the_experiment_finds_a_difference_that_is_beyond_doubt():
    done = command(
        "false_positives.py", "--difference=1", "--worlds=3", "--users=30", "--seeds=3", "--seed_stds=0.001",
        "--draws=50",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"| 30 | 0.001 | 3 |{' 100.0% |' * 5}"


def test_no_spread_of_the_differences_proves_nothing(rng):
    a = rng.normal(size=(2, 20))
    assert paired_difference(a, a) == (0.0, 0.0, 0.0, 1.0)
    found = paired_difference(a[:1] + 0.1, a[:1])
    assert (found.low, found.high, found.p_value) == (found.mean, found.mean, 1.0)
    assert paired_difference(a[:, :1], a[:, 1:2]).p_value == 1.0


def test_best_against_rest(rng):
    base = rng.uniform(size=200)
    noise = [rng.normal(0, 0.05, (2, 200)) for _ in range(3)]
    values = {"cml": base + noise[0], "hlr": base + 0.1 + noise[1], "lrml": base - 0.1 + noise[2]}
    best, found = best_against_rest(values)
    alone = [paired_difference(values["hlr"], values[other]) for other in ("cml", "lrml")]
    assert best == "hlr"
    assert found["cml"][:3] == alone[0][:3]
    p_values = {system: difference.p_value for system, difference in found.items()}
    assert p_values == pytest.approx({"cml": max(alone[0].p_value, 2 * alone[1].p_value), "lrml": 2 * alone[1].p_value})
    assert best_against_rest({"cml": base[None]}) == ("cml", {})


def test_mistakes():
    for a, b in ((np.ones((1, 3)), np.ones((1, 4))), (np.ones(3), np.ones(3)), (np.ones((0, 3)), np.ones((2, 3)))):
        with pytest.raises(InputError, match=r"values \[seeds, users\] of the same users, not"):
            paired_difference(a, b)
    with pytest.raises(InputError, match="no system"):
        best_against_rest({})
