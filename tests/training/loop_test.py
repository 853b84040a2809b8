import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from rich.console import Console

import hlr_jax
from hlr_jax import EvalOptions, InputError, TrainOptions
from hlr_jax.sharding import create_mesh
from hlr_jax.training.learners import triplet_learner
from hlr_jax.training.loop import kept_runs
from hlr_jax.training.options import Run
from hlr_jax.training.progress import Display

OPTIONS = {"batch_size": 128, "learning_rate": 0.01, "ema_decay": 0.6}


def small():
    return hlr_jax.create_model("hlr", embed_dim=6, num_memories=2, max_history=3)


def fit(world, workdir=None, evaluation=None, **options):
    return hlr_jax.fit(
        world, small(), TrainOptions(**OPTIONS | options), evaluation, seed=3, workdir=workdir, quiet=True
    )


def test_stopped_and_continued_ends_with_the_same_bits(world, tmp_path):
    whole = fit(world, num_epochs=3)
    fit(world, tmp_path, num_epochs=2)
    # What a killed run may leave behind: a line beyond its checkpoint, and half a line.
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "train_loss": 9}\n{"epo')
    continued = fit(world, tmp_path, num_epochs=3)
    for one, two in zip(*(jax.tree.leaves(result.params) for result in (whole, continued)), strict=True):
        np.testing.assert_array_equal(one, two)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["train_loss"] for line in lines] == [record["train_loss"] for record in whole.history]
    assert {"epoch", "seed", "train_loss", "valid_loss", "seconds", "triplets_per_s"} <= set(lines[0])


def test_what_is_kept_is_the_average_of_epochs(world):
    options = TrainOptions(**OPTIONS)
    learner = triplet_learner(world, small(), options, options.runs([3]))
    learned, average = learner.init(), 0.0
    for epoch, decay in ((1, 0.0), (2, 0.5), (3, 0.6)):  # the mean of all epochs, until 1 - 1/e exceeds 0.6
        learned, _ = learner.run_epoch(learned, epoch)
        average = decay * average + (1 - decay) * np.asarray(learned.params["item"], np.float64)
        np.testing.assert_allclose(learned.result["item"], average, rtol=1e-5, atol=1e-7)
    assert np.abs(np.asarray(learned.params["item"]) - average).max() > 1e-3


def test_the_best_epoch_is_the_result_and_patience_stops(world):
    result = fit(
        world,
        evaluation=EvalOptions(select_by="ndcg", k=5),
        num_epochs=30,
        learning_rate=0.3,
        patience=2,
        ema_decay=0.0,
    )
    values = [record["valid_ndcg@5"] for record in result.history]
    assert result.best_epoch == 1 + int(np.argmax(values))
    assert len(values) == result.best_epoch + 2 < 30
    assert "no better epoch" in result.stopped
    found = hlr_jax.evaluate(small(), result.params, world, split="valid", options=EvalOptions(k=5), seed=3)
    assert found.metrics["ndcg@5"] == pytest.approx(max(values), rel=1e-6)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_epoch(world, tmp_path, monkeypatch):
    from hlr_jax.training import fit as fitting

    make = fitting.create_learner

    def poisoned(*args):
        learner = make(*args)

        def run_epoch(learned, epoch, active):
            learned, loss = learner.run_epoch(learned, epoch, active)
            return learned, loss * (float("nan") if epoch == 3 else 1)

        return learner._replace(run_epoch=run_epoch)

    monkeypatch.setattr(fitting, "create_learner", poisoned)
    result = fit(world, tmp_path, num_epochs=5)
    assert "loss of epoch 3 is not finite" in result.stopped
    assert result.best_epoch == 2
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["2"]
    monkeypatch.setattr(fitting, "create_learner", make)
    assert fit(world, tmp_path, num_epochs=5).stopped == ""


def test_seeds_trained_together_are_those_trained_alone(world, tmp_path):
    options = {"num_epochs": 12, "learning_rate": 0.05, "patience": 2, "checkpoint_every": 100}
    evaluation = EvalOptions(select_by="ndcg", k=5)
    alone = [
        hlr_jax.fit(world, small(), TrainOptions(**OPTIONS | options), evaluation, seed=seed, quiet=True)
        for seed in (3, 4)
    ]
    assert len({len(result.history) for result in alone}) > 1  # patience ends them at different epochs
    together = TrainOptions(**OPTIONS | options | {"num_seeds": 2})
    for limit in (4, 12):  # the second call continues the first
        results = hlr_jax.fit_seeds(
            world,
            small(),
            dataclasses.replace(together, num_epochs=limit),
            evaluation,
            seed=3,
            workdir=tmp_path,
            quiet=True,
        )
    for one, other in zip(alone, results, strict=True):
        assert (one.best_epoch, one.seed, one.stopped) == (other.best_epoch, other.seed, other.stopped)
        assert len(one.history) == len(other.history)
        losses = [[record["train_loss"] for record in result.history] for result in (one, other)]
        np.testing.assert_allclose(*losses, rtol=1e-5)
        for name in one.params:
            np.testing.assert_allclose(one.params[name], other.params[name], atol=1e-4)
    with pytest.raises(InputError, match=r"train\.num_seeds is 2: call fit_seeds"):
        hlr_jax.fit(world, small(), together)


def test_runs_on_a_mesh_are_those_on_one_device_each(world):
    """On a mesh, as on an accelerator, the runs are a mapped axis of one program."""
    losses = {}
    for name, mesh in (("divided", None), ("mapped", create_mesh(data=2, model=2))):
        options, model = TrainOptions(**OPTIONS), hlr_jax.create_model("cml", embed_dim=6)
        learner = triplet_learner(world, model, options, [Run(3, 0.01, 0.5, 0.5), Run(4, 0.03, 1.0, 0.5)], mesh)
        learned, first = learner.run_epoch(learner.init(), 1)
        losses[name] = np.stack([first, learner.valid_loss(learned.params)])
    assert learned.params["item"].sharding.spec[:2] == (None, "model")
    np.testing.assert_allclose(losses["divided"], losses["mapped"], rtol=2e-4)
    assert (losses["mapped"][:, 0] != losses["mapped"][:, 1]).all()


def test_means_are_refreshed_as_often_as_asked(world):
    def losses(refresh):
        model = hlr_jax.create_model("transcf", embed_dim=6, refresh=refresh)
        options = TrainOptions(batch_size=256, learning_rate=0.05)
        learner = triplet_learner(world, model, options, options.runs([0]))
        return learner.run_epoch(learner.init(), 1)[1]

    assert len({float(losses(refresh)[0]) for refresh in (1, 2, 100)}) == 3


def test_without_validation_the_last_epoch_is_the_result(world):
    from hlr_jax.data.interactions import Interactions

    nothing = Interactions(np.empty(0, np.int32), np.empty(0, np.int32))
    result = fit(dataclasses.replace(world, valid=nothing), num_epochs=2)
    assert result.best_epoch == 2
    with pytest.raises(InputError, match="no training interactions"):
        fit(dataclasses.replace(world, train=nothing), num_epochs=2)


KILLED = """
import hlr_jax, sys
world = hlr_jax.load_dataset("planted-400x300x40000", log=lambda _: None)
model = hlr_jax.create_model("hlr", embed_dim=16, num_memories=4, max_history=10)
options = hlr_jax.TrainOptions(num_epochs=6, batch_size=200)
result = hlr_jax.fit(world, model, options, seed=1, workdir=sys.argv[1] or None)
print(*[result.params[name].tobytes().hex() for name in sorted(result.params)])
"""


def test_kill_9_in_mid_epoch_and_resume_gives_the_same_bits(tmp_path):
    def start(workdir):
        return subprocess.Popen([sys.executable, "-u", "-c", KILLED, str(workdir)], stdout=subprocess.PIPE, text=True)

    victim = start(tmp_path)
    for line in victim.stdout:
        if "epoch 2/6" in line:
            break
    time.sleep(0.1)  # into epoch 3: an epoch takes longer than its checkpoint
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    resumed, whole = (start(folder).communicate()[0].splitlines() for folder in (tmp_path, ""))
    assert "epoch 1/6" not in "".join(resumed)
    assert resumed[-1] == whole[-1]


RECORD = {
    "epoch": 2, "train_loss": 0.5, "valid_loss": 0.25, "best_epoch": 1, "seconds": 3.0, "triplets_per_s": 1e4,
}  # fmt: skip


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80 if terminal else 200, color_system=None)
    with Display("hlr", 4, 1, console=console) as display:
        display.epoch(RECORD)
        display.epoch(RECORD | {"epoch": 3})
    shown = console.file.getvalue()
    assert ("\x1b[" in shown) == terminal
    if terminal:
        assert "hlr 3/4" in shown
        assert "loss 0.500 valid 0.250 10k/s" in shown
        assert "…" not in shown
    else:
        figures = "loss 0.5000  valid loss 0.2500  10,000 triplets/s"
        assert shown == f"hlr epoch 2/4  {figures}  compiled\nhlr epoch 3/4  {figures}  3 s left\n"


def test_each_seed_keeps_the_temperature_that_validates_best():
    options = TrainOptions(temperatures=[0.1, 0.5], num_seeds=3)
    assert [run[::3] for run in options.runs([7, 8])] == [(7, 0.1), (7, 0.5), (8, 0.1), (8, 0.5)]
    epochs = [3, 2, 0, 4, 1, 1]  # the first of seed 8 never ended one
    values = [0.2, 0.1, None, 0.3, None, None]  # seed 9 has no validation figure: the first is as good as any
    for select_by, kept in (("ndcg", [0, 3, 4]), ("loss", [1, 3, 4])):
        assert kept_runs(options, EvalOptions(select_by=select_by), epochs, values) == kept
    assert kept_runs(TrainOptions(num_seeds=2), EvalOptions(), [1, 1], [0.1, 0.2]) == [0, 1]
    for wrong in ([0.1, 0.1], [0.0]):
        with pytest.raises(InputError, match=r"train\.temperatures"):
            TrainOptions(temperatures=wrong)


def test_the_best_of_several_temperatures_is_the_result_and_what_is_loaded(world, tmp_path):
    train = OPTIONS | {"num_epochs": 3, "objective": "sampled_softmax", "num_negatives": 3}
    config = {
        "dataset": {"name": "planted-60x50x900"}, "model": {"name": "hlr", **dict(small().options)},
        "train": train | {"temperatures": [0.05, 0.5]}, "eval": {"select_by": "ndcg", "k": 5}, "seed": 3,
    }  # fmt: skip
    config["model"].pop("kernel")
    (best,) = hlr_jax.run(config, tmp_path, quiet=True, log=lambda _: None).fits
    figures = {
        line["temperature"]: line["valid_ndcg@5"]
        for line in map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
        if line["epoch"] == line["best_epoch"]
    }
    alone = fit(world, evaluation=EvalOptions(**config["eval"]), **train, temperature=best.temperature)
    assert best.temperature == max(sorted(figures), key=figures.__getitem__)
    assert (best.best_epoch, len(best.history)) == (alone.best_epoch, 3)
    np.testing.assert_allclose(best.params["item"], alone.params["item"], rtol=1e-4, atol=1e-6)
    loaded = hlr_jax.load_run(tmp_path, log=lambda _: None)
    assert [run.temperature for run in loaded.runs] == [best.temperature]
    np.testing.assert_array_equal(loaded.params[0]["item"], best.params["item"])


def test_a_workdir_of_another_run_is_not_continued(world, tmp_path):
    fit(world, tmp_path, num_epochs=1)
    other_model = hlr_jax.create_model("hlr", embed_dim=6, num_memories=2, max_history=3, variant="reference")
    with pytest.raises(InputError, match="holds a run of another model"):
        hlr_jax.fit(world, other_model, TrainOptions(**OPTIONS, num_epochs=2), seed=3, workdir=tmp_path, quiet=True)
    for other in ({"learning_rate": 0.02}, {"num_negatives": 2}):
        with pytest.raises(InputError, match="holds a run of another model, seed, data or training"):
            fit(world, tmp_path, num_epochs=2, **other)


def test_the_best_epoch_is_in_the_checkpoint_however_rarely_one_is_made(world, tmp_path, monkeypatch):
    from hlr_jax.training.checkpoints import Checkpoints
    from hlr_jax.training.fit import run_identity

    options = TrainOptions(**OPTIONS, num_epochs=3, checkpoint_every=100)
    result = hlr_jax.fit(world, small(), options, seed=3, workdir=tmp_path, quiet=True)
    checkpoints = Checkpoints(tmp_path / "checkpoints", run_identity(world, small(), options, 3))
    best, epochs, _ = checkpoints.restore_best()
    checkpoints.close()
    np.testing.assert_array_equal(best["item"][0], result.params["item"])
    assert epochs == [result.best_epoch]


def test_an_unreadable_checkpoint_is_one_clear_line(world, tmp_path):
    fit(world, tmp_path, num_epochs=1)
    # Damage to the arrays is reported alike, but leaves warnings of Orbax's threads to whichever test comes next.
    (tmp_path / "checkpoints" / "1" / "progress" / "metadata").write_text('{"identity": "x", "ep')
    with pytest.raises(InputError, match="unreadable checkpoint") as caught:
        fit(world, tmp_path, num_epochs=2)
    assert "\n" not in str(caught.value)


def test_a_run_is_the_same_with_another_kernel(world, monkeypatch):
    from hlr_jax.training.fit import run_identity

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    runs = [
        hlr_jax.create_model("hlr", embed_dim=6, **change) for change in ({}, {"kernel": "pallas"}, {"num_memories": 2})
    ]
    one, same, other = (run_identity(world, model, TrainOptions(), 0) for model in runs)
    assert one == same != other
