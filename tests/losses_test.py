"""Objectives against float64 NumPy written from their equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hlr_jax.losses import OBJECTIVES, LossParams, positive_losses

POSITIVE, NEGATIVES = 1.0, np.array([0.8, 2.0, 1.2, 3.1])
EXPECTED = np.array([0.5, 0.01, 0.2, 0.1])  # n q_v of each negative
MARGIN, TEMPERATURE = 0.5, 0.3
SCALES = LossParams(jnp.float32(MARGIN), jnp.float32(TEMPERATURE))


def hinges(positive, negatives):
    return np.maximum(MARGIN + positive - negatives, 0)


def log_softmax_of_first(logits):
    return logits[0] - np.log(np.sum(np.exp(logits)))


ORACLES = {
    "hinge_hardest": lambda d, negatives, expected: hinges(d, negatives).max(),
    "hinge_mean": lambda d, negatives, expected: hinges(d, negatives).mean(),
    "warp": lambda d, negatives, expected: (
        np.log(1 + sum(1 / expected[hinges(d, negatives) > 0])) * hinges(d, negatives).max()
    ),
    "bpr": lambda d, negatives, expected: -np.mean(np.log(1 / (1 + np.exp((d - negatives) / TEMPERATURE)))),
    "info_nce": lambda d, negatives, expected: -log_softmax_of_first(-np.append(d, negatives) / TEMPERATURE),
    "sampled_softmax": lambda d, negatives, expected: (
        -log_softmax_of_first(-np.append(d, negatives) / TEMPERATURE - np.append(0, np.log(expected)))
    ),
    "decoupled_contrastive": lambda d, negatives, expected: (
        d / TEMPERATURE + np.log(np.sum(np.exp(-negatives / TEMPERATURE)))
    ),
    "none": lambda d, negatives, expected: 0.0,
}


def call(name, positive, negatives, expected=EXPECTED):
    given = jnp.float32(positive), jnp.asarray(negatives, jnp.float32), jnp.asarray(np.log(expected), jnp.float32)
    return OBJECTIVES[name](*given, SCALES)


def test_every_objective_has_an_oracle():
    assert ORACLES.keys() == OBJECTIVES.keys()


@pytest.mark.parametrize("name", ORACLES)
def test_objectives_are_their_equations(name):
    for positive in (POSITIVE, 0.0, 4.0):
        expected = ORACLES[name](positive, NEGATIVES, EXPECTED)
        np.testing.assert_allclose(call(name, positive, NEGATIVES), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ORACLES)
def test_a_negative_at_infinity_is_none(name):
    masked = call(name, POSITIVE, [0.8, np.inf, 1.2, np.inf])
    np.testing.assert_allclose(masked, call(name, POSITIVE, NEGATIVES[[0, 2]], EXPECTED[[0, 2]]), rtol=1e-6)
    gradient = jax.jit(jax.grad(lambda positive, negatives: call(name, positive, negatives), argnums=(0, 1)))
    for negatives in ([0.8, np.inf, 1.2, np.inf], [np.inf] * 4):
        by_positive, by_negatives = gradient(jnp.float32(POSITIVE), jnp.asarray(negatives, jnp.float32))
        assert np.isfinite(by_positive)
        assert np.isfinite(by_negatives).all()
        np.testing.assert_array_equal(by_negatives[np.isinf(negatives)], 0)
    assert call(name, POSITIVE, [np.inf] * 4) == 0


def test_only_the_hardest_negative_moves():
    gradient = jax.grad(lambda negatives: call("hinge_hardest", POSITIVE, negatives))(jnp.asarray(NEGATIVES))
    np.testing.assert_array_equal(gradient, [-1, 0, 0, 0])


def test_the_estimated_rank_has_no_gradient():
    gradient = jax.grad(lambda positive: call("warp", positive, NEGATIVES))(jnp.float32(POSITIVE))
    np.testing.assert_allclose(gradient, np.log(1 + 1 / 0.5 + 1 / 0.2), rtol=1e-6)


def test_drawn_negatives_that_stand_for_all_make_the_whole_softmax():
    """With every unknown item drawn once, each stands for itself."""
    loss = call("sampled_softmax", POSITIVE, NEGATIVES, np.ones(4))
    np.testing.assert_allclose(loss, ORACLES["info_nce"](POSITIVE, NEGATIVES, None), rtol=1e-6)


@pytest.mark.parametrize("name", ORACLES)
def test_positives_that_share_negatives_have_the_loss_of_each_alone(name):
    positives = np.array([POSITIVE, 0.0, 4.0, 1.3])
    negatives = np.array([0.8, np.inf, 1.2, np.inf, 3.1])  # two of them do not count
    expected = np.array([0.5, 0.3, 0.2, 0.7, 0.1])

    def losses(positives, negatives):
        log_expected = jnp.asarray(np.log(expected), jnp.float32)
        return positive_losses(OBJECTIVES[name], positives, negatives, log_expected, SCALES)

    def alone(positives, negatives):
        return jnp.stack([call(name, positive, negatives, expected) for positive in positives])

    values, oracle = (
        jax.jit(jax.value_and_grad(lambda *given, form=form: form(*given).sum(), argnums=(0, 1)))
        for form in (losses, alone)
    )
    for against in (negatives, np.full(5, np.inf)):
        given = jnp.asarray(positives, jnp.float32), jnp.asarray(against, jnp.float32)
        (value, slopes), (sum_alone, slopes_alone) = values(*given), oracle(*given)
        np.testing.assert_allclose(value, sum_alone, rtol=1e-6)
        for slope, slope_alone in zip(slopes, slopes_alone, strict=True):
            np.testing.assert_allclose(slope, slope_alone, rtol=1e-5, atol=1e-6)
    some = np.isfinite(negatives)
    by_equation = [ORACLES[name](positive, negatives[some], expected[some]) for positive in positives]
    np.testing.assert_allclose(losses(*map(jnp.float32, (positives, negatives))), by_equation, rtol=1e-5, atol=1e-6)
