from math import log2

import numpy as np
import pytest

import hlr_jax
from hlr_jax import EvalOptions, InputError, TrainOptions
from hlr_jax.data.interactions import Interactions
from hlr_jax.evaluation.evaluate import evaluate
from hlr_jax.evaluation.metrics import (
    LOWER_IS_BETTER,
    METRICS,
    catalog_metrics,
    cohort_statistics,
    find_hits,
    per_user_metrics,
)

# User 0 likes 5 items, hits at ranks 2 and 4 of 4; user 1 likes 1 item, hit at rank 1; user 2 likes 2, no hit.
HITS = np.array([[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
RELEVANT = np.array([5, 1, 2])
EXPECTED = {
    "ndcg": [(1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4) + 1 / log2(5)), 1, 0],
    "map": [(1 / 2 + 2 / 4) / 4, 1, 0],
    "map_over_k": [(1 / 2 + 2 / 4) / 4, 1 / 4, 0],
    "mrr": [1 / 2, 1, 0],
    "rr_sum": [1 / 2 + 1 / 4, 1, 0],
    "precision": [2 / 4, 1 / 4, 0],
    "recall": [2 / 5, 1, 0],
    "hit_rate": [1, 1, 0],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_by_hand(name):
    np.testing.assert_allclose(per_user_metrics(HITS, RELEVANT, 4)[name], EXPECTED[name], rtol=1e-12)


def test_every_metric_has_a_hand_computed_case_and_more_is_better():
    assert set(per_user_metrics(HITS, RELEVANT, 4)) == set(METRICS) == set(EXPECTED)
    assert not LOWER_IS_BETTER & set(METRICS)


def test_lists_shorter_than_k_keep_the_definition():
    short = per_user_metrics(np.array([[True]]), np.array([3]), 2)
    np.testing.assert_allclose(short["ndcg"], 1 / (1 + 1 / log2(3)))
    np.testing.assert_allclose(short["precision"], 1 / 2)


def test_find_hits():
    relevant = Interactions(np.array([0, 0, 2], np.int32), np.array([1, 4, 0], np.int32))
    items = np.array([[4, 0, -1], [1, 0, -1]])
    hits, counts = find_hits(items, np.array([0, 2]), relevant, num_items=5)
    np.testing.assert_array_equal(hits, [[True, False, False], [False, True, False]])
    np.testing.assert_array_equal(counts, [2, 1])


def test_catalog_metrics_by_hand():
    items = np.array([[0, 1], [0, 2], [0, -1]])
    popularity = np.array([10, 4, 2, 50])
    metrics = catalog_metrics(items, popularity)
    assert metrics["median_popularity"] == 4  # of items 0, 1 and 2, each once
    assert metrics["shown_popularity"] == 10  # of 10, 4, 10, 2, 10
    assert metrics["coverage"] == 3 / 4
    # Exposure 3, 1, 1, 0: mean absolute difference over all ordered pairs / (2 * mean) = (16 / 12 * 12 / 16) / 2.5
    exposure = np.array([3, 1, 1, 0])
    differences = np.abs(exposure[:, None] - exposure).mean()
    np.testing.assert_allclose(metrics["gini"], differences / (2 * exposure.mean()))


def test_gini_of_equal_exposure_is_zero():
    assert catalog_metrics(np.array([[0, 1], [2, 3]]), np.ones(4))["gini"] == 0
    nothing = catalog_metrics(np.full((2, 2), -1), np.ones(4))
    assert nothing.pop("coverage") == 0
    assert np.isnan(list(nothing.values())).all()


def test_cohorts_are_disjoint_and_cover_everyone():
    values = np.arange(10.0)
    statistics = cohort_statistics({"ndcg": values}, 5, seed=1)["ndcg"]
    np.testing.assert_allclose(statistics[0], values.mean())
    one_each = cohort_statistics({"ndcg": values}, 10, seed=1)["ndcg"]
    np.testing.assert_allclose(one_each[1], values.std())


@pytest.fixture
def missed():
    """A metric of one's own, of which less is better: the ranks before the first hit, k without one."""

    def ranks(hits):
        return np.where(hits.at_rank.any(axis=1), hits.at_rank.argmax(axis=1), hits.k).astype(np.float64)

    hlr_jax.register_metric("missed", ranks, higher_is_better=False)
    yield "missed"
    del METRICS["missed"]
    LOWER_IS_BETTER.discard("missed")


def test_a_metric_of_ones_own_is_in_every_evaluation_and_chooses_the_epoch(missed, world):
    np.testing.assert_array_equal(per_user_metrics(HITS, RELEVANT, 4)[missed], [1, 0, 4])
    model, options = hlr_jax.create_model("cml", embed_dim=4), EvalOptions(k=5, monitor="missed@5")
    assert not options.higher_is_better
    training = TrainOptions(num_epochs=4, learning_rate=0.3, batch_size=200)
    fit = hlr_jax.train_model(world, model, training, options, quiet=True)
    values = [record["valid_missed@5"] for record in fit.history]
    assert min(values) < max(values)
    assert fit.best_value == min(values)
    assert fit.best_epoch == 1 + values.index(min(values))
    result = evaluate(model, fit.params, world, split="valid", options=options)
    assert result.metrics.value(missed) == result.per_user[missed].mean() == pytest.approx(min(values))


def test_a_metric_of_the_package_is_not_replaced_and_an_unknown_one_not_monitored():
    before = dict(METRICS)
    for name in ("ndcg", "gini", "loss"):  # of a list, of the catalogue, of training
        message = f'"{name}" is a metric of this package; register it under another name'
        with pytest.raises(InputError, match=message):
            hlr_jax.register_metric(name, lambda hits: hits.num_relevant)
    assert before == METRICS
    for monitor in ("missed", "ndcg@20", "loss@10"):
        with pytest.raises(InputError, match=rf"eval\.monitor is '{monitor}'; it must be one of loss, ndcg, .*k=10$"):
            EvalOptions(monitor=monitor)
    assert EvalOptions(monitor="map").monitored == EvalOptions(monitor="map@10").monitored == ("map", 10)
    assert EvalOptions(k=(5, 20), monitor="map").monitored == ("map", 5)
    assert EvalOptions(k=(5, 20), monitor="map@20").monitored == ("map", 20)
    assert not EvalOptions().higher_is_better  # a loss
