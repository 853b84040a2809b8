"""The command lines, as a shell runs them."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from hlr_jax.evaluation.comparison import compare, read_result

ROOT = Path(__file__).resolve().parents[1]
CONFIG = f"--config={ROOT}/experiments/configs/hlr.py:planted"
SMALL = [
    "--config.dataset.name=planted-60x50x900", "--config.model.embed_dim=6", "--config.model.num_memories=2",
    "--config.model.max_history=3", "--config.train.num_epochs=2", "--config.train.batch_size=200",
]  # fmt: skip


def command(script, *arguments):
    return subprocess.run(
        [sys.executable, ROOT / "experiments" / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "hlr"
    done = command("train.py", CONFIG, f"--workdir={folder}", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "epoch 2/2" in done.stdout
    assert "hlr, test" in done.stdout
    return folder


def test_a_workdir_holds_what_it_should(workdir):
    assert {path.name for path in workdir.iterdir()} == {
        "config.json",
        "env.json",
        "dataset",
        "checkpoints",
        "metrics.jsonl",
        "eval",
    }
    config = json.loads((workdir / "config.json").read_text())
    assert set(config) == {"dataset", "model", "train", "eval", "mesh", "seed"}
    assert config["train"]["num_epochs"] == 2
    environment = json.loads((workdir / "env.json").read_text())
    assert {"python", "packages", "devices", "data", "protocol"} <= set(environment)
    metrics = json.loads((workdir / "eval" / "test.json").read_text())
    names = [
        "ndcg",
        "map",
        "mrr",
        "rr_sum",
        "precision",
        "recall",
        "hit_rate",
        "median_popularity",
        "map_over_k",
        "gini",
    ]
    assert {f"{name}@10" for name in names} | {"users", "users_per_s", "protocol"} <= set(metrics)
    per_user = pl.read_parquet(workdir / "eval" / "per_user.parquet")
    assert per_user["ndcg"].mean() == pytest.approx(metrics["ndcg@10"])
    assert json.loads((workdir / "eval" / "valid.json").read_text())["split"] == "valid"


def test_evaluate_repeats_the_figures_and_takes_other_settings(workdir):
    before = json.loads((workdir / "eval" / "test.json").read_text())
    done = command("evaluate.py", f"--workdir={workdir}", "--k=5", "--num_cohorts=3")
    assert done.returncode == 0, done.stderr
    assert " at 5 " in done.stdout
    assert done.stdout.count("std, cohorts") == 2
    assert json.loads((workdir / "eval" / "test.json").read_text()) == before
    done = command("evaluate.py", f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    after = json.loads((workdir / "eval" / "test.json").read_text())
    assert {n: v for n, v in after.items() if "@" in n} == {n: v for n, v in before.items() if "@" in n}


def test_keys_of_a_run_as_cards_frames_and_plots(workdir, tmp_path):
    (tmp_path / "tags.csv").write_text("item,category\n" + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(50)))
    given = f"--categories={tmp_path}/tags.csv"
    done = command("keys.py", f"--workdir={workdir}", f"--output={tmp_path}/keys", given, "--plots")
    assert done.returncode == 0, done.stderr
    cards = (tmp_path / "keys" / "cards.md").read_text()
    assert cards in done.stdout
    assert cards.count("### Key ") == 2
    frames = {path.stem: pl.read_parquet(path) for path in (tmp_path / "keys").glob("*.parquet")}
    assert set(frames) == {"keys", "pairs", "similarity", "attention", "categories", "matching"}
    images = {path.stem: path.read_bytes()[:4] for path in (tmp_path / "keys").glob("*.png")}
    assert images == dict.fromkeys(("usage", "similarity", "categories"), b"\x89PNG")
    assert frames["keys"]["usage"].sum() == pytest.approx(1, abs=1e-5)
    assert set(frames["categories"]["category"]) <= {"a", "b"}
    done = command("keys.py", f"--workdir={workdir}", f"--output={tmp_path}/no", f"--categories={tmp_path}/no.csv")
    assert (done.returncode, done.stderr) == (2, f"error: {tmp_path}/no.csv: no such file of categories\n")
    assert not (tmp_path / "no").exists()


def test_refit_measures_once_more_and_serves(workdir, tmp_path):
    done = command("refit.py", f"--workdir={workdir}", f"--output={tmp_path}/both", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "hlr, test" in done.stdout
    assert "hlr, valid" not in done.stdout
    found = [json.loads((folder / "eval" / "test.json").read_text()) for folder in (workdir, tmp_path / "both")]
    assert found[0]["users"] == found[1]["users"]
    assert found[0]["data"] != found[1]["data"]
    done = command("compare.py", f"--workdirs={workdir},{tmp_path}/both")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = command("refit.py", f"--workdir={workdir}", f"--output={tmp_path}/all", "--train_splits=train+valid+test")
    assert done.returncode == 0, done.stderr
    assert "epoch 1/" in done.stdout
    done = recommend(tmp_path / "all", "--users=3", "--k=2")
    assert "user 3" in done.stdout
    done = command("refit.py", f"--workdir={tmp_path}/none", f"--output={tmp_path}/no")
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path}/none is no workdir: it has no config.json; train first\n"


def bad(workdir, *arguments):
    return [CONFIG, f"--workdir={workdir}", *arguments]


MISTAKES = {
    "another config": (["--config.train.margin=0.1"], "train.margin is 1.0 there and 0.1 here"),
    "mistyped key": (["--config.train.learning_rat=1"], 'Did you mean "learning_rate"'),
    "no number": (["--config.train.num_epochs=many"], "--config.train.num_epochs=many"),
    "out of range": (["--config.train.num_epochs=0"], "train.num_epochs must be at least 1, got 0"),
    "unknown model": (["--config.model.name=hrl"], 'unknown model "hrl" (did you mean "hlr'),
    "unknown flag": (["--confg=1"], "Unknown command line flag 'confg'"),
    "stray word": (["ml-100k"], 'unexpected argument "ml-100k"'),
    "a seed out of range": (["--config.seed=-1"], "config.seed must be at least 0"),
    "a workdir below a file": (["--workdir=/dev/null/x"], "/dev/null/x"),
    "a split that a world has not": (["--config.dataset.split=time"], "dataset.split=random"),
    "too many devices": (["--config.mesh.model=64"], "mesh.data x mesh.model is 1 x 64, but only"),
    "missing file": (["--config.dataset.path=no.csv"], "no.csv: no such file"),
    "no config file": (["--config=no/such.py"], "no/such.py"),
    "config twice": (["--workdir=/dev/null"], "/dev/null is a file"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(workdir, case):
    arguments, message = MISTAKES[case]
    done = command("train.py", *bad(workdir, *SMALL, *arguments))
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stdout


def recommend(workdir, *arguments):
    return command("recommend.py", f"--workdir={workdir}", *arguments)


def test_recommend_to_users_and_to_new_people(workdir, tmp_path):
    done = recommend(workdir, "--users=3,99", "--k=2", "--explain", "--on_unknown=skip")
    assert done.returncode == 0, done.stderr
    assert '1 of 2 users are unknown, such as "99": left out' in done.stdout
    assert "user 3" in done.stdout
    assert done.stdout.count("Because of") == 2
    (tmp_path / "new.csv").write_text("user,item\nann,1\nann,2\nbob,3\nbob,none\n")
    output = tmp_path / "recs.jsonl"
    done = recommend(
        workdir, f"--histories={tmp_path / 'new.csv'}", f"--output={output}", "--k=3", "--on_unknown=skip",
        "--exclude_items=4,5", "--items=2,3,4,5,6,7,8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "6 recommendations for 2 users are in" in done.stdout
    lists = pl.read_ndjson(output)
    assert lists["user"].to_list() == ["ann"] * 3 + ["bob"] * 3
    assert set(lists.filter(user="ann")["item"]) <= {3, 6, 7, 8}
    assert set(lists.filter(user="bob")["item"]) <= {2, 6, 7, 8}
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".parts"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--users=3,99"], '1 of 2 users are unknown, such as "99"'),
        ([], "--users=all|FILE|id,id or --histories=FILE, one of both"),
        (["--users=all", "--output=recs.xls"], "recs.xls: its ending tells no format"),
        (["--users=all"], "too many to show; pass --output=recs.parquet"),
        (["--users=3", "--seed_index=1"], "--seed_index must be in 0..0, got 1"),
        (["--users=3", "--items=77"], '1 of 1 candidates are unknown, such as "77"'),
        (["--histories=no.csv"], "no.csv: no such file"),
    ],
)
def test_mistakes_of_recommend_are_one_line(workdir, arguments, message):
    done = recommend(workdir, *arguments)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert message in done.stderr


def test_a_workdir_is_enough_where_the_source_is_gone(tmp_path):
    source, folder = tmp_path / "own.csv", tmp_path / "run"
    source.write_text("user,item\n" + "".join(f"u{n % 12},i{n * 7 % 10}\n" for n in range(60)))
    done = command(
        "train.py", CONFIG.replace("planted", "file"), f"--workdir={folder}", *SMALL[1:],
        f"--config.dataset.path={source}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    source.unlink()
    done = recommend(folder, "--users=u3", "--k=2")
    assert done.returncode == 0, done.stderr
    assert "user u3" in done.stdout
    users = folder / "dataset" / "users.parquet"
    users.write_bytes(users.read_bytes()[:-9])
    done = recommend(folder, "--users=u3")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "users.parquet: damaged" in done.stderr


def test_strong_generalization_is_measured_beside_users_trained_in(workdir):
    done = command("evaluate.py", f"--workdir={workdir}", "--strong_generalization", "--held_out=0.2")
    assert done.returncode == 0, done.stderr
    assert "12 of 60 users are held out" in done.stdout
    figures = json.loads((workdir / "eval" / "strong_generalization.json").read_text())
    assert set(figures) == {"folded in", "trained in", "Popularity"}
    assert {row["users"] for row in figures.values()} == {12}
    ratio = figures["folded in"]["ndcg@10"] / figures["trained in"]["ndcg@10"]
    assert f"ndcg@10 of users folded in: {ratio:.1%} of the same users trained in" in done.stdout


def test_evaluate_without_a_run(tmp_path):
    done = command("evaluate.py", f"--workdir={tmp_path}")
    assert (done.returncode, "is no workdir" in done.stderr) == (2, True)


def test_an_export_answers_and_what_lies_near_is_written(workdir, tmp_path):
    done = command("export.py", f"--workdir={workdir}", f"--output={tmp_path / 'out'}", "--k=3")
    assert done.returncode == 0, done.stderr
    script, user = done.stdout.rpartition("try it: python ")[2].split()
    answered = subprocess.run([sys.executable, script, user], capture_output=True, text=True, check=True)
    assert answered.stdout.count(" ┆ ") == 4 * (1 + 3)  # five columns: a head and three items
    done = command("export.py", f"--workdir={workdir}", f"--output={tmp_path}")
    assert (done.returncode, "holds something that is no export" in done.stderr) == (2, True)
    done = command("export.py", f"--workdir={workdir}", f"--output={tmp_path / 'other'}", "--seed=1")
    assert (done.returncode, done.stderr) == (2, "error: --seed is 1, but the run has 0\n")
    found = tmp_path / "near.csv"
    done = command("similar.py", f"--workdir={workdir}", "--items=all", "--k=2", f"--output={found}")
    assert done.returncode == 0, done.stderr
    assert pl.read_csv(found).height == 2 * pl.read_parquet(tmp_path / "out" / "items.parquet").height
    done = command("similar.py", f"--workdir={workdir}", "--items=1", "--keys", "--user=2")
    assert done.returncode == 0, done.stderr
    weights = [float(line.split()[-1]) for line in done.stdout.splitlines() if line.split()[:1] == ["1"]]
    assert sum(weights) == pytest.approx(1, abs=1e-3)  # of both keys
    done = command("similar.py", f"--workdir={workdir}", "--items=1", "--output=near.xlsx")
    assert (done.returncode, "(known: .csv, .jsonl, .parquet)" in done.stderr) == (2, True)


def test_several_seeds_are_summarised_and_each_is_kept(tmp_path):
    done = command(
        "train.py",
        CONFIG,
        f"--workdir={tmp_path}",
        *SMALL,
        "--config.seed=1",
        "--config.train.num_seeds=2",
        "--tensorboard",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("std, seeds") == 2
    figures = json.loads((tmp_path / "eval" / "test.json").read_text())
    runs = [run["ndcg@10"] for run in figures["seeds"]]
    assert [run["seed"] for run in figures["seeds"]] == [1, 2]
    assert figures["ndcg@10"] == pytest.approx(sum(runs) / 2)
    assert figures["std"]["ndcg@10"] == pytest.approx(abs(runs[0] - runs[1]) / 2**0.5)
    per_user = pl.read_parquet(tmp_path / "eval" / "per_user.parquet")
    means = per_user.group_by("seed", maintain_order=True).agg(pl.col("ndcg").mean())
    assert means.rows() == [(1, pytest.approx(runs[0])), (2, pytest.approx(runs[1]))]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4
    assert sorted(path.parent.name for path in tmp_path.glob("tensorboard/*/events.*")) == ["seed-1", "seed-2"]
    # What a run writes is what Table 2 reads.
    block = compare("planted", {"hlr": read_result(tmp_path)})
    cell = block.cells["NDCG"]["hlr"]
    assert (cell.mean, cell.std) == (
        pytest.approx(100 * figures["ndcg@10"]),
        pytest.approx(100 * figures["std"]["ndcg@10"]),
    )
    assert block.cells["MRR"]["hlr"].mean == pytest.approx(100 * figures["rr_sum@10"])


def test_every_config_file_loads():
    sys.path.insert(0, str(ROOT / "experiments"))
    try:
        from configs import adacml, authors, cml, hlr, hlrpp, lrml, mf_als, table2, transcf
    finally:
        sys.path.pop(0)
    import hlr_jax

    for config in [
        *(module.get_config() for module in (adacml, cml, hlr, hlrpp, lrml, mf_als, transcf)),
        cml.get_config("split"),
        *map(authors.get_config, authors.CHOICES),
        *map(table2.get_config, table2.CHOICES),
    ]:
        plain = config.to_dict()
        model = dict(plain["model"])
        assert hlr_jax.create_model(model.pop("name"), **model)
        assert hlr_jax.TrainOptions(**plain["train"])
        assert hlr_jax.EvalOptions(**plain["eval"])
