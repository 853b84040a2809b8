import jax
import numpy as np
import oracles
import polars as pl
import pytest

import hlr_jax
from hlr_jax import EvalOptions
from hlr_jax.compile_memory import planned
from hlr_jax.data.neighbor_sampling import sides_of
from hlr_jax.evaluation.baselines import ease_weights, evaluate_ease, popularity_ranker
from hlr_jax.evaluation.evaluate import evaluate, known_at
from hlr_jax.evaluation.ranking import rank, tile_of
from hlr_jax.evaluation.tiles import drawn_for_ranking, known_of
from hlr_jax.evaluation.whole_tiles import _items_together, _pairs_pay, whole_tile_ranker


@pytest.fixture(scope="module")
def trained(world):
    model = hlr_jax.create_model("hlr", embed_dim=8, num_memories=3, max_history=4)
    return model, model.init(jax.random.key(0), world.num_users, world.num_items)


def ranked(trained, world, users, memory_limit_mib=64):
    seen = known_at(world, "test")
    return rank(
        *trained,
        users,
        seen,
        num_users=world.num_users,
        num_items=world.num_items,
        k=10,
        memory_limit_mib=memory_limit_mib,
    )


def test_scores_by_pairs_of_items_are_those_by_users(trained, world, monkeypatch):
    by_pairs = ranked(trained, world, np.arange(world.num_users))
    monkeypatch.setattr("hlr_jax.evaluation.whole_tiles._pairs_pay", lambda *_: False)
    by_users = ranked(trained, world, np.arange(world.num_users))
    np.testing.assert_array_equal(by_pairs.items, by_users.items)
    np.testing.assert_allclose(by_pairs.scores, by_users.scores, rtol=1e-5)


def test_pairs_of_items_pay_for_many_users_within_the_budget(trained, world):
    assert _pairs_pay(*trained, world.num_users, 64 << 20)
    assert not _pairs_pay(*trained, 12, 64 << 20)  # 12 users of 4 neighbors, 50 items
    assert not _pairs_pay(*trained, world.num_users, 0)
    assert not _pairs_pay(hlr_jax.create_model("cml"), trained[1], world.num_users, 64 << 20)


def test_tiles_and_company_are_irrelevant(trained, world, monkeypatch):
    users = np.arange(world.num_users)
    together = ranked(trained, world, users)
    monkeypatch.setattr("hlr_jax.evaluation.ranking._MOST_USERS", 7)
    np.testing.assert_array_equal(ranked(trained, world, users).scores, together.scores)
    np.testing.assert_array_equal(ranked(trained, world, users[30:33]).items, together.items[30:33])
    monkeypatch.setattr("hlr_jax.evaluation.whole_tiles.num_workers", lambda: 3)
    np.testing.assert_array_equal(ranked(trained, world, users).scores, together.scores)
    assert ranked(trained, world, users[:0]).items.shape == (0, 10)


@pytest.mark.parametrize("by_pairs", [True, False])
def test_a_tile_keeps_within_its_budget_by_the_compilers_plan(trained, world, by_pairs, monkeypatch):
    monkeypatch.setattr("hlr_jax.evaluation.whole_tiles._pairs_pay", lambda *_: by_pairs)
    monkeypatch.setattr("hlr_jax.evaluation.whole_tiles.num_workers", lambda: 1)
    seen = known_at(world, "test")
    known = known_of(trained[0], seen, seen, world.num_users, world.num_items)
    ranker = whole_tile_ranker(*trained, known, jax.random.key(0), world.num_items, 10, world.num_users, 1 << 20)

    def need(tile):
        plan = planned(ranker.program, *ranker.arguments(np.zeros(tile, np.int32)))
        return plan.temporary + plan.results

    assert tile_of(ranker, None, world.num_users, need(60)) == (60, need(60))
    smaller, _ = tile_of(ranker, None, world.num_users, need(60) - 1)
    assert smaller < 60
    assert need(smaller) < need(60)
    assert tile_of(ranker, None, world.num_users, 1)[0] <= smaller  # less than any tile needs: and still it is ranked


@pytest.mark.parametrize("name", ["hlr", "hlrpp", "transcf"])
@pytest.mark.parametrize("by_pairs", [True, False])
def test_a_catalogue_met_in_parts_gives_the_same_lists(name, by_pairs, world, monkeypatch):
    model = hlr_jax.create_model(name, embed_dim=8)
    if by_pairs and model.item_pairs is None:
        pytest.skip(f"{name} has no scores by pairs of items")
    params = model.init(jax.random.key(0), world.num_users, world.num_items)
    params["item"] = params["item"].at[40].set(params["item"][3])  # of equal scores the lowest item comes first
    monkeypatch.setattr("hlr_jax.evaluation.whole_tiles._pairs_pay", lambda *_: by_pairs)
    users = np.arange(world.num_users)
    whole = ranked((model, params), world, users)
    monkeypatch.setattr("hlr_jax.evaluation.whole_tiles._MOST_ITEMS", 8)
    monkeypatch.setattr("hlr_jax.evaluation.whole_tiles.CATALOGUE_TILE", 4)
    assert _items_together(model, params, world.num_items, 64 << 20) == 8  # fewer than K, and 50 is no multiple
    parts = ranked((model, params), world, users)
    np.testing.assert_array_equal(parts.items, whole.items)
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-5)


def test_a_small_budget_makes_the_parts_of_the_catalogue_small():
    model = hlr_jax.create_model("hlrpp", embed_dim=100, max_item_users=20)
    params = {"item": np.zeros((100_000, 100))}
    assert _items_together(model, params, 50, 64 << 20) == 50
    parts = [_items_together(model, params, 100_000, budget << 20) for budget in (0, 16, 256, 4096)]
    assert parts == [128, 512, 7808, 7808]
    assert _items_together(model, params, 11_508, 4096 << 20) == 5760  # two parts, of which little is padding


def test_seen_items_are_left_out_and_the_best_of_the_rest_come_in_order(trained, world):
    model, params = trained
    seen = known_at(world, "test")
    found = ranked(trained, world, np.array([5]))
    sides = sides_of(seen, world.num_users, world.num_items, model.history, model.item_users)
    drawn = drawn_for_ranking(jax.random.key(0), sides.history, np.int32(5))
    history = [int(item) for item, real in zip(drawn.ids, drawn.mask, strict=True) if real]
    scores = np.array(
        [oracles.hlr(oracles.float64(params), 5, item, history, [])[0] for item in range(world.num_items)]
    )
    scores[seen.item[seen.user == 5]] = -np.inf
    best = np.argsort(-scores, kind="stable")[:10]
    np.testing.assert_array_equal(found.items[0], best)
    np.testing.assert_allclose(found.scores[0], scores[best], rtol=1e-5)


def test_a_user_who_has_seen_nearly_everything_gets_a_short_list():
    from hlr_jax.data.interactions import Interactions

    model = hlr_jax.create_model("cml", embed_dim=4)
    params = model.init(jax.random.key(0), 1, 6)
    seen = Interactions(np.zeros(5, np.int32), np.array([0, 1, 2, 4, 5], np.int32))
    found = rank(model, params, np.array([0]), seen, num_users=1, num_items=6, k=3)
    np.testing.assert_array_equal(found.items, [[3, -1, -1]])


def test_evaluation_reports_every_user_once_with_original_ids(trained, world):
    found = evaluate(*trained, world, split="test", options=EvalOptions(k=5, num_cohorts=3))
    assert found.metrics["users"] == len(np.unique(world.test.user)) == found.per_user["user"].n_unique()
    np.testing.assert_allclose(found.metrics["ndcg@5"], found.per_user["ndcg"].mean())
    assert found.metrics["cohorts"]["ndcg@5"]["std"] > 0
    assert found.per_user["relevant"].sum() == len(world.test)


def test_ease_solves_its_constrained_ridge_regression():
    # Steck 2019: each column b_j minimises |x_j - X b|^2 + lambda |b|^2 with b_jj = 0, solved here without item j.
    x = (np.random.default_rng(0).random((30, 6)) < 0.4).astype(float)
    weights = ease_weights(x.T @ x, 2.0)
    for j in range(6):
        others = [i for i in range(6) if i != j]
        a = x[:, others]
        expected = np.linalg.solve(a.T @ a + 2.0 * np.eye(5), a.T @ x[:, j])
        np.testing.assert_allclose(weights[others, j], expected, rtol=1e-5)
    np.testing.assert_array_equal(np.diag(weights), 0)


def test_popularity_gives_the_most_popular_unseen_items(world):
    seen = known_at(world, "test")
    found = popularity_ranker(world, 10)(np.array([3]), seen, seen)
    counts = np.bincount(world.train.item, minlength=world.num_items).astype(float)
    counts[seen.item[seen.user == 3]] = -1
    assert sorted(counts[found.items[0]], reverse=True) == sorted(counts, reverse=True)[:10]


@pytest.mark.parametrize(("name", "popularity", "ease"), [("ml-100k", 0.166, 0.319), ("lastfm-hetrec", 0.095, 0.286)])
def test_yardsticks_on_the_fixed_splits(shared_data, name, popularity, ease):
    """Figures from ../shared/reference, which another implementation measured on the same splits."""
    dataset = hlr_jax.load_dataset(path=str(shared_data / "splits" / f"{name}.parquet"), split="given", cache=False)
    options = EvalOptions()
    from hlr_jax.evaluation.evaluate import evaluate_ranker

    found = evaluate_ranker(popularity_ranker(dataset, 10), dataset, "test", options)
    assert found.metrics["ndcg@10"] == pytest.approx(popularity, abs=0.0006)
    _, best = evaluate_ease(dataset, options, (100.0, 300.0))
    assert best.metrics["ndcg@10"] == pytest.approx(ease, abs=0.0006)
    assert isinstance(found.per_user, pl.DataFrame)
