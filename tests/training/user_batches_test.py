"""What batches of users hold, and how often; their gradients are in ``gradients_test``."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hlr_jax
from hlr_jax import InputError, TrainOptions
from hlr_jax.data.interactions import Interactions
from hlr_jax.training.batches import (
    Negatives,
    batch_source,
    derive_rows,
    group_widths,
    padding_of,
    rounds_of_epoch,
    steps_per_group,
)
from hlr_jax.training.examples import sample_users
from hlr_jax.training.learner import GradientLearner
from hlr_jax.training.many_runs import create_learner
from hlr_jax.training.options import Run

RUN = Run(seed=3, learning_rate=0.0, margin=0.5, temperature=0.5)


def sizes_of(world):
    return world.num_users, world.num_items


def matrix(interactions, sizes):
    met = np.zeros(sizes, bool)
    met[interactions.user, interactions.item] = True
    return met


@pytest.mark.parametrize(("backend", "most"), [("cpu", 1.2), ("tpu", 1.5)])
@pytest.mark.parametrize(
    "degrees",
    [
        np.random.default_rng(0).zipf(1.5, 3000).clip(0, 2000),
        np.random.default_rng(1).lognormal(3, 1, 500).astype(int),
        np.arange(200),
        np.full(9, 40),
        np.array([0, 0, 3]),
    ],
)
def test_few_widths_hold_every_user_with_little_padding(degrees, backend, most, monkeypatch):
    monkeypatch.setattr("jax.default_backend", lambda: backend)
    counts = degrees[degrees > 0]
    for negatives in (0, 64):
        widths = group_widths(degrees, negatives)
        assert widths == tuple(sorted(set(widths)))
        assert widths[-1] == counts.max()
        groups = [counts[(counts > low) & (counts <= high)] for low, high in itertools.pairwise((0, *widths))]
        assert all(len(group) for group in groups)
        computed = sum((high + negatives) * len(group) for high, group in zip(widths, groups, strict=True))
        assert computed <= most * (counts + negatives).sum()
        assert padding_of(widths, degrees, negatives) == pytest.approx(computed / (counts + negatives).sum())
    assert len(group_widths(degrees, 10_000)) == 1  # padding is nothing beside so many negatives


@pytest.mark.parametrize(("backend", "most"), [("cpu", 1.2), ("tpu", 1.5)])
def test_no_fewer_widths_would_do(backend, most, monkeypatch):
    monkeypatch.setattr("jax.default_backend", lambda: backend)
    degrees = np.array([1, 2, 2, 3, 9, 10, 30, 31])
    widths = group_widths(degrees)
    for fewer in itertools.combinations(np.unique(degrees).tolist(), len(widths) - 1):
        if fewer[-1] == degrees.max():
            assert padding_of(fewer, degrees) > most


@pytest.mark.parametrize("split", ["train", "valid"])
def test_an_epoch_visits_every_positive_once_and_draws_what_it_should(world, split):
    model = hlr_jax.create_model("hlrpp", embed_dim=2, num_memories=2, max_history=4, max_item_users=3)
    sizes, n = sizes_of(world), 3
    options = TrainOptions(batch="users", negatives="per_user", num_negatives=n, batch_size=8)
    learner = GradientLearner(model, options, sizes)
    known = world.train if split == "train" else world.train + world.valid
    source = learner.source(getattr(world, split), world.train, known)
    users = np.flatnonzero(getattr(world, split).degrees(world.num_users))
    assert sorted(np.concatenate(source.groups).tolist()) == users.tolist()

    def step(counts, batch):
        width, weight = batch.is_positive.shape[1], batch.weight[:, None]
        user, items = batch.user[:, None], batch.items
        real = batch.item_users.mask & (weight > 0)[..., None]
        return {
            "positives": counts["positives"].at[user, items[:, :width]].add(weight * batch.is_positive),
            "negatives": counts["negatives"].at[user, items[:, width:]].add(weight),
            "histories": counts["histories"].at[user, batch.history.ids].add(weight * batch.history.mask),
            "item users": counts["item users"].at[batch.item_users.ids, items[..., None]].add(real),
            "selves": counts["selves"].at[user, items].add((real & (batch.item_users.ids == user[..., None])).sum(-1)),
        }

    @partial(jax.jit, static_argnums=0)
    def count(learner, source, epoch):
        start = dict.fromkeys(("positives", "negatives", "histories", "item users", "selves"), jnp.zeros(sizes))
        return learner.scan_batches(source, epoch, jax.random.key(3), step, start)

    counts = jax.tree.map(np.asarray, count(learner, source, 1))
    near, met = matrix(world.train, sizes), matrix(known, sizes)
    np.testing.assert_array_equal(counts["positives"], matrix(getattr(world, split), sizes))
    assert not counts["negatives"][met].any()
    np.testing.assert_array_equal(counts["negatives"].sum(axis=1)[users], n)
    assert not counts["histories"][~near].any()
    np.testing.assert_array_equal(counts["histories"].sum(axis=1)[users], np.minimum(4, near.sum(axis=1))[users])
    assert counts["histories"].max() == 1
    assert counts["item users"].any()
    assert not counts["item users"][~near].any()
    assert not counts["selves"].any()


def test_steps_of_an_epoch_are_those_of_all_groups_in_other_rounds_each_time(world):
    size = 7
    cml = hlr_jax.create_model("cml", embed_dim=2)
    source = batch_source(world.train, world.train, world.train, sizes_of(world), cml, Negatives("per_user"))
    expected = [range(-(-len(users) // size)) for users in source.groups]
    assert len(expected) > 1
    epochs = []
    for epoch in (1, 2):
        starts, counts = map(np.asarray, rounds_of_epoch(jnp.int32(epoch), steps_per_group(source, size)))
        assert (counts[:-1].sum(axis=1) == 4).all()
        epochs.append(counts.tolist())
        for group, steps in enumerate(expected):
            taken = [step for s, n in zip(starts[:, group], counts[:, group], strict=True) for step in range(s, s + n)]
            assert taken == [*steps]
    assert epochs[0] != epochs[1]


def test_the_loss_of_an_epoch_is_the_mean_over_positives(world):
    """With a rate of 0, of the whole softmax of each positive over what its user lacks; so is the validation loss."""
    sizes = sizes_of(world)
    train = world.train.where(world.train.degrees()[world.train.user] <= 17)
    options = TrainOptions(batch="users", negatives="all", objective="sampled_softmax", batch_size=8)
    learner = GradientLearner(hlr_jax.create_model("cml", embed_dim=3), options, sizes)
    source = learner.source(train, train, train)
    state = learner.init(RUN)
    state = state.replace(params=jax.tree.map(lambda table: 0.4 * table, state.params))  # inside of the ball
    user, item = (np.asarray(state.params[side], np.float64) for side in ("user", "item"))
    weights = np.exp(-np.sum((user[:, None] - item) ** 2, axis=-1) / 0.5)
    lacking = np.where(matrix(train, sizes), 0, weights).sum(axis=1)
    own, others = weights[train.user, train.item], lacking[train.user]
    expected = -np.mean(np.log(own / (own + others)))
    after, loss = jax.jit(learner.run_epoch)(state, source, jnp.int32(1), RUN)
    np.testing.assert_array_equal(after.params["user"], state.params["user"])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(learner.valid_loss)(state.params, source, RUN), expected, rtol=1e-5)


def test_what_a_model_derives_is_of_all_interactions(world):
    model = hlr_jax.create_model("transcf", embed_dim=3)._replace(penalty=None)
    sizes, negatives = sizes_of(world), Negatives("all")
    source = batch_source(world.train, world.train, world.train, sizes, model, negatives)
    params = model.init(jax.random.key(1), *sizes)

    @jax.jit
    def derive(source, params):
        users = source.groups[0][:3]
        batch = sample_users(jax.random.key(2), source, users, jnp.ones(3), source.widths[0], negatives)
        return derive_rows(model, params, source.neighbors, batch)

    batch, met = derive(source, params), matrix(world.train, sizes)
    of_items = np.array([np.asarray(params["user"])[row].mean(axis=0) if row.any() else np.zeros(3) for row in met.T])
    of_users = np.array([np.asarray(params["item"])[row].mean(axis=0) for row in met])
    np.testing.assert_allclose(batch.user_derived["user_mean"], of_users[batch.user], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(batch.items_derived["item_mean"], of_items[batch.items], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(batch.shared.derived["item_mean"], of_items, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("hlr", {"share_relation": True}, "model.share_relation"),
        ("transcf", {}, "a penalty on each triplet"),
    ],
)
def test_models_that_are_defined_on_triplets_are_refused(world, name, options, reason):
    model = hlr_jax.create_model(name, embed_dim=2, **options)
    train = TrainOptions(batch="users", negatives="per_user")
    with pytest.raises(InputError) as caught:
        create_learner(world, model, train, train.runs([0]))
    assert str(caught.value) == f"train.batch=users has no triplets, but model {name} has {reason}; set triplets"


def test_users_without_positives_have_no_place():
    pairs = Interactions(np.array([1, 1, 4], np.int32), np.array([0, 2, 1], np.int32))
    cml = hlr_jax.create_model("cml", embed_dim=2)
    source = batch_source(pairs, pairs, pairs, (6, 4), cml, Negatives("per_user"))
    assert [users.tolist() for users in source.groups] == [[1, 4]]
    assert (source.widths, source.num_positives) == ((2,), 3)
