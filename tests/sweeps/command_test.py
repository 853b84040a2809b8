"""The command line of sweeps; a shell starts the first one."""

import json
import shlex

import polars as pl
import pytest
from command_line import command, shell
from fabricated import metric_of

SMALL = [
    "--config=cml-paper:planted", "--config.dataset.name=planted-60x50x900",
    "--config.model.embed_dim=6", "--config.train.num_epochs=2", "--config.train.batch_size=200", "--metric=ndcg",
]  # fmt: skip
GRID = ["--grid=train.learning_rate=1e-2,5e-2", "--grid=train.margin=0.5,1"]


def sweep(workdir, *arguments, run=command):
    return run("sweep", f"--workdir={workdir}", *SMALL, *arguments)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    done = sweep(folder, *GRID, "--num_seeds=2", "--parallel=4", run=shell)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_sweep_ends_with_a_leaderboard_as_table_parquet_and_plot(swept):
    folder, shown = swept
    assert "4 points, 8 trainings: 0 done before, 8 to do in 2 programs" in shown
    board = pl.read_parquet(folder / "leaderboard.parquet")
    assert board["rank"].to_list() == [1, 2, 3, 4]
    assert board["valid_ndcg@10"].is_sorted(descending=True)
    for ndcg in board["valid_ndcg@10"]:
        assert f"{ndcg:.4f}" in shown
    assert all(len(line) <= 80 for line in shown.splitlines() if line.lstrip()[:1].isdigit() and "points" not in line)
    assert len(pl.read_parquet(folder / "history.parquet")) == 4 * 2 * 2
    assert (folder / "leaderboard.png").read_bytes().startswith(b"\x89PNG")
    assert not list((folder / "packs").iterdir())


def test_the_winners_command_trains_it_to_the_same_ndcg(swept, tmp_path):
    board = pl.read_parquet(swept[0] / "leaderboard.parquet")
    words = shlex.split(board["command"][0])
    assert words[:2] == ["hlr-jax", "train"]
    done = command(words[1], *words[2:-1], f"--workdir={tmp_path}", "--quiet")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "eval" / "valid.json").read_text())
    assert metric_of(metrics, "ndcg")["value"] == pytest.approx(board["valid_ndcg@10"][0], rel=1e-4)


def test_again_nothing_is_trained(swept):
    again = sweep(swept[0], *GRID, "--num_seeds=2")
    assert "8 done before, 0 to do in 0 programs" in again.stdout


def test_points_that_optuna_proposes(tmp_path):
    pytest.importorskip("optuna")
    ranges = ["--grid=train.learning_rate=log:1e-3..1e-1", "--grid=train.margin=0.5..1"]
    options = [*ranges, "--sampler=optuna", "--trials=4", "--batch=2", "--quiet", "--metric=loss"]
    done = sweep(tmp_path, *options)
    assert done.returncode == 0, done.stderr
    board = pl.read_parquet(tmp_path / "leaderboard.parquet")
    assert len(set(board["train.learning_rate"])) == 4
    assert board["train.learning_rate"].is_between(1e-3, 1e-1).all()
    assert board["valid_loss"].is_sorted()
    assert "losses are not comparable between values of train.margin" in done.stdout
    again = sweep(tmp_path, *options)
    assert again.stdout.count("2 done before, 0 to do") == 2


MISTAKES = {
    "a mistyped key": (["--grid=train.margn=1"], 'did you mean "train.margin"'),
    "other settings": ([*GRID, "--config.model.embed_dim=7"], "model.embed_dim is 6 there and 7 here"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(swept, case):
    arguments, message = MISTAKES[case]
    done = sweep(swept[0], *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
