"""What every model of the package must keep, found by listing the package."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import hlr_jax
from hlr_jax import TrainOptions
from hlr_jax.models.base import apply, score_catalogue
from hlr_jax.sharding import create_mesh
from hlr_jax.training.learners import triplet_learner

USERS, ITEMS, DIM, HEADS = 7, 11, 6, 5

CASES = {
    "adacml": ({"max_history": HEADS}, oracles.adacml),
    "hlrpp-reference": ({"num_memories": 3, "max_history": HEADS, "variant": "reference"}, oracles.hlrpp_reference),
    "lrml": ({"num_memories": 3}, oracles.lrml),
    "cml": ({}, oracles.cml),
    "mf_als": ({}, oracles.mf_als),
    "hlr": ({"num_memories": 3, "max_history": HEADS}, oracles.hlr),
    "hlr-reference": (
        {"num_memories": 3, "max_history": HEADS, "variant": "reference"},
        partial(oracles.hlr, own_vector=True),
    ),
}


def make(case):
    return hlr_jax.create_model(case.split("-")[0], embed_dim=DIM, **CASES[case][0])


# What holds of metric models that are trained with triplets.
TRAINED = [case for case in CASES if make(case).solver is None]


def parameters(model, scale=1.5):
    """Rows longer than at the start, so that no softmax is near uniform."""
    return jax.tree.map(lambda array: scale * array, model.init(jax.random.key(3), USERS, ITEMS))


def history(model, items):
    width = model.history.size
    items = items[:width]
    padded = np.full(width, 9, np.int32)
    padded[: len(items)] = items
    return jnp.asarray(padded), jnp.arange(width) < len(items)


def test_every_model_has_a_case():
    assert {case.split("-")[0] for case in CASES} == set(hlr_jax.model_names())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("items", [[], [4], [2, 8, 0], [1, 2, 3, 4, 5]])
def test_score_and_relation_match_the_oracle(case, items):
    model = make(case)
    params = parameters(model)
    ids, mask = history(model, items)
    output = apply(model, params, jnp.int32(2), jnp.int32(6), ids, mask)
    score, relation = CASES[case][1](oracles.float64(params), 2, 6, items)
    np.testing.assert_allclose(output.score, score, rtol=2e-5)
    np.testing.assert_allclose(output.relation, relation, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("case", CASES)
def test_jit_equals_eager_and_order_of_history_is_irrelevant(case):
    model = make(case)
    params = parameters(model)
    eager = apply(model, params, jnp.int32(1), jnp.int32(3), *history(model, [0, 5, 7]))
    jitted = jax.jit(partial(apply, model))(params, 1, 3, *history(model, [7, 0, 5]))
    np.testing.assert_allclose(eager.score, jitted.score, rtol=1e-5)
    np.testing.assert_allclose(eager.relation, jitted.relation, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_padding_is_inert(case):
    model = make(case)
    params = parameters(model)
    ids, mask = history(model, [3, 1])
    other = jnp.where(mask, ids, 0)
    gradient = jax.grad(lambda params, ids: apply(model, params, 2, 4, ids, mask).score)
    for one, two in zip(*(jax.tree.leaves(gradient(params, x)) for x in (ids, other)), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_finite_without_any_history(case):
    model = make(case)
    ids, mask = history(model, [])
    gradient = jax.grad(lambda params: apply(model, params, 2, 4, ids, mask).score)(parameters(model))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("items", [[], [2, 8, 0]])
@pytest.mark.parametrize("tile", [4, 128])
def test_catalogue_equals_pairs(case, items, tile):
    model = make(case)
    params = parameters(model)
    ids, mask = history(model, items)
    scores = score_catalogue(model, params, jnp.int32(2), ids, mask, tile=tile)
    pairs = [apply(model, params, 2, item, ids, mask).score for item in range(ITEMS)]
    np.testing.assert_allclose(scores, pairs, rtol=2e-5)


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
    losses = {}
    for name, mesh in (("single", None), ("sharded", create_mesh(data=2, model=2))):
        learner = triplet_learner(world, model, options, 5, mesh)
        learned, values = learner.init(), []
        for epoch in (1, 2):
            learned, loss = learner.run_epoch(learned, epoch)
            values.append(float(loss))
        losses[name] = [*values, float(learner.valid_loss(learned.params))]
    assert losses["single"][1] < losses["single"][0]
    np.testing.assert_allclose(losses["single"], losses["sharded"], rtol=2e-4)
    spec = learned.params["item"].sharding.spec
    assert spec[0] == "model"
    assert {leaf.sharding.spec for leaf in (learned.optimizer.mu["item"], learned.optimizer.nu["user"])} == {spec}
