"""Lists: the same however users and items are divided, and those of the oracle's scores."""

import jax
import numpy as np
import oracles
import pytest

import hlr_jax
from hlr_jax.data.interactions import Interactions
from hlr_jax.evaluation.evaluate import interactions_at
from hlr_jax.ranking.inputs import ranking_inputs, ranking_neighbors
from hlr_jax.ranking.plan import TilePlan
from hlr_jax.ranking.rank import plan_ranking, rank

MEMORIES = {"num_memories": 3, "max_history": 4}
MODELS = {"hlr": MEMORIES, "hlrpp": MEMORIES | {"max_item_users": 3}, "transcf": {}}
USERS, ITEMS, K = 60, 50, 10
TWIN, TWINS_ITEM = 40, 3


def made(name):
    """A model with attentions that are far from uniform; two items are one point, so that some scores are equal."""
    model = hlr_jax.create_model(name, embed_dim=8, **MODELS[name])
    params = jax.tree.map(lambda array: 1.5 * array, model.init(jax.random.key(0), USERS, ITEMS))
    return model, params | {"item": params["item"].at[TWIN].set(params["item"][TWINS_ITEM])}


def inputs_of(model, world, seed=0):
    seen = interactions_at(world, "test")
    return ranking_inputs(model, seen, seen, (USERS, ITEMS), seed)


def ranked(trained, world, users, plan=None):
    return rank(*trained, users, inputs_of(trained[0], world), K, plan=plan)


@pytest.fixture(scope="module", params=MODELS)
def trained(request):
    return made(request.param)


@pytest.fixture(scope="module")
def whole(trained, world):
    """The lists of all users, made at once against all items."""
    return ranked(trained, world, np.arange(USERS), TilePlan(USERS, ITEMS))


PLANS = {
    "tiles of users side by side, parts of fewer items than a list": TilePlan(7, 8, users_at_once=3, workers=3),
    "by pairs of items": TilePlan(16, 24, users_at_once=5, by_pairs=True),
}


@pytest.mark.parametrize("case", PLANS)
def test_lists_do_not_depend_on_the_plan(trained, whole, world, case, monkeypatch):
    if PLANS[case].by_pairs and trained[0].item_pairs is None:
        pytest.skip(f"{trained[0].name} has no scores by pairs of items")
    monkeypatch.setattr("hlr_jax.scoring.CATALOGUE_TILE", 20)  # of which no part is a multiple
    lists = ranked(trained, world, np.arange(USERS), PLANS[case])
    np.testing.assert_array_equal(lists.items, whole.items)
    np.testing.assert_allclose(lists.scores, whole.scores, rtol=1e-5)


def test_lists_do_not_depend_on_who_else_is_ranked(trained, whole, world):
    alone = [ranked(trained, world, np.array([user]), TilePlan(1, ITEMS)) for user in range(USERS)]
    np.testing.assert_array_equal(np.concatenate([lists.items for lists in alone]), whole.items)
    np.testing.assert_allclose(np.concatenate([lists.scores for lists in alone]), whole.scores, rtol=1e-6)
    some = np.array([31, 5, 5, 58, 0])  # in any order, and as often as one likes
    few = ranked(trained, world, some, TilePlan(USERS, ITEMS))
    np.testing.assert_array_equal(few.items, whole.items[some])
    np.testing.assert_array_equal(few.scores, whole.scores[some])


def test_of_equal_scores_the_lowest_item_comes_first(world):
    """Whichever part of the catalogue an item is in; HLR has no neighbors of items, in which twins would differ."""
    trained = made("hlr")
    for plan in (TilePlan(USERS, ITEMS), TilePlan(25, 32, workers=2)):
        lists = ranked(trained, world, np.arange(USERS), plan)
        pairs = [
            (row.tolist().index(TWINS_ITEM), row.tolist().index(TWIN))
            for row in lists.items
            if {TWIN, TWINS_ITEM} <= set(row.tolist())
        ]
        assert len(pairs) > 5
        assert all(after == before + 1 for before, after in pairs)


def test_without_a_plan_one_is_made_for_the_machine(world):
    trained = made("hlr")
    inputs = inputs_of(trained[0], world)
    plan = plan_ranking(*trained, USERS, inputs, K)
    assert plan.by_pairs  # 60 users of 4 neighbors meet 50 items more often than there are
    assert plan.bytes > 0
    given, own, whole = (
        rank(*trained, np.arange(USERS), inputs, K, plan=each) for each in (plan, None, TilePlan(USERS, ITEMS))
    )
    np.testing.assert_array_equal(own.scores, given.scores)
    np.testing.assert_array_equal(own.items, whole.items)
    np.testing.assert_allclose(own.scores, whole.scores, rtol=1e-5)
    assert rank(*trained, np.arange(0), inputs, K, plan=plan).items.shape == (0, K)


def test_seen_items_are_left_out_and_the_best_of_the_rest_come_in_order(world):
    model, params = made("hlr")
    inputs, seen = inputs_of(model, world, seed=6), interactions_at(world, "test")
    lists = rank(model, params, np.array([5]), inputs, K, plan=TilePlan(1, ITEMS))
    drawn = jax.jit(ranking_neighbors)(jax.random.key(6), inputs.sources.history, 5)
    history = np.asarray(drawn.ids)[np.asarray(drawn.mask)].tolist()
    assert len(history) == 4
    assert set(history) <= set(seen.item[seen.user == 5].tolist())
    scores = np.array([oracles.hlr(oracles.float64(params), 5, item, history, [])[0] for item in range(ITEMS)])
    scores[seen.item[seen.user == 5]] = -np.inf
    best = np.argsort(-scores, kind="stable")[:K]
    np.testing.assert_array_equal(lists.items[0], best)
    np.testing.assert_allclose(lists.scores[0], scores[best], rtol=1e-5)


def test_a_user_who_has_seen_nearly_everything_gets_a_short_list():
    model = hlr_jax.create_model("cml", embed_dim=4)
    params = model.init(jax.random.key(0), 1, 6)
    seen = Interactions(np.zeros(5, np.int32), np.array([0, 1, 2, 4, 5], np.int32))
    inputs = ranking_inputs(model, seen, seen, (1, 6))
    for k, expected in ((3, [3, -1, -1]), (9, [3, -1, -1, -1, -1, -1])):  # never longer than the catalogue
        lists = rank(model, params, np.array([0]), inputs, k, plan=TilePlan(1, 4))
        np.testing.assert_array_equal(lists.items, [expected])
        np.testing.assert_array_equal(np.isneginf(lists.scores), [[item < 0 for item in expected]])
