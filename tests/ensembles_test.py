"""Several seeds as one model; that its scores are the members' is in the contract of models."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hlr_jax
from hlr_jax.ensembles import ensemble_of, ensemble_params
from hlr_jax.errors import InputError

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


def test_every_other_two_seeds_are_loaded_as_one_model_that_ranks_by_the_mean_of_distances(run):
    done, folder = run
    loaded = hlr_jax.load_run(folder, ensemble=2, log=silent)
    model, data = loaded.parts.model, loaded.parts.dataset
    assert loaded.seeds == [3, 5]
    assert [loaded.training_of(index).temperature for index in (0, 1)] == [0.4, 0.4]
    assert model.name == "2 x hlr"
    known = data.train + data.valid
    users = np.flatnonzero(data.test.degrees())
    scores = np.zeros((len(users), data.num_items))
    for fit in done.fits[2:]:  # the second ensemble: seeds 5 and 6
        alone = hlr_jax.evaluate(
            done.parts.model, fit.params, data, options=hlr_jax.EvalOptions(k=data.num_items)
        ).ranking
        for row, (items, own) in enumerate(zip(alone.items, alone.scores, strict=True)):
            scores[row, items[items >= 0]] += own[items >= 0] / 2
    for row, user in enumerate(users):
        scores[row, known.item[known.user == user]] = -np.inf
    ranking = hlr_jax.evaluate(model, loaded.params[1], data, options=hlr_jax.EvalOptions(k=5)).ranking
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    np.testing.assert_allclose(ranking.scores, np.take_along_axis(scores, best, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(ranking.items, best)


def test_reasons_are_the_members_reasons(run):
    """Of one user and item, alpha is a mean, and each key counts as much as in its member, over S."""
    done, _ = run
    single, data = done.parts.model, done.parts.dataset
    members = [fit.params for fit in done.fits[:2]]
    # Memories further from the middle, so that the attentions are sharp and unlike.
    members = [params | {"memories": 4 * params["memories"]} for params in members]
    model, together = ensemble_of(single, 2), ensemble_params(single, members)
    user, item = data.user_ids[0], data.item_ids[int(data.test.item[0])]
    each = [hlr_jax.explain(single, params, data, user, [item]) for params in members]
    both = hlr_jax.explain(model, together, data, user, [item])
    alphas = [dict(frame.select("neighbor", "neighbor_weight").iter_rows()) for frame in each]
    for neighbor, weight in both.select("neighbor", "neighbor_weight").iter_rows():
        assert weight == pytest.approx((alphas[0][neighbor] + alphas[1][neighbor]) / 2, rel=1e-5)
    assert max(abs(alphas[0][neighbor] - alphas[1][neighbor]) for neighbor in alphas[0]) > 1e-3
    for column in ("distance_before", "distance_after"):
        assert both[column][0] == pytest.approx(np.mean([frame[column][0] for frame in each]), rel=1e-5)
    heaviest = max(range(2), key=lambda member: each[member]["key_weight"][0])
    assert both["key"][0] == heaviest * MODEL["num_memories"] + each[heaviest]["key"][0]
    assert both["key_weight"][0] == pytest.approx(each[heaviest]["key_weight"][0] / 2, rel=1e-5)
    pairs = [hlr_jax.nearest_keys(single, params, data, [item], k=9) for params in members]
    nearest = hlr_jax.nearest_keys(model, together, data, [item], k=9)
    shares = dict(nearest.select("key", "weight").iter_rows())
    for member, frame in enumerate(pairs):
        for key, weight in frame.select("key", "weight").iter_rows():
            assert shares[member * MODEL["num_memories"] + key] == pytest.approx(weight / 2, rel=1e-5)


@pytest.mark.parametrize("name", ["hlr", "transcf"])
def test_who_is_folded_into_an_ensemble_of_one_model_twice_lies_at_the_same_point_twice(run, name):
    """Adam takes the same steps whatever a gradient is multiplied by."""
    data = run[0].parts.dataset
    options = {"neighborhood_weight": 1.0, "distance_weight": 1.0}
    single = run[0].parts.model if name == "hlr" else hlr_jax.create_model(name, embed_dim=6, **options)
    params = single.init(jax.random.key(5), data.num_users, data.num_items)
    histories = {"ann": data.item_ids[:5].to_list()}
    training = hlr_jax.TrainOptions(**TRAIN)
    alone, twice = (
        hlr_jax.fold_in(*each, data, histories, training=training, options=options, log=silent)
        for *each, options in (
            (single, params, hlr_jax.FoldInOptions()),
            # Its vectors are over sqrt(2), and so is a step of the same length.
            (
                ensemble_of(single, 2),
                ensemble_params(single, [params, params]),
                hlr_jax.FoldInOptions(learning_rate=0.1 / np.sqrt(2)),
            ),
        )
    )
    for half in jnp.split(np.sqrt(2) * twice.params["user"][twice.rows[0]], 2):
        np.testing.assert_allclose(half, alone.params["user"][alone.rows[0]], rtol=1e-3, atol=1e-4)


def test_several_temperatures_make_their_mean(run, monkeypatch):
    _, folder = run
    load_result = hlr_jax.runs.load_result

    def load_others(*arguments):
        params, progress = load_result(*arguments)
        temperatures = zip(progress, (0.2, 0.4, 0.6, 0.2), strict=True)
        return params, [replace(seed, run=seed.run._replace(temperature=each)) for seed, each in temperatures]

    monkeypatch.setattr(hlr_jax.runs, "load_result", load_others)
    loaded = hlr_jax.load_run(folder, ensemble=2, log=silent)
    temperatures = [loaded.training_of(index).temperature for index in (0, 1)]
    assert temperatures == pytest.approx([0.3, 0.4])


def test_mistakes_are_one_line(run, tmp_path):
    _, folder = run
    for count in (3, 0, -2):
        with pytest.raises(InputError, match=rf"an ensemble of {count}: it must divide the run's seeds, .* are 4"):
            hlr_jax.load_run(folder, ensemble=count, log=silent)
    with pytest.raises(InputError, match="an ensemble runs on one device"):
        hlr_jax.load_run(folder, ensemble=2, mesh={"data": 2, "model": 1}, log=silent)
    with pytest.raises(InputError, match="model mf_als is solved for, and has no ensemble"):
        ensemble_of(hlr_jax.create_model("mf_als"), 2)


def test_members_stay_in_their_own_balls():
    single = hlr_jax.create_model(**MODEL, memory_radius=0.5)
    model = ensemble_of(single, 2)
    params = jax.tree.map(lambda table: 5 * table, model.init(jax.random.key(0), 7, 9))
    projected = {name: np.sqrt(2) * table for name, table in model.project(params).items()}
    for name, radius in (("item", 1.0), ("memories", 0.5)):
        halves = np.stack(np.split(projected[name], 2, axis=-1))
        np.testing.assert_allclose(np.linalg.norm(halves, axis=-1), radius, rtol=1e-5)
