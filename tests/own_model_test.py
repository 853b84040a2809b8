"""A model that a program writes itself: any arrays under any names, trained, ranked, stored and told from others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from own_model import own_model

import hlr_jax
from hlr_jax import EvalOptions, InputError, TrainOptions
from hlr_jax.blended_systems import Blend, Part
from hlr_jax.models.identity import model_identity
from hlr_jax.models.registry import create_model
from hlr_jax.ranking.population import trained_population
from hlr_jax.ranking.scores import scores
from hlr_jax.sharding import create_mesh
from hlr_jax.training.many_runs import create_learner
from hlr_jax.training.result import run_identity
from hlr_jax.types import NeighborSpec

OPTIONS = {"batch_size": 100, "learning_rate": 0.02, "num_negatives": 2}


def scores_of(params, world, weights=(1.0, 2.0, 0.5, 1.0)):
    """All scores [U, I] in NumPy, each user with all items of training; ``own_model`` says how."""
    params = {name: np.asarray(array, np.float64) for name, array in params.items()}
    scores = np.zeros((world.num_users, world.num_items))
    for user, row in enumerate(scores):
        history = world.train.item[world.train.user == user]
        relation = params["batch"][0] * params["item"][history].mean(axis=0) + 0.1 * params["batch"][1]
        for item in range(world.num_items):
            difference = params["user"][user] + relation - params["item"][item]
            row[item] = params["item_bias"][item] - np.exp(params["keys"]) * np.sum(np.array(weights) * difference**2)
    return scores


def read_whole(model):
    """The same with histories that no user's items exceed, so that nothing is drawn."""
    return model._replace(history=NeighborSpec(50))


@pytest.mark.parametrize(
    ("changes", "mesh"),
    [
        ({"optimizer": "lazy_adam", "batch_size": 3}, None),
        ({"batch": "users", "negatives": "per_user", "batch_size": 8, "optimizer": "lazy_adam"}, None),
        ({"optimizer": "adam"}, {"data": 2, "model": 4}),
    ],
)
def test_every_array_learns(world, changes, mesh):
    options = TrainOptions(**OPTIONS | changes)
    learner = create_learner(world, own_model(), options, options.runs([3]), mesh and create_mesh(**mesh))
    start = learner.init()
    before, losses = jax.tree.map(np.asarray, start.params), []
    for epoch in (1, 2):
        start, loss = learner.run_epoch(start, epoch)
        losses.append(float(loss[0]))
    assert losses[1] < losses[0]
    shapes = {name: array.shape[1:] for name, array in before.items()}
    items = 52 if mesh else 50  # on a mesh tables end in padding, which no other array has
    assert shapes == {"user": (60, 4), "item": (items, 4), "keys": (), "item_bias": (50,), "batch": (2, 4)}
    for name, array in before.items():
        assert (np.asarray(start.params[name]) != array).all(axis=-1).mean() > 0.9, name
    if mesh:
        single = create_learner(world, own_model(), options, options.runs([3]))
        np.testing.assert_allclose(single.run_epoch(single.init(), 1)[1], losses[0], rtol=1e-4)


def test_it_is_ranked_and_continued_as_any_other(world, tmp_path):
    model, evaluation = read_whole(own_model()), EvalOptions(k=5, monitor="ndcg")

    def fit(epochs, model, workdir=tmp_path):
        options = TrainOptions(num_epochs=epochs, **OPTIONS)
        return hlr_jax.train_model(world, model, options, evaluation, seed=3, workdir=workdir, quiet=True)

    fit(1, model)
    with pytest.raises(InputError, match="holds a run of another model"):
        fit(2, read_whole(own_model(weights=(1.0, 2.0, 0.5, 1.5))))
    with pytest.raises(InputError, match="holds a run of another model"):
        fit(2, own_model())  # reads fewer neighbors
    continued = fit(2, read_whole(own_model()))  # the same, made anew
    whole = fit(2, model, None)
    for name, array in whole.params.items():
        np.testing.assert_array_equal(array, continued.params[name], err_msg=name)
    ranking = hlr_jax.evaluate(model, whole.params, world, split="valid", options=evaluation).ranking
    scores = scores_of(whole.params, world)
    scores[world.train.user, world.train.item] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[np.flatnonzero(world.valid.degrees()), :5]
    np.testing.assert_array_equal(ranking.items, best)


def test_a_blend_of_it_standardizes_its_scores(world):
    single = read_whole(own_model())
    params = single.init(jax.random.key(1), world.num_users, world.num_items)
    whole = scores_of(params, world)
    expected = (whole - whole.mean(axis=1, keepdims=True)) / whole.std(axis=1, keepdims=True)
    population = trained_population(single, params, world, world.train)
    blend = Blend({"own": Part(single, 1.0)})
    together = trained_population(blend, {"own": params}, world, world.train)
    everyone = np.arange(world.num_users)
    np.testing.assert_allclose(scores(single, population, everyone, world.num_items), whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores(blend, together, everyone, world.num_items), expected, rtol=1e-3, atol=1e-4)


def test_the_same_options_are_the_same_model():
    for options in ({}, {"embed_dim": 8}, {"embed_dim": 8, "num_memories": 3}):
        assert create_model("hlr", **options) is create_model("hlr", **options)
    assert create_model("hlr") is create_model("hlr", embed_dim=100)
    assert create_model("hlr") is not create_model("hlr", embed_dim=8)
    # What Python holds to be equal is not the same setting.
    assert create_model("transcf", distance_weight=1).options != create_model("transcf", distance_weight=0.5).options
    assert type(dict(create_model("transcf", distance_weight=1).options)["distance_weight"]) is int
    assert type(dict(create_model("transcf", distance_weight=1.0).options)["distance_weight"]) is float


def test_what_a_model_by_hand_computes_tells_it_from_others():
    def identity(model):
        return model_identity(model)["functions"]

    model = own_model()
    assert identity(model) == identity(own_model())
    others = [
        own_model(weights=(1.0, 2.0, 0.5, 1.5)),
        model._replace(project=lambda params: params | {"keys": jnp.minimum(params["keys"], 1)}),
        model._replace(init=lambda *sizes: {name: 2 * array for name, array in model.init(*sizes).items()}),
        model._replace(history=NeighborSpec(3, "inverse_popularity")),
        model._replace(penalty=lambda params, user, items, neighbors, distances: distances[0]),
        model._replace(penalty=lambda params, user, items, neighbors, distances: params["item_bias"].sum()),
        model._replace(arrays=model.arrays[:1]),
        model._replace(share_relation=True),
    ]
    known = [identity(each) for each in (model, *others)]
    assert len(set(known)) == len(known)
    # A faster form of the same scores, or a name for people, makes no other model.
    assert identity(model._replace(label="Mine", catalogue=lambda *_: 1 / 0)) == known[0]


def test_constants_are_part_of_a_model_wherever_they_stand():
    def scored(make):
        model = own_model()

        def pair(params, user, item, neighbors):
            output = model.pair(params, user, item, neighbors)
            return output.replace(score=output.score + make(user))

        return model_identity(model._replace(pair=pair))["functions"]

    array, key = jnp.array([1.0, 2.0]), jax.random.key(0)
    forms = {
        "an argument of a jitted function": lambda array, key: jax.jit(lambda user: jnp.sum(array * user[:2])),
        "within a loop": lambda array, key: (
            lambda user: jax.lax.scan(
                lambda total, place: (total + jnp.sum(array * user[place]), None), 0.0, jnp.arange(2)
            )[0]
        ),
        "within a branch": lambda array, key: (
            lambda user: jax.lax.cond(user[0] > 0, jax.jit(lambda: jnp.sum(array)), lambda: 0.0)
        ),
        "a key": lambda array, key: lambda user: jax.random.normal(key),
        "of NumPy": lambda array, key: lambda user: jnp.sum(np.asarray(array) * user[:2]),
        "a number": lambda array, key: lambda user, factor=float(array[1]): factor * user[0],
    }
    for name, make in forms.items():
        same, again = (scored(make(jnp.array([1.0, 2.0]), jax.random.key(0))) for _ in range(2))
        assert same == again == scored(make(array, key)), name
        assert same != scored(make(jnp.array([1.0, 3.0]), jax.random.key(1))), name


def test_a_model_by_hand_is_not_told_from_that_of_another_jax(world, tmp_path, monkeypatch):
    def fit(model):
        return hlr_jax.train_model(world, model, TrainOptions(num_epochs=1, **OPTIONS), workdir=tmp_path, quiet=True)

    fit(own_model())
    here = jax.__version__
    monkeypatch.setattr(jax, "__version__", "0.0.1")
    with pytest.raises(InputError) as caught:
        fit(own_model())
    reason = f"checkpoints holds a model without options that JAX {here} trained, and this is JAX 0.0.1: whether it is"
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="holds a run of another model"):
        fit(create_model("cml", embed_dim=4))
    # A model with options is known by these.
    identities = []
    for version in ("0.0.1", here):
        monkeypatch.setattr(jax, "__version__", version)
        identities.append(run_identity(world, create_model("cml"), TrainOptions(), 0))
    assert identities[0] == identities[1]


def test_a_run_is_the_same_with_another_kernel(world, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    models = [create_model("hlr", embed_dim=6, **change) for change in ({}, {"kernel": "pallas"}, {"num_memories": 2})]
    plain, same, other = (run_identity(world, model, TrainOptions(), 0) for model in models)
    assert plain == same != other
