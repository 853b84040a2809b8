import math
import sys

import pytest

from hlr_jax import InputError
from hlr_jax.sweeps.points import Range, search

SPACE = {"train.learning_rate": Range(1e-4, 1e-1, True), "model.num_memories": [5, 10, 20]}


def metric(point):
    """Highest, 1, at a learning rate of 1e-2 and 10 memories."""
    return 1 - math.log10(point["train.learning_rate"] / 1e-2) ** 2 - (point["model.num_memories"] != 10)


def run(trials, evaluate=lambda points: [metric(point) for point in points], **options):
    return search(SPACE, evaluate, trials=trials, batch=4, higher_is_better=True, **options)


def test_proposals_lie_in_the_space_and_get_better_than_the_first_batch():
    pytest.importorskip("optuna")
    points = run(40)
    for point in points:
        assert 1e-4 <= point["train.learning_rate"] <= 1e-1
        assert point["model.num_memories"] in (5, 10, 20)
    late, early = (sum(map(metric, part)) / len(part) for part in (points[-8:], points[:8]))
    assert late > early


def test_a_search_repeats_itself_so_a_stopped_one_resumes():
    pytest.importorskip("optuna")
    whole = run(12)
    assert run(8) == whole[:8]
    assert run(12) == whole
    assert run(12, seed=1) != whole


def test_a_point_that_failed_does_not_end_the_search():
    pytest.importorskip("optuna")
    sizes = []

    def evaluate(points):
        sizes.append(len(points))
        return [None, *(metric(point) for point in points[1:])]

    assert len(run(10, evaluate)) == 10
    assert sizes == [4, 4, 2]


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'hlr_jax\[optuna\]'"):
        run(4)
