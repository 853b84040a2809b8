import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax import EvalOptions
from hlr_jax.evaluation.baselines import ease_weights, evaluate_ease, popularity_ranker
from hlr_jax.evaluation.evaluate import evaluate_ranker, interactions_at


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
    seen = interactions_at(world, "test")
    lists = popularity_ranker(world, 10)(np.array([3]), seen, seen)
    counts = np.bincount(world.train.item, minlength=world.num_items).astype(float)
    counts[seen.item[seen.user == 3]] = -1
    assert sorted(counts[lists.items[0]], reverse=True) == sorted(counts, reverse=True)[:10]


@pytest.mark.parametrize(("name", "popularity", "ease"), [("ml-100k", 0.166, 0.319), ("lastfm-hetrec", 0.095, 0.286)])
def test_yardsticks_on_the_fixed_splits(shared_data, name, popularity, ease):
    """Figures from ../shared/reference, which another implementation measured on the same splits."""
    dataset = hlr_jax.load_dataset(path=str(shared_data / "splits" / f"{name}.parquet"), split="given", cache=False)
    options = EvalOptions()
    measured = evaluate_ranker(popularity_ranker(dataset, 10), dataset, "test", options)
    assert measured.metrics.value("ndcg") == pytest.approx(popularity, abs=0.0006)
    _, best = evaluate_ease(dataset, options, (100.0, 300.0))
    assert best.metrics.value("ndcg") == pytest.approx(ease, abs=0.0006)
    assert isinstance(measured.per_user, pl.DataFrame)
