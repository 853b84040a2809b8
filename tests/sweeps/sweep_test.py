import json
import shutil

import numpy as np
import pytest

import hlr_jax
from hlr_jax import EvalOptions, InputError, TrainOptions
from hlr_jax.experiment import build, settings_of
from hlr_jax.fitting import fit as fitting
from hlr_jax.json_files import write_json
from hlr_jax.sweeps import sweep as sweeps
from hlr_jax.sweeps.points import product, with_overrides
from hlr_jax.sweeps.sweep import Sweep, histories, leaderboard, packs_of, trials_of
from hlr_jax.training.options import Run

CONFIG = {
    "dataset": {"name": "planted-60x50x900"},
    "model": {"name": "cml", "embed_dim": 6},
    "train": {"batch_size": 128, "learning_rate": 0.05, "num_epochs": 6, "patience": 2},
    "eval": {"monitor": "ndcg", "k": 5},
    "mesh": {},
    "seed": 3,
}
POINTS = product({"train.learning_rate": [0.01, 0.1], "train.margin": [0.2, 1.0]})


def quiet(line):
    pass


def open_sweep(folder, config=CONFIG, **options):
    return Sweep(config, folder, quiet=True, log=quiet, **options)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    sweep = open_sweep(folder)
    sweep.train(POINTS)
    return folder, sweep.outcomes(POINTS)


def test_each_point_has_the_metrics_of_training_it_alone(world, swept):
    model = hlr_jax.create_model("cml", embed_dim=6)
    epochs = set()
    for outcome in swept[1]:
        options = TrainOptions(**with_overrides(CONFIG, outcome.overrides)["train"])
        alone = hlr_jax.train_model(world, model, options, EvalOptions(**CONFIG["eval"]), seed=3, quiet=True)
        (trial,) = outcome.trials
        assert (trial["best_epoch"], trial["stopped"]) == (alone.best_epoch, alone.stopped)
        for name in ("train_loss", "valid_loss", "valid_ndcg@5"):
            curves = [[record[name] for record in history] for history in (alone.history, trial["history"])]
            np.testing.assert_allclose(*curves, rtol=1e-4)
        assert outcome.mean == max(record["valid_ndcg@5"] for record in trial["history"])
        epochs.add(len(trial["history"]))
    assert len(epochs) > 1  # patience ends them at different epochs


def test_the_leaderboard_is_in_order_and_has_every_epoch(swept):
    board = leaderboard(swept[1], "valid_ndcg@5", higher_is_better=True)
    assert board["rank"].to_list() == [1, 2, 3, 4]
    assert board["valid_ndcg@5"].is_sorted(descending=True)
    assert leaderboard(swept[1], "valid_ndcg@5", higher_is_better=False)["valid_ndcg@5"].is_sorted()
    lines = histories(swept[1])
    assert len(lines) == sum(len(outcome.trials[0]["history"]) for outcome in swept[1])
    assert {"train.margin", "train.learning_rate", "epoch", "train_loss", "valid_ndcg@5"} <= set(lines.columns)


def test_what_is_done_is_not_trained_again_whatever_the_grid(swept, monkeypatch):
    folder, before = swept
    trained = []
    monkeypatch.setattr(sweeps, "fit_runs", lambda *parts, runs, **rest: trained.extend(runs) or 1 / 0)
    sweep = open_sweep(folder)
    sweep.train(POINTS[::-1])
    assert (trained, sweep.outcomes(POINTS)) == ([], before)
    with pytest.raises(ZeroDivisionError):
        sweep.train([POINTS[0], {"train.learning_rate": 0.1, "train.margin": 0.7}])
    assert trained == [Run(3, 0.1, 0.7, 0.5)]
    # A further seed leaves those that are done.
    with pytest.raises(ZeroDivisionError):
        open_sweep(folder, with_overrides(CONFIG, {"train.num_seeds": 2})).train(POINTS[:1])
    assert trained[1:] == [Run(4, 0.01, 0.2, 0.5)]


def test_a_folder_of_other_settings_or_data_is_refused(swept):
    folder, _ = swept
    with pytest.raises(InputError, match=r"model\.embed_dim is 6 there and 7 here; pass another --workdir"):
        open_sweep(folder, with_overrides(CONFIG, {"model.embed_dim": 7}))
    environment = json.loads((folder / "env.json").read_text())
    write_json(folder / "env.json", environment | {"data": "0" * 64})
    with pytest.raises(InputError, match="holds a run on other data"):
        open_sweep(folder)
    write_json(folder / "env.json", environment)


def test_stopped_in_a_pack_it_resumes_from_its_checkpoint(swept, tmp_path, monkeypatch):
    make, calls = fitting.create_learner, []

    def limited(stop):
        def made(*parts):
            learner = make(*parts)
            train = learner.run_epoch

            def run_epoch(learned, epoch, active):
                calls.append(epoch)
                if epoch == stop:
                    raise KeyboardInterrupt
                return train(learned, epoch, active)

            learner.run_epoch = run_epoch
            return learner

        return made

    monkeypatch.setattr(fitting, "create_learner", limited(3))
    with pytest.raises(KeyboardInterrupt):
        open_sweep(tmp_path).train(POINTS)
    assert open_sweep(tmp_path).outcomes(POINTS) == []
    monkeypatch.setattr(fitting, "create_learner", limited(0))
    sweep = open_sweep(tmp_path)
    sweep.train(POINTS)
    assert calls[:4] == [1, 2, 3, 3]
    for outcome, other in zip(sweep.outcomes(POINTS), swept[1], strict=True):
        assert outcome.mean == pytest.approx(other.mean, rel=1e-6)
        assert [record["epoch"] for record in outcome.trials[0]["history"]] == [
            record["epoch"] for record in other.trials[0]["history"]
        ]
    assert list((tmp_path / "packs").iterdir()) == []


def poison(monkeypatch, place, epoch):
    """Make the loss of the run at ``place`` infinite in ``epoch``."""
    make = fitting.create_learner

    def poisoned(*parts):
        learner = make(*parts)
        train = learner.run_epoch

        def run_epoch(learned, now, active):
            learned, loss = train(learned, now, active)
            return learned, loss.at[place].set(np.inf) if now == epoch else loss

        learner.run_epoch = run_epoch
        return learner

    monkeypatch.setattr(fitting, "create_learner", poisoned)


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_point_that_diverges_fails_alone(swept, tmp_path, monkeypatch, epoch):
    poison(monkeypatch, 2, epoch)
    sweep = open_sweep(tmp_path)
    sweep.train(POINTS)
    outcomes = sweep.outcomes(POINTS)
    for place, (outcome, expected) in enumerate(zip(outcomes, swept[1], strict=True)):
        if place == 2:
            assert f"seed 3: the loss of epoch {epoch} is not finite" in outcome.reason
            assert [record["epoch"] for record in outcome.trials[0]["history"]] == list(range(1, epoch))
        else:
            assert outcome.mean == pytest.approx(expected.mean, rel=1e-6)
            assert outcome.reason == ""
    board = leaderboard(outcomes, sweep.metric, higher_is_better=sweep.higher_is_better)
    assert board["status"].to_list() == ["done"] * 3 + ["failed"]
    assert board["rank"].to_list() == [1, 2, 3, None]
    assert board["train.learning_rate"][3] == POINTS[2]["train.learning_rate"]


def test_runs_that_differ_in_rate_margin_and_seed_alone_share_a_program():
    points = product({"train.learning_rate": [0.1, 0.2], "model.embed_dim": [4, 6], "train.margin": [0.5, 1.0]})
    config = with_overrides(CONFIG, {"train.num_seeds": 2})
    trials = {key: trial for point in points for key, trial in trials_of(config, point).items()}
    whole = packs_of(trials, 8)
    assert [len(pack) for pack in whole] == [8, 8]
    for pack in whole:
        each = [settings_of(trial) for trial in pack.values()]
        assert len({model.options for model, _, _ in each}) == 1
        seeds = [trial["seed"] for trial in pack.values()]
        assert len({run for (_, train, _), seed in zip(each, seeds, strict=True) for run in train.runs([seed])}) == 8
    assert [len(pack) for pack in packs_of(trials, 3)] == [3, 3, 2, 3, 3, 2]
    assert packs_of(trials, 1) == [{key: trial} for pack in whole for key, trial in pack.items()]


def test_what_nothing_can_be_compared_by_is_refused_before_training(world, tmp_path):
    with pytest.raises(InputError, match="mf_als has no validation loss"):
        open_sweep(tmp_path / "a", CONFIG | {"model": {"name": "mf_als"}, "eval": {"monitor": "loss"}})
    with pytest.raises(InputError, match=r"train\.margin must be a number"):
        open_sweep(tmp_path / "b").train([*POINTS, {"train.margin": "wide"}])
    with pytest.raises(InputError, match=r"train\.margin must be at least 0\.0, got -1"):
        open_sweep(tmp_path / "b").train([*POINTS, {"train.margin": -1.0}])
    assert not (tmp_path / "b" / "packs").exists()
    with pytest.raises(InputError, match=r"sweep\.parallel must be at least 1, got 0"):
        open_sweep(tmp_path / "c", parallel=0)


def test_runs_must_differ(world):
    model = hlr_jax.create_model("cml", embed_dim=6)
    for runs in ([], [Run(0, 0.1, 0.5, 0.5)] * 2):
        with pytest.raises(InputError, match="runs: pass one or more that differ"):
            fitting.fit_runs(world, model, runs=runs)
    with pytest.raises(InputError, match=r"train\.learning_rate must be at most 10"):
        fitting.fit_runs(world, model, runs=[Run(0, 11.0, 0.5, 0.5)])


def test_trainings_on_other_data_are_not_read(swept, tmp_path, monkeypatch):
    copied = shutil.copytree(swept[0], tmp_path / "copied")
    (copied / "env.json").unlink()  # which names the data
    other = hlr_jax.load_dataset("planted-60x50x900", seed=9, cache=False, log=quiet)
    monkeypatch.setattr(sweeps, "build", lambda *given: build(*given)._replace(dataset=other))
    assert open_sweep(copied).outcomes(POINTS) == []
    monkeypatch.undo()
    (copied / "env.json").unlink()
    assert len(open_sweep(copied).outcomes(POINTS)) == len(POINTS)
