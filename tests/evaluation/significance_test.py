import numpy as np
import pytest
from scipy import special

from hlr_jax.errors import InputError
from hlr_jax.evaluation import significance
from hlr_jax.evaluation.names import TESTS
from hlr_jax.evaluation.significance import best_against_rest, difference_interval, holm, paired_p_value


def test_holm_by_hand():
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1; the last is lifted to the one before it.
    np.testing.assert_allclose(holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.01, 0.9, 0.6]), [0.03, 1.0, 1.0])
    np.testing.assert_allclose(holm([0.2]), [0.2])
    assert holm([]).shape == (0,)


def test_t_by_its_formula(rng):
    a, b = rng.normal(0.3, 0.2, 40), rng.normal(0.25, 0.2, 40)
    difference = a - b
    t = difference.mean() / (difference.std(ddof=1) / 40**0.5)
    # The two-sided tail of Student's t with v degrees of freedom is I_x(v/2, 1/2) at x = v / (v + t^2).
    expected = special.betainc(39 / 2, 0.5, 39 / (39 + t**2))
    assert 0.05 < expected < 0.95
    assert paired_p_value(a, b) == pytest.approx(expected, rel=1e-9)
    assert paired_p_value(b, a) == pytest.approx(expected, rel=1e-9)


def test_bootstrap_agrees_with_t_and_is_seeded(rng):
    base = rng.normal(0.3, 0.2, 300)
    for shift in (0.0, 0.02, 0.03):
        other = base + shift + rng.normal(0, 0.2, 300)
        by_t, drawn = paired_p_value(base, other), paired_p_value(base, other, "bootstrap", seed=1)
        assert drawn == pytest.approx(by_t, abs=0.03)
        assert drawn == paired_p_value(base, other, "bootstrap", seed=1)
        assert len({paired_p_value(base, other, "bootstrap", seed=seed) for seed in range(3)}) > 1


def test_bootstrap_in_chunks_gives_the_same(rng, monkeypatch):
    a, b = rng.normal(0.3, 0.2, 50), rng.normal(0.27, 0.2, 50)
    at_once = paired_p_value(a, b, "bootstrap")
    monkeypatch.setattr(significance, "_DRAWS_AT_ONCE", 50 * 37)
    assert paired_p_value(a, b, "bootstrap") == at_once


@pytest.mark.parametrize("method", TESTS)
def test_no_spread_of_the_differences_proves_nothing(method, rng):
    a = rng.normal(size=20)
    assert paired_p_value(a, a, method) == 1.0
    assert paired_p_value(a, a + 0.1, method) == 1.0
    assert paired_p_value(a[:1], a[1:2], method) == 1.0


def test_the_bootstrap_never_says_0(rng):
    a = rng.normal(size=50)
    assert paired_p_value(a + 9, a * 1.01, "bootstrap") == pytest.approx(1 / 10_001)


def test_best_against_rest(rng):
    base = rng.uniform(size=200)
    noise = [rng.normal(0, 0.05, 200) for _ in range(3)]
    scores = {"cml": base + noise[0], "hlr": base + 0.1 + noise[1], "lrml": base - 0.1 + noise[2]}
    best, differences = best_against_rest(scores)
    adjusted = {system: difference.p_value for system, difference in differences.items()}
    raw = [paired_p_value(scores["hlr"], scores[other]) for other in ("cml", "lrml")]
    assert best == "hlr"
    assert adjusted == pytest.approx({"cml": max(raw[0], 2 * raw[1]), "lrml": 2 * raw[1]})
    assert best_against_rest({"cml": base}) == ("cml", {})


def test_the_interval_of_a_difference_is_students():
    # By hand: mean 0.25, s^2 = (2 * 0.15^2 + 2 * 0.05^2) / 3 = 1/60, and 3.18245 is the 97.5 % quantile of t(3).
    difference = np.array([0.1, 0.2, 0.3, 0.4])
    reach = 3.18245 * (1 / 60) ** 0.5 / 2
    assert difference_interval(difference) == (pytest.approx(0.25 - reach, 1e-5), pytest.approx(0.25 + reach, 1e-5))
    assert difference_interval(np.array([0.3])) == (0.3, 0.3)
    _, found = best_against_rest({"worse": np.zeros(4), "better": difference})
    assert found["worse"][:3] == (pytest.approx(0.25), *difference_interval(difference))


def test_the_interval_of_the_bootstrap_is_near_students(rng):
    difference = rng.normal(0.02, 0.1, 2000)
    student, drawn = difference_interval(difference), difference_interval(difference, "bootstrap")
    assert drawn == (pytest.approx(student[0], abs=5e-4), pytest.approx(student[1], abs=5e-4))
    assert drawn != student


def test_mistakes():
    with pytest.raises(InputError, match='unknown test "z"'):
        paired_p_value(np.ones(3), np.ones(3), "z")
    with pytest.raises(InputError, match=r"got \(3,\) and \(4,\)"):
        paired_p_value(np.ones(3), np.ones(4))
    with pytest.raises(InputError, match="no system"):
        best_against_rest({})
