"""Users who are made from their items: losses and gradients of their batches against the equations in NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from pairs import LOSS_PARAMS, TEMPERATURE

import hlr_jax
from hlr_jax import InputError, TrainOptions
from hlr_jax.losses import OBJECTIVES
from hlr_jax.scoring import with_derived
from hlr_jax.sharding import create_mesh
from hlr_jax.training.batches import Negatives, batch_source, examples_of_step, user_items
from hlr_jax.training.examples import sample_users, user_loss
from hlr_jax.training.gradients import batch_gradient, batch_loss
from hlr_jax.training.learner import GradientLearner
from hlr_jax.training.many_runs import create_learner
from hlr_jax.training.options import Run

HISTORY = partial(hlr_jax.create_model, "cml", embed_dim=3, user="history")
RUN = Run(seed=3, learning_rate=0.0, margin=0.5, temperature=TEMPERATURE)
ALL = {"batch": "users", "negatives": "all", "objective": "sampled_softmax", "batch_size": 8}
SETTINGS = {
    # case: options of the model, negatives, objective, history_dropout
    "mean": ({}, Negatives("all"), "sampled_softmax", 0.0),
    "tied, root of the count": ({"tied": True, "count_exponent": 0.5}, Negatives("all"), "sampled_softmax", 0.0),
    "dropout": ({"count_exponent": 0.5}, Negatives("all"), "sampled_softmax", 0.6),
    "own negatives": ({}, Negatives("per_user", 4), "bpr", 0.3),
}


def user_of(rows, exponent=1.0):
    """p_u of the source vectors of some items."""
    return rows.sum(axis=0) / max(len(rows), 1) ** exponent


def loss_of_user(params, source, exponent, positives, kept, negatives, objective):
    """The sum over a user's positives, each with a p_u that leaves it out; negatives meet the whole p_u."""

    def distances(person, items):
        return np.sum((person - params["item"][items]) ** 2, axis=-1) / TEMPERATURE

    far, total = distances(user_of(params[source][kept], exponent), negatives), 0.0
    for item in positives:
        others = [other for other in kept if other != item]
        near = distances(user_of(params[source][others], exponent), item)
        if objective == "bpr":
            total += np.mean(np.log1p(np.exp(near - far)))
        else:
            total += near + np.log(np.exp(-near) + np.exp(-far).sum())
    return total


def slopes_of(function, params, step=1e-5):
    """Central differences of a function of float64 arrays, by every number in them."""
    slopes = {name: np.zeros_like(array) for name, array in params.items()}
    for name, array in params.items():
        for place in np.ndindex(array.shape):
            kept, values = array[place], []
            for sign in (1, -1):
                array[place] = kept + sign * step
                values.append(function(params))
            array[place], slopes[name][place] = kept, (values[0] - values[1]) / (2 * step)
    return slopes


@pytest.mark.parametrize("case", SETTINGS)
def test_loss_and_gradient_are_those_of_the_equations(world, case):
    options, negatives, objective, dropout = SETTINGS[case]
    model, sizes, size = HISTORY(**options), (world.num_users, world.num_items), 8
    params = model.init(jax.random.key(1), *sizes)
    if "source" in params:
        params["source"] = params["source"] + 0.3 * jax.random.normal(jax.random.key(2), params["source"].shape)
    source = batch_source(world.train, world.train, world.train, sizes, model, negatives)
    group = max(range(len(source.groups)), key=lambda group: len(source.groups[group]) % size)
    last = (len(source.groups[group]) - 1) // size  # the step that is filled up with users of weight 0
    loss = partial(user_loss, model, OBJECTIVES[objective], LOSS_PARAMS)

    @jax.jit
    def measure(source, params):
        users, weight = examples_of_step(None, source, group, jnp.int32(last), size)
        batch = sample_users(jax.random.key(2), source, users, weight, source.widths[group], negatives)
        batch = user_items(jax.random.key(4), batch, dropout)
        value, gradient = batch_gradient(model, loss, params, batch, 4)
        return batch, value, gradient, batch_loss(model, loss, params, batch, size)

    batch, value, gradient, whole = measure(source, params)
    users, kept, real = (np.asarray(array) for array in (batch.user, batch.kept, batch.is_positive))
    assert not (kept & ~real).any()
    assert (kept != real).any() == (dropout > 0)
    assert 0 < batch.weight.sum() < size

    def total(params):
        result, name = 0.0, model.history_users.source
        for b in np.flatnonzero(batch.weight):
            items = np.asarray(batch.items[b])
            mine = set(world.train.item[world.train.user == users[b]].tolist())
            width = real.shape[1]
            assert mine == set(items[:width][real[b]].tolist())
            others = items[width:] if negatives.own else np.array(sorted(set(range(world.num_items)) - mine))
            given = items[:width][real[b]], items[:width][kept[b]], others
            result += loss_of_user(params, name, options.get("count_exponent", 1.0), *given, objective)
        return result

    exact = oracles.float64(params)
    np.testing.assert_allclose([value, whole], [total(exact)] * 2, rtol=1e-5)
    for name, slope in slopes_of(total, exact).items():
        np.testing.assert_allclose(gradient[name], slope, rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_training_and_service_make_the_same_users(world, exponent):
    model, sizes = HISTORY(count_exponent=exponent), (world.num_users, world.num_items)
    params = {name: 0.1 + array for name, array in model.init(jax.random.key(1), *sizes).items()}
    source = batch_source(world.train, world.train, world.train, sizes, model, Negatives("all"))
    served = jax.jit(partial(with_derived, model))(params, source.neighbors)["user"]
    trained = jax.jit(model.history_users.leaving_out)
    rows = np.asarray(params["source"], np.float64)
    for user in range(world.num_users):
        items = world.train.item[world.train.user == user]
        np.testing.assert_allclose(served[user], user_of(rows[items], exponent), rtol=1e-5, atol=1e-6)
        padded = np.append(items, np.full(50 - len(items), 7))  # padding that does not count
        whole, without = trained(np.asarray(params["source"])[padded], np.arange(50) < len(items))
        np.testing.assert_allclose(whole, served[user], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(without[-1], whole, rtol=1e-6)
        for place in range(len(items)):
            expected = user_of(rows[np.delete(items, place)], exponent)
            np.testing.assert_allclose(without[place], expected, rtol=1e-4, atol=1e-5)


def test_a_user_without_its_only_item_stands_at_the_origin():
    rows = jnp.array([[0.3, -0.4], [5.0, 5.0]])
    whole, without = HISTORY().history_users.leaving_out(rows, jnp.array([True, False]))
    np.testing.assert_array_equal(whole, rows[0])
    np.testing.assert_array_equal(without, [[0, 0], rows[0]])


def test_validation_leaves_nothing_out_of_the_items_of_training(world):
    model, sizes = HISTORY(), (world.num_users, world.num_items)
    learner = GradientLearner(model, TrainOptions(**ALL, history_dropout=0.5), sizes)
    params, known = learner.init(RUN).params, world.train + world.valid
    source = learner.source(world.valid, world.train, known)
    found = jax.jit(learner.valid_loss)(params, source, RUN)
    exact, total = oracles.float64(params), 0.0
    for user in range(world.num_users):
        mine = world.train.item[world.train.user == user]
        unknown = np.setdiff1d(np.arange(world.num_items), known.item[known.user == user])
        person = user_of(exact["source"][mine])
        weights = np.exp(-np.sum((person - exact["item"]) ** 2, axis=1) / TEMPERATURE)
        for item in world.valid.item[world.valid.user == user]:
            total -= np.log(weights[item] / (weights[item] + weights[unknown].sum()))
    np.testing.assert_allclose(found, total / len(world.valid), rtol=1e-5)


def test_no_array_depends_on_the_mesh(world):
    options = TrainOptions(**ALL | {"batch_size": 16}, learning_rate=0.02, history_dropout=0.3, weight_decay=0.1)
    learned = {}
    for name, mesh in {"single": None, "mesh": create_mesh(data=2)}.items():
        learner = create_learner(world, HISTORY(), options, options.runs([5]), mesh)
        state, losses = learner.init(), []
        for epoch in (1, 2):
            state, loss = learner.run_epoch(state, epoch)
            losses.append(float(loss[0]))
        learned[name] = losses, state.params, float(learner.valid_loss(state.params)[0])
    single, mesh = learned["single"], learned["mesh"]
    assert single[0][1] < single[0][0]
    np.testing.assert_allclose([*single[0], single[2]], [*mesh[0], mesh[2]], rtol=1e-4)
    assert single[1].keys() == {"item", "source"}
    for name, array in single[1].items():
        np.testing.assert_allclose(mesh[1][name], array, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("model", "changes", "reason"),
    [
        (
            {"user": "history"}, {},
            "model cml makes users from their items, which train.batch=triplets lacks; set train.batch=users, and "
            "train.negatives to per_user or all",
        ),
        ({}, {"history_dropout": 0.5}, "train.history_dropout: model cml makes no users from their items; set it to 0"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(world, model, changes, reason):
    options = TrainOptions(**changes)
    with pytest.raises(InputError) as caught:
        create_learner(world, hlr_jax.create_model("cml", **model), options, options.runs([0]))
    assert str(caught.value) == reason


def test_options_of_history_are_refused_where_users_have_a_table():
    with pytest.raises(InputError, match=r"model\.tied is for model\.user=history: set that too, or leave it out"):
        hlr_jax.create_model("cml", tied=True)
