"""The command that measures what trained models are read beside."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax.evaluation.baselines import gram_matrix

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"


def baselines(*arguments):
    command = [sys.executable, EXPERIMENTS / "baselines.py", "--data=planted-60x50x900", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_system_is_measured_with_what_validation_chose(tmp_path):
    output = tmp_path / "found.json"
    done = baselines(
        "--systems=popularity,ease,mf_als", "--grid=30", "--als_dim=6", "--als_confidence=5",
        "--als_regularization=1,1e6", "--als_epochs=2", "--k=5", f"--output={output}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text())["planted-60x50x900"]
    # With a lambda of a million MF-ALS learns nothing.
    assert list(found) == ["Popularity", "EASE", "MF-ALS"]
    assert {"EASE (30)", "MF-ALS (5,1)"} <= {line[:13].strip() for line in done.stdout.splitlines()}
    assert (found["MF-ALS"]["confidence"], found["MF-ALS"]["lambda"]) == (5, 1)
    for figures in found.values():
        assert figures["users"] == found["Popularity"]["users"]
        assert 0 < figures["ndcg@5"] < 1
        assert figures["fit_seconds"] > 0
    assert found["EASE"]["ndcg@5"] != found["Popularity"]["ndcg@5"]


def test_what_validation_chose_is_fitted_anew_on_validation_too(tmp_path):
    options = (
        "--systems=popularity,ease,mf_als", "--grid=30,3e6", "--als_dim=6", "--als_confidence=5",
        "--als_regularization=1", "--als_epochs=2",
    )  # fmt: skip
    found = {}
    for splits in ("train", "train+valid"):
        done = baselines(*options, f"--train_splits={splits}", f"--output={tmp_path / splits}")
        assert done.returncode == 0, done.stderr
        found[splits] = json.loads((tmp_path / splits).read_text())["planted-60x50x900"]
    data = hlr_jax.load_dataset("planted-60x50x900", log=lambda _: None)
    both = data.trained_on("train+valid")
    gram = np.zeros((50, 50))
    for user in range(60):
        items = both.train.item[both.train.user == user]
        gram[np.ix_(items, items)] += 1
    np.testing.assert_array_equal(gram_matrix(both), gram)
    # MF-ALS by hand: the iteration that validation chose, and as many on both.
    model = hlr_jax.create_model("mf_als", embed_dim=6, confidence=5.0, regularization=1.0, frequency_exponent=1.0)
    options = hlr_jax.EvalOptions(select_by="ndcg")
    best = hlr_jax.fit(data, model, hlr_jax.TrainOptions(num_epochs=2, patience=4), options, quiet=True).best_epoch
    again = hlr_jax.fit(both, model, hlr_jax.TrainOptions(num_epochs=best), options, quiet=True)
    expected = hlr_jax.evaluate(model, again.params, both, options=options).metrics["ndcg@10"]
    assert found["train+valid"]["MF-ALS"]["ndcg@10"] == pytest.approx(expected, rel=1e-6)
    for system in found["train"]:
        assert {found[splits][system]["train_splits"] for splits in found} == set(found)
        before, after = (found[splits][system] for splits in found)
        assert before["ndcg@10"] != after["ndcg@10"]
        assert before["users"] == after["users"]
        assert before.get("lambda") == after.get("lambda")
    assert found["train"]["EASE"]["lambda"] == 30


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--grid=1,x", "--grid must be numbers, got 1,x"),
        ("--grid=nan", "--grid must be numbers, got nan"),
        ("--als_regularization=0", "--als_regularization needs numbers above 0"),
        ("--systems=ease,als", 'unknown system of --systems: "als"'),
    ],
)
def test_a_wrong_flag_is_one_clear_line(flag, message):
    done = baselines(flag)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


def test_data_without_validation_is_one_clear_line(tmp_path):
    rows = pl.DataFrame({"user": [1, 1, 2, 2, 3], "item": [1, 2, 2, 3, 1], "split": ["train", "test"] * 2 + ["train"]})
    rows.write_csv(tmp_path / "rows.csv")
    done = baselines(f"--data=own={tmp_path / 'rows.csv'}", "--systems=mf_als")
    assert (done.returncode, done.stderr) == (2, "error: data set rows has no valid interactions to evaluate on\n")
