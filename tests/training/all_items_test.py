"""Losses over all items as products and cells, and users who are made from their items: against NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from pairs import TEMPERATURE

import hlr_jax
from hlr_jax import InputError, TrainOptions
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.sampling import pair_bits
from hlr_jax.scoring import with_derived
from hlr_jax.sharding import create_mesh
from hlr_jax.training import all_items
from hlr_jax.training.all_items import History, Users, loss_and_gradient
from hlr_jax.training.batches import Negatives, batch_source
from hlr_jax.training.item_losses import Softmax, Square
from hlr_jax.training.learner import GradientLearner
from hlr_jax.training.many_runs import create_learner
from hlr_jax.training.options import Run

CML = partial(hlr_jax.create_model, "cml", embed_dim=3)
HISTORY = partial(CML, user="history")
RUN = Run(seed=3, learning_rate=0.0, margin=0.5, temperature=TEMPERATURE)
ALL = {"batch": "users", "negatives": "all", "objective": "sampled_softmax", "batch_size": 8}
WORDS = jnp.array([0x8BADF00D, 0x1234567], jnp.uint32)
SOFTMAX, CONFIDENCE = Softmax(jnp.float32(TEMPERATURE)), 5.0
SETTINGS = {
    # case: options of the model, history_dropout, loss
    "table": ({"user": "table"}, 0.0, SOFTMAX),
    "mean": ({}, 0.0, SOFTMAX),
    "tied, root of the count": ({"tied": True, "count_exponent": 0.5}, 0.0, SOFTMAX),
    "dropout": ({"count_exponent": 0.5}, 0.6, SOFTMAX),
    "square": ({}, 0.3, Square(CONFIDENCE)),
}


def user_of(rows, exponent=1.0):
    """p_u of the source vectors of some items."""
    return rows.sum(axis=0) / max(len(rows), 1) ** exponent


def loss_of_user(items, whole, without, positives, unknown):
    """The sum over a user's positives, each measured from a p_u of its own; all other items meet the whole p_u."""

    def distances(person, items):
        return np.sum((person - items) ** 2, axis=-1) / TEMPERATURE

    rest = np.exp(-distances(whole, items[unknown])).sum()
    near = [distances(person, items[item]) for person, item in zip(without, positives, strict=True)]
    return sum(distance + np.log(np.exp(-distance) + rest) for distance in near)


def square_of_user(items, whole, without, positives, unknown):
    """The squares of the scores of all other items, and c (1 - score)^2 of each positive from a p_u of its own."""

    def scores(person, items):
        return (1 + person @ person - np.sum((person - items) ** 2, axis=-1)) / 2

    near = [scores(person, items[item]) for person, item in zip(without, positives, strict=True)]
    return np.sum(scores(whole, items[unknown]) ** 2) + CONFIDENCE * sum((1 - score) ** 2 for score in near)


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
def test_loss_and_gradient_are_those_of_the_equations(world, case, monkeypatch):
    monkeypatch.setattr(all_items, "_BLOCK", 16)  # more cells than one block holds
    monkeypatch.setattr(all_items, "_FEWEST_USERS", 4)
    monkeypatch.setattr(all_items, "_DENSE_BYTES", 0)  # two pieces
    options, dropout, loss = SETTINGS[case]
    of_user = square_of_user if isinstance(loss, Square) else loss_of_user
    model, sizes, weight = HISTORY(**options), (world.num_users, world.num_items), jnp.array([1.0] * 6 + [0, 0])
    params = model.init(jax.random.key(1), *sizes)
    if "source" in params:
        params["source"] = params["source"] + 0.3 * jax.random.normal(jax.random.key(2), params["source"].shape)
    source = batch_source(world.train, world.train, world.train, sizes, model, Negatives("all"), as_cells=True)
    people, made = np.arange(8) * 7, model.history_users
    users = Users(jnp.asarray(people), jnp.asarray(people), weight)
    history = None if made is None else History(WORDS, dropout)
    value, gradient = jax.jit(partial(loss_and_gradient, model, loss))(params, source, users, history)
    exponent, dropped = options.get("count_exponent", 1.0), 0

    def kept_of(user, items):
        if not dropout:
            return items
        bits = np.asarray(pair_bits(WORDS, jnp.full(len(items), user), jnp.asarray(items)))
        return items[bits / 2**32 >= dropout]

    mine = [world.train.item[world.train.user == user] for user in people[:6]]
    kept = [kept_of(user, items) for user, items in zip(people, mine, strict=False)]
    dropped = sum(len(items) for items in mine) - sum(len(items) for items in kept)
    assert (dropped > 0) == (dropout > 0)

    def total(params):
        result = 0.0
        for user, positives, items in zip(people, mine, kept, strict=False):
            unknown = np.setdiff1d(np.arange(world.num_items), positives)
            if made is None:
                whole, without = params["user"][user], [params["user"][user]] * len(positives)
            else:
                rows = params[made.source]
                whole = user_of(rows[items], exponent)
                without = [user_of(rows[items[items != item]], exponent) for item in positives]
            result += of_user(params["item"], whole, without, positives, unknown)
        return result

    exact = oracles.float64(params)
    np.testing.assert_allclose(value, total(exact), rtol=1e-5)
    assert gradient.keys() == params.keys()
    for name, slope in slopes_of(total, exact).items():
        np.testing.assert_allclose(gradient[name], slope, rtol=2e-4, atol=2e-5, err_msg=name)


def test_dropout_leaves_its_share_out_anew_for_each_batch():
    users, items = (jnp.asarray(side.ravel()) for side in np.mgrid[:100, :100])
    kept = [np.asarray(History(words, 0.3).kept(users, items)) for words in (WORDS, WORDS + 1)]
    assert [share.mean() for share in kept] == pytest.approx([0.7, 0.7], abs=0.02)
    assert (kept[0] & kept[1]).mean() == pytest.approx(0.49, abs=0.02)
    table = kept[0].reshape(100, 100)
    assert np.abs(table.mean(axis=0) - 0.7).max() < 0.2  # neither a user nor an item is left out as a whole
    assert np.abs(table.mean(axis=1) - 0.7).max() < 0.2


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_training_and_service_make_the_same_users(world, exponent):
    model, sizes = HISTORY(count_exponent=exponent), (world.num_users, world.num_items)
    params = {name: 0.1 + array for name, array in model.init(jax.random.key(1), *sizes).items()}
    source = batch_source(world.train, world.train, world.train, sizes, model, Negatives("all"), as_cells=True)
    served = jax.jit(partial(with_derived, model))(params, source.neighbors)["user"]
    everyone = jnp.arange(world.num_users)
    piece = all_items._Piece(model, SOFTMAX, params, source, None)
    trained = model.history_users.pool(*jax.jit(piece._sums_of)(Users(everyone, everyone, jnp.ones(world.num_users))))
    rows = np.asarray(params["source"], np.float64)
    expected = [user_of(rows[world.train.item[world.train.user == user]], exponent) for user in everyone.tolist()]
    for found in (served, trained):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_user_without_its_only_item_stands_at_the_origin():
    """Its loss is log(1 + exp(|q_0|^2 / t) sum exp(-|x_0 - q_v|^2 / t)); x_0 has a part in the sum alone."""
    model, only = HISTORY(), Interactions(np.array([0], np.int32), np.array([0], np.int32))
    source = batch_source(only, only, only, (1, 3), model, Negatives("all"), as_cells=True)
    params = {name: jax.random.normal(jax.random.key(seed), (3, 3)) for seed, name in enumerate(("item", "source"))}
    users = Users(jnp.zeros(1, jnp.int32), jnp.zeros(1, jnp.int32), jnp.ones(1))
    value, slope = loss_and_gradient(model, Softmax(jnp.float32(1.0)), params, source, users, History(WORDS, 0.0))
    items, x = np.asarray(params["item"], np.float64), np.asarray(params["source"][0], np.float64)
    others = np.exp(items[0] @ items[0] - np.sum((x - items[1:]) ** 2, axis=1))
    np.testing.assert_allclose(value, np.log(1 + others.sum()), rtol=1e-5)
    np.testing.assert_allclose(slope["source"][0], 2 * others @ (items[1:] - x) / (1 + others.sum()), rtol=1e-4)


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


@pytest.mark.parametrize(("options", "shape"), [({"user": "history"}, (2, 1)), ({}, (2, 4))])
def test_no_array_depends_on_the_mesh(world, options, shape):
    changes = {"history_dropout": 0.3} if options else {}
    train = TrainOptions(**ALL | changes, learning_rate=0.02, weight_decay=0.1)
    learned = []
    for mesh in (None, create_mesh(*shape)):
        learner = create_learner(world, CML(**options), train, train.runs([5]), mesh)
        state, losses = learner.init(), []
        for epoch in (1, 2):
            state, loss = learner.run_epoch(state, epoch)
            losses.append(float(loss[0]))
        rows = {"user": world.num_users, "item": world.num_items, "source": world.num_items}
        params = {name: np.asarray(array)[:, : rows[name]] for name, array in state.params.items()}
        learned.append((*losses, float(learner.valid_loss(state.params)[0]), params))
    (first, second, *_), single = learned[0], learned[0][-1]
    assert second < first
    np.testing.assert_allclose(learned[0][:-1], learned[1][:-1], rtol=1e-4)
    assert single.keys() == ({"item", "source"} if options else {"item", "user"})
    for name, array in single.items():
        np.testing.assert_allclose(learned[1][-1][name], array, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("model", "changes", "reason"),
    [
        (
            {"user": "history"}, {"batch": "users", "negatives": "per_user"},
            "model cml makes users from their items, and a batch must hold all of these; set train.batch=users and "
            "train.negatives=all",
        ),
        (
            {}, ALL | {"objective": "square"},
            "train.objective=square: model cml does not make users from their items; set another",
        ),
        (
            {}, {"history_dropout": 0.5},
            "train.history_dropout: model cml does not make users from their items; set it to 0",
        ),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(world, model, changes, reason):
    options = TrainOptions(**changes)
    with pytest.raises(InputError) as caught:
        create_learner(world, CML(**model), options, options.runs([0]))
    assert str(caught.value) == reason


def test_options_of_history_are_refused_where_users_have_a_table():
    with pytest.raises(InputError, match=r"model\.tied needs model\.user=history; set that too, or leave out"):
        hlr_jax.create_model("cml", tied=True)
