"""Time to quality: what commands print becomes curves, tables and a plot; and the systems that print them."""

import json
import os
import subprocess

import jax
import numpy as np
import pytest
from command_line import EXPERIMENTS, command, scripts

import hlr_jax
from hlr_jax.evaluation.evaluate import evaluate_ranker
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.types import Ranking

ENVIRONMENT = {"cores": 1, "cpu": "some", "device": "1 x cpu (cpu)", "jax": "0"}


@pytest.fixture(scope="module")
def parts():
    """The modules, imported as the commands import them."""
    with scripts():
        from benchmarks import plots, quality, report, settings
        from quality import stopwatch
    return type("Parts", (), {m.__name__.rpartition(".")[2]: m for m in (plots, quality, report, settings, stopwatch)})


@pytest.fixture
def _compile_quickly():
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def split_file(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("splits") / "ml-100k.parquet"  # a name that has settings
    world.to_frame().write_parquet(path)
    return path


@pytest.fixture(scope="module")
def dataset(split_file):
    return hlr_jax.load_dataset(split_file, split="given", log=lambda line: None)


def _echoed(*points):
    fields = ("seconds", "valid", "test")
    return "; ".join(f"echo '{json.dumps(dict(zip(fields, point, strict=True)))}'" for point in points)


def test_the_runs_of_a_label_make_one_curve(parts, tmp_path, capsys):
    given = [
        f"ours: echo hello; {_echoed((2.0, 0.18, 0.30))}",
        f"other one: {_echoed((1.0, 0.160, 0.29), (3.0, 0.198, 0.31), (4.0, 0.2, 0.32), (5.0, 0.19, None))}",
        f"ours: {_echoed((9.0, 0.25, 0.40))}",
    ]
    settings = parts.settings.Settings(beside=given, split_file="folder/small.parquet")
    records = [record | ENVIRONMENT for record in parts.quality.bench_quality(settings)]
    assert [(record["system"], len(record["points"])) for record in records] == [
        ("ours", 1),
        ("other one", 4),
        ("ours", 1),
    ]
    ours, other = parts.quality.summaries(records)
    assert ours == {
        "data": "small", "cores": 1, "system": "ours", "valid": 0.25, "test": 0.40, "s_95": 9.0, "s_99": 9.0,
        "s_100": 9.0, "last_s": 9.0,
    }  # fmt: skip
    assert other == {
        "data": "small", "cores": 1, "system": "other one", "valid": 0.2, "test": 0.32, "s_95": 3.0, "s_99": 3.0,
        "s_100": 4.0, "last_s": 5.0, "passed_s": 9.0,
    }  # fmt: skip
    two = records + [record | {"cores": 2} for record in records[1:2]]
    parts.report.print_tables(two)
    assert capsys.readouterr().out.count("other one") == 2
    pytest.importorskip("matplotlib")
    (drawn,) = parts.plots.draw(two, tmp_path)
    assert drawn.name == "quality.png"
    assert drawn.stat().st_size > 1000


def test_a_command_learns_what_to_read_and_when_it_was_started(parts):
    line = """printf '{"seconds": %s, "valid": %s, "test": null}\\n' "$HLR_JAX_STARTED" "${#SPLIT_FILE}" """
    before = parts.stopwatch.Stopwatch()._start
    (record,) = parts.quality.bench_quality(parts.settings.Settings(beside=[line], split_file="12345.parquet"))
    (point,) = record["points"]
    assert before <= point["seconds"] <= parts.stopwatch.Stopwatch()._start
    assert point["valid"] == len("12345.parquet")
    assert record["system"] == record["command"] == line


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x: exit 3", "exit 3: ended with status 3"), ("x: echo 1", "prints no line such as"),
        ("x: echo '{\"seconds\": 1}'", "not a point of a curve"), ("x: echo '{1'", "not a point of a curve"),
    ],
)  # fmt: skip
def test_commands_without_points_are_named(parts, line, message):
    with pytest.raises(hlr_jax.InputError, match=message):
        list(parts.quality.bench_quality(parts.settings.Settings(beside=[line], split_file="x")))


def test_quality_needs_commands_and_a_file():
    done = command("benchmark.py", "--what=quality", "--split_file=x.parquet")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --what=quality needs --split_file, and for each system a --beside=")


def test_the_commands_of_all_systems_are_labeled(parts, tmp_path):
    python = tmp_path / "python"  # of hlr_jax: tells what it is asked to run
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    variables = {"SPLITS": "splits", "PYTHON": str(python), "PEERS": "peers", "RECBOLE": "other", "MODELS": "cml"}
    for data in ("movielens-1m", "lastfm"):
        done = subprocess.run(
            ["bash", EXPERIMENTS / "quality.sh", data, "out.jsonl"],
            env=os.environ | variables, capture_output=True, text=True, check=True,
        )  # fmt: skip
        given = [line.removeprefix("--beside=") for line in done.stdout.splitlines() if line.startswith("--beside=")]
        systems = dict(parts.quality.labeled(each) for each in given)
        assert [command.split()[2:4] for command in systems.values()] == [
            ["auto", "$SPLIT_FILE"], ["implicit_als", "$SPLIT_FILE"], ["ease", "$SPLIT_FILE"],
            ["cornac_bpr", "$SPLIT_FILE"], ["recbole_bpr", "$SPLIT_FILE"], *[["metric_model", "$SPLIT_FILE"]] * 2,
        ]  # fmt: skip


def test_a_watch_leaves_out_what_it_is_paused_for(parts, monkeypatch):
    stopwatch, now = parts.stopwatch, [100.0]
    monkeypatch.setattr(stopwatch.time, "time", lambda: now[0])
    monkeypatch.setenv(stopwatch.STARTED, "90")
    watch = stopwatch.Stopwatch()
    now[0] = 105.0
    with watch.paused():
        now[0] = 125.0
    now[0] = 126.0
    assert watch.seconds == 16.0


def test_ndcg_is_that_of_the_package(parts, dataset, split_file, rng):
    scores = rng.normal(size=(dataset.num_users, dataset.num_items)).astype(np.float32)

    def ranker(users, seen, near):
        values = scores[users]
        for user, item in zip(seen.user, seen.item, strict=True):
            values[users == user, item] = -np.inf
        items = np.argsort(-values, axis=1)[:, :10]
        return Ranking(items, np.take_along_axis(values, items, axis=1))

    # Rows of the file are in the order of the sorted ids.
    users, items = (np.argsort(ids.to_numpy()) for ids in (dataset.user_ids, dataset.item_ids))
    of_file, split = scores[users][:, items], parts.stopwatch.read_split(str(split_file))
    for part in ("valid", "test"):
        expected = evaluate_ranker(ranker, dataset, part, EvalOptions()).metrics.value("ndcg")
        assert parts.stopwatch.ndcg(lambda block, _: of_file[block], split, part) == pytest.approx(expected, rel=1e-12)


def _points(*words):
    done = command("curve.py", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done


def test_ease_is_that_of_the_package(dataset, split_file):
    ((point,), _) = _points("ease", split_file, "regularization=5")
    ours = hlr_jax.run({"model": {"name": "ease", "regularization": (5.0,)}}, None, dataset=dataset, quiet=True).metrics
    assert point["valid"] == pytest.approx(ours["valid"].value("ndcg"), abs=1e-6)
    assert point["test"] == pytest.approx(ours["test"].value("ndcg"), abs=1e-6)


def test_als_has_a_point_for_each_iteration_and_a_rate(split_file):
    pytest.importorskip("implicit")
    points, done = _points("implicit_als", split_file, "factors=4", "confidence=5", "regularization=1", "iterations=4")
    assert len(points) == 4
    assert [p["seconds"] for p in points] == sorted(p["seconds"] for p in points)
    best = max(points, key=lambda point: point["valid"])
    assert best["test"] > 0
    assert all(p["test"] is None for p in points[points.index(best) + 1 :])
    assert "iterations/s with " in done.stderr


@pytest.mark.usefixtures("_compile_quickly")
def test_a_metric_model_has_a_point_for_each_epoch(split_file):
    points, _ = _points("metric_model", split_file, "model=cml", "start=als", "embed_dim=4")
    best = max(points, key=lambda point: point["valid"])
    assert [p for p in points if p["test"] is not None] == [best]
    assert len(points) > 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "SYSTEM ...; systems: auto, cornac_bpr, ease,"),
        (("ease",), "ease SPLIT.parquet regularization"),
        (("ease", "x", "lambda=3"), '"lambda=3" is not one of its options'),
        (("ease", "x", "regularization=much"), '"much" is not a value of regularization'),
        (("metric_model", "x.parquet", "model=cml", "start=als"), 'unknown fixed split "x"'),
    ],
)
def test_mistakes_of_a_curve_are_named(words, message):
    done = command("curve.py", *words)
    assert done.returncode == 2
    assert message in done.stderr


def test_plots_without_matplotlib_name_the_extra(parts, monkeypatch):
    monkeypatch.setattr(parts.plots.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(hlr_jax.InputError, match=r"hlr_jax\[plots\]"):
        parts.plots.require_matplotlib()
