"""Trainings that start from the factors of MF-ALS."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import hlr_jax
from hlr_jax import EvalOptions, InputError, TrainOptions
from hlr_jax.configs.unread import check_read
from hlr_jax.data.interactions import Interactions
from hlr_jax.fitting.als_start import Factors, als_params, check_als, embedded, likeliest_factor, solve
from hlr_jax.training.many_runs import create_learner

DIM = 6
# All trainings of CML here share a program.
TRAIN = {
    "num_epochs": 2, "batch_size": 128, "num_negatives": 3, "objective": "sampled_softmax", "temperature": 0.3,
    "learning_rate": 0.01, "warmup": 1.5, "start": "als", "start_confidence": 5.0, "start_regularization": 4.0,
    "start_iterations": 3,
}  # fmt: skip
ALL_ITEMS = {"batch": "users", "batch_size": 20, "negatives": "all"}
NDCG = EvalOptions(monitor="ndcg", k=5)
MEMORIES = {"num_memories": 3}


def make(name="cml", **options):
    return hlr_jax.create_model(name, **{"embed_dim": DIM, "user_radius": 0.0} | options)


def silent(_):
    pass


def test_distances_rank_as_products_do_and_all_items_are_as_long():
    rng = np.random.default_rng(0)
    factors = Factors(rng.normal(size=(7, 4)), rng.normal(size=(30, 4)) * rng.uniform(0, 3, (30, 1)))
    users, items = embedded(factors)
    np.testing.assert_allclose(np.linalg.norm(items, axis=1), 1, rtol=1e-12)
    for scale in (0.1, 7.0):
        distances = ((scale * users[:, None] - items) ** 2).sum(-1)
        products = factors.user @ factors.item.T
        lengths = (scale**2 * factors.user**2).sum(1, keepdims=True) + 1
        np.testing.assert_allclose(distances, lengths - 2 * scale / factors.radius * products, atol=1e-10)


def test_the_likeliest_factor_is_the_least_of_the_loss():
    """Against the loss in loops, at factors on both sides."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(4, 9))
    met = Interactions(np.array([0, 1, 3]), np.array([2, 4, 4]))
    held = Interactions(np.array([0, 0, 1, 3]), np.argsort(-scores)[[0, 0, 1, 3], [0, 4, 2, 1]])
    met = met.where(~np.array([any((met.user[n] == held.user) & (met.item[n] == held.item)) for n in range(3)]))

    def loss(factor):
        total = 0.0
        for user, item in zip(held.user, held.item, strict=True):
            known = {int(v) for pairs in (met, held) for u, v in zip(pairs.user, pairs.item, strict=True) if u == user}
            rivals = [item, *(v for v in range(9) if v not in known)]
            total += np.log(sum(np.exp(factor * scores[user, v]) for v in rivals)) - factor * scores[user, item]
        return total

    best = likeliest_factor(scores, met, held)
    assert 0.05 < best < 20
    assert loss(best) < min(loss(best * 1.01), loss(best / 1.01))


def test_the_factor_ends_at_a_bound_where_nothing_is_likeliest():
    scores = np.array([[3.0, 2.0, 1.0, 0.0]])
    nothing = Interactions(*np.zeros((2, 0), np.int32))

    def factor(*items, met=nothing):
        return likeliest_factor(scores, met, Interactions(np.zeros(len(items), int), np.array(items, int)))

    middle = 1 / scores.std()
    assert factor(0) == pytest.approx(100 * middle)  # the surer the better
    assert factor(3) == pytest.approx(middle / 100)  # the other way round
    assert factor(0, 1, 2, 3) == pytest.approx(middle)  # against nobody
    assert factor() == pytest.approx(middle)
    assert likeliest_factor(np.zeros((0, 4)), nothing, nothing) == 1


def test_the_square_loss_takes_the_factor_of_least_squares(world):
    """By the loss of validation that training itself measures."""
    square = {"batch": "users", "batch_size": 20, "negatives": "all", "objective": "square", "confidence": 4.0}
    options, model = TrainOptions(**TRAIN | square), hlr_jax.create_model("cml", embed_dim=DIM, user="history")
    runs = options.runs([3])
    start, learner = als_params(model, world, options, runs, silent), create_learner(world, model, options, runs)
    here, less, more = (
        learner.valid_loss(start | {"source": scale * start["source"]}).item() for scale in (1.0, 0.95, 1.05)
    )
    assert here < min(less, more)


@pytest.fixture(scope="module")
def solved(world):
    """MF-ALS with the settings of the start, trained by itself."""
    model = hlr_jax.create_model("mf_als", embed_dim=DIM - 1, confidence=5.0, regularization=4.0, solver="cg")
    return hlr_jax.train_model(world, model, TrainOptions(num_epochs=3), seed=3, quiet=True), model


def lists(model, params, world):
    params = {name: jax.numpy.asarray(array) for name, array in params.items()}
    return hlr_jax.recommend(model, params, world, k=world.num_items)["item"].to_list()


@pytest.mark.parametrize(("name", "radius"), [("cml", 1.0), ("cml", 0.5), ("lrml", 0.0), ("hlr", 1.0), ("hlrpp", 1.0)])
def test_lists_are_those_of_mf_als_to_the_last_rank(world, solved, name, radius):
    done, factorization = solved
    model = make(name, radius=radius, **{} if name == "cml" else MEMORIES)
    options = TrainOptions(**TRAIN)
    start = als_params(model, world, options, options.runs([3]), silent)
    params = {name: array[0] for name, array in start.items()}
    assert lists(model, params, world) == lists(factorization, done.params, world)
    for name, array in model.project(params).items():
        np.testing.assert_allclose(array, params[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["adacml", "transcf"])
def test_models_without_memories_have_the_vectors(world, name):
    model, options = make(name), TrainOptions(**TRAIN)
    start = als_params(model, world, options, options.runs([3]), silent)
    same = als_params(make(), world, options, options.runs([3]), silent)
    assert jax.tree.all(jax.tree.map(np.array_equal, start, same))
    of_seeds = als_params(make(), world, options, options.runs([3, 4]), silent)["item"]
    np.testing.assert_array_equal(of_seeds[0], same["item"][0])
    assert np.abs(of_seeds[0] - of_seeds[1]).max() > 1e-3  # a seed draws the factors that solving starts from


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_users_who_are_their_items_start_from_the_equation_of_mf_als(world, exponent):
    """Against the sums in loops, in float64; the scale is the likeliest for what training measures."""
    options = TrainOptions(**TRAIN | ALL_ITEMS)
    model = hlr_jax.create_model("cml", embed_dim=DIM, user="history", count_exponent=exponent)
    start = als_params(model, world, options, options.runs([3]), silent)
    factors = solve(world, world.train, options, DIM - 1, 3)
    matrix = sum(np.outer(y, y) for y in factors.item) + 4.0 * np.eye(DIM - 1)
    inverse = np.linalg.inv(matrix)
    source = start["source"][0].astype(np.float64)
    direction = np.array([5.0 * inverse @ y for y in factors.item])
    scale = np.sum(source[:, :-1] * direction) / np.sum(direction**2)
    np.testing.assert_allclose(source[:, :-1], scale * direction, rtol=1e-4, atol=1e-6)
    assert not source[:, -1].any()
    assert set(start) == {"item", "source"}
    # The list of each user is that of the equation.
    ranked = lists(model, {name: array[0] for name, array in start.items()}, world)
    expected = []
    for user in range(world.num_users):
        met = world.known.item[world.known.user == user]
        scores = factors.item @ inverse @ factors.item[met].sum(axis=0) if len(met) else np.zeros(world.num_items)
        held = set(met.tolist())
        expected += [item for item in np.argsort(-scores, kind="stable").tolist() if item not in held]
    same = [a == b for a, b in zip(ranked, expected, strict=True)]
    assert np.mean(same) > 0.99  # ties aside
    learner = create_learner(world, model, options, options.runs([3]))
    here, less, more = (
        learner.valid_loss(start | {"source": scale * start["source"]}).item() for scale in (1.0, 0.97, 1.03)
    )
    assert here < min(less, more)


def test_learning_leaves_memories_of_zero(world):
    model, options = make("hlr", **MEMORIES), TrainOptions(**TRAIN)
    runs = options.runs([3])
    start, learner = als_params(model, world, options, runs, silent), create_learner(world, model, options, runs)
    state, _ = learner.run_epoch(learner.init(start), 1)
    assert np.abs(state.params["memories"]).max(axis=2).min() > 1e-3
    assert np.abs(state.params["keys"] - start["keys"]).max(axis=2).min() > 1e-3  # which follow


def test_the_scale_of_each_temperature_is_the_likeliest(world):
    """By the loss of validation that training itself measures; one solve serves all temperatures."""
    options = TrainOptions(**TRAIN | ALL_ITEMS | {"temperatures": (0.1, 0.7)})
    runs = options.runs([3])
    start = als_params(make(), world, options, runs, silent)
    np.testing.assert_allclose(start["user"][1] / 0.7, start["user"][0] / 0.1, rtol=1e-5)
    np.testing.assert_array_equal(start["item"][0], start["item"][1])
    learner = create_learner(world, make(), options, runs)
    here, less, more = (
        np.asarray(learner.valid_loss(start | {"user": scale * start["user"]})) for scale in (1.0, 0.97, 1.03)
    )
    assert (here < np.minimum(less, more)).all()
    hinge = TrainOptions(start="als", margin=0.7)  # a margin is what a hinge measures distances with
    assert hinge.objective == "hinge_hardest"
    settings = {name: value for name, value in TRAIN.items() if name.startswith("start")}
    of_margin = als_params(make(), world, dataclasses.replace(hinge, **settings), hinge.runs([3]), silent)
    np.testing.assert_allclose(of_margin["user"][0], start["user"][1], rtol=1e-5)


def test_a_ball_of_users_shrinks_all_of_them_and_keeps_the_lists(world, solved):
    done, factorization = solved
    model, options, said = make(user_radius=0.05), TrainOptions(**TRAIN), []
    start = als_params(model, world, options, options.runs([3]), said.append)
    params = {name: array[0] for name, array in start.items()}
    assert np.linalg.norm(params["user"], axis=1).max() == pytest.approx(0.05)
    assert lists(model, params, world) == lists(factorization, done.params, world)
    assert said[1].startswith("model.user_radius=0.05 shortens all users: their best lengths are up to ")


def test_without_validation_a_tenth_of_training_says_how_sharp_scores_are(world):
    nothing = Interactions(*np.zeros((2, 0), np.int32))
    alone, options = dataclasses.replace(world, valid=nothing), TrainOptions(**TRAIN)
    with_valid, without = (
        als_params(make(), data, options, options.runs([3]), silent)["user"][0] for data in (world, alone)
    )
    ratio = np.linalg.norm(without) / np.linalg.norm(with_valid)
    np.testing.assert_allclose(without, ratio * with_valid, rtol=1e-4, atol=1e-6)  # the factors are of all of it
    assert 0.5 < ratio < 2


def train(world, workdir=None, **options):
    return hlr_jax.train_model(
        world, make(), TrainOptions(**TRAIN | options), NDCG, seed=3, workdir=workdir, quiet=True
    )


def test_the_start_is_epoch_0_and_the_result_where_no_epoch_is_better(world, tmp_path):
    spoiled = train(world, tmp_path, learning_rate=3.0)
    assert (spoiled.best_epoch, [record["epoch"] for record in spoiled.history]) == (0, [0, 1, 2])
    first = spoiled.history[0]
    assert "train_loss" not in first
    assert first["valid_ndcg@5"] == spoiled.best_value > max(record["valid_ndcg@5"] for record in spoiled.history[1:])
    alone = train(world, num_epochs=0)
    assert (alone.best_epoch, len(alone.history)) == (0, 1)
    np.testing.assert_array_equal(alone.params["user"], spoiled.params["user"])
    # A run whose epoch 0 is the best goes on like any other, and patience counts from there.
    longer, straight = (
        train(world, folder, learning_rate=3.0, num_epochs=9, patience=3) for folder in (tmp_path, None)
    )
    assert longer.stopped == "no better epoch than 0 in the last 3 (the result is epoch 0, the start)"
    assert [record["epoch"] for record in longer.history] == [0, 1, 2, 3]
    assert [record["valid_loss"] for record in longer.history] == [record["valid_loss"] for record in straight.history]


def test_stopped_and_continued_ends_with_the_same_bits(world, tmp_path):
    whole = train(world, num_epochs=3)
    train(world, tmp_path, num_epochs=0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 1, "train_lo')
    train(world, tmp_path, num_epochs=1)
    continued = train(world, tmp_path, num_epochs=3)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    for name, array in whole.params.items():
        np.testing.assert_array_equal(array, continued.params[name])
    with pytest.raises(InputError, match="holds a run of another model, seed, data or training"):
        train(world, tmp_path, num_epochs=4, start_confidence=6.0)
    with pytest.raises(InputError, match="holds a run that started from other parameters"):
        hlr_jax.train_model(
            world, make(), dataclasses.replace(TrainOptions(**TRAIN), start="random"), NDCG, seed=3,
            workdir=tmp_path, quiet=True,
        )  # fmt: skip


def test_a_refit_of_a_start_that_no_epoch_has_made_better_is_the_start(tmp_path):
    config = {
        "dataset": {"name": "planted-60x50x900"}, "model": {"name": "cml", "embed_dim": DIM, "user_radius": 0.0},
        "train": TRAIN | {"learning_rate": 3.0}, "eval": {"monitor": "ndcg", "k": 5}, "seed": 3,
    }  # fmt: skip
    done = hlr_jax.run(config, tmp_path / "run", quiet=True, log=silent)
    assert done.fits[0].best_epoch == 0
    again = hlr_jax.refit(tmp_path / "run", tmp_path / "refit", quiet=True, log=silent)
    assert again.fits[0].best_epoch == 0
    assert hlr_jax.load_run(tmp_path / "refit", log=silent).best_epochs == [0]
    assert json.loads((tmp_path / "refit" / "eval" / "test.json").read_text())["seeds"][0]["best_epoch"] == 0


def test_mistakes_are_one_line(world):
    mistakes = {
        "train.start=als: MF-ALS itself is solved by ALS; leave train.start out": lambda: hlr_jax.train_model(
            world, hlr_jax.create_model("mf_als", embed_dim=4), TrainOptions(start="als"), quiet=True
        ),
        "source vectors other than the items': set model.tied=false": lambda: check_als(
            hlr_jax.create_model("cml", embed_dim=4, user="history", tied=True)
        ),
        "uses one dimension for the lengths of items: set model.embed_dim to 2 or more": lambda: hlr_jax.train_model(
            world, make(embed_dim=1), TrainOptions(**TRAIN), quiet=True
        ),
        "train.start_regularization=1e+08 shrinks the factors to zero: lower it": lambda: train(
            world, start_regularization=1e8
        ),
        "train.start_confidence has no effect: only train.start=als reads it": lambda: check_read(
            {"model": {"name": "cml"}, "train": {"start": "random"}}, ["train.start_confidence"]
        ),
    }
    for message, wrong in mistakes.items():
        with pytest.raises(InputError) as caught:
            wrong()
        assert message in str(caught.value), caught.value
        assert "\n" not in str(caught.value)
    check_read({"model": {"name": "cml"}, "train": {"start": "als"}}, ["train.start_confidence"])
