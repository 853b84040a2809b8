"""Lists and reasons of a scorer: for users it was fitted to, and for people it has never seen."""

import numpy as np
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


def test_new_users_get_the_lists_of_users_with_the_same_history(fitted, world):
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


def test_contributions_are_weights_over_those_of_the_mean_item_and_add_up_to_the_score(fitted, world):
    weights, history, item = fitted.state["weights"].astype(np.float64), known(world, 7), 9
    added = weights[history, item] - weights[history].mean(axis=1)
    order = np.argsort(-added, kind="stable")
    why = hlr_jax.explain(*fitted, world, 7, world.item_ids[item])
    assert why["neighbor"].to_list() == world.item_ids.gather(history[order]).to_list()
    np.testing.assert_allclose(why["neighbor_contribution"], added[order], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(
        why["neighbor_weight"], (added / np.maximum(added, 0).sum())[order], rtol=1e-3, atol=1e-6
    )
    score = weights[history].sum(axis=0)
    assert why["neighbor_contribution"].sum() == pytest.approx(score[item] - score.mean(), abs=1e-5)
    lists = hlr_jax.recommend(*fitted, world, [3, 7], k=3, num_reasons=2)
    for row in lists.filter(user=7).iter_rows(named=True):
        why = hlr_jax.explain(*fitted, world, 7, row["item"]).filter("stands_out").head(2)
        assert row["reason_items"] == why["neighbor"].to_list()
        assert row["reason_contributions"] == why["neighbor_contribution"].to_list()


def test_popularity_gives_no_reasons(world):
    scorer, state = next(Popularity().fits(world))
    with pytest.raises(InputError, match="model popularity reads no history, so it gives no reasons"):
        hlr_jax.recommend(scorer, state, world, [3], num_reasons=1)
