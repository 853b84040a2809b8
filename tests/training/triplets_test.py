import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hlr_jax
from hlr_jax import TrainOptions
from hlr_jax.losses import OBJECTIVES
from hlr_jax.models.base import apply
from hlr_jax.training.learners import _batches
from hlr_jax.training.triplets import batch_gradient, batch_loss, draw_batch, training_triplets, validation_triplets

MARGIN = jnp.float32(0.7)


@pytest.fixture(scope="module")
def setting(world):
    model = hlr_jax.create_model("hlr", embed_dim=6, num_memories=3, max_history=4)
    params = model.init(jax.random.key(1), world.num_users, world.num_items)
    source = training_triplets(world.train, world.num_users, world.num_items, model)
    rows = jnp.arange(24) * 7
    batch = draw_batch(jax.random.key(2), source, rows, jnp.ones(24).at[20:].set(0.0), model, 3)
    return model, params, batch


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("microbatch", [1, 6, 24])
def test_gradient_is_that_of_the_plain_loss_for_every_microbatch(setting, objective, microbatch):
    model, params, batch = setting

    def plain(params):
        """The loss by looking up one pair at a time, as a reader of eq. 8 would write it."""
        total = 0.0
        for b in range(20):  # the last four triplets have weight 0
            user, history, mask = batch.user[b], batch.history[b], batch.mask[b]
            distances = [-apply(model, params, user, item, history, mask).score for item in batch.items[b]]
            hinges = [jax.nn.relu(MARGIN + distances[0] - negative) for negative in distances[1:]]
            total += max(hinges) if objective == "hinge_hardest" else sum(hinges) / 3
        return total

    loss, gradient = batch_gradient(model, OBJECTIVES[objective], params, batch, MARGIN, microbatch)
    expected_loss, expected = jax.value_and_grad(plain)(params)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(
        batch_loss(model, OBJECTIVES[objective], params, batch, MARGIN, microbatch), loss, rtol=1e-5
    )
    for name in params:
        np.testing.assert_allclose(gradient[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_training_batches_hold_what_they_should(setting, world):
    _, _, batch = setting
    known = {user: set(world.train.item[world.train.user == user]) for user in range(world.num_users)}
    for b in range(24):
        user, (positive, *negatives) = int(batch.user[b]), map(int, batch.items[b])
        history = {int(item) for item, real in zip(batch.history[b], batch.mask[b], strict=True) if real}
        assert (user, positive) == (world.train.user[b * 7], world.train.item[b * 7])
        assert not known[user] & set(negatives)
        assert history <= known[user] - {positive}
        assert len(history) == min(4, len(known[user]) - 1)


def test_validation_batches_avoid_train_and_valid_items(setting, world):
    model = setting[0]
    source = validation_triplets(world.train, world.valid, world.num_users, world.num_items, model)
    count = len(world.valid.user)
    batch = draw_batch(jax.random.key(3), source, jnp.arange(count), jnp.ones(count), model, 8)
    train = set(zip(world.train.user.tolist(), world.train.item.tolist(), strict=True))
    known = train | set(zip(world.valid.user.tolist(), world.valid.item.tolist(), strict=True))
    for b in range(count):
        user = int(batch.user[b])
        assert not known & {(user, int(item)) for item in batch.items[b, 1:]}
        assert {(user, int(j)) for j, real in zip(batch.history[b], batch.mask[b], strict=True) if real} <= train


def test_an_epoch_visits_every_interaction_once():
    order, weights = _batches(jax.random.permutation(jax.random.key(0), 23), 5)
    assert order.shape == (5, 5)
    assert sorted(np.asarray(order)[np.asarray(weights) == 1].tolist()) == list(range(23))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_epochs": 0}, "train.num_epochs must be at least 1, got 0"),
        ({"learning_rate": -1.0}, "train.learning_rate must be at least 0"),
        ({"margin": "0.5"}, "train.margin must be a number"),
        ({"learning_rate": float("nan")}, "train.learning_rate must be at least 0"),
        ({"objective": "hinge"}, 'unknown train.objective "hinge" (did you mean "hinge_'),
        ({"batch_size": 10, "microbatch": 3}, "train.microbatch (3) must divide train.batch_size (10)"),
    ],
)
def test_options_out_of_range_are_refused_by_name(options, message):
    with pytest.raises(hlr_jax.UserError) as caught:
        TrainOptions(**options)
    assert message in str(caught.value)


def test_model_options_are_refused_by_name():
    for options, message in [
        ({"num_memorys": 3}, 'did you mean "num_memories"'),
        ({"num_memories": 0}, "model.num_memories must be at least 1"),
        ({"variant": "papr"}, 'unknown model.variant "papr" (did you mean "paper"?)'),
        ({"history_sampling": "random"}, "unknown model.history_sampling"),
    ]:
        with pytest.raises(hlr_jax.UserError) as caught:
            hlr_jax.create_model("hlr", **options)
        assert message in str(caught.value)
    with pytest.raises(hlr_jax.UserError, match='unknown model "hrl"'):
        hlr_jax.create_model("hrl")
