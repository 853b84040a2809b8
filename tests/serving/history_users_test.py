"""Users who are made from their items, in service: lists, people folded in, new items, reasons, exports."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import oracles
import polars as pl
import pytest

import hlr_jax
from hlr_jax import EvalOptions, FoldInOptions, InputError, TrainOptions
from hlr_jax.serving.answer import TopK
from hlr_jax.sharding import create_mesh

TRAINING = TrainOptions(
    batch="users", negatives="all", objective="sampled_softmax", batch_size=64, learning_rate=0.05, num_epochs=2
)
KINDS = {"source": {}, "tied": {"tied": True, "count_exponent": 0.5}}


def quiet(_):
    pass


@pytest.fixture(scope="module", params=KINDS)
def trained(request, world):
    model = hlr_jax.create_model("cml", embed_dim=6, user="history", **KINDS[request.param])
    params = model.init(jax.random.key(2), world.num_users, world.num_items)
    if "source" in params:
        params["source"] = 2 * params["source"] + jax.random.normal(jax.random.key(3), params["source"].shape)
    return model, params


def users_of(model, params, met):
    """p_u of some people in float64, by their items."""
    rows, exponent = params[model.history_users.source], dict(model.options)["count_exponent"]
    return np.array([rows[items].sum(axis=0) / len(items) ** exponent for items in met])


def best(users, params, met, k):
    """The nearest items that a person has not met, and minus their squared distances."""
    scores = -np.sum((users[:, None] - params["item"]) ** 2, axis=2)
    for row, items in zip(scores, met, strict=True):
        row[items] = -np.inf
    order = np.argsort(-scores, axis=1)[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


def known_of(world):
    known = world.known
    return [known.item[known.user == user] for user in range(world.num_users)]


NEW = {"ann": [3, 7, 9, 30], "bob": [41]}  # a planted world's ids are its codes


def assert_lists(frame, ids, expected, scores):
    k = len(expected[0])
    assert frame["user"].to_list() == np.repeat(ids, k).tolist()
    assert frame["item"].to_list() == expected.ravel().tolist()
    np.testing.assert_allclose(frame["score"], scores.ravel(), rtol=1e-4, atol=1e-5)


def test_lists_are_the_nearest_items_to_the_mean(world, trained):
    model, params = trained
    exact, met = oracles.float64(params), known_of(world)
    lists = hlr_jax.recommend(model, params, world, k=4)
    assert_lists(lists, world.user_ids.to_list(), *best(users_of(model, exact, met), exact, met, 4))


def test_new_users_are_made_from_their_items_without_training_options(world, trained, tmp_path):
    model, params = trained
    exact, met = oracles.float64(params), [np.array(items) for items in NEW.values()]
    expected = best(users_of(model, exact, met), exact, met, 4)
    people = hlr_jax.fold_in(model, params, world, NEW)
    assert all(people.params[name] is array for name, array in params.items())
    assert_lists(hlr_jax.recommend(model, params, world, among=people, k=4), [*NEW], *expected)
    folder = hlr_jax.export_model(model, params, world, tmp_path / "exported", k=4)
    answer = TopK(folder)
    assert_lists(answer.newcomers(NEW), [*NEW], *expected)
    lists = hlr_jax.recommend(model, params, world, k=4)
    np.testing.assert_array_equal(answer(world.user_ids.to_list())["item"], lists["item"])
    vectors = np.array(pl.read_parquet(folder / "users.parquet")["vector"].to_list())
    np.testing.assert_allclose(vectors, users_of(model, exact, known_of(world)), rtol=1e-4, atol=1e-5)
    topk = answer.manifest["programs"]["topk"]
    assert "source" not in topk["reads"]  # lists read p_u, not what it is made from


def test_similar_users_are_those_whose_means_are_near(world, trained):
    model, params = trained
    table = users_of(model, oracles.float64(params), known_of(world))
    found = hlr_jax.similar_users(model, params, world, [5], k=3)
    distances = np.linalg.norm(table - table[5], axis=1)
    order = np.argsort(distances)[1:4]
    assert found["similar"].to_list() == order.tolist()
    np.testing.assert_allclose(found["distance"], distances[order], rtol=1e-4)


def test_contributions_add_up_to_how_much_closer_an_item_is_than_the_mean_one(world, trained):
    model, params = trained
    people = hlr_jax.fold_in(model, params, world, NEW)
    exact = oracles.float64(params)
    (history, *_), items = [np.array(items) for items in NEW.values()], [12, 20]
    (user,), mean = users_of(model, exact, [history]), exact["item"].mean(axis=0)
    each = exact[model.history_users.source][history] / len(history) ** dict(model.options)["count_exponent"]
    reasons = hlr_jax.explain(model, params, world, "ann", items, among=people)
    for item in items:
        q, shown = exact["item"][item], reasons.filter(item=item)
        parts = 2 * each @ (q - mean)
        order = np.argsort(-parts)
        assert shown["neighbor"].to_list() == history[order].tolist()
        np.testing.assert_allclose(shown["neighbor_contribution"], parts[order], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(shown["neighbor_weight"], (parts / np.maximum(parts, 0).sum())[order], rtol=1e-3)
        # An item as long as v in the mean direction would be at this distance.
        alike = user @ user + q @ q - 2 * user @ mean
        assert parts.sum() == pytest.approx(alike - np.sum((user - q) ** 2), rel=1e-6)
    assert reasons.columns[-1] == "stands_out"  # there is no attention to tell of


def test_new_items_have_the_source_vectors_of_their_place(world):
    """Where x_j is linear in q_j, as it is at a start from alternating least squares, so it is of new items."""
    model = hlr_jax.create_model("cml", embed_dim=4, user="history")
    params = model.init(jax.random.key(2), world.num_users, world.num_items)
    linear = np.array(jax.random.normal(jax.random.key(3), (4, 4)))
    params["source"] = params["item"] @ linear
    options = FoldInOptions(num_steps=10, positives=3, others=16)
    new = hlr_jax.fold_in_items(model, params, world, {1000: [3, 8], 1001: [9]}, training=TRAINING, options=options)
    assert new.params.keys() == params.keys()
    for name, before in params.items():
        np.testing.assert_array_equal(new.params[name][:50], before)
    items = np.asarray(new.params["item"])[50:]
    start = users_of(model, oracles.float64(params), known_of(world))
    assert (np.abs(items - [start[[3, 8]].mean(axis=0), start[9]]) > 1e-4).any(axis=1).all()
    np.testing.assert_allclose(new.params["source"][50:], items @ linear, rtol=1e-3, atol=1e-4)
    # What a user has met counts in p_u from then on.
    lists = hlr_jax.recommend(model, *new, users=[3], k=1)
    exact, met = oracles.float64(new.params), [np.append(known_of(world)[3], 50)]
    assert lists["score"][0] == pytest.approx(best(users_of(model, exact, met), exact, met, 1)[1][0, 0], rel=1e-4)


def test_new_items_are_refused_after_the_square_loss(world, trained):
    training = replace(TRAINING, objective="square")
    with pytest.raises(InputError, match=r"train\.objective=square can't place new items; retrain with them, or leave"):
        hlr_jax.fold_in_items(*trained, world, {1000: [3, 8]}, training=training)


def test_lists_are_the_same_on_a_mesh(world, tmp_path):
    model, evaluation = hlr_jax.create_model("cml", embed_dim=6, user="history"), EvalOptions(k=5, monitor="ndcg")
    fit = partial(hlr_jax.train_model, world, model, evaluation=evaluation, seed=3, quiet=True)
    done = fit(TRAINING, workdir=tmp_path / "run")
    assert done.params.keys() == {"item", "source"}
    alone = hlr_jax.evaluate(model, done.params, world, split="test", options=evaluation)
    mesh = create_mesh(data=2)
    there = jax.device_put(done.params, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    on_mesh = hlr_jax.evaluate(model, there, world, split="test", options=evaluation)
    np.testing.assert_array_equal(on_mesh.ranking.items, alone.ranking.items)
    np.testing.assert_allclose(on_mesh.ranking.scores, alone.ranking.scores, rtol=1e-5)
