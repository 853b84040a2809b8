import jax
import numpy as np
import oracles
import polars as pl
import pytest

import hlr_jax
from hlr_jax.ranking.inputs import ranking_neighbors
from hlr_jax.ranking.population import trained_population


def weights_of(params, p, q, history):
    """Equations 2-6 of HLR in float64: alpha [H], the memory weights [H, N]."""
    rows = [params["item"][j] for j in history]
    memory = np.array([oracles.softmax(np.array([(q * row) @ key for key in params["keys"]])) for row in rows])
    relations = memory @ params["memories"]
    return oracles.softmax(relations @ p), memory


def test_columns_of_reasons_reproduce_the_score_from_its_parts(world):
    options = {"num_memories": 3, "max_history": 4, "history_sampling": "inverse_popularity"}
    model = hlr_jax.create_model("hlr", embed_dim=6, **options)
    params = jax.tree.map(lambda x: 1.5 * x, model.init(jax.random.key(2), world.num_users, world.num_items))
    lists = hlr_jax.recommend(model, params, world, [3, 8], k=4, num_reasons=4)
    exact = oracles.float64(params)
    population = trained_population(model, params, world)
    for row in lists.iter_rows(named=True):
        user, item = row["user"], row["item"]  # a planted world's ids are its codes
        drawn = jax.jit(ranking_neighbors)(jax.random.key(0), population.sources.history, user)
        history = np.asarray(drawn.ids)[np.asarray(drawn.mask)]
        p, q = exact["user"][user], exact["item"][item]
        alpha, memory = weights_of(exact, p, q, history)
        order = np.argsort(-alpha)
        assert row["reason_items"] == history[order].tolist()
        np.testing.assert_allclose(row["reason_weights"], alpha[order], rtol=1e-4)
        assert sum(row["reason_weights"]) == pytest.approx(1, abs=1e-5)
        assert row["reason_keys"] == memory[order].argmax(axis=1).tolist()
        np.testing.assert_allclose(row["reason_key_weights"], memory[order].max(axis=1), rtol=1e-4)
        w = alpha @ memory
        assert (row["key"], row["key_weight"]) == (w.argmax(), pytest.approx(w.max(), rel=1e-4))
        assert row["distance_before"] == pytest.approx(np.sum((p - q) ** 2), rel=1e-4)
        after = np.sum((p + w @ exact["memories"] - q) ** 2)
        assert row["distance_after"] == pytest.approx(after, rel=1e-4)
        assert row["score"] == pytest.approx(-after, rel=1e-4)
        assert row["reason"].startswith(f"Because of '{row['reason_titles'][0]}' ({row['reason_weights'][0]:.0%}), ")
        assert f"; through key {row['key']}; " in row["reason"]


def test_fewer_reasons_are_the_first_ones_and_the_rest_is_counted(world):
    model = hlr_jax.create_model("adacml", embed_dim=6, max_history=5)
    params = model.init(jax.random.key(2), world.num_users, world.num_items)
    lists = [hlr_jax.recommend(model, params, world, [3], k=2, num_reasons=most) for most in (5, 2)]
    for name in ("reason_items", "reason_weights"):
        assert [row[:2] for row in lists[0][name].to_list()] == lists[1][name].to_list()
    assert all(" and 3 more; " in reason and "key" not in reason for reason in lists[1]["reason"])
    assert lists[1]["key"].null_count() == 2
    assert lists[1].schema["key"] == pl.Int64


def test_a_user_of_popular_items_is_given_no_reason(world):
    model = hlr_jax.create_model("hlr", embed_dim=6, num_memories=3, max_history=4)
    params = model.init(jax.random.key(2), world.num_users, world.num_items)
    said = []
    lists = hlr_jax.recommend(
        model, params, world, [3, "who"], k=3, num_reasons=2, on_unknown="popular", log=said.append
    )
    assert said == ['1 of 2 users are unknown, such as "who": given the most popular items']
    assert lists["user"].to_list() == ["3"] * 3 + ["who"] * 3
    met = world.train + world.valid
    popular = np.argsort(-np.bincount(met.item, minlength=50), kind="stable")[:3]
    unknown = lists.filter(user="who")
    assert unknown["item"].to_list() == popular.tolist()
    assert unknown["score"].null_count() == unknown["reason"].null_count() == unknown["reason_items"].null_count() == 3
    assert lists.filter(user="3")["reason"].null_count() == 0
