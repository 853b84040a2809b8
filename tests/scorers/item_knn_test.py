"""ItemKNN: its similarities, which of them count, and that it stands wherever a scorer does."""

import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csr_array

import hlr_jax
from hlr_jax import InputError
from hlr_jax.fitting.scorers import fit_scorer
from hlr_jax.scorers import item_knn
from hlr_jax.scorers.item_knn import ItemKNN, similarities

# Three users have met items {0, 1}, {0, 1, 2} and {1, 3}; nobody has met item 4.
COUNTS = np.array([[2, 2, 1, 0, 0], [2, 3, 1, 1, 0], [1, 1, 1, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0]], np.float32)


def matrix_of(interactions, shape=(60, 50)):
    x = np.zeros(shape)
    x[interactions.user, interactions.item] = 1
    return x


def of_largest(found, best):
    """The sum of the largest values of each column, by sorting."""
    return np.sort(found, axis=0)[::-1][: best or None].sum(axis=0)


def test_similarities_derived_by_hand():
    cosines = similarities(COUNTS.copy(), 0.0)
    assert cosines[0, 1] == pytest.approx(2 / np.sqrt(6))
    assert cosines[1, 3] == pytest.approx(1 / np.sqrt(3))
    assert cosines[0, 2] == pytest.approx(1 / np.sqrt(2))
    shrunk = similarities(COUNTS.copy(), 2.0)
    assert shrunk[0, 1] == pytest.approx(2 / (np.sqrt(6) + 2))
    for found in (cosines, shrunk):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, found.T)
        np.testing.assert_array_equal(np.diag(found), 0)
        np.testing.assert_array_equal(found[4], 0)


def test_blocks_of_rows_change_nothing(monkeypatch):
    whole = similarities(COUNTS.copy(), 1.0)
    monkeypatch.setattr(item_knn, "_BLOCK", 2)  # does not divide I = 5
    np.testing.assert_array_equal(similarities(COUNTS.copy(), 1.0), whole)


def test_scores_derived_by_hand():
    # To item 0, of the history {1, 2, 3}: 2 / sqrt(6) = 0.816, 1 / sqrt(2) = 0.707 and 0.
    state = {"similarities": similarities(COUNTS.copy(), 0.0)}
    history = csr_array(np.array([[0, 1, 1, 1, 0]], np.float32))
    for best, expected in ((1, 0.8165), (2, 1.5236), (3, 1.5236), (7, 1.5236), (0, 1.5236)):
        assert ItemKNN((best,), (0.0,)).scores(state, history)[0, 0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("best", [0, 1, 3, 10])
def test_scores_are_those_of_the_definition_whatever_the_tile_and_parts_sum_to_them(world, best):
    x = matrix_of(world.train)
    counts, degrees = x.T @ x, x.sum(axis=0)
    expected = counts / (np.sqrt(np.outer(degrees, degrees)) + 10)
    np.fill_diagonal(expected, 0)
    scorer, state = next(ItemKNN((best,), (10.0,)).fits(world))
    np.testing.assert_allclose(state["similarities"], expected, rtol=1e-5, atol=1e-7)
    x[5] = 0  # somebody who has met nothing
    scores = scorer.scores(state, csr_array(x.astype(np.float32)))
    assert scores.dtype == np.float32
    for user in (0, 5, 17):
        met = np.flatnonzero(x[user])
        np.testing.assert_allclose(scores[user], of_largest(expected[met], best), rtol=1e-5, atol=1e-6)
        parts = scorer.parts(state, met, np.arange(50))
        np.testing.assert_allclose(parts.sum(axis=0), scores[user], rtol=1e-5, atol=1e-6)
        assert not best or (np.count_nonzero(parts, axis=0) <= best).all()
    some = csr_array(x[[17, 3]].astype(np.float32))
    np.testing.assert_array_equal(scorer.scores(state, some), scores[[17, 3]])


def test_only_the_best_matches_are_reasons(world):
    scorer, state = next(ItemKNN((2,), (0.0,)).fits(world))
    item, met = 9, np.flatnonzero(matrix_of(world.known)[7])
    nearest = met[np.argsort(-state["similarities"][met, item], kind="stable")[:2]]
    parts = scorer.parts(state, met, np.array([item]))[:, 0]
    assert set(met[parts > 0]) == set(nearest)
    why = hlr_jax.explain(scorer, state, world, 7, world.item_ids[item])
    scores = scorer.scores(state, csr_array(matrix_of(world.known)[7:8].astype(np.float32)))[0]
    assert why["neighbor_contribution"].sum() == pytest.approx(scores[item] - scores.mean(), abs=1e-5)


def test_validation_chooses_a_combination_and_a_workdir_keeps_it(world, tmp_path):
    config = {
        "dataset": {"name": "planted-60x50x900"}, "eval": {"k": 5, "monitor": "ndcg"},
        "model": {"name": "item_knn", "best_matches": [1, 0], "shrink": [0.0, 10.0]},
    }  # fmt: skip
    options = {"quiet": True, "log": lambda _: None}
    done = hlr_jax.run(config, tmp_path / "run", **options)
    records = done.fits[0].history
    assert [(record["best_matches"], record["shrink"]) for record in records] == [(1, 0), (0, 0), (1, 10), (0, 10)]
    best = max(records, key=lambda record: record["valid_ndcg@5"])
    assert done.parts.model == ItemKNN((best["best_matches"],), (best["shrink"],))
    loaded = hlr_jax.load_run(tmp_path / "run", log=options["log"])
    assert loaded.parts.model == done.parts.model
    both = hlr_jax.refit(tmp_path / "run", tmp_path / "both", **options)
    assert both.parts.model == done.parts.model
    fitted = next(done.parts.model.fits(world.trained_on("train+valid"))).state
    np.testing.assert_array_equal(both.fits[0].params["similarities"], fitted["similarities"])


def test_it_takes_the_stated_memory_and_no_more_for_other_numbers_of_matches():
    wide = hlr_jax.load_dataset("planted-60x1200x3000", cache=False, log=lambda _: None)
    fit_scorer(wide, ItemKNN((0,), (0.0,)))  # imports are no part of it
    for scorer, matrices in ((ItemKNN((0, 1), (1.0,)), 1), (ItemKNN((0,), (0.0, 1.0, 10.0, 100.0)), 3)):
        tracemalloc.start()
        fit_scorer(wide, scorer)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        needed = scorer.bytes_needed(1200)
        assert needed == matrices * 4 * 1200**2
        assert needed < peak < needed + 3 * 1200**2  # 512 of 1,200 rows at once, and lists
    with pytest.raises(InputError, match=r"ItemKNN of 1200 items needs 0\.0161 GiB, and the limit is 0\.001: pass one"):
        next(ItemKNN(memory_limit_gib=0.001).fits(wide))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"best_matches": (2.5,)}, "model.best_matches must be a whole number, got 2.5"),
        ({"best_matches": (101,)}, "model.best_matches must be at most 100, got 101"),
        ({"shrink": (-1.0,)}, "model.shrink must be at least 0.0, got -1.0"),
        ({"shrink": ()}, r"model\.shrink is \[\]; it must be one value, or several distinct ones"),
    ],
)
def test_settings_out_of_range_are_errors(given, message):
    with pytest.raises(InputError, match=message):
        ItemKNN(**given)
