"""Lists and reasons of a scorer: for users it was fitted to, and for people it has never seen."""

import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax import InputError
from hlr_jax.scorers.ease import Ease
from hlr_jax.scorers.popularity import Popularity


@pytest.fixture(scope="module")
def fitted(world):
    return next(Ease((10.0,)).fits(world))


def known(world, user):
    met = world.known
    return met.item[met.user == user]


def test_new_people_get_the_lists_of_users_with_the_same_history(fitted, world):
    items = world.item_ids.gather(known(world, 3)).to_list()
    people = hlr_jax.fold_in(*fitted, world, {"ann": items, "bob": [*items[:4], "none"]}, on_unknown="skip", log=id)
    lists = hlr_jax.recommend(*fitted, world, k=5, among=people)
    assert lists["user"].to_list() == ["ann"] * 5 + ["bob"] * 5
    trained = hlr_jax.recommend(*fitted, world, [world.user_ids[3]], k=5)
    assert lists.filter(user="ann").drop("user").equals(trained.drop("user"))
    assert not set(lists.filter(user="bob")["item"]) & set(items[:4])


def test_candidates_exclusions_seen_items_and_unknown_users(fitted, world):
    items = world.item_ids.to_list()
    lists = hlr_jax.recommend(
        *fitted, world, [3, 99], k=4, candidates=items[:9], exclude=items[:2], include_seen=True, on_unknown="popular",
        log=id,
    )  # fmt: skip
    allowed = np.arange(2, 9)
    x = np.zeros(50)
    x[known(world, 3)] = 1
    best = allowed[np.argsort(-(x @ fitted.state["weights"])[allowed], kind="stable")[:4]]
    assert lists.filter(user=3)["item"].to_list() == [items[i] for i in best]
    assert lists.filter(user=99)["score"].null_count() == 4
    assert set(lists["item"]) <= set(items[2:9])


def test_reasons_are_shares_of_what_raises_the_score(fitted, world):
    lists = hlr_jax.recommend(*fitted, world, [3, 7], k=3, num_reasons=2)
    for row in lists.filter(user=7).iter_rows(named=True):
        history, item = known(world, 7), world.item_ids.to_list().index(row["item"])
        raised = np.maximum(fitted.state["weights"][history, item], 0)
        order = np.argsort(-raised, kind="stable")[:2]
        assert row["reason_items"] == world.item_ids.gather(history[order]).to_list()
        np.testing.assert_allclose(row["reason_weights"], raised[order] / raised.sum(), rtol=1e-5)
        more = int((raised > 0).sum()) - 2
        assert row["reason"].startswith(f"Because of '{row['reason_titles'][0]}' ({row['reason_weights'][0]:.0%}), ")
        assert row["reason"].endswith(f"%) and {more} more.")
        assert row["distance_before"] is row["key"] is None
    why = hlr_jax.explain(*fitted, world, 7, lists.filter(user=7)["item"].to_list())
    sums = why.group_by("item").agg(pl.col("neighbor_weight").sum())["neighbor_weight"]
    assert sums.to_list() == pytest.approx([1] * 3)
    columns = [
        "item", "title", "neighbor", "neighbor_title", "neighbor_weight", "memory", "memory_weight", "key",
        "key_weight", "distance_before", "distance_after",
    ]  # fmt: skip
    assert why.columns == columns  # those of a model's


def test_an_item_that_nothing_speaks_for_has_no_reason(world):
    state = {"weights": -np.ones((50, 50), np.float32)}
    lists = hlr_jax.recommend(Ease(), state, world, [3], k=1, num_reasons=2)
    assert lists["reason"].to_list() == ["No item of a history speaks for it."]
    assert hlr_jax.explain(Ease(), state, world, 3, lists["item"].to_list()).is_empty()


def test_popularity_gives_no_reasons(world):
    scorer, state = next(Popularity().fits(world))
    with pytest.raises(InputError, match="model popularity reads no history, so it gives no reasons"):
        hlr_jax.recommend(scorer, state, world, [3], num_reasons=1)
