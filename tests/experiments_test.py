"""The command lines: what they write, print and refuse."""

import json
import shutil
import subprocess
import sys

import polars as pl
import pytest
from command_line import command, shell
from fabricated import metric_of

from hlr_jax.evaluation.comparison import compare, read_result
from hlr_jax.folders import MARKER
from hlr_jax.json_files import read_json
from hlr_jax.provenance import maker_of
from hlr_jax.workdir import read_config

CONFIG, CML, SOLVED = (f"--config={name}-paper:planted" for name in ("hlr", "cml", "mf_als"))
TINY = ["--config.dataset.name=planted-60x50x900", "--config.model.embed_dim=6", "--config.train.num_epochs=2"]
SMALL = [
    *TINY, "--config.model.num_memories=2", "--config.model.max_history=3", "--config.train.batch_size=200",
]  # fmt: skip
USERS = ["--config.train.batch=users", "--config.train.negatives=all", "--config.train.objective=sampled_softmax"]


def succeed(script, *arguments):
    """Return what a command prints that ends well."""
    done = command(script, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refuse(script, *arguments):
    """Return the one line of a command that is refused."""
    done = command(script, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """The folder of a run, as a shell trains it."""
    folder = tmp_path_factory.mktemp("runs") / "hlr"
    done = shell("train", CONFIG, f"--workdir={folder}", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "hlr 2/2" in done.stdout
    assert "hlr, test" in done.stdout
    return folder


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """The folder of a run of the model that compiles in least time, for what is the same for all models."""
    folder = tmp_path_factory.mktemp("runs") / "mf_als"
    assert "mf_als 2/2" in succeed("train", SOLVED, f"--workdir={folder}", *TINY)
    return folder


def test_a_workdir_holds_what_it_should(workdir):
    assert {path.name for path in workdir.iterdir()} == {
        MARKER, "config.json", "env.json", "dataset", "checkpoints", "result", "metrics.jsonl", "eval",
    }  # fmt: skip
    config = read_config(workdir)
    assert set(config) == {"dataset", "model", "train", "eval", "mesh", "seed"}
    assert config["train"]["num_epochs"] == 2
    environment = json.loads((workdir / "env.json").read_text())
    assert {"python", "packages", "devices", "data", "protocol"} <= set(environment)
    metrics = json.loads((workdir / "eval" / "test.json").read_text())
    names = [
        "ndcg", "map", "mrr", "rr_sum", "precision", "recall", "hit_rate", "median_popularity", "map_over_k", "gini",
    ]  # fmt: skip
    assert set(names) <= {entry["metric"] for entry in metrics["metrics"]}
    assert {"users", "users_per_s", "protocol"} <= set(metrics)
    per_user = pl.read_parquet(workdir / "eval" / "per_user.parquet")
    assert per_user["ndcg"].mean() == pytest.approx(metric_of(metrics, "ndcg", 10)["value"])
    assert json.loads((workdir / "eval" / "valid.json").read_text())["split"] == "valid"


def test_evaluate_repeats_the_metrics_and_takes_other_settings(workdir):
    before = json.loads((workdir / "eval" / "test.json").read_text())
    out = succeed("evaluate", f"--workdir={workdir}", "--k=5,20", "--num_cohorts=3")
    sizes = [json.loads((workdir / "eval" / f"{split}.json").read_text()) for split in ("valid", "test")]
    users = ", ".join(f"{size['split']}: {size['users']} users" for size in sizes)
    titles = [line.rstrip() for line in out.splitlines() if "; K = " in line]
    assert titles == [f"{users}, {sizes[0]['items']} items; K = {k}" for k in (5, 20)]
    assert out.count("std, cohorts") == 4  # valid and test, at each K
    assert json.loads((workdir / "eval" / "test.json").read_text()) == before
    succeed("evaluate", f"--workdir={workdir}")
    after = json.loads((workdir / "eval" / "test.json").read_text())
    assert after["metrics"] == before["metrics"]


def test_keys_of_a_run_as_cards_frames_and_plots(workdir, tmp_path):
    (tmp_path / "tags.csv").write_text("item,category\n" + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(50)))
    given = f"--categories={tmp_path}/tags.csv"
    out = succeed("keys", f"--workdir={workdir}", f"--output={tmp_path}/keys", given, "--plots")
    cards = (tmp_path / "keys" / "cards.md").read_text()
    assert cards in out
    assert cards.count("### Key ") == 2
    frames = {path.stem: pl.read_parquet(path) for path in (tmp_path / "keys").glob("*.parquet")}
    assert set(frames) == {"keys", "pairs", "similarity", "attention", "categories", "matching"}
    images = {path.stem: path.read_bytes()[:4] for path in (tmp_path / "keys").glob("*.png")}
    assert images == dict.fromkeys(("usage", "similarity", "categories"), b"\x89PNG")
    assert frames["keys"]["usage"].sum() == pytest.approx(1, abs=1e-5)
    assert set(frames["categories"]["category"]) <= {"a", "b"}
    line = refuse("keys", f"--workdir={workdir}", f"--output={tmp_path}/no", f"--categories={tmp_path}/no.csv")
    assert line == f"error: {tmp_path}/no.csv: no such file\n"
    assert not (tmp_path / "no").exists()


def test_refit_measures_once_more_and_serves(solved, tmp_path):
    out = succeed("refit", f"--workdir={solved}", f"--output={tmp_path}/both", "--quiet")
    assert "mf_als, test" in out
    assert "mf_als, valid" not in out
    metrics = [json.loads((folder / "eval" / "test.json").read_text()) for folder in (solved, tmp_path / "both")]
    assert metrics[0]["users"] == metrics[1]["users"]
    assert metrics[0]["data"] != metrics[1]["data"]
    refuse("compare", f"--workdir={solved},{tmp_path}/both")
    out = succeed("refit", f"--workdir={solved}", f"--output={tmp_path}/all", "--train_splits=train+valid+test")
    assert "mf_als 1/" in out
    assert "user 3" in succeed("recommend", f"--workdir={tmp_path / 'all'}", "--users=3", "--k=2")
    line = refuse("refit", f"--workdir={tmp_path}/none", f"--output={tmp_path}/no")
    assert line == f"error: {tmp_path}/none is not a workdir: it has no config.json; train first\n"


def test_an_unfinished_training_is_refused_in_one_line(workdir, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(workdir, folder, ignore=shutil.ignore_patterns("result"))
    for script, *arguments in (
        ["evaluate"], ["recommend", "--users=3"], ["report", f"--output={tmp_path}/report.html"],
        ["refit", f"--output={tmp_path}/more"],
    ):  # fmt: skip
        line = refuse(script, f"--workdir={folder}", *arguments)
        assert f"{folder}: its training has not ended; continue it by the command that started it" in line
    assert not (tmp_path / "report.html").exists()
    assert not (tmp_path / "more").exists()


def test_batches_of_users_go_on_for_more_epochs_and_their_workdir_is_enough(tmp_path):
    source, folder = tmp_path / "own.csv", tmp_path / "run"
    source.write_text("user,item\n" + "".join(f"u{n % 12},i{n * 7 % 10}\n" for n in range(60)))
    few = f"--config.dataset.path={source}", "--config.train.batch_size=8"
    train = "train", CML.replace("planted", "file"), f"--workdir={folder}", *TINY[1:], *USERS, *few
    assert "cml 1/1" in succeed(*train, "--config.train.num_epochs=1")
    others = "--config.train.num_epochs=3", "--config.train.patience=5", "--config.train.checkpoint_every=2"
    out = succeed(*train, *others)
    assert ["cml 1/3" in out, "cml 2/3" in out, "cml 3/3" in out] == [False, True, True]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[0]["train_loss"] > lines[2]["train_loss"]
    assert json.loads((folder / "config.json").read_text())["train"]["num_epochs"] == 3
    source.unlink()
    assert "user u3" in succeed("recommend", f"--workdir={folder}", "--users=u3", "--k=2")
    users = folder / "dataset" / "users.parquet"
    users.write_bytes(users.read_bytes()[:-9])
    assert "users.parquet: damaged" in refuse("recommend", f"--workdir={folder}", "--users=u3")


MISTAKES = {
    "another config": (["--config.train.margin=0.1"], "train.margin is 1.0 there and 0.1 here"),
    "mistyped key": (["--config.train.learning_rat=1"], "train.learning_rat (did you mean train.learning_rate?)"),
    "no number": (["--config.train.num_epochs=many"], "--config.train.num_epochs=many"),
    "out of range": (["--config.train.num_epochs=-1"], "train.num_epochs must be at least 0, got -1"),
    "unknown model": (["--config.model.name=hrl"], 'unknown model "hrl" (did you mean "hlr'),
    "unknown flag": (["--confg=1"], "Unknown command line flag 'confg'"),
    "stray word": (["ml-100k"], 'unexpected argument "ml-100k"'),
    "a seed out of range": (["--config.seed=-1"], "config.seed must be at least 0"),
    "a workdir below a file": (["--workdir=/dev/null/x"], "/dev/null is "),
    "a split that a world has not": (["--config.dataset.split=time"], "dataset.split=random"),
    "too many devices": (["--config.mesh.model=64"], "mesh.data x mesh.model is 1 x 64, but only"),
    "missing file": (["--config.dataset.path=no.csv"], "no.csv: no such file"),
    "no config file": (["--config=no/such.py"], "no/such.py"),
    "config twice": (["--workdir=/dev/null"], "/dev/null is a file"),
    "negatives of other batches": (USERS[:1], "train.batch=users; set negatives to per_user or all"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(workdir, case):
    arguments, message = MISTAKES[case]
    assert message in refuse("train", CONFIG, f"--workdir={workdir}", *SMALL, *arguments)


def test_a_mistake_as_a_shell_sees_it(tmp_path):
    done = shell("evaluate", f"--workdir={tmp_path}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path} is not a workdir: it has no config.json; train first\n"


def test_recommend_to_users_and_to_new_users(workdir, tmp_path):
    out = succeed("recommend", f"--workdir={workdir}", "--users=3,99", "--k=2", "--explain", "--on_unknown=skip")
    assert '1 of 2 users are unknown, such as "99": left out' in out
    assert "user 3" in out
    assert out.count("No single item of the history stands out.") == 2  # HLR's attention is even
    (tmp_path / "new.csv").write_text("user,item\nann,1\nann,2\nbob,3\nbob,none\n")
    output = tmp_path / "recs.jsonl"
    out = succeed(
        "recommend", f"--workdir={workdir}", f"--histories={tmp_path / 'new.csv'}", f"--output={output}", "--k=3",
        "--on_unknown=skip", "--exclude_items=4,5", "--items=2,3,4,5,6,7,8",
    )  # fmt: skip
    assert "6 recommendations for 2 users are in" in out
    lists = pl.read_ndjson(output)
    assert lists["user"].to_list() == ["ann"] * 3 + ["bob"] * 3
    assert set(lists.filter(user="ann")["item"]) <= {3, 6, 7, 8}
    assert set(lists.filter(user="bob")["item"]) <= {2, 6, 7, 8}
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".parts"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--users=3,99"], '1 of 2 users are unknown, such as "99"'),
        ([], "pass either --users=all|id,id|@FILE or --histories=FILE"),
        (["--users=all", "--output=recs.xls"], "recs.xls: unknown file extension"),
        (["--users=all"], "too many to print; pass --output=recs.parquet"),
        (["--users=3", "--seed=1"], "seed 1 is not among this run's seeds: 0"),
        (["--users=3", "--items=77"], 'such as "77"; ids of items are whole numbers; pass a file of ids as @FILE'),
        (["--users=3", "--exclude_items=@no.txt"], "no.txt: no such file"),
        (["--histories=no.csv"], "no.csv: no such file"),
    ],
)
def test_mistakes_of_recommend_are_one_line(workdir, arguments, message):
    assert message in refuse("recommend", f"--workdir={workdir}", *arguments)


def test_a_list_is_explained(workdir, tmp_path):
    reasons = tmp_path / "reasons.csv"
    assert f"rows are in {reasons}" in succeed("explain", f"--workdir={workdir}", "--user=3", f"--output={reasons}")
    recommended = succeed("recommend", f"--workdir={workdir}", "--users=3", "--k=5")
    items = pl.read_csv(reasons)["item"].unique(maintain_order=True).to_list()
    assert all(f" {item} " in recommended for item in items)
    out = succeed("explain", f"--workdir={workdir}", "--user=3", f"--items={items[1]}", "--num_reasons=1")
    assert len([line for line in out.splitlines() if line.split()[:1] == [str(items[1])]]) == 1
    assert 'unknown, such as "99"' in refuse("explain", f"--workdir={workdir}", "--user=99")


@pytest.mark.parametrize(("what", "held", "name"), [
    ("users", "12 of 60 users", "strong_generalization"), ("items", "10 of 50 items", "strong_generalization_items"),
])  # fmt: skip
def test_strong_generalization_is_measured_beside_what_was_trained_in(solved, what, held, name):
    out = succeed("evaluate", f"--workdir={solved}", f"--strong_generalization={what}", "--held_out=0.2")
    assert f"{held} are held out" in out
    metrics = read_json(solved / "eval" / f"{name}.json", {}, "")
    assert metrics.pop("made_by") == maker_of(solved)
    among = {f"{side}, among new items" for side in ("folded in", "trained in") if what == "items"}
    assert set(metrics) == {"folded in", "trained in", "Popularity"} | among
    if what == "users":
        assert {row["users"] for row in metrics.values()} == {12}
    ratio = metric_of(metrics["folded in"], "ndcg")["value"] / metric_of(metrics["trained in"], "ndcg")["value"]
    assert f"ndcg@10 with {what} folded in: {ratio:.1%} of the result with them trained in" in out


def test_an_export_answers_and_what_lies_near_is_written(workdir, tmp_path):
    out = succeed("export", f"--workdir={workdir}", f"--output={tmp_path / 'out'}", "--k=3")
    script, user = out.rpartition("try it: python ")[2].split()
    answered = subprocess.run([sys.executable, script, user], capture_output=True, text=True, check=True)
    assert answered.stdout.count(" ┆ ") == 4 * (1 + 3)  # five columns: a head and three items
    line = refuse("export", f"--workdir={workdir}", f"--output={tmp_path}")
    assert "is not an hlr-jax export" in line
    assert (tmp_path / "out" / "newcomers.stablehlo").is_file()  # the run knows how it was trained
    line = refuse("export", f"--workdir={workdir}", f"--output={tmp_path / 'other'}", "--m=4")
    assert line == "error: --m needs an index: pass --index=hnsw too\n"
    line = refuse("export", f"--workdir={workdir}", f"--output={tmp_path / 'other'}", "--seed=1")
    assert line == "error: seed 1 is not among this run's seeds: 0\n"
    neighbors = tmp_path / "near.csv"
    succeed("similar", f"--workdir={workdir}", "--items=all", "--k=2", f"--output={neighbors}")
    assert pl.read_csv(neighbors).height == 2 * pl.read_parquet(tmp_path / "out" / "items.parquet").height
    out = succeed("similar", f"--workdir={workdir}", "--items=1", "--keys", "--user=2")
    weights = [float(line.split()[-1]) for line in out.splitlines() if line.split()[:1] == ["1"]]
    assert sum(weights) == pytest.approx(1, abs=1e-3)  # of both keys
    line = refuse("similar", f"--workdir={workdir}", "--items=1", "--output=near.xlsx")
    assert "(known: .csv, .jsonl, .parquet)" in line


def test_several_seeds_are_summarised_and_each_is_kept(tmp_path):
    several = "--config.seed=1", "--config.train.num_seeds=2", "--tensorboard"
    for epochs in (1, 2):
        train = "train", SOLVED, f"--workdir={tmp_path}", *TINY, *several, f"--config.train.num_epochs={epochs}"
        out = succeed(*train)
        folders = [path.parent.name for path in tmp_path.glob("tensorboard/*/events.*")]
        assert sorted(folders) == ["seed-1", "seed-2"]  # one file each: a continued training has no epoch twice
    assert out.count("std, seeds") == 2
    metrics = json.loads((tmp_path / "eval" / "test.json").read_text())
    ndcg = metric_of(metrics, "ndcg", 10)
    runs = ndcg["by_seed"]
    assert [run["seed"] for run in metrics["seeds"]] == [1, 2]
    assert ndcg["value"] == pytest.approx(sum(runs) / 2)
    assert ndcg["std"] == pytest.approx(abs(runs[0] - runs[1]) / 2**0.5)
    per_user = pl.read_parquet(tmp_path / "eval" / "per_user.parquet")
    means = per_user.group_by("seed", maintain_order=True).agg(pl.col("ndcg").mean())
    assert means.rows() == [(1, pytest.approx(runs[0])), (2, pytest.approx(runs[1]))]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4
    # What a run writes is what Table 2 reads.
    block = compare("planted", {"mf_als": read_result(tmp_path)})
    cell = block.cells["NDCG"]["mf_als"]
    assert (cell.mean, cell.std) == (pytest.approx(100 * ndcg["value"]), pytest.approx(100 * ndcg["std"]))
    assert block.cells["MRR"]["mf_als"].mean == pytest.approx(100 * metric_of(metrics, "rr_sum")["value"])
