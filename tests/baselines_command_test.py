"""The command that measures what trained models are read beside."""

import json

import numpy as np
import polars as pl
import pytest
from command_line import command
from fabricated import metric_of

import hlr_jax
from hlr_jax.evaluation.baselines import gram_matrix

OPTIONS = (
    "--systems=popularity,ease,mf_als", "--ease_regularization=30,3e6", "--als_dim=6", "--als_confidence=5",
    "--als_regularization=1,1e6", "--als_epochs=2", "--k=5",
)  # fmt: skip


def baselines(*arguments):
    return command("baselines", "--data=planted-60x50x900", *arguments)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What the command prints and writes, with the systems fitted to train before test, or to train and valid."""
    folder, results = tmp_path_factory.mktemp("baselines"), {}
    for splits in ("train", "train+valid"):
        done = baselines(*OPTIONS, f"--train_splits={splits}", f"--output={folder / splits}")
        assert done.returncode == 0, done.stderr
        results[splits] = done.stdout, json.loads((folder / splits).read_text())["planted-60x50x900"]
    return results


def test_each_system_is_measured_with_what_validation_chose(measured):
    out, systems = measured["train"]
    # With a lambda of a million MF-ALS learns nothing, and neither does EASE.
    assert list(systems) == ["Popularity", "EASE", "MF-ALS"]
    assert {"EASE (30)", "MF-ALS (5,1)"} <= {line[:13].strip() for line in out.splitlines()}
    assert (systems["MF-ALS"]["confidence"], systems["MF-ALS"]["lambda"]) == (5, 1)
    assert systems["EASE"]["lambda"] == 30
    for metrics in systems.values():
        assert metrics["users"] == systems["Popularity"]["users"]
        assert 0 < metric_of(metrics, "ndcg", 5)["value"] < 1
        assert metrics["fit_seconds"] > 0
    assert metric_of(systems["EASE"], "ndcg") != metric_of(systems["Popularity"], "ndcg")


def test_what_validation_chose_is_fitted_anew_on_validation_too(measured, world):
    both = world.trained_on("train+valid")
    gram = np.zeros((50, 50))
    for user in range(60):
        items = both.train.item[both.train.user == user]
        gram[np.ix_(items, items)] += 1
    np.testing.assert_array_equal(gram_matrix(both), gram)
    # MF-ALS by hand: the iteration that validation chose, and as many on both.
    model = hlr_jax.create_model("mf_als", embed_dim=6, confidence=5.0, regularization=1.0, frequency_exponent=1.0)
    options = hlr_jax.EvalOptions(k=5, monitor="ndcg")
    best = hlr_jax.train_model(
        world, model, hlr_jax.TrainOptions(num_epochs=2, patience=4), options, quiet=True
    ).best_epoch
    again = hlr_jax.train_model(both, model, hlr_jax.TrainOptions(num_epochs=best), options, quiet=True)
    expected = hlr_jax.evaluate(model, again.params, both, options=options).metrics.value("ndcg")
    (_, before), (_, after) = measured["train"], measured["train+valid"]
    assert metric_of(after["MF-ALS"], "ndcg")["value"] == pytest.approx(expected, rel=1e-6)
    for system in before:
        assert (before[system]["train_splits"], after[system]["train_splits"]) == ("train", "train+valid")
        assert metric_of(before[system], "ndcg") != metric_of(after[system], "ndcg")
        assert before[system]["users"] == after[system]["users"]
        assert before[system].get("lambda") == after[system].get("lambda")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--ease_regularization=1,x", "--ease_regularization must be numbers, got 1,x"),
        ("--ease_regularization=nan", "--ease_regularization must be numbers, got nan"),
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
