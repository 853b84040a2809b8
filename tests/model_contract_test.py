"""What every model of the package must keep, found by listing the package."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import hlr_jax
from hlr_jax import TrainOptions
from hlr_jax.data.csr import csr_of
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborIds
from hlr_jax.scoring import score_catalogue, score_catalogue_of_many
from hlr_jax.sharding import create_mesh
from hlr_jax.training.many_runs import create_learner
from hlr_jax.types import Neighbors

USERS, ITEMS, DIM, HEADS, ITEM_USERS = 7, 11, 6, 5, 4

SHARP = {"key_scale": 2.5, "attention_scale": 4.0}
CASES = {
    "adacml": ({"max_history": HEADS}, oracles.adacml),
    "hlrpp-reference": (
        {"num_memories": 3, "max_history": HEADS, "variant": "reference", "learned_scales": True} | SHARP,
        oracles.hlrpp_reference,
    ),
    "hlrpp-paper": (
        {"num_memories": 3, "max_history": HEADS, "max_item_users": ITEM_USERS, "variant": "paper"} | SHARP,
        partial(oracles.hlrpp_paper, **SHARP),
    ),
    "transcf": ({}, oracles.transcf),
    "lrml": ({"num_memories": 3, "key_scale": 2.5}, partial(oracles.lrml, key_scale=2.5)),
    "cml": ({}, oracles.cml),
    "cml-history": ({"user": "history"}, oracles.cml_history),
    "mf_als": ({}, oracles.mf_als),
    "hlr": ({"num_memories": 3, "max_history": HEADS}, oracles.hlr),
    "hlr-reference": (
        {"num_memories": 3, "max_history": HEADS, "variant": "reference"} | SHARP,
        partial(oracles.hlr, own_vector=True, **SHARP),
    ),
}


def make(case):
    return hlr_jax.create_model(case.split("-")[0], embed_dim=DIM, **CASES[case][0])


# What holds of metric models that are trained with triplets.
TRAINED = [case for case in CASES if (model := make(case)).solver is None and model.history_users is None]


def parameters(model, scale=1.5):
    """CSR longer than at the start, so that no softmax is near uniform."""
    return jax.tree.map(lambda array: scale * array, model.init(jax.random.key(3), USERS, ITEMS))


def pad(spec, ids):
    """Ids and mask of neighbors, padded to what the model reads; its padding is a real row that must not matter."""
    ids = ids[: spec.size]
    padded = np.full(spec.size, 5, np.int32)
    padded[: len(ids)] = ids
    return NeighborIds(jnp.asarray(padded), jnp.arange(spec.size) < len(ids))


def rows_of(met, num_owners):
    """The compressed rows of owners who have met what a dict says."""
    pairs = sorted((owner, other) for owner, others in met.items() for other in others)
    return csr_of(Interactions(*np.array(pairs, np.int32).reshape(-1, 2).T), num_owners)


def derived(model, params, items, users):
    """The parameters and what the model derives, where users have met ``items`` and items ``users``: dicts of lists."""
    if model.derived is None:
        return params
    rows = rows_of(items, USERS), rows_of(users, ITEMS)
    return params | jax.jit(model.derived)(params, *rows, jnp.arange(USERS), jnp.arange(ITEMS))


def near(model, params, items, users):
    """The neighbors of a pair from padded ids."""
    return Neighbors(items.vectors(params["item"]), users.vectors(params["user"]))


def apply(model, params, user, item, items, users):
    """Score a pair; the arrays of an axis stand in ``params`` as the pair's own rows."""
    own = model.on_axis(params, "shared") | model.rows(params, "user", user) | model.rows(params, "item", item)
    return model.pair(own, own["user"], own["item"], near(model, params, items, users))


@cache
def jitted(case):
    """``apply`` of a case's model, compiled once for all tests."""
    return jax.jit(partial(apply, make(case)))


def test_every_model_has_a_case():
    assert {case.split("-")[0] for case in CASES} == set(hlr_jax.model_names())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("items", "users"), [([], []), ([4], [0]), ([2, 8, 0], []), ([1, 2, 3, 4, 5], [6, 1, 3])])
def test_score_and_relation_match_the_oracle(case, items, users):
    model = make(case)
    params = parameters(model)
    given = derived(model, params, {2: items}, {6: users})
    output = jitted(case)(given, 2, 6, pad(model.history, items), pad(model.item_users, users))
    score, relation = CASES[case][1](oracles.float64(params), 2, 6, items, users)
    np.testing.assert_allclose(output.score, score, rtol=2e-5)
    np.testing.assert_allclose(output.relation, relation, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("case", CASES)
def test_jit_equals_eager_and_order_of_neighbors_is_irrelevant(case):
    model = make(case)
    given = derived(model, parameters(model), {1: [0, 5, 7]}, {3: [4, 6]})
    eager = apply(model, given, 1, 3, pad(model.history, [0, 5, 7]), pad(model.item_users, [4, 6]))
    again = pad(model.history, [7, 0, 5]), pad(model.item_users, [6, 4])
    compiled = jitted(case)(given, 1, 3, *again)
    np.testing.assert_allclose(eager.score, compiled.score, rtol=1e-5)
    np.testing.assert_allclose(eager.relation, compiled.relation, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_padding_is_inert(case):
    model = make(case)
    given = derived(model, parameters(model), {2: [3, 1]}, {4: [0]})
    pads = pad(model.history, [3, 1]), pad(model.item_users, [0])
    others = tuple(NeighborIds(jnp.where(drawn.mask, drawn.ids, 0), drawn.mask) for drawn in pads)
    gradient = jax.jit(jax.grad(lambda given, pads: apply(model, given, 2, 4, *pads).score))
    slopes = (jax.tree.leaves(gradient(given, padded)) for padded in (pads, others))
    for slope, other in zip(*slopes, strict=True):
        np.testing.assert_array_equal(slope, other)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_finite_without_any_neighbors(case):
    model = make(case)
    nobody = pad(model.history, []), pad(model.item_users, [])

    def score(params):
        return apply(model, derived(model, params, {}, {}), 2, 4, *nobody).score

    gradient = jax.jit(jax.grad(score))(parameters(model))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tile", [4, 128])
def test_catalogue_equals_pairs(case, tile, monkeypatch):
    monkeypatch.setattr("hlr_jax.scoring.CATALOGUE_TILE", tile)
    model = make(case)
    users_of = {item: [(item + 1) % USERS, 3][: item % 3] for item in range(ITEMS)}
    item_users = [pad(model.item_users, users_of[item]) for item in range(ITEMS)]
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *item_users)

    @jax.jit
    def by_catalogue(given, history):
        rows = model.rows(given, "user", 2), model.on_axis(given, "item")
        return score_catalogue(model, given, *rows, history.vectors(given["item"]), stacked.vectors(given["user"]))

    @jax.jit
    def of_many(given, history):
        rows = model.rows(given, "user", jnp.array([5, 2])), model.on_axis(given, "item")
        # The first user reads the same neighbors the other way round.
        histories = jax.tree.map(lambda array: jnp.stack([array[::-1], array]), history)
        return score_catalogue_of_many(model, given, *rows, histories, stacked.vectors(given["user"]))

    for items in ([], [2, 8, 0]):
        given, history = derived(model, parameters(model), {2: items}, users_of), pad(model.history, items)
        pairs = [jitted(case)(given, 2, item, history, users).score for item, users in enumerate(item_users)]
        np.testing.assert_allclose(by_catalogue(given, history), pairs, rtol=2e-5)
        if model.item_pairs is not None:
            np.testing.assert_allclose(of_many(given, history)[1], pairs, rtol=2e-5)


@pytest.mark.parametrize("case", TRAINED)
def test_project_keeps_rows_in_the_ball_and_leaves_inner_rows(case):
    model = make(case)
    params = parameters(model, scale=3.0) | {"user": jnp.eye(USERS, DIM) * 0.5}
    projected = model.project(params)
    assert (np.linalg.norm(projected["item"], axis=1) <= 1 + 1e-6).all()
    np.testing.assert_array_equal(projected["user"], params["user"])


@pytest.mark.parametrize("case", TRAINED)
def test_training_lowers_the_loss_in_one_compilation_and_sharding_changes_nothing(case, world):
    model = make(case)
    options = TrainOptions(num_epochs=2, batch_size=64, learning_rate=0.02, num_negatives=2)
    losses, meshes = {}, {"single": None}
    if case in ("hlrpp-paper", "lrml"):  # draws on both sides, neither; tests/distributed has others
        meshes["sharded"] = create_mesh(data=2, model=2)
    elif case == "transcf":  # means need whole tables
        meshes["sharded"] = create_mesh(data=4)
        with pytest.raises(hlr_jax.InputError, match=r"transcf derives arrays from whole tables; set mesh\.model to 1"):
            create_learner(world, model, options, options.runs([5]), create_mesh(data=2, model=2))
    for name, mesh in meshes.items():
        learner = create_learner(world, model, options, options.runs([5]), mesh)
        learned, values = learner.init(), []
        for epoch in (1, 2):
            learned, loss = learner.run_epoch(learned, epoch)
            values.append(float(loss[0]))
        losses[name] = values
        if len(meshes) > 1:
            losses[name].append(float(learner.valid_loss(learned.params)[0]))
    assert losses["single"][1] < losses["single"][0]
    if len(meshes) == 1:
        return
    np.testing.assert_allclose(losses["single"], losses["sharded"], rtol=2e-4)
    spec = learned.params["item"].sharding.spec
    assert spec[1] == "model"
    assert {leaf.sharding.spec for leaf in (learned.optimizer.mu["item"], learned.optimizer.nu["user"])} == {spec}
