"""Scales of both attentions, and centered memories."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hlr_jax
from hlr_jax import InputError
from hlr_jax.types import Neighbors, Padded

HLR = {"embed_dim": 4, "num_memories": 3, "max_history": 2}


def pair(model, params):
    """Return the output for user 0 and item 1, with items 0 and 2 as the history."""
    history = Padded(params["item"][jnp.array([0, 2])], jnp.ones(2, bool))
    nobody = Padded(jnp.zeros((0, 4)), jnp.zeros(0, bool))
    return model.pair(params, params["user"][0], params["item"][1], Neighbors(history, nobody))


def test_a_scale_of_zero_is_uniform_and_a_large_one_selects_the_largest():
    params = hlr_jax.create_model("hlr", **HLR).init(jax.random.key(0), 1, 3)
    flat = pair(hlr_jax.create_model("hlr", **HLR, key_scale=0.0, attention_scale=0.0), params)
    np.testing.assert_allclose(flat.memory_weights, np.full((2, 3), 1 / 3), rtol=1e-6)
    np.testing.assert_allclose(flat.neighbor_weights, [0.5, 0.5], rtol=1e-6)
    sharp = pair(hlr_jax.create_model("hlr", **HLR, key_scale=1e4, attention_scale=1e5), params)
    item, keys, memories = (np.asarray(params[name], np.float64) for name in ("item", "keys", "memories"))
    chosen = [int(np.argmax(keys @ (item[1] * item[j]))) for j in (0, 2)]
    np.testing.assert_allclose(sharp.memory_weights, np.eye(3)[chosen], atol=1e-6)
    logits = [memories[n] @ np.asarray(params["user"][0]) for n in chosen]
    assert chosen[0] != chosen[1]
    np.testing.assert_allclose(sharp.neighbor_weights, np.eye(2)[np.argmax(logits)], atol=1e-6)


def test_learned_scales_start_from_the_options_and_have_the_gradient_of_the_score():
    scales = {"key_scale": 3.0, "attention_scale": 0.5}
    model = hlr_jax.create_model("hlr", **HLR, **scales, learned_scales=True)
    params = model.init(jax.random.key(0), 1, 3)
    np.testing.assert_allclose(np.exp(params["scales"]), [3.0, 0.5], rtol=1e-6)
    assert [spec.name for spec in model.arrays] == ["keys", "memories", "scales"]

    def fixed(key_scale, attention_scale):
        other = hlr_jax.create_model("hlr", **HLR, key_scale=key_scale, attention_scale=attention_scale)
        return float(pair(other, params).score)

    score, slope = jax.value_and_grad(lambda params: pair(model, params).score)(params)
    assert float(score) == pytest.approx(fixed(3.0, 0.5), rel=1e-6)
    step = np.exp(0.05)  # a step of 0.05 in the logarithm
    by_hand = [fixed(3 * step, 0.5) - fixed(3 / step, 0.5), fixed(3.0, 0.5 * step) - fixed(3.0, 0.5 / step)]
    np.testing.assert_allclose(slope["scales"], np.array(by_hand) / 0.1, rtol=0.02, atol=1e-5)


@pytest.mark.parametrize(
    ("radius", "expected"),
    [(None, [[-1, 0], [1, 2], [0, -2]]), (5.0, [[-1, 0], [1, 2], [0, -2]]), (0.5**0.5, None), (0.0, np.zeros((3, 2)))],
)
def test_centered_memories_have_mean_zero_within_their_ball(radius, expected):
    model = hlr_jax.create_model("hlr", embed_dim=2, num_memories=3, memory_radius=radius, center_memories=True)
    params = model.init(jax.random.key(0), 2, 2) | {"memories": jnp.array([[2.0, 1], [4, 3], [3, -1]])}
    # The mean is (3, 1). The longest memory is then (1, 2), of length sqrt(5).
    expected = np.array([[-1, 0], [1, 2], [0, -2]]) * (0.1**0.5) if expected is None else expected
    np.testing.assert_allclose(model.project(params)["memories"], expected, rtol=1e-6, atol=1e-7)
    again = model.project(model.project(params))
    np.testing.assert_allclose(again["memories"], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key_scale": -1.0}, r"model\.key_scale must be at least 0"),
        ({"attention_scale": 0.0, "learned_scales": True}, r"model\.learned_scales needs scales above 0; set"),
        ({"num_memories": 1, "center_memories": True}, r"model\.center_memories makes a single memory zero; set"),
    ],
)
def test_bad_options_are_errors(options, message):
    with pytest.raises(InputError, match=message):
        hlr_jax.create_model("hlr", **(HLR | options))
