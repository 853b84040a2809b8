"""What a training ends with, and what is made of it: runs that are loaded, and the settings of a refit."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import hlr_jax
from hlr_jax import InputError, runs

CONFIG = {
    "dataset": {"name": "planted-60x50x900"},
    "model": {"name": "cml", "embed_dim": 4},
    "train": {
        "num_epochs": 3, "batch_size": 300, "learning_rate": 0.1, "objective": "sampled_softmax", "num_seeds": 3,
        "temperatures": [0.1, 0.5],
    },
    "eval": {"k": 5, "monitor": "ndcg"},
    "seed": 7,
}  # fmt: skip
OPTIONS = {"quiet": True, "log": lambda _: None}


def run(folder, num_epochs=3, **options):
    return hlr_jax.run(CONFIG | {"train": CONFIG["train"] | {"num_epochs": num_epochs}}, folder, **OPTIONS, **options)


def load(folder):
    return hlr_jax.load_run(folder, log=OPTIONS["log"])


def stop(record):
    """Stop a training in its second epoch, after the checkpoint of the first."""
    if record["epoch"] == 2:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return run(folder), folder


def test_a_run_is_loaded_as_its_training_ended(ended):
    done, folder = ended
    loaded = load(folder)
    assert loaded.seeds == [fit.seed for fit in done.fits] == [7, 8, 9]
    assert loaded.best_epochs == [fit.best_epoch for fit in done.fits]
    assert [state.run for state in loaded.progress] == [fit.run for fit in done.fits]
    assert [state.best_value for state in loaded.progress] == [fit.best_value for fit in done.fits]
    for params, fit in zip(loaded.params, done.fits, strict=True):
        assert set(params) == set(fit.params)
        for name, array in params.items():
            np.testing.assert_array_equal(array, fit.params[name])
    for index, fit in enumerate(done.fits):
        training = loaded.training_of(index)
        assert (training.temperature, training.temperatures) == (fit.run.temperature, ())
        assert replace(training, temperature=0.5, temperatures=(0.1, 0.5)) == loaded.parts.train


def test_a_training_that_has_not_ended_is_refused_in_one_line_which_says_how_to_end_it(tmp_path):
    folder = tmp_path / "run"

    def refused(call):
        with pytest.raises(
            InputError, match="run: its training has not ended; continue it by the command that"
        ) as line:
            call()
        assert "the same command with a smaller --config.train.num_epochs" in str(line.value)
        assert "\n" not in str(line.value)

    with pytest.raises(KeyboardInterrupt):
        run(folder, loggers=[stop])
    refused(lambda: load(folder))
    refused(lambda: hlr_jax.refit(folder, tmp_path / "refit", **OPTIONS))
    assert not (tmp_path / "refit").exists()
    done = run(folder, num_epochs=1)  # nothing is left to train
    loaded = load(folder)
    assert loaded.best_epochs == [1, 1, 1]
    np.testing.assert_array_equal(loaded.params[2]["item"], done.fits[2].params["item"])
    with pytest.raises(KeyboardInterrupt):
        run(folder, loggers=[stop])  # it goes on, so that what it had ended with is no result any more
    refused(lambda: load(folder))
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(InputError, match=r"run has no checkpoint; train first$"):
        load(folder)


def test_a_refit_keeps_the_temperature_that_most_seeds_have_chosen(ended, tmp_path, monkeypatch):
    _, folder = ended
    loaded = load(folder)
    chosen = [(0.5, 9), (0.1, 2), (0.1, 5)]  # of each seed, with its best epoch
    progress = [
        replace(state, run=state.run._replace(temperature=temperature), best_epoch=epoch)
        for state, (temperature, epoch) in zip(loaded.progress, chosen, strict=True)
    ]
    monkeypatch.setattr(runs, "read_run", lambda *_: loaded._replace(progress=progress))
    asked = []
    monkeypatch.setattr(runs, "run", lambda config, output, **options: asked.append((config, output, options)))
    hlr_jax.refit(folder, tmp_path, **OPTIONS)
    ((config, output, options),) = asked
    expected = {"temperature": 0.1, "temperatures": [], "prune_after": 0, "num_epochs": 4, "patience": 0}
    assert config["train"] == CONFIG["train"] | expected  # the mean of 2 and 5, to the even side
    assert (config["dataset"]["train_splits"], output) == ("train+valid", tmp_path)
    both = loaded.parts.dataset
    assert len(options["dataset"].train) == len(both.train) + len(both.valid)
    assert not len(options["dataset"].valid)
