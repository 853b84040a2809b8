import dataclasses
import io
import json
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from rich.console import Console

import hlr_jax
from hlr_jax import EvalOptions, InputError, TrainOptions
from hlr_jax.data.interactions import Interactions
from hlr_jax.fitting import fit as fitting
from hlr_jax.json_files import json_lines, read_json_lines
from hlr_jax.sharding import create_mesh, placed_shapes
from hlr_jax.training.checkpoints import Checkpoints
from hlr_jax.training.display import Display
from hlr_jax.training.many_runs import create_learner
from hlr_jax.training.options import Run
from hlr_jax.training.result import load_result, run_identity

# Few programs are compiled: most trainings here share them.
OPTIONS = {
    "batch_size": 128, "learning_rate": 0.01, "ema_decay": 0.6, "objective": "sampled_softmax", "num_negatives": 3,
}  # fmt: skip
NDCG = EvalOptions(monitor="ndcg", k=5)


def small():
    return hlr_jax.create_model("hlr", embed_dim=6, num_memories=2, max_history=3)


def cml():
    return hlr_jax.create_model("cml", embed_dim=6)


def fit(world, workdir=None, evaluation=None, model=None, loggers=(), **options):
    options = TrainOptions(**OPTIONS | options)
    return hlr_jax.train_model(
        world, model or small(), options, evaluation, seed=3, workdir=workdir, loggers=loggers, quiet=True
    )


def assert_same_bits(*results):
    for array, other in zip(*(jax.tree.leaves(result.params) for result in results), strict=True):
        np.testing.assert_array_equal(array, other)


@pytest.fixture(scope="module")
def whole(world):
    """A training of three epochs that was never stopped."""
    return fit(world, num_epochs=3)


def test_stopped_and_continued_for_more_epochs_ends_with_the_same_bits(world, whole, tmp_path):
    fit(world, tmp_path, num_epochs=2)
    # What a killed run may leave behind: a line beyond its checkpoint, and half a line.
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json_lines([whole.history[2] | {"train_loss": 9.0}]) + '{"epo')
    records, results = [], []

    def logger(record):
        records.append(record)
        results.append((tmp_path / "result").exists())

    continued = fit(world, tmp_path, num_epochs=3, loggers=[logger])
    assert_same_bits(whole, continued)
    lines = list(read_json_lines(tmp_path / "metrics.jsonl", {}))
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["train_loss"] for line in lines] == [record["train_loss"] for record in whole.history]
    assert {"epoch", "seed", "train_loss", "valid_loss", "seconds", "positives_per_s"} <= set(lines[0])
    assert lines == continued.history == records  # loggers have those from before first
    assert results == [True, True, False]  # a result is there while the training has ended
    # It has ended now: the same call does nothing.
    again = fit(world, tmp_path, num_epochs=3)
    assert again.history == continued.history
    assert_same_bits(continued, again)


KILLED = """
import json, os, signal, sys
import jax
jax.config.update("jax_num_cpu_devices", 8)
import hlr_jax
def kill(record):
    if record["epoch"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
world = hlr_jax.load_dataset("planted-60x50x900", log=lambda _: None)
model = hlr_jax.create_model("hlr", embed_dim=6, num_memories=2, max_history=3)
options = hlr_jax.TrainOptions(num_epochs=3, **json.loads(sys.argv[2]))
hlr_jax.train_model(world, model, options, seed=3, workdir=sys.argv[1], loggers=[kill])
"""


def test_kill_9_before_an_epoch_is_stored_and_resume_gives_the_same_bits(world, whole, tmp_path):
    victim = subprocess.run(
        [sys.executable, "-u", "-c", KILLED, tmp_path, json.dumps(OPTIONS)], capture_output=True, text=True, check=False
    )
    assert victim.returncode == -signal.SIGKILL, victim.stderr
    assert "hlr 2/3" in victim.stdout
    assert "hlr 3/3" not in victim.stdout
    identity = run_identity(world, small(), TrainOptions(**OPTIONS), 3)
    with pytest.raises(InputError, match=f"{tmp_path}: its training has not ended; continue it"):
        load_result(tmp_path, identity)
    victims = list(read_json_lines(tmp_path / "metrics.jsonl", {}))
    resumed = fit(world, tmp_path, num_epochs=3)
    assert [record["epoch"] for record in resumed.history] == [1, 2, 3]
    assert resumed.history[:2] == victims
    assert_same_bits(whole, resumed)
    (params,), (progress,) = load_result(tmp_path, identity)
    np.testing.assert_array_equal(params["item"], whole.params["item"])
    assert (progress.best_epoch, progress.run) == (whole.best_epoch, whole.run)


def test_what_is_kept_is_the_average_of_epochs(world):
    options = TrainOptions(**OPTIONS)
    learner = create_learner(world, cml(), options, options.runs([3]))
    learned, average = learner.init(), 0.0
    for epoch, decay in ((1, 0.0), (2, 0.5), (3, 0.6)):  # the mean of all epochs, until 1 - 1/e exceeds 0.6
        learned, _ = learner.run_epoch(learned, epoch)
        average = decay * average + (1 - decay) * np.asarray(learned.params["item"], np.float64)
        np.testing.assert_allclose(learned.result["item"], average, rtol=1e-5, atol=1e-7)
    assert np.abs(np.asarray(learned.params["item"]) - average).max() > 1e-3


def test_the_best_epoch_is_the_result_and_patience_stops(world):
    model = cml()
    result = fit(world, None, NDCG, model, num_epochs=30, learning_rate=0.3, patience=2)
    values = [record["valid_ndcg@5"] for record in result.history]
    assert result.best_epoch == 1 + int(np.argmax(values))
    assert len(values) == result.best_epoch + 2 < 30
    assert "no better epoch" in result.stopped
    again = hlr_jax.evaluate(model, result.params, world, split="valid", options=EvalOptions(k=5), seed=3)
    assert again.metrics.value("ndcg") == pytest.approx(max(values), rel=1e-6)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_epoch(world, tmp_path, monkeypatch):
    make = fitting.create_learner

    def poisoned(*args):
        learner = make(*args)
        train = learner.run_epoch

        def run_epoch(learned, epoch, active):
            learned, loss = train(learned, epoch, active)
            return learned, loss * (float("nan") if epoch == 3 else 1)

        learner.run_epoch = run_epoch
        return learner

    monkeypatch.setattr(fitting, "create_learner", poisoned)
    result = fit(world, tmp_path, model=cml(), num_epochs=5)
    assert "loss of epoch 3 is not finite" in result.stopped
    assert result.failed
    assert result.best_epoch == 2
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["1", "2"]
    monkeypatch.setattr(fitting, "create_learner", make)
    result = fit(world, tmp_path, model=cml(), num_epochs=5)
    assert (result.stopped, result.failed, len(result.history)) == ("", False, 5)


def test_seeds_trained_together_are_those_trained_alone(world, tmp_path):
    options = TrainOptions(**OPTIONS | {"num_epochs": 12, "learning_rate": 0.05, "patience": 2, "checkpoint_every": 99})
    alone = [hlr_jax.train_model(world, cml(), options, NDCG, seed=seed, quiet=True) for seed in (3, 4)]
    assert len({len(result.history) for result in alone}) > 1  # patience ends them at different epochs
    together = dataclasses.replace(options, num_seeds=2)
    for limit in (4, 12):  # the second call continues the first
        shorter = dataclasses.replace(together, num_epochs=limit)
        results = hlr_jax.train_seeds(world, cml(), shorter, NDCG, seed=3, workdir=tmp_path, quiet=True)
    for single, other in zip(alone, results, strict=True):
        assert (single.best_epoch, single.seed, single.stopped) == (other.best_epoch, other.seed, other.stopped)
        assert len(single.history) == len(other.history)
        losses = [[record["train_loss"] for record in result.history] for result in (single, other)]
        np.testing.assert_allclose(*losses, rtol=1e-5)
        for name in single.params:
            np.testing.assert_allclose(single.params[name], other.params[name], atol=1e-4)
    with pytest.raises(InputError, match=r"train\.num_seeds is 2: call train_seeds"):
        hlr_jax.train_model(world, cml(), together)


def test_runs_that_patience_ended_go_on_when_it_grows_and_end_as_if_it_had_been_so_from_the_start(world, tmp_path):
    """Each run catches up with the others from its own last epoch, to the same bits."""
    options = TrainOptions(**OPTIONS | {"num_epochs": 9, "learning_rate": 0.05, "num_seeds": 2})

    def trained(patience, workdir=None):
        chosen = dataclasses.replace(options, patience=patience)
        return hlr_jax.train_seeds(world, cml(), chosen, NDCG, seed=3, workdir=workdir, quiet=True)

    first = trained(1, tmp_path)
    lengths = [len(result.history) for result in first]
    assert len(set(lengths)) > 1
    assert max(lengths) < 9
    straight, grown = trained(8), trained(8, tmp_path)
    for whole, continued in zip(straight, grown, strict=True):
        assert_same_bits(whole, continued)
        losses = [[(line["epoch"], line["train_loss"]) for line in result.history] for result in (whole, continued)]
        assert losses[0] == losses[1]
        assert len(losses[0]) == 9
        assert (whole.best_epoch, whole.best_value) == (continued.best_epoch, continued.best_value)
    loaded, _ = load_result(tmp_path, run_identity(world, cml(), options, 3))
    np.testing.assert_array_equal(loaded[1]["item"], straight[1].params["item"])
    assert trained(8, tmp_path)[0].history == grown[0].history  # nothing is left to do


def test_runs_on_a_mesh_are_those_on_one_device_each(world):
    """On a mesh, as on an accelerator, the runs are a mapped axis of one program."""
    losses = {}
    for name, mesh in (("divided", None), ("mapped", create_mesh(data=2, model=2))):
        options = TrainOptions(**OPTIONS)
        learner = create_learner(world, cml(), options, [Run(3, 0.01, 0.5, 0.5), Run(4, 0.03, 0.5, 0.2)], mesh)
        learned, first = learner.run_epoch(learner.init(), 1)
        losses[name] = np.stack([first, learner.valid_loss(learned.params)])
    assert learned.params["item"].sharding.spec[:2] == (None, "model")
    np.testing.assert_allclose(losses["divided"], losses["mapped"], rtol=2e-4)
    assert (losses["mapped"][:, 0] != losses["mapped"][:, 1]).all()


def test_runs_that_ended_are_left_as_they_are(world):
    """On a CPU, where each device takes its runs one by one, they cost nothing and keep their bits."""
    options = TrainOptions(**OPTIONS)
    learner = create_learner(world, cml(), options, options.runs([3, 4]))
    first, _ = learner.run_epoch(learner.init(), 1)
    held = jax.tree.map(np.asarray, first)
    second, losses = learner.run_epoch(first, 2, [True, False])
    assert losses[1] == 0 < losses[0]
    for before, after in zip(jax.tree.leaves(held), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(before[1], after[1])
    assert (held.params["item"][0] != second.params["item"][0]).any()


def test_without_validation_the_last_epoch_is_the_result(world):
    nothing = Interactions(np.empty(0, np.int32), np.empty(0, np.int32))
    result = fit(dataclasses.replace(world, valid=nothing), model=cml(), num_epochs=2)
    assert (result.best_epoch, result.best_value) == (2, None)
    with pytest.raises(InputError, match=r"no validation interactions to choose one .*train\.temperatures=\(0\.1,\)"):
        fit(dataclasses.replace(world, valid=nothing), num_epochs=2, temperatures=(0.1, 0.2), evaluation=NDCG)
    with pytest.raises(InputError, match="no training interactions"):
        fit(dataclasses.replace(world, train=nothing), num_epochs=2)


RECORD = {
    "epoch": 2, "train_loss": 0.5, "valid_loss": 0.25, "best_epoch": 1, "seconds": 3.0, "positives_per_s": 1e4,
}  # fmt: skip


def test_the_bar_shows_everything_in_80_columns():
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    record = RECORD | {"epoch": 199, "valid_ndcg@100": 0.1234, "positives_per_s": 1.234e8}
    with Display("hlrpp, 15 runs,", 200, console=console) as display:
        display.epoch(record)
    shown = console.file.getvalue()
    assert "hlrpp, 15 runs, 199/200" in shown
    assert "loss 0.500 valid 0.250 ndcg 0.123 123.4M/s" in shown
    assert "…" not in shown


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80 if terminal else 200, color_system=None)
    with Display("hlr", 4, console=console) as display:
        display.begin(1, "memory of each device: 3 MiB")
        display.epoch(RECORD)
        display.epoch(RECORD | {"epoch": 3})
    shown = console.file.getvalue()
    assert ("\x1b[" in shown) == terminal
    assert "memory of each device: 3 MiB" in shown
    if terminal:
        assert "hlr 3/4" in shown
        assert "loss 0.500 valid 0.250 10k/s" in shown
        assert "…" not in shown
    else:
        metrics = "loss 0.5000 valid 0.2500 10k/s"
        assert shown.splitlines()[1:] == [f"hlr 2/4 {metrics} compiled", f"hlr 3/4 {metrics} 3 s left"]


def test_the_best_of_several_temperatures_is_the_result_and_what_is_loaded(world, tmp_path):
    train = OPTIONS | {"num_epochs": 3}
    config = {
        "dataset": {"name": "planted-60x50x900"}, "model": {"name": "cml", "embed_dim": 6},
        "train": train | {"temperatures": [0.05, 0.5]}, "eval": {"monitor": "ndcg", "k": 5}, "seed": 3,
    }  # fmt: skip
    (best,) = hlr_jax.run(config, tmp_path, quiet=True, log=lambda _: None).fits
    values = {
        line["temperature"]: line["valid_ndcg@5"]
        for line in read_json_lines(tmp_path / "metrics.jsonl", {})
        if line["epoch"] == line["best_epoch"]
    }
    chosen = best.run.temperature
    alone = fit(world, None, NDCG, cml(), **train, temperature=chosen)
    assert chosen == max(sorted(values), key=values.__getitem__)
    assert (best.best_epoch, len(best.history)) == (alone.best_epoch, 3)
    np.testing.assert_allclose(best.params["item"], alone.params["item"], rtol=1e-4, atol=1e-6)
    loaded = hlr_jax.load_run(tmp_path, log=lambda _: None)
    assert [progress.run.temperature for progress in loaded.progress] == [chosen]
    np.testing.assert_array_equal(loaded.params[0]["item"], best.params["item"])


def test_a_run_that_is_pruned_and_continued_ends_with_the_same_bits(world, tmp_path, monkeypatch):
    monkeypatch.setattr("hlr_jax.training.run_progress._SIGNIFICANT", 0.0)  # whatever is worse ends
    options = {"temperatures": [0.05, 0.5], "prune_after": 2}
    records = {"whole": [], "continued": []}
    whole = fit(world, None, NDCG, cml(), **options, num_epochs=4, loggers=[records["whole"].append])
    for epochs in (1, 2, 4):  # before the temperatures end, with their end, after it
        records["continued"].clear()
        continued = fit(
            world, tmp_path, NDCG, cml(), **options, num_epochs=epochs, loggers=[records["continued"].append]
        )
    assert_same_bits(whole, continued)
    assert (whole.run, whole.best_epoch, whole.best_value) == (
        continued.run,
        continued.best_epoch,
        continued.best_value,
    )
    uninterrupted, resumed = (
        [
            {name: value for name, value in record.items() if name not in ("seconds", "positives_per_s")}
            for record in part
        ]
        for part in records.values()
    )
    assert uninterrupted == resumed
    last = [record["temperature"] for record in resumed if record["epoch"] == 4]
    assert len(last) == 1
    assert [record["epoch"] for record in resumed if record["temperature"] != last[0]] == [1, 2]
    # The best one at epoch 2 is what goes on, as if it had been alone.
    at_two = {record["temperature"]: record["valid_ndcg@5"] for record in resumed if record["epoch"] == 2}
    assert max(at_two, key=at_two.__getitem__) == last[0]


def test_a_workdir_of_another_run_is_not_continued(world, tmp_path):
    fit(world, tmp_path, model=cml(), num_epochs=1)
    for other_model in (small(), hlr_jax.create_model("cml", embed_dim=5)):
        with pytest.raises(InputError, match="holds a run of another model"):
            fit(world, tmp_path, model=other_model, num_epochs=2)
    for other in ({"learning_rate": 0.02}, {"num_negatives": 2}, {"batch": "users", "negatives": "per_user"}):
        with pytest.raises(InputError, match="holds a run of another model, seed, data or training"):
            fit(world, tmp_path, model=cml(), num_epochs=2, **other)


def test_the_best_epoch_is_in_the_checkpoint_however_rarely_one_is_made(world, tmp_path):
    result = fit(world, tmp_path, model=cml(), num_epochs=3, checkpoint_every=100)
    identity = run_identity(world, cml(), TrainOptions(**OPTIONS, checkpoint_every=100), 3)
    checkpoints = Checkpoints(tmp_path / "checkpoints", identity)
    arrays, record = checkpoints.restore(placed_shapes(checkpoints.shapes(), None))
    np.testing.assert_array_equal(arrays["best_params"]["item"][0], result.params["item"])
    assert [run["best_epoch"] for run in record["runs"]] == [result.best_epoch]


def test_an_unreadable_checkpoint_is_one_clear_line(world, tmp_path):
    fit(world, tmp_path, model=cml(), num_epochs=1)
    (tmp_path / "checkpoints" / "1" / "record.json").write_text('{"identity": "x", "ep')
    with pytest.raises(InputError, match=r"record\.json: damaged, it is not JSON; delete .*points and run") as caught:
        fit(world, tmp_path, model=cml(), num_epochs=2)
    assert "\n" not in str(caught.value)
