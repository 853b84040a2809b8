from math import log2

import numpy as np
import pytest

from hlr_jax.data.interactions import Interactions
from hlr_jax.evaluation.metrics import catalogue_metrics, cohort_statistics, find_hits, per_user_metrics

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


def test_every_metric_has_a_hand_computed_case():
    assert set(per_user_metrics(HITS, RELEVANT, 4)) == set(EXPECTED)


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


def test_catalogue_metrics_by_hand():
    items = np.array([[0, 1], [0, 2], [0, -1]])
    popularity = np.array([10, 4, 2, 50])
    found = catalogue_metrics(items, popularity)
    assert found["median_popularity"] == 4  # of items 0, 1 and 2, each once
    assert found["coverage"] == 3 / 4
    # Exposure 3, 1, 1, 0: mean absolute difference over all ordered pairs / (2 * mean) = (16 / 12 * 12 / 16) / 2.5
    exposure = np.array([3, 1, 1, 0])
    differences = np.abs(exposure[:, None] - exposure).mean()
    np.testing.assert_allclose(found["gini"], differences / (2 * exposure.mean()))


def test_gini_of_equal_exposure_is_zero():
    assert catalogue_metrics(np.array([[0, 1], [2, 3]]), np.ones(4))["gini"] == 0


def test_cohorts_are_disjoint_and_cover_everyone():
    values = np.arange(10.0)
    statistics = cohort_statistics({"ndcg": values}, 5, seed=1)["ndcg"]
    np.testing.assert_allclose(statistics["mean"], values.mean())
    one_each = cohort_statistics({"ndcg": values}, 10, seed=1)["ndcg"]
    np.testing.assert_allclose(one_each["std"], values.std())
