"""Popularity and EASE, and the lists that are made of a scorer's scores."""

import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csr_array

import hlr_jax
from hlr_jax import EvalOptions, InputError
from hlr_jax.data.interactions import Interactions
from hlr_jax.evaluation.evaluate import evaluate, interactions_at
from hlr_jax.fitting.scorers import fit_scorer
from hlr_jax.ranking import scores
from hlr_jax.ranking.lists import NO_ITEM
from hlr_jax.ranking.population import trained_population
from hlr_jax.ranking.scores import best_items, ranked
from hlr_jax.scorers import ease, item_matrix
from hlr_jax.scorers.base import histories_of
from hlr_jax.scorers.ease import Ease, ease_weights
from hlr_jax.scorers.item_matrix import gram_matrix
from hlr_jax.scorers.popularity import Popularity


def test_ease_solves_its_constrained_ridge_regression():
    # Steck 2019: each column b_j minimises |x_j - X b|^2 + lambda |b|^2 with b_jj = 0, solved here without item j.
    x = (np.random.default_rng(0).random((30, 6)) < 0.4).astype(float)
    weights = ease_weights((x.T @ x).astype(np.float32), 2.0)
    for j in range(6):
        others = [i for i in range(6) if i != j]
        a = x[:, others]
        expected = np.linalg.solve(a.T @ a + 2.0 * np.eye(5), a.T @ x[:, j])
        np.testing.assert_allclose(weights[others, j], expected, rtol=1e-4)
    np.testing.assert_array_equal(np.diag(weights), 0)
    assert weights.dtype == np.float32


def test_ease_with_dropout_and_weights_of_users_solves_its_regression(world):
    # Dropout with probability p: the expected loss of x / (1 - p) with items left out adds p / (1 - p) g_i B_ij^2.
    x = np.zeros((60, 50))
    x[world.train.user, world.train.item] = 1
    degrees = x.sum(axis=1)
    w = (degrees / degrees.mean()) ** -0.5
    fitted = next(Ease((3.0,), (0.25,), (0.5,)).fits(world))
    assert dict(fitted.scorer.options) == {"regularization": (3.0,), "dropout": (0.25,), "user_exponent": (0.5,)}
    penalty = 3.0 + 0.25 / 0.75 * (w @ x)
    for j in (0, 17):
        others = np.arange(50) != j
        a = x[:, others]
        expected = np.linalg.solve((a.T * w) @ a + np.diag(penalty[others]), (a.T * w) @ x[:, j])
        np.testing.assert_allclose(fitted.state["weights"][others, j], expected, rtol=2e-3, atol=1e-5)


def test_ease_tries_all_combinations_of_its_values(world):
    tried = [fit.scorer.options for fit in Ease((3.0, 30.0), (0.0, 0.5), (0.0, 1.0)).fits(world)]
    assert len(set(tried)) == 8


def test_blocks_of_the_inverse_change_nothing(world, monkeypatch):
    gram = gram_matrix(world)
    whole = ease_weights(gram.copy(), 10.0)
    monkeypatch.setattr(ease, "_BLOCK", 7)  # does not divide I = 50
    monkeypatch.setattr(item_matrix, "_GRAM_CELLS", 7 * 50)
    np.testing.assert_array_equal(gram_matrix(world), gram)
    np.testing.assert_array_equal(ease_weights(gram.copy(), 10.0), whole)
    inverse = np.linalg.inv(gram.astype(np.float64) + 10.0 * np.eye(50))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(whole, expected, atol=1e-5)


def test_the_gram_matrix_counts_users_that_two_items_share(world):
    x = np.zeros((60, 50))
    x[world.train.user, world.train.item] = 1
    np.testing.assert_array_equal(gram_matrix(world), x.T @ x)
    # A score is the sum of what the items of the history add to it.
    state = next(Ease((10.0,)).fits(world)).state
    history = np.flatnonzero(x[3])
    scores = Ease().scores(state, csr_array(x[3:4].astype(np.float32)))
    np.testing.assert_allclose(Ease().parts(state, history, np.arange(50)).sum(axis=0), scores[0], rtol=1e-5)


@pytest.mark.parametrize("k", [1, 4, 9])
def test_the_best_items_are_those_of_a_stable_sort(k, rng):
    values = rng.integers(0, 4, size=(200, 9)).astype(np.float32)  # many ties
    values[rng.random(values.shape) < 0.3] = -np.inf
    expected = np.argsort(-values, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(best_items(values, k), expected)


def test_lists_leave_out_what_is_seen_or_not_allowed_whatever_the_tile(world, monkeypatch):
    met, allowed = interactions_at(world, "test"), np.arange(50) % 3 > 0
    scorer, state = next(Ease((10.0,)).fits(world))
    histories, people = histories_of(met, 60, 50), trained_population(scorer, state, world)
    users = np.array([5, 0, 59, 5])
    made = ranked(scorer, people, users, 50, 40, seen=histories, allowed=allowed)
    for place, user in enumerate(users):
        x = np.zeros(50)
        x[met.item[met.user == user]] = 1
        expected = np.where((x == 0) & allowed, x @ state["weights"].astype(np.float64), -np.inf)
        count = int(np.isfinite(expected).sum())
        assert count < 40
        assert set(made.items[place, :count]) == set(np.flatnonzero(np.isfinite(expected)))
        np.testing.assert_allclose(made.scores[place, :count], np.sort(expected)[::-1][:count], atol=1e-5)
        assert (made.items[place, count:] == NO_ITEM).all()
        assert np.isneginf(made.scores[place, count:]).all()
    monkeypatch.setattr(scores, "_TILE", 3)
    again = ranked(scorer, people, users, 50, 40, seen=histories, allowed=allowed)
    np.testing.assert_array_equal(again.items, made.items)


def test_popularity_gives_the_most_popular_unseen_items(world):
    scorer, state = next(Popularity().fits(world))
    users = np.unique(world.test.user)
    made = evaluate(scorer, state, world).ranking
    seen, place = interactions_at(world, "test"), 7
    counts = np.bincount(world.train.item, minlength=50).astype(float)
    counts[seen.item[seen.user == users[place]]] = -1
    assert sorted(counts[made.items[place]], reverse=True) == sorted(counts, reverse=True)[:10]


class Newest:
    """A scorer of one's own, which inherits nothing: the last items first."""

    name, title, explains, options = "newest", "Newest", False, ()

    def scores(self, state, histories):
        return np.tile(state["age"], (histories.shape[0], 1)).astype(np.float32)


def test_a_scorer_of_ones_own_is_evaluated_and_served(world):
    state = {"age": np.arange(50)}
    best = hlr_jax.recommend(Newest(), state, world, [3], k=2)
    met = set((world.train + world.valid).item[(world.train + world.valid).user == 3])
    assert best["item"].to_list() == [world.item_ids[i] for i in range(49, -1, -1) if i not in met][:2]
    hits = evaluate(Newest(), state, world, options=EvalOptions(k=50)).metrics
    assert hits.value("recall") == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "it must be one value, or several distinct ones"),
        ((1.0, 1.0), "it must be one value, or several distinct ones"),
        ((0.0,), "model.regularization must be at least 1e-06, got 0.0"),
        ("many", "model.regularization must be a number, got 'many'"),
    ],
)
def test_an_invalid_lambda_is_an_error(given, message):
    with pytest.raises(InputError, match=message):
        Ease(given)


@pytest.mark.parametrize("values", [(30.0,), (300.0, 30.0, 100.0), (30.0, 300.0, 400.0, 500.0)])
def test_ease_takes_the_stated_memory(values):
    wide = hlr_jax.load_dataset("planted-60x1200x3000", cache=False, log=lambda _: None)
    fit_scorer(wide, Ease((10.0,)))  # imports are no part of it
    tracemalloc.start()
    fit_scorer(wide, Ease(values))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    needed = Ease(values).bytes_needed(wide.num_items)
    assert needed < peak < needed + 2 * wide.num_items**2  # half a matrix for all the rest


def test_what_ease_cannot_fit_is_an_error(world, monkeypatch):
    wide = Ease(memory_limit_gib=2.79e-5)  # three matrices of 50 x 50 numbers take 30,000 bytes
    with pytest.raises(InputError, match=r"EASE of 50 items needs 2\.79e-05 GiB, and the limit is 2\.79e-05: pass "):
        next(wide.fits(world))
    assert Ease((10.0,), memory_limit_gib=2.79e-5).bytes_needed(50) == 10_000
    next(Ease((10.0,), memory_limit_gib=2.79e-5).fits(world))
    monkeypatch.setattr(item_matrix, "available_memory", lambda: 9_999)
    with pytest.raises(InputError, match=r"the limit is 9\.31e-06: raise model\.memory_limit_gib, drop rare items"):
        next(Ease((10.0,)).fits(world))
    with pytest.raises(InputError, match="regularization=1e-06 is too small"):
        ease_weights(np.full((3, 3), 1e6, np.float32), 1e-6)


def test_histories_are_a_matrix():
    met = Interactions(np.array([0, 2, 2], np.int32), np.array([1, 0, 3], np.int32))
    np.testing.assert_array_equal(histories_of(met, 3, 4).toarray(), [[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]])


@pytest.mark.parametrize(("name", "popularity", "best"), [("ml-100k", 0.166, 0.319), ("lastfm-hetrec", 0.095, 0.286)])
def test_baselines_on_the_fixed_splits(shared_data, name, popularity, best):
    """Figures from ../shared/reference, which another implementation measured on the same splits."""
    dataset = hlr_jax.load_dataset(path=str(shared_data / "splits" / f"{name}.parquet"), split="given", cache=False)
    for scorer, expected in ((Popularity(), popularity), (Ease((100.0, 300.0)), best)):
        chosen, fit = fit_scorer(dataset, scorer)
        assert evaluate(chosen, fit.params, dataset).metrics.value("ndcg") == pytest.approx(expected, abs=0.0006)
