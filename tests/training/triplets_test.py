from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hlr_jax
from hlr_jax import Model, Neighbors, Params, TrainOptions
from hlr_jax.data.neighborhoods import neighbor_tables
from hlr_jax.data.sampling import shuffled
from hlr_jax.losses import OBJECTIVES
from hlr_jax.training.learners import _positions
from hlr_jax.training.triplets import (
    Batch,
    Triplets,
    batch_gradient,
    batch_loss,
    draw_batch,
    training_triplets,
    validation_triplets,
)
from hlr_jax.types import Padded

MARGIN = jnp.float32(0.7)


MODELS = {
    "hlr": ("hlr", {"num_memories": 3, "max_history": 4}),
    "shared": ("hlr", {"num_memories": 3, "max_history": 4, "share_relation": True}),
    "both sides": ("hlrpp", {"num_memories": 3, "max_history": 4, "max_audience": 3}),
    "means": ("transcf", {"neighborhood_weight": 0.3, "distance_weight": 0.2}),
}


class Setting(NamedTuple):
    model: Model
    params: Params
    source: Triplets
    batch: Batch


@pytest.fixture(scope="module")
def settings(world):
    def make(name, options):
        model = hlr_jax.create_model(name, embed_dim=6, **options)
        params = model.init(jax.random.key(1), world.num_users, world.num_items)
        source = training_triplets(world.train, world.num_users, world.num_items, model)
        weight = jnp.ones(12).at[9:].set(0.0)
        return Setting(model, params, source, draw_batch(jax.random.key(2), source, jnp.arange(12) * 14, weight, 3))

    return {case: make(*options) for case, options in MODELS.items()}


def means(table, owners, others, count):
    rows = [others[owners == owner] for owner in range(count)]
    return jnp.stack([table[row].mean(axis=0) if len(row) else jnp.zeros(6) for row in rows])


@pytest.mark.parametrize(
    ("case", "objective", "microbatch"),
    [
        ("hlr", "hinge_hardest", 1),
        ("hlr", "hinge_mean", 12),
        ("shared", "hinge_hardest", 6),
        ("both sides", "hinge_hardest", 4),
        ("means", "hinge_mean", 6),
    ],
)
def test_gradient_is_that_of_the_plain_loss_for_every_microbatch(settings, world, case, objective, microbatch):
    model, params, source, batch = settings[case]
    user_means = means(params["item"], world.train.user, world.train.item, world.num_users)
    item_means = means(params["user"], world.train.item, world.train.user, world.num_items)

    def neighbors(params, b, i):
        if case == "means":
            mean, other = user_means[batch.user[b]], item_means[batch.items[b, i]]
            return Neighbors(Padded(mean[None], jnp.ones(1, bool)), Padded(other[None], jnp.ones(1, bool)))
        items, users = batch.history.ids[b], batch.audience.ids[b, i]
        return Neighbors(
            Padded(params["item"][items], batch.history.mask[b]),
            Padded(params["user"][users], batch.audience.mask[b, i]),
        )

    def plain(params):
        """The loss one pair at a time, as a reader of eq. 8 would write it."""
        total = 0.0
        for b in range(9):  # the last three triplets have weight 0
            p, distances = params["user"][batch.user[b]], []
            for i, item in enumerate(batch.items[b]):
                q, near = params["item"][item], neighbors(params, b, i)
                if case == "shared":
                    q_positive = params["item"][batch.items[b, 0]]
                    relation = model.pair(params, p, q_positive, neighbors(params, b, 0)).relation
                    distances.append(jnp.sum((p + relation - q) ** 2))
                else:
                    distances.append(-model.pair(params, p, q, near).score)
                if case == "means":
                    total += 0.3 * jnp.sum((q - item_means[item]) ** 2)
            hinges = [jax.nn.relu(MARGIN + distances[0] - negative) for negative in distances[1:]]
            total += max(hinges) if objective == "hinge_hardest" else sum(hinges) / 3
            if case == "means":
                total += 0.3 * jnp.sum((p - user_means[batch.user[b]]) ** 2) + 0.2 * distances[0]
        return total

    tables = neighbor_tables(params, source.near)
    loss, gradient = batch_gradient(model, OBJECTIVES[objective], params, tables, batch, MARGIN, microbatch)
    expected_loss, expected = jax.value_and_grad(plain)(params)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(
        batch_loss(model, OBJECTIVES[objective], params, tables, batch, MARGIN, microbatch), loss, rtol=1e-5
    )
    for name in params:
        np.testing.assert_allclose(gradient[name], expected[name], rtol=1e-4, atol=2e-6, err_msg=name)


def test_training_batches_hold_what_they_should(settings, world):
    batch = settings["both sides"].batch
    known = {user: set(world.train.item[world.train.user == user]) for user in range(world.num_users)}
    audience = {item: set(world.train.user[world.train.item == item]) for item in range(world.num_items)}
    for b in range(12):
        user, (positive, *negatives) = int(batch.user[b]), map(int, batch.items[b])
        history = {int(item) for item, real in zip(batch.history.ids[b], batch.history.mask[b], strict=True) if real}
        assert (user, positive) == (world.train.user[b * 14], world.train.item[b * 14])
        assert not known[user] & set(negatives)
        assert history <= known[user] - {positive}
        assert len(history) == min(4, len(known[user]) - 1)
        for i, item in enumerate([positive, *negatives]):
            ids, mask = batch.audience.ids[b, i], batch.audience.mask[b, i]
            users = {int(other) for other, real in zip(ids, mask, strict=True) if real}
            assert users <= audience[item] - {user}
            assert len(users) == min(3, len(audience[item] - {user}))


def test_validation_batches_avoid_train_and_valid_items(settings, world):
    model = settings["hlr"].model
    source = validation_triplets(world.train, world.valid, world.num_users, world.num_items, model)
    count = len(world.valid.user)
    batch = draw_batch(jax.random.key(3), source, jnp.arange(count), jnp.ones(count), 8)
    train = set(zip(world.train.user.tolist(), world.train.item.tolist(), strict=True))
    known = train | set(zip(world.valid.user.tolist(), world.valid.item.tolist(), strict=True))
    for b in range(count):
        user = int(batch.user[b])
        assert not known & {(user, int(item)) for item in batch.items[b, 1:]}
        assert {
            (user, int(j)) for j, real in zip(batch.history.ids[b], batch.history.mask[b], strict=True) if real
        } <= train


def test_an_epoch_visits_every_interaction_once():
    batches = [_positions(jnp.int32(index), 5, 23) for index in range(5)]
    rows = [shuffled(jax.random.key(0), positions, 23)[weight == 1] for positions, weight in batches]
    assert sorted(np.concatenate(rows).tolist()) == list(range(23))


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
