"""The record of a run, by numbers made by hand."""

import json
import math

import numpy as np
import pytest

from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.training.options import Run
from hlr_jax.training.run_progress import RunProgress, by_seed, chosen_runs, equal_temperatures, prune

NDCG, LOSS = EvalOptions(monitor="ndcg"), EvalOptions()


def at(seed=0, temperature=0.5, **fields):
    return RunProgress(Run(seed, 1e-3, 0.5, temperature), **fields)


@pytest.mark.parametrize(("monitor", "values", "best"), [
    (NDCG, [0.1, 0.3, 0.2, 0.3, 0.25], [(1, 0.1), (2, 0.3), (2, 0.3), (2, 0.3), (2, 0.3)]),
    (LOSS, [0.3, 0.1, 0.2, 0.05], [(1, 0.3), (2, 0.1), (2, 0.1), (4, 0.05)]),
    (LOSS, [None, None, None], [(1, None), (2, None), (3, None)]),  # without validation the last epoch is the result
])  # fmt: skip
def test_the_best_epoch_is_the_first_of_the_best_value(monitor, values, best):
    run = at()
    for epoch, (value, expected) in enumerate(zip(values, best, strict=True), 1):
        run = run.after(epoch, [1.0], value, monitor)
        assert (run.best_epoch, run.best_value) == expected
        assert not run.failed


@pytest.mark.parametrize("losses", [[math.nan], [0.5, math.inf], [-math.inf]])
def test_a_loss_that_is_not_finite_ends_a_run_at_its_best_epoch(losses):
    good = at(best_epoch=2, best_value=0.3)
    run = good.after(3, losses, 0.9, NDCG)
    assert (run.best_epoch, run.best_value) == (2, 0.3)
    assert run.failed == "the loss of epoch 3 is not finite; lower train.learning_rate" == run.ended(0)
    assert good.after(3, [0.5], math.nan, NDCG).failed  # a metric too
    assert not at().after(1, [math.nan], None, LOSS).best_epoch


def test_a_run_ends_when_its_patience_does():
    best = {"best_epoch": 4, "best_value": 0.2}
    assert [bool(at(epoch=epoch, **best).ended(3)) for epoch in (4, 6, 7, 9)] == [False, False, True, True]
    assert at(epoch=7, **best).ended(3) == "no better epoch than 4 in the last 3"
    assert not at(epoch=99, **best).ended(0)
    assert (
        at(epoch=4, **best).after(5, [1.0], 0.1, NDCG).epoch
        == 5
        == at(epoch=4, **best).after(5, [1.0], 0.3, NDCG).epoch
    )
    assert at(pruned="worse").ended(0) == "worse"
    assert at(failed="not finite", pruned="worse").ended(5) == "not finite"


def test_a_record_comes_back_from_json():
    runs = [at(), at(3, 0.25, epoch=4, best_epoch=2, best_value=0.5, pruned="worse"), at(failed="not finite")]
    assert [RunProgress.from_json(json.loads(json.dumps(run.to_json()))) for run in runs] == runs


def test_each_seed_keeps_the_temperature_that_validates_best():
    runs = [
        at(seed, temperature, best_epoch=epoch, best_value=value)
        for (seed, temperature), epoch, value in zip(
            [(seed, temperature) for seed in (7, 8, 9) for temperature in (0.1, 0.5)],
            [3, 2, 0, 4, 1, 1],  # the first of seed 8 never ended one
            [0.2, 0.1, None, 0.3, None, None],  # seed 9 has no metric of validation: the first is as good as any
            strict=True,
        )
    ]
    assert by_seed(runs) == [[0, 1], [2, 3], [4, 5]]
    assert chosen_runs(runs, NDCG) == [0, 3, 4]
    assert chosen_runs(runs, LOSS) == [1, 3, 4]
    equals = [at(0, temperature, best_epoch=1, best_value=0.2) for temperature in (0.1, 0.5)]
    assert chosen_runs(equals, NDCG) == [0]
    assert equal_temperatures([*equals, at(0, 0.7, best_epoch=1, best_value=0.1), at(1, 0.9, best_value=0.2)], 0) == (
        0.5,
    )
    assert equal_temperatures([at(0, 0.1, best_epoch=1), at(0, 0.5, best_epoch=1)], 0) == ()
    nobody = [at(0, 0.1, failed="not finite"), at(0, 0.5, failed="not finite")]
    assert chosen_runs(nobody, NDCG) == [0]
    # One that failed later, or was ended for another's sake, keeps its best epoch.
    assert chosen_runs([equals[0], at(0, 0.5, best_epoch=1, best_value=0.4, failed="not finite")], NDCG) == [1]
    assert chosen_runs([equals[0], at(0, 0.5, best_epoch=1, best_value=0.4, pruned="worse")], NDCG) == [1]
    assert chosen_runs([at(5), at(4)], LOSS) == [0, 1]


BEST = np.array([0.5, 0.1, 0.3, 0.9])
WITHIN = BEST - [0.3, -0.1, 0.1, 0.0]  # worse by 0.075 +- 0.085
WORSE = BEST - [0.3, 0.1, 0.2, 0.3]  # by 0.225 +- 0.048


@pytest.mark.parametrize(("monitor", "sign"), [(NDCG, 1), (LOSS, -1)])
def test_temperatures_that_are_clearly_worse_end_and_those_within_noise_go_on(monitor, sign):
    runs = [at(0, temperature, best_epoch=1, best_value=0.1) for temperature in (0.1, 0.2, 0.5)]
    after = prune(runs, [sign * values for values in (WITHIN, BEST, WORSE)], 2, monitor)
    assert after[:2] == runs[:2]
    assert after[2].pruned == "temperature 0.5 is worse than 0.2 by 0.2250 +- 0.0479 at epoch 2"
    assert (after[2].best_epoch, after[2].best_value) == (1, 0.1)
    assert after[2].ended(0) == after[2].pruned


def test_the_bound_is_two_standard_errors_of_paired_differences():
    differences = np.array([0.0, 0.2, 0.1, 0.3])
    error = math.sqrt(sum((differences - 0.15) ** 2) / 3) / 2
    runs = [at(0, 0.1), at(0, 0.5)]
    for mean, ends in ((1.99 * error, False), (2.01 * error, True)):
        worse = BEST - (differences - differences.mean() + mean)
        assert bool(prune(runs, [BEST, worse], 1, NDCG)[1].pruned) == ends
    # However much users differ, what is the same for all of them is no noise.
    assert prune(runs, [BEST, BEST - 1e-3], 1, NDCG)[1].pruned
    assert prune(runs, [BEST, BEST], 1, NDCG) == runs
    assert prune(runs, [BEST[:1], WORSE[:1]], 1, NDCG) == runs  # of one user nothing is known


def test_each_seed_is_pruned_by_itself_and_runs_that_ended_have_no_part():
    runs = [at(seed, temperature) for seed in (0, 1, 2) for temperature in (0.1, 0.5)]
    runs[4] = at(2, 0.1, failed="not finite")
    per_user = [BEST - 0.3, WORSE - 0.3, WORSE, BEST, BEST + 1, WORSE]
    after = prune(runs, per_user, 3, NDCG)
    assert [bool(run.pruned) for run in after] == [False, True, True, False, False, False]
    assert [run.ended(0) for run in after][4:] == ["not finite", ""]
    # One that is out of patience is not measured: the other is alone then.
    assert prune(runs[:2], [None, WORSE], 3, NDCG) == runs[:2]
