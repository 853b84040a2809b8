"""What every model of the package must keep, found by listing the package."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import hlr_jax
from hlr_jax import TrainOptions
from hlr_jax.ensembles import ensemble_of
from hlr_jax.models.base import score_catalogue, score_catalogue_of_many
from hlr_jax.sharding import create_mesh
from hlr_jax.training.learners import triplet_learner
from hlr_jax.types import Neighbors, Padded

USERS, ITEMS, DIM, HEADS, ITEM_USERS = 7, 11, 6, 5, 4

CASES = {
    "adacml": ({"max_history": HEADS}, oracles.adacml),
    "hlrpp-reference": ({"num_memories": 3, "max_history": HEADS, "variant": "reference"}, oracles.hlrpp_reference),
    "hlrpp-paper": (
        {"num_memories": 3, "max_history": HEADS, "max_item_users": ITEM_USERS, "variant": "paper"},
        oracles.hlrpp_paper,
    ),
    "transcf": ({}, oracles.transcf),
    "lrml": ({"num_memories": 3}, oracles.lrml),
    "cml": ({}, oracles.cml),
    "mf_als": ({}, oracles.mf_als),
    "hlr": ({"num_memories": 3, "max_history": HEADS}, oracles.hlr),
    "hlr-reference": (
        {"num_memories": 3, "max_history": HEADS, "variant": "reference"},
        partial(oracles.hlr, own_vector=True),
    ),
}
TOGETHER = 2  # members of the ensembles, each of DIM entries


def together(oracle):
    """The oracle of an ensemble: the mean of the members' scores, their relations side by side over sqrt(S)."""

    def score(params, *pair):
        halves, root = (slice(DIM), slice(DIM, None)), np.sqrt(2)
        members = [{name: root * table[:, half] for name, table in params.items()} for half in halves]
        scores, relations = zip(*(oracle(member, *pair) for member in members), strict=True)
        return np.mean(scores), np.concatenate(relations) / root

    return score


ENSEMBLES = {
    f"{case}-together": (CASES[case][0], together(CASES[case][1])) for case in ("hlr", "hlrpp-paper", "transcf")
}
CASES |= ENSEMBLES


def make(case):
    model = hlr_jax.create_model(case.split("-")[0], embed_dim=DIM, **CASES[case][0])
    return ensemble_of(model, TOGETHER) if case in ENSEMBLES else model


# What holds of metric models that are trained with triplets.
TRAINED = [case for case in CASES if make(case).solver is None and case not in ENSEMBLES]


def parameters(model, scale=1.5):
    """CSR longer than at the start, so that no softmax is near uniform."""
    return jax.tree.map(lambda array: scale * array, model.init(jax.random.key(3), USERS, ITEMS))


def pad(neighborhood, ids):
    """Ids and mask of neighbors, padded to what the model reads; its padding is a real row that must not matter."""
    width = neighborhood.size if neighborhood.sampling != "mean" else 8
    ids = ids[:width]
    padded = np.full(width, 5, np.int32)
    padded[: len(ids)] = ids
    return jnp.asarray(padded), jnp.arange(width) < len(ids)


def vectors_of(table, neighborhood, ids, mask):
    if neighborhood.sampling == "mean":
        mean = jnp.sum(table[ids] * mask[:, None], axis=0) / jnp.maximum(mask.sum(), 1)
        return Padded(mean[None], mask.any()[None])
    return Padded(table[ids], mask)


def near(model, params, items, users):
    """The neighbors of a pair from padded ids: as ``apply`` looks them up."""
    return Neighbors(
        vectors_of(params["item"], model.history, *items), vectors_of(params["user"], model.item_users, *users)
    )


def apply(model, params, user, item, items, users):
    return model.pair(params, params["user"][user], params["item"][item], near(model, params, items, users))


def test_every_model_has_a_case():
    assert {case.split("-")[0] for case in CASES} == set(hlr_jax.model_names())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("items", "users"), [([], []), ([4], [0]), ([2, 8, 0], []), ([1, 2, 3, 4, 5], [6, 1, 3])])
def test_score_and_relation_match_the_oracle(case, items, users):
    model = make(case)
    params = parameters(model)
    output = apply(model, params, 2, 6, pad(model.history, items), pad(model.item_users, users))
    score, relation = CASES[case][1](oracles.float64(params), 2, 6, items, users)
    np.testing.assert_allclose(output.score, score, rtol=2e-5)
    np.testing.assert_allclose(output.relation, relation, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("case", CASES)
def test_jit_equals_eager_and_order_of_neighbors_is_irrelevant(case):
    model = make(case)
    params = parameters(model)
    eager = apply(model, params, 1, 3, pad(model.history, [0, 5, 7]), pad(model.item_users, [4, 6]))
    again = pad(model.history, [7, 0, 5]), pad(model.item_users, [6, 4])
    jitted = jax.jit(partial(apply, model))(params, 1, 3, *again)
    np.testing.assert_allclose(eager.score, jitted.score, rtol=1e-5)
    np.testing.assert_allclose(eager.relation, jitted.relation, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_padding_is_inert(case):
    model = make(case)
    params = parameters(model)
    pads = pad(model.history, [3, 1]), pad(model.item_users, [0])
    others = tuple((jnp.where(mask, ids, 0), mask) for ids, mask in pads)
    gradient = jax.grad(lambda params, pads: apply(model, params, 2, 4, *pads).score)
    for one, two in zip(*(jax.tree.leaves(gradient(params, x)) for x in (pads, others)), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_finite_without_any_neighbors(case):
    model = make(case)
    nobody = pad(model.history, []), pad(model.item_users, [])
    gradient = jax.grad(lambda params: apply(model, params, 2, 4, *nobody).score)(parameters(model))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("items", [[], [2, 8, 0]])
@pytest.mark.parametrize("tile", [4, 128])
def test_catalogue_equals_pairs(case, items, tile, monkeypatch):
    monkeypatch.setattr("hlr_jax.models.base.CATALOGUE_TILE", tile)
    model = make(case)
    params = parameters(model)
    history = pad(model.history, items)
    item_users = [pad(model.item_users, [(item + 1) % USERS, 3][: item % 3]) for item in range(ITEMS)]
    everyone = [near(model, params, history, users) for users in item_users]
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *(one.users for one in everyone))
    scores = score_catalogue(model, params, params["item"], params["user"][2], everyone[0].items, stacked)
    pairs = [apply(model, params, 2, item, history, users).score for item, users in enumerate(item_users)]
    np.testing.assert_allclose(scores, pairs, rtol=2e-5)
    if model.item_pairs is not None:
        others = score_catalogue_of_many(model, params, params["item"], params["user"][jnp.array([5, 2])], *(
            jnp.stack([found[:: 1 - 2 * turn] for turn in (1, 0)]) for found in history
        ), stacked)  # fmt: skip
        np.testing.assert_allclose(others[1], pairs, rtol=2e-5)


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
    if case in ("hlrpp-paper", "transcf", "lrml"):  # draws on both sides, means, neither; tests/distributed has others
        meshes["sharded"] = create_mesh(data=2, model=2)
    for name, mesh in meshes.items():
        learner = triplet_learner(world, model, options, options.runs([5]), mesh)
        learned, values = learner.init(), []
        for epoch in (1, 2):
            learned, loss = learner.run_epoch(learned, epoch)
            values.append(float(loss[0]))
        losses[name] = [*values, float(learner.valid_loss(learned.params)[0])]
    assert losses["single"][1] < losses["single"][0]
    if len(meshes) == 1:
        return
    np.testing.assert_allclose(losses["single"], losses["sharded"], rtol=2e-4)
    spec = learned.params["item"].sharding.spec
    assert spec[1] == "model"
    assert {leaf.sharding.spec for leaf in (learned.optimizer.mu["item"], learned.optimizer.nu["user"])} == {spec}
