"""The command that fits what trained models are read beside, and all that takes its workdirs."""

import json
import re
import subprocess
import sys
from unittest import mock

import polars as pl
import pytest
from command_line import command
from fabricated import metric_of

import hlr_jax
from hlr_jax.evaluation.comparison import read_result
from hlr_jax.training.result import train_seconds

OPTIONS = (
    "--systems=popularity,ease,mf_als", "--ease_regularization=30,3e6", "--als_dim=6", "--als_confidence=5",
    "--als_regularization=1,1e9", "--als_epochs=2", "--k=5",
)  # fmt: skip
SYSTEMS = {"popularity": "popularity", "ease": "ease (30)", "mf_als": "mf_als (5,1)"}


def baselines(*arguments):
    return command("baselines", "--data=planted-60x50x900", *arguments)


def succeed(*arguments):
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ndcg(folder):
    return metric_of(json.loads((folder / "eval" / "test.json").read_text()), "ndcg", 5)["value"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The folder of the runs, fitted to train and then to both splits, and what the command prints."""
    folder, printed = tmp_path_factory.mktemp("baselines"), {}
    for splits in ("train", "train+valid"):
        done = baselines(*OPTIONS, f"--train_splits={splits}", f"--workdir={folder}")
        assert done.returncode == 0, done.stderr
        printed[splits] = done.stdout
    return folder / "planted-60x50x900", printed


def test_each_system_is_measured_with_what_validation_chose(fitted):
    folder, printed = fitted
    # With a lambda of a billion MF-ALS learns nothing, and neither does EASE.
    assert set(SYSTEMS.values()) <= {line[:13].strip() for line in printed["train"].splitlines()}
    assert set(SYSTEMS.values()) <= {line[:13].strip() for line in printed["train+valid"].splitlines()}
    results = {system: read_result(folder / system) for system in SYSTEMS}
    for system, result in results.items():
        assert result.metrics.users == results["popularity"].metrics.users
        assert 0 < result.metrics.value("ndcg") < 1
        assert f"{result.metrics.value('ndcg'):.4f}" in printed["train"]
        assert train_seconds(result.folder) > 0
        assert f"everything is in {folder / system}\n" in printed["train"]
    assert ndcg(folder / "popularity") < ndcg(folder / "ease")


def test_a_second_command_reads_what_the_first_has_done(fitted):
    folder, printed = fitted
    with (
        mock.patch("hlr_jax.baselines.run", side_effect=AssertionError("it is fitted again")),
        mock.patch("hlr_jax.sweeps.sweep.fit_runs", side_effect=AssertionError("it is searched again")),
    ):
        done = baselines(*OPTIONS, f"--workdir={folder.parent}")
    assert done.returncode == 0, done.stderr
    assert done.stdout[done.stdout.index(" K = 5") :] == printed["train"][printed["train"].index(" K = 5") :]
    done = baselines("--systems=ease", "--k=5", f"--workdir={folder.parent}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "model.regularization is [30.0, 3000000.0] there" in done.stderr


def test_what_validation_chose_is_refitted_on_validation_too(fitted, world):
    # MF-ALS by hand: the iteration that validation chose, and as many on both.
    folder, _ = fitted
    model = hlr_jax.create_model("mf_als", embed_dim=6, confidence=5.0, regularization=1.0, frequency_exponent=1.0)
    options = hlr_jax.EvalOptions(k=5, monitor="ndcg", solver_mask="train+valid")
    both, budget = world.trained_on("train+valid"), hlr_jax.TrainOptions(num_epochs=2, patience=4)
    once = hlr_jax.train_model(world, model, budget, options, quiet=True)
    assert ndcg(folder / "mf_als") == pytest.approx(
        hlr_jax.evaluate(model, once.params, world, options=options).metrics.value("ndcg"), rel=1e-6
    )
    budget = hlr_jax.TrainOptions(num_epochs=once.best_epoch)
    again = hlr_jax.train_model(both, model, budget, options, quiet=True)
    expected = hlr_jax.evaluate(model, again.params, both, options=options).metrics.value("ndcg")
    assert ndcg(folder / "mf_als-refit") == pytest.approx(expected, rel=1e-6)
    for system in SYSTEMS:
        assert ndcg(folder / system) != ndcg(folder / f"{system}-refit")


def test_lists_of_mf_als_leave_out_validation_items_where_it_is_asked_for(fitted):
    # The protocol leaves them in the lists of MF-ALS: there they take places from items that can be found.
    folder, _ = fitted
    loaded = hlr_jax.load_run(folder / "mf_als", log=lambda _: None)
    parts, params = loaded.parts, loaded.params[0]
    assert parts.dataset.protocol.solver_mask == "train"
    by_protocol = hlr_jax.evaluate(parts.model, params, parts.dataset, options=hlr_jax.EvalOptions(k=5))
    assert by_protocol.metrics.value("ndcg") < ndcg(folder / "mf_als")


def test_runs_of_baselines_are_taken_wherever_runs_are(fitted, tmp_path):
    folder, _ = fitted
    both = f"--workdir={folder / 'ease'},{folder / 'popularity'}"
    out = succeed("compare", both)
    assert "ndcg@5: best is ease." in out
    assert "One seed of" not in out  # they have no seeds
    out = succeed("evaluate", f"--workdir={folder / 'ease'}", "--k=3")
    assert "ease, test" in out
    out = succeed("recommend", f"--workdir={folder / 'ease'}", "--users=3", "--k=2", "--explain")
    assert out.count("Because of ") == 2
    (tmp_path / "new.csv").write_text("user,item\nann,1\nann,2\n")
    out = succeed("recommend", f"--workdir={folder / 'popularity'}", f"--histories={tmp_path / 'new.csv'}", "--k=2")
    assert "user ann" in out
    page = tmp_path / "page.html"
    succeed("report", both + f",{folder / 'mf_als'}", f"--output={page}")
    text = page.read_text()
    assert "Best in NDCG@5 on test: <strong>" in text
    assert "One seed of MF-ALS: the test ignores the variance over its seeds." in text
    assert "Memory keys<" not in text  # no section without content
    for command_line, what in (("similar", "similar"), ("keys", "keys")):
        more = ["--items=1"] if what == "similar" else [f"--output={tmp_path / 'no'}"]
        done = command(command_line, f"--workdir={folder / 'ease'}", *more)
        assert (done.returncode, done.stderr) == (
            2, f"error: EASE has no vectors, but {what} needs them; choose a run of a model\n"
        )  # fmt: skip
    assert not (tmp_path / "no").exists()


def test_table_2_takes_scorers_beside_models(tmp_path):
    configs = tmp_path / "configs.py"
    configs.write_text(
        "from hlr_jax.configs import recipes\n"
        "def get_config(choice):\n"
        "    config = recipes.get_config(choice.split(',')[0] + ':planted')\n"
        "    if config.train:\n"
        "        config.train.num_epochs, config.model.embed_dim = 1, 4\n"
        "    return config\n"
    )
    asked = (
        "table2",
        f"--workdir={tmp_path / 'runs'}",
        f"--configs={configs}",
        "--data=planted-60x50x900",
        "--num_seeds=2",
    )
    out = succeed(*asked, "--systems=ease,popularity,mf_als")
    places = [f"planted-60x50x900/{system}" for system in ("popularity", "ease", "mf_als")]
    trains = [json.loads((tmp_path / "runs" / place / "config.json").read_text())["train"] for place in places]
    assert [train.get("num_seeds") for train in trains] == [None, None, 2]
    assert "Mean ± standard deviation over 2 seeds (0 to 1)." in " ".join(out.split())
    frame = pl.read_csv(tmp_path / "runs" / "table2.csv").filter(pl.col("metric") == "NDCG")
    assert frame["model"].to_list() == ["Popularity", "EASE", "MF-ALS"]
    assert frame["std"].is_null().to_list() == [True, True, False]
    assert succeed(*asked, "--systems=ease,popularity,mf_als").count("already done") == 3


def test_rows_of_ones_own_are_divided_as_asked(tmp_path):
    rows = "".join(f"u{n % 9},i{n * 7 % 10},{n}\n" for n in range(80))
    (tmp_path / "own.csv").write_text(f"user,item,timestamp\n{rows}")
    given = "baselines", f"--data=own={tmp_path}/own.csv", f"--workdir={tmp_path}/runs", "--systems=popularity"
    assert 'no column "split"' in command(*given).stderr
    done = command(*given, "--split=time")
    assert (done.returncode, (tmp_path / "runs" / "own" / "popularity" / "eval" / "test.json").is_file()) == (0, True)


def test_train_fits_a_scorer_by_its_recipe(tmp_path):
    out = succeed("train", "--config=ease:planted", f"--workdir={tmp_path}", "--config.model.regularization=(7.0,)")
    assert "ease, test" in out
    assert "regularization 7.0, dropout 0.0, user_exponent 0.0; everything is in" in out
    shown = out[out.index("everything is in") :]
    assert len(re.findall(r"^user \d+ \(\d+ items\):$", shown, re.MULTILINE)) == 3
    assert shown.count("because of ") + shown.count("no single item of the history stands out") == 3 * 3
    assert "because of " in shown


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


@pytest.mark.parametrize(
    ("system", "purpose"), [("mf_als", "to compare points by"), ("ease", "to select regularization")]
)
def test_data_without_validation_is_one_clear_line(tmp_path, system, purpose):
    rows = pl.DataFrame({"user": [1, 1, 2, 2, 3], "item": [1, 2, 2, 3, 1], "split": ["train", "test"] * 2 + ["train"]})
    rows.write_csv(tmp_path / "rows.csv")
    done = baselines(f"--data=own={tmp_path / 'rows.csv'}", f"--systems={system}", f"--workdir={tmp_path / 'runs'}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "data set rows has no valid" in done.stderr
    assert f"interactions {purpose}" in done.stderr


def test_flags_are_checked_before_jax_is_there():
    program = """
import importlib, sys
from absl import flags
for name in ("baselines", "compare", "report", "table2"):
    importlib.import_module(f"hlr_jax.cli.{name}")
    for flag in list(flags.FLAGS):
        delattr(flags.FLAGS, flag)
sys.exit("jax" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
