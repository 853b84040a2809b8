"""Fitting a scorer: what validation chooses, and the workdir that holds it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

import hlr_jax
from hlr_jax import EvalOptions, InputError
from hlr_jax.evaluation.evaluate import evaluate
from hlr_jax.fitting.scorers import fit_scorer
from hlr_jax.folders import MARKER
from hlr_jax.json_files import read_json_lines, write_json
from hlr_jax.scorers.ease import Ease
from hlr_jax.training.result import train_seconds

GRID = (3e6, 30.0, 1.0)
OPTIONS = {"quiet": True, "log": lambda _: None}


def config(name, **options):
    return {
        "dataset": {"name": "planted-60x50x900"}, "model": {"name": name, **options},
        "eval": {"k": 5, "monitor": "ndcg"}, "seed": 4,
    }  # fmt: skip


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scorers") / "ease"
    records = []
    done = hlr_jax.run(config("ease", regularization=GRID), folder, loggers=[records.append], **OPTIONS)
    return done, folder, records


def test_validation_chooses_among_the_values(fitted, world):
    done, folder, records = fitted
    alone = [
        evaluate(*next(Ease((value,)).fits(world)), world, split="valid", options=EvalOptions(k=5)) for value in GRID
    ]
    values = [evaluation.metrics.value("ndcg") for evaluation in alone]
    best = int(np.argmax(values))
    assert best > 0
    assert done.parts.model == Ease((GRID[best],))
    assert (done.fits[0].best_epoch, done.fits[0].best_value) == (best + 1, values[best])
    assert [record["valid_ndcg@5"] for record in records] == values
    assert [record["regularization"] for record in records] == list(GRID)
    assert done.fits[0].history == records
    lines = list(read_json_lines(folder / "metrics.jsonl", {}))
    assert lines == records
    assert train_seconds(folder) == pytest.approx(sum(line["seconds"] for line in lines))


def test_a_workdir_holds_arrays_and_json(fitted):
    done, folder, _ = fitted
    assert {path.name for path in folder.iterdir()} == {
        MARKER, "config.json", "env.json", "dataset", "result", "metrics.jsonl", "eval"
    }  # fmt: skip
    assert {path.name for path in (folder / "result").iterdir()} == {"scorer.json", "state.safetensors"}
    np.testing.assert_array_equal(
        load_file(folder / "result" / "state.safetensors")["weights"], done.fits[0].params["weights"]
    )
    loaded = hlr_jax.load_run(folder, log=OPTIONS["log"])
    assert (loaded.parts.model, loaded.seeds, loaded.best_epochs) == (
        done.parts.model, [4], [done.fits[0].best_epoch]
    )  # fmt: skip
    np.testing.assert_array_equal(loaded.params[0]["weights"], done.fits[0].params["weights"])


def test_the_same_call_reads_what_is_done(fitted, monkeypatch):
    done, folder, records = fitted
    monkeypatch.setattr(Ease, "fits", lambda *_: pytest.fail("it is fitted again"))
    again, told = [], []
    again = hlr_jax.run(config("ease", regularization=list(GRID)), folder, loggers=[told.append], **OPTIONS)
    assert again.parts.model == done.parts.model
    assert told == again.fits[0].history == records
    assert again.metrics["test"].values == done.metrics["test"].values
    with pytest.raises(InputError, match=r"model.regularization is \[3000000.0, 30.0, 1.0\] there and \[7.0\] here"):
        hlr_jax.run(config("ease", regularization=(7.0,)), folder, **OPTIONS)


def test_a_refit_keeps_what_validation_chose(fitted, tmp_path, world):
    done, folder, _ = fitted
    both = hlr_jax.refit(folder, tmp_path / "both", **OPTIONS)
    assert both.parts.model == done.parts.model
    assert set(both.metrics) == {"test"}
    scorer, state = next(done.parts.model.fits(world.trained_on("train+valid")))
    np.testing.assert_array_equal(both.fits[0].params["weights"], state["weights"])
    expected = evaluate(scorer, state, world.trained_on("train+valid"), options=EvalOptions(k=5))
    assert both.metrics["test"].value("ndcg") == expected.metrics.value("ndcg")


def test_without_validation_there_is_nothing_to_choose_by(world):
    both = world.trained_on("train+valid")
    assert fit_scorer(both, Ease((9.0,))).fit.best_value is None
    with pytest.raises(
        InputError, match="no validation interactions to select regularization of EASE: pass one value of each"
    ):
        fit_scorer(both, Ease((9.0, 10.0)))
    with pytest.raises(InputError, match="has no training interactions"):
        fit_scorer(replace(world, train=world.train.where(world.train.user < 0)), Ease())


def test_a_run_of_another_kind_does_not_take_its_workdir(fitted, world):
    done, folder, _ = fitted
    with pytest.raises(InputError, match=r"with other settings: .*model\.name is 'ease' there and 'cml' here"):
        hlr_jax.fit(world, "cml", workdir=folder, **OPTIONS)
    assert hlr_jax.load_run(folder, log=OPTIONS["log"]).parts.model == done.parts.model


def test_a_damaged_or_missing_result_is_one_line(fitted, tmp_path):
    done, folder, _ = fitted

    def refused():
        with pytest.raises(InputError) as problem:
            hlr_jax.load_run(folder, log=OPTIONS["log"])
        assert "\n" not in str(problem.value)
        return str(problem.value)

    state, record = folder / "result" / "state.safetensors", folder / "result" / "scorer.json"
    whole, written = state.read_bytes(), record.read_text()
    state.write_bytes(whole[:40])
    assert "state.safetensors: damaged, it is not what was written; delete" in refused()
    state.unlink()
    assert "state.safetensors: no such file; delete" in refused()
    state.write_bytes(whole)
    write_json(record, json.loads(written) | {"identity": "f" * 64})
    assert "scorer.json belongs to another scorer or other data" in refused()
    record.write_text("{")
    assert "scorer.json: damaged, it is not JSON; delete" in refused()
    record.unlink()
    assert "scorer.json: no such file: the scorer is not fitted; train first" in refused()
    record.write_text(written)
    assert hlr_jax.load_run(folder, log=OPTIONS["log"]).parts.model == done.parts.model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": {"margin": 1.0}}, "train.margin is set, but EASE reads no settings of training"),
        ({"mesh": {"data": 2}}, "EASE is fitted on the host: leave out the settings of mesh"),
        ({"model": {"name": "ease", "lambda": 3}}, "unknown setting model.lambda"),
        ({"model": {"name": "eas"}}, 'unknown model "eas" \\(did you mean "ease'),
        ({"eval": {"solver_mask": "test"}}, 'unknown eval.solver_mask "test"'),
    ],
)
def test_settings_that_a_scorer_does_not_read_are_refused(change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        hlr_jax.run(config("ease") | change, tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists()
