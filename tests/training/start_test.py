"""Trainings that begin where another run has ended."""

import dataclasses
import shutil

import jax
import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax import EvalOptions, InputError, TrainOptions
from hlr_jax.data.growth import with_interactions
from hlr_jax.fitting.start import start_of
from hlr_jax.sharding import create_mesh
from hlr_jax.training.learner import key_of

TRAIN = {"num_epochs": 2, "batch_size": 200, "learning_rate": 0.05, "objective": "sampled_softmax", "temperature": 0.5}
CML = {"name": "cml", "embed_dim": 6}
OPTIONS = {"quiet": True, "log": lambda line: None}


def config(**train):
    return {
        "dataset": {"name": "planted-60x50x900"}, "model": CML, "train": TRAIN | train,
        "eval": {"monitor": "ndcg", "k": 5}, "seed": 3,
    }  # fmt: skip


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A run of two seeds, and its workdir."""
    folder = tmp_path_factory.mktemp("start") / "before"
    return hlr_jax.run(config(num_seeds=2), folder, **OPTIONS), folder


@pytest.fixture(scope="module")
def grown(world):
    """The world a day later: new items; new users with known items, with the new one alone, and with nothing known."""
    rows = [(3, 100), (5, 100), (7, 100), (60, 1), (60, 2), (60, 100), (61, 100), (62, 101), (0, 49)]
    return with_interactions(world, pl.DataFrame(rows, schema=["user", "item"], orient="row"))


def model():
    return hlr_jax.create_model(**CML)


def options_from(folder, **train):
    return TrainOptions(**TRAIN | {"start": str(folder)} | train)


def test_rows_are_matched_by_id_and_new_ones_folded_in_or_random(before, grown):
    done, folder = before
    options = options_from(folder)
    start, _ = start_of(options, model(), None)
    said = []
    params = start(grown, options.runs([9]), said.append)
    assert said == [f"starts from {folder}: 60 of 63 users, and 2 folded in; 50 of 52 items, and 1 folded in"]
    for axis, count in (("user", 60), ("item", 50)):
        np.testing.assert_array_equal(params[axis][0, :count], done.fits[0].params[axis])
    fresh = model().init(key_of(9, 0), 63, 52)
    # User 62 has met item 101 alone, and nobody else has.
    np.testing.assert_array_equal(params["user"][0, 62], fresh["user"][62])
    np.testing.assert_array_equal(params["item"][0, 51], fresh["item"][51])
    settings = {"training": TrainOptions(**TRAIN), "log": lambda line: None}
    data = done.parts.dataset
    new = hlr_jax.fold_in_items(model(), done.fits[0].params, data, {100: [3, 5, 7]}, **settings)
    people = hlr_jax.fold_in(model(), *new, {60: [1, 2, 100], 61: [100]}, **settings)
    np.testing.assert_array_equal(params["item"][0, 50], new.params["item"][50])
    np.testing.assert_array_equal(params["user"][0, 60:62], people.params["user"][people.rows])


def test_ids_and_not_places_say_whose_row_it_is(before, world):
    """Of a data set whose users and items stand in another order."""
    done, folder = before
    order = np.arange(world.num_users)[::-1]
    user, item = 59 - world.train.user, world.train.item
    by_user = np.lexsort((item, user))
    train = dataclasses.replace(world.train, user=user[by_user], item=item[by_user])
    mirrored = dataclasses.replace(world, user_ids=world.user_ids.gather(order), train=train)
    options = options_from(folder)
    start, _ = start_of(options, model(), None)
    params = start(mirrored, options.runs([3]), lambda line: None)
    np.testing.assert_array_equal(params["user"][0], np.asarray(done.fits[0].params["user"])[::-1])


@pytest.mark.parametrize(("num_seeds", "members"), [(2, [0, 0, 1, 1]), (3, [0] * 6)])
def test_each_seed_starts_from_its_own_where_there_are_as_many(before, world, num_seeds, members):
    done, folder = before
    options = options_from(folder, num_seeds=num_seeds, temperatures=(0.2, 0.5))
    start, _ = start_of(options, model(), None)
    params = start(world, options.runs(range(num_seeds)), lambda line: None)
    for place, member in enumerate(members):
        np.testing.assert_array_equal(params["item"][place], done.fits[member].params["item"])


@pytest.mark.parametrize("mesh", [None, {"data": 2, "model": 2}])
def test_training_continues_from_there(before, world, mesh):
    """With a learning rate of 0 nothing moves: the result is where it began."""
    done, folder = before
    options = options_from(folder, num_epochs=1, learning_rate=0.0, num_seeds=2, ema_decay=0.5)
    fits = hlr_jax.train_seeds(
        world, model(), options, EvalOptions(k=5), seed=8, mesh=create_mesh(**mesh or {}), quiet=True
    )
    for fit, first in zip(fits, done.fits, strict=True):
        np.testing.assert_allclose(np.asarray(fit.params["user"])[:60], first.params["user"], rtol=1e-6)


def test_factors_that_are_solved_for_start_from_the_others(world, tmp_path):
    solved = hlr_jax.create_model("mf_als", embed_dim=4, regularization=5.0)
    settings = config() | {"model": {"name": "mf_als", "embed_dim": 4, "regularization": 5.0}, "eval": {}}
    hlr_jax.run(settings, tmp_path, **OPTIONS)
    straight, resumed = (
        hlr_jax.train_model(world, solved, options, seed=3, quiet=True)
        for options in (TrainOptions(**TRAIN | {"num_epochs": 4}), options_from(tmp_path))
    )
    np.testing.assert_allclose(resumed.params["item"], straight.params["item"], rtol=1e-4, atol=1e-6)


def test_the_parameters_that_a_run_started_from_are_part_of_what_it_is(before, world, tmp_path):
    _, folder = before
    other = tmp_path / "start"
    shutil.copytree(folder, other)
    options, workdir = options_from(other, num_epochs=1), tmp_path / "run"

    def train(epochs, start=options):
        chosen = dataclasses.replace(start, num_epochs=epochs)
        return hlr_jax.train_model(world, model(), chosen, seed=3, workdir=workdir, quiet=True)

    train(1)
    train(2, options_from(folder))  # the same parameters somewhere else are the same start
    with pytest.raises(InputError, match="holds a run that started from other parameters"):
        train(3, TrainOptions(**TRAIN))
    shutil.rmtree(other)
    train(3)  # its start is gone, and is not needed any more
    hlr_jax.run(config(num_seeds=2, learning_rate=0.02), other, **OPTIONS)
    with pytest.raises(InputError, match=r"holds a run that started from other parameters: train\.start"):
        train(4)
    shutil.rmtree(other)
    shutil.rmtree(workdir)
    with pytest.raises(InputError, match="start is not a workdir"):
        train(1)
    assert not workdir.exists()


def test_a_start_of_another_model_is_refused_by_the_option_that_differs(before, world):
    _, folder = before
    for wrong, message in (
        (
            hlr_jax.create_model("cml", embed_dim=7),
            "model.embed_dim=6, but the model has 7; set the same value",
        ),
        (hlr_jax.create_model("lrml", embed_dim=6), "is a run of model cml, but the model is lrml"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            hlr_jax.train_model(world, wrong, options_from(folder), quiet=True)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"train\.start must be random, als or the folder of a run"):
        TrainOptions(start="")


def test_a_wrong_start_leaves_no_workdir_behind(before, tmp_path):
    _, folder = before
    unended = tmp_path / "unended"
    shutil.copytree(folder, unended, ignore=shutil.ignore_patterns("result"))
    for start, message in ((tmp_path, "is not a workdir"), (unended, "its training has not ended")):
        with pytest.raises(InputError, match=message):
            hlr_jax.run(config(start=str(start)), tmp_path / "run", **OPTIONS)
        assert not (tmp_path / "run").exists()


def test_a_run_that_started_from_another_one_is_loaded_without_it(before, tmp_path):
    _, folder = before
    first = tmp_path / "first"
    shutil.copytree(folder, first)
    done = hlr_jax.run(config(start=str(first)), tmp_path / "second", **OPTIONS)
    shutil.rmtree(first)
    loaded = hlr_jax.load_run(tmp_path / "second", log=OPTIONS["log"])
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded.params[0], done.fits[0].params))
