"""Odd names of folders and ids, terminals of any encoding, and data with nothing to choose by."""

import contextlib
import io
import json
import math
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import numpy as np
import polars as pl
import pytest
from command_line import command, scripts
from fabricated import metric_of

import hlr_jax
from hlr_jax import EvalOptions, InputError, TrainOptions
from hlr_jax.cli.main import main
from hlr_jax.cli.support.tables import chosen_by_validation, print_metrics
from hlr_jax.evaluation.results import Metrics
from hlr_jax.fitting.fit import FitResult
from hlr_jax.json_files import write_json
from hlr_jax.scorers.ease import Ease
from hlr_jax.scorers.popularity import Popularity
from hlr_jax.settings import plain

ODD = "lr=[0.1] a*b?ü %41"
USERS = ["日本", "AC/DC", "Smith, J", ":cat: [b]", "José"]


def succeed(program, *arguments):
    """Return what a command prints that ends well."""
    done = command(program, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with an odd name that holds a log and a run of Popularity on it."""
    folder = tmp_path_factory.mktemp("edges") / ODD
    folder.mkdir()
    items = [f"é{number}" for number in range(8)]
    rows = [(user, item) for n, user in enumerate(USERS) for m, item in enumerate(items) if (n * m) % 3 != 1]
    pl.DataFrame(rows, schema=["user", "item"], orient="row").write_csv(folder / "log[1].csv")
    out = succeed(
        "train", "--config=popularity:own", f"--config.dataset.path={folder}/log[1].csv", f"--workdir={folder}/run/",
        "--quiet",
    )  # fmt: skip
    assert "Popularity; everything is in" in out
    return folder


def test_a_run_is_used_in_a_folder_of_any_name(folder):
    run = f"--workdir={folder}/run"
    assert "popularity," in succeed("evaluate", run)
    for name in ("recs[1]*.csv", "recs?.jsonl", "recs 日本.parquet"):
        succeed("recommend", run, "--users=all", f"--output={folder}/{name}", "--k=2")
    lists = pl.read_csv((folder / "recs[1]*.csv").read_bytes())
    assert set(lists["user"]) == set(USERS)
    assert pl.read_ndjson((folder / "recs?.jsonl").read_bytes())["item"].equals(lists["item"])
    succeed("report", run, f"--output={folder}/page[1].html")
    assert "Popularity" in (folder / "page[1].html").read_text(encoding="utf-8")


def test_histories_are_read_by_flags_that_the_command_has(folder):
    run, path = f"--workdir={folder}/run", folder / "h[1].csv"
    path.write_text("user_id,item_id\nann,é0\nann,é3\n", encoding="utf-8")
    named = ["--user_column=user_id", "--item_column=item_id"]
    assert "user ann" in succeed("recommend", run, f"--histories={path}", *named, "--k=1")
    (folder / "h.what").write_bytes(path.read_bytes())
    for words, message in (
        ([f"--histories={path}"], 'no columns "user" and "item"'),
        ([f"--histories={folder}/h.what"], "pass --format"),
        ([f"--histories={folder}/none.csv"], "no such file; check --histories"),
        (["--users=José", "--format=csv"], "--format applies to --histories"),
    ):
        done = command("recommend", run, *words)
        assert (done.returncode, message in done.stderr, "dataset." in done.stderr) == (2, True, False), done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_what_a_terminal_cannot_show_is_no_traceback(folder, encoding):
    content = io.BytesIO()
    terminal = io.TextIOWrapper(content, encoding=encoding)
    words = ["recommend", f"--workdir={folder}/run", '--users=日本,"Smith, J",José,:cat: [b]', "--k=1"]
    with (
        scripts(), mock.patch.object(sys, "argv", words), contextlib.suppress(SystemExit),
        contextlib.redirect_stdout(terminal),
    ):  # fmt: skip
        main("recommend")
    shown = content.getvalue().decode(encoding)
    users = [line.removeprefix("user ") for line in shown.splitlines() if line.startswith("user ")]
    assert users == [
        name.encode(encoding, "replace").decode(encoding) for name in ("日本", "Smith, J", "José", ":cat: [b]")
    ]


def test_a_reader_that_goes_away_ends_a_command_without_a_word():
    words = [sys.executable, "-m", "hlr_jax", "list", "metrics"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        started.stdout.close()
        assert started.stderr.read() == b""
    assert started.returncode == 1


def test_a_best_epoch_is_one_that_validation_chose():
    run = TrainOptions().runs([0])[0]

    def said(model, *values, options=(), history=(), **fields):
        fits = [FitResult({}, run._replace(temperature=0.2), 5, value, list(history), **fields) for value in values]
        parts = SimpleNamespace(model=model, train=TrainOptions(temperatures=options))
        return chosen_by_validation(SimpleNamespace(fits=fits, parts=parts))

    cml = hlr_jax.create_model("cml", embed_dim=2)
    assert said(cml, 0.1, 0.2) == "best epoch 5, 5"
    assert said(cml, None) == "last epoch 5 (there is no validation)"
    assert said(cml, 0.1, options=(0.1, 0.2)) == "best epoch 5, best temperature 0.2"
    equal = said(cml, 0.1, options=(0.2, 0.3), equals=(0.3,))
    assert equal == "best epoch 5, best temperature 0.2 (0.3 validated equally well; the first is kept)"
    assert said(Ease((30.0,)), 0.1, history=[{}, {}]).startswith("best regularization 30")
    assert said(Ease((30.0,)), 0.1, history=[{}]).startswith("regularization 30")
    assert said(Popularity(), 0.1) == "Popularity"


def test_a_metric_of_nobody_is_a_dash_and_null(tmp_path, capsys):
    values = {(name, 5): (math.nan, math.nan) for name in ("ndcg", "map", "mrr", "precision", "recall", "hit_rate")}
    values |= {("median_popularity", 5): (math.nan, 3.0), ("coverage", 5): (0.0, 0.5)}
    facts = ("test", 2, 9, "f00d", "paper", "cafe", {}, 0.5)
    metrics = Metrics(*facts, (5,), (0, 1), (3, 4), values)
    assert math.isnan(metrics.value("ndcg"))
    assert (metrics.value("median_popularity"), metrics.std("median_popularity")) == (3.0, None)
    write_json(tmp_path / "test.json", metrics.to_json())
    record = json.loads((tmp_path / "test.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert metric_of(record, "ndcg", 5)["value"] is None
    assert math.isnan(Metrics.from_json(record).value("ndcg"))
    print_metrics({"[odd]": metrics})
    line = next(line for line in capsys.readouterr().out.splitlines() if "[odd]" in line)
    assert line.split() == ["[odd]", *"------", "3", "0.2500"]


def test_a_table_shows_the_protocols_own_map_and_mrr_and_marks_them(capsys):
    names = ("ndcg", "map", "map_over_k", "mrr", "rr_sum", "precision", "recall", "hit_rate", "median_popularity")
    values = {(name, 5): (0.1 + n / 100,) for n, name in enumerate((*names, "coverage"))}
    facts = ("test", 1234, 56, "f00d", "reference", "cafe", {"MAP": "map_over_k", "MRR": "rr_sum"}, 0.5)
    print_metrics({"hlr": Metrics(*facts, (5,), (0,), (3,), values | {("rr_sum", 5): (1.25,)})})
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == "test: 1,234 users, 56 items; K = 5"
    assert lines[1].split() == ["ndcg", "map*", "mrr*", "prec", "recall", "hits", "popul", "cover"]
    assert lines[3].split() == ["hlr", "0.1000", "0.1200", "1.2500", "0.1500", "0.1600", "0.1700", "0", "0.1900"]
    assert lines[4] == "* as protocol reference defines it: map is map_over_k, mrr is rr_sum"


def test_settings_may_hold_what_numpy_and_paths_are(tmp_path):
    given = {
        "seed": np.int64(3), "dataset": {"path": tmp_path, "k_core": np.array(2)}, "eval": EvalOptions(k=np.int32(5)),
        "train": {"learning_rate": np.float64(0.5), "temperatures": np.array([0.5])}, "model": {"name": np.str_("cml")},
    }  # fmt: skip
    config = plain(given)
    assert json.loads(json.dumps(config)) == config
    assert (config["seed"], config["dataset"]) == (3, {"path": str(tmp_path), "k_core": 2})
    assert (config["eval"]["k"], config["train"]["temperatures"]) == (5, [0.5])
    assert type(replace(TrainOptions(), num_epochs=np.int64(3)).num_epochs) is int
    for name, value in (("model", hlr_jax.create_model("cml")), ("train", {"margin": {1}}), ("dataset", object())):
        with pytest.raises(InputError, match=rf"^{name}.* is a \w+; settings are texts, numbers and lists of them"):
            hlr_jax.run(given | {name: value}, None)
    with pytest.raises(InputError, match="the config must be a dict of sections, got list"):
        hlr_jax.run([], None)
