"""Several seeds as one model; that its scores are the members' is in the contract of models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hlr_jax
from hlr_jax.ensembles import ensemble_of, joined
from hlr_jax.errors import UserError

MODEL = {"name": "hlr", "embed_dim": 6, "num_memories": 2, "max_history": 50}  # every history is read whole
TRAIN = {"num_epochs": 2, "batch_size": 200, "objective": "sampled_softmax", "num_negatives": 3, "temperature": 0.4}


def silent(_):
    pass


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensembles")
    train = TRAIN | {"num_seeds": 4}
    config = {"dataset": {"name": "planted-60x50x900"}, "model": MODEL, "train": train, "eval": {"k": 5}, "seed": 3}
    return hlr_jax.run(config, folder, quiet=True, log=silent), folder


def test_every_other_two_seeds_are_loaded_as_one_model_that_ranks_by_the_sum_of_distances(run):
    done, folder = run
    loaded = hlr_jax.load_run(folder, ensemble=2, log=silent)
    model, data = loaded.parts.model, loaded.parts.dataset
    assert [one.seed for one in loaded.runs] == [3, 5]
    assert [one.temperature for one in loaded.runs] == [0.8, 0.8]
    assert model.name == "2 x hlr"
    known = data.train + data.valid
    users = np.flatnonzero(data.test.degrees())
    scores = np.zeros((len(users), data.num_items))
    for fit in done.fits[2:]:  # the second ensemble: seeds 5 and 6
        alone = hlr_jax.evaluate(
            done.parts.model, fit.params, data, options=hlr_jax.EvalOptions(k=data.num_items)
        ).ranking
        for row, (items, found) in enumerate(zip(alone.items, alone.scores, strict=True)):
            scores[row, items[items >= 0]] += found[items >= 0]
    for row, user in enumerate(users):
        scores[row, known.item[known.user == user]] = -np.inf
    found = hlr_jax.evaluate(model, loaded.params[1], data, options=hlr_jax.EvalOptions(k=5)).ranking
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    np.testing.assert_allclose(found.scores, np.take_along_axis(scores, best, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(found.items, best)


def test_an_ensemble_of_one_model_twice_says_what_the_model_says(run):
    done, _ = run
    single, data, params = done.parts.model, done.parts.dataset, done.fits[0].params
    model, twice = ensemble_of(single, 2), joined([params, params])
    users = data.user_ids[:4].to_list()
    alone, both = (hlr_jax.recommend(*each, data, users=users, k=4) for each in ((single, params), (model, twice)))
    assert both["item"].to_list() == alone["item"].to_list()
    items = alone.filter(user=users[0])["item"].to_list()
    why, again = (hlr_jax.explain(*each, data, users[0], items) for each in ((single, params), (model, twice)))
    for column, factor in (("neighbor_weight", 1), ("distance_before", 2), ("distance_after", 2)):
        found, expected = (frame[column].to_numpy() for frame in (again, why))
        np.testing.assert_allclose(found, factor * expected, rtol=1e-5)
    # Adam takes the same steps whatever a gradient is multiplied by: who is folded in lies at the same point twice.
    training = [hlr_jax.TrainOptions(**TRAIN), hlr_jax.TrainOptions(**TRAIN | {"temperature": 0.8})]
    histories = {"ann": data.item_ids[:5].to_list()}
    one, two = (
        hlr_jax.fold_in(*each, data, histories, training=scaled, log=silent)
        for each, scaled in zip(((single, params), (model, twice)), training, strict=True)
    )
    halves = jnp.split(two.params["user"][two.rows[0]], 2)
    for half in halves:
        np.testing.assert_allclose(half, one.params["user"][one.rows[0]], rtol=1e-3, atol=1e-4)


def test_mistakes_are_one_line(run, tmp_path):
    _, folder = run
    for count in (3, 0, -2):
        with pytest.raises(UserError, match=rf"an ensemble of {count}: it must divide the run's seeds, .* are 4"):
            hlr_jax.load_run(folder, ensemble=count, log=silent)
    with pytest.raises(UserError, match="an ensemble runs on one device"):
        hlr_jax.load_run(folder, ensemble=2, mesh={"data": 2, "model": 1}, log=silent)
    with pytest.raises(UserError, match="model mf_als is solved for, and has no ensemble"):
        ensemble_of(hlr_jax.create_model("mf_als"), 2)


def test_members_stay_in_their_own_balls():
    single = hlr_jax.create_model(**MODEL, memory_radius=0.5)
    model = ensemble_of(single, 2)
    params = jax.tree.map(lambda table: 5 * table, model.init(jax.random.key(0), 7, 9))
    projected = model.project(params)
    for name, radius in (("item", 1.0), ("memories", 0.5)):
        halves = np.stack(np.split(np.asarray(projected[name]), 2, axis=-1))
        np.testing.assert_allclose(np.linalg.norm(halves, axis=-1), radius, rtol=1e-5)
