"""Blends of runs: the workdir that holds them, what reads it, and what is saved of it."""

import json
import shutil
from unittest import mock

import jax
import numpy as np
import polars as pl
import pytest
from command_line import command

import hlr_jax
from hlr_jax import InputError, Recommender, loading
from hlr_jax.blends.workdir import blend_runs, finish_blend
from hlr_jax.folders import MARKER
from hlr_jax.json_files import write_json
from hlr_jax.loading import LoadedRun
from hlr_jax.report.page import write_report
from hlr_jax.training.result import train_seconds

TRAIN = {"batch_size": 300, "learning_rate": 0.05, "objective": "sampled_softmax", "num_negatives": 3}
EVAL = {"k": (5, 10), "monitor": "ndcg"}


def silent(_):
    pass


def config(model, train=None, **options):
    own = {"dataset": {"name": "planted-60x50x900"}, "model": {"name": model, **options}, "eval": EVAL, "seed": 3}
    return own if train is None else own | {"train": train}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of EASE, and of CML with two seeds."""
    folder = tmp_path_factory.mktemp("runs")
    hlr_jax.run(config("ease", regularization=[3.0, 30.0]), folder / "ease", log=silent)
    cml = config("cml", TRAIN | {"num_epochs": 3, "num_seeds": 2}, embed_dim=6)
    hlr_jax.run(cml, folder / "cml", quiet=True, log=silent)
    return folder


WEIGHTS = {"ease": 0.4, "cml": 0.6}


@pytest.fixture(scope="module")
def blend(runs):
    """A blend whose parts and own folder have been moved since it was made."""
    before = runs / "before"
    for name in WEIGHTS:
        shutil.copytree(runs / name, before / name)
    made = blend_runs({name: before / name for name in WEIGHTS}, runs / "made", WEIGHTS, log=silent)
    shutil.rmtree(before)
    return made, (runs / "made").rename(runs / "blend")


def test_a_workdir_of_a_blend_is_read_as_any_other(blend, runs, tmp_path):
    made, folder = blend
    loaded = hlr_jax.load_run(folder, log=silent)
    assert (loaded.parts.model.weights, loaded.seeds) == (WEIGHTS, [3])
    expected = made.result.evaluations["test"][0]
    again = hlr_jax.evaluate(loaded.parts.model, loaded.params[0], loaded.parts.dataset, options=loaded.parts.eval)
    np.testing.assert_array_equal(again.ranking.items, expected.ranking.items)
    recommender = Recommender.load(folder)
    assert recommender.metrics == made.result.metrics
    # The parts are the runs, each with its first seed and the settings of its training.
    cml = Recommender.load(runs / "cml")
    assert recommender.parts["cml"].recommend(k=4).equals(cml.recommend(k=4))
    assert recommender.model.parts["cml"].training == cml.training
    assert recommender.recommend(histories=[3, 4, 5]).equals(
        hlr_jax.blend({name: Recommender.load(runs / name) for name in WEIGHTS}, WEIGHTS).recommend(histories=[3, 4, 5])
    )
    saved = Recommender.load(recommender.save(tmp_path / "saved"))
    assert saved.metrics == recommender.metrics
    for call in (
        lambda own: own.recommend(k=7, num_reasons=2),
        lambda own: own.recommend(histories={"ann": [3, 4, 5], "bob": [7]}, k=5),
        lambda own: own.explain(7, [5, 6]),
        lambda own: own.similar_items([3, 4], k=2),
    ):
        assert call(saved).equals(call(recommender))
    written = sorted(path.name for path in (tmp_path / "saved").iterdir())
    assert written == [MARKER, "dataset", "parameters", "recommender.json"]


def test_spaces_are_those_of_a_part(runs):
    ease, cml = (Recommender.load(runs / name) for name in ("ease", "cml"))
    run, _ = cml.served
    model = hlr_jax.create_model("lrml", embed_dim=6, num_memories=2)
    params = model.init(jax.random.key(0), 60, 50)
    lrml = Recommender(LoadedRun(run.parts._replace(model=model), [params], run.progress[:1]), cml.settings)
    blend = hlr_jax.blend([ease, cml, lrml], {"ease": 0.5, "cml": 0.3, "lrml": 0.2})
    near = blend.similar_items([3, 4], k=2)
    assert near["part"].unique().to_list() == ["cml"]  # EASE has no vectors
    assert near.drop("part").equals(cml.similar_items([3, 4], k=2))
    assert blend.similar_users(3, part="lrml").drop("part").equals(lrml.similar_users(3))
    keys = blend.nearest_keys(3, user=5)
    assert keys.drop("part").equals(lrml.nearest_keys(3, user=5))
    assert keys["part"][0] == "lrml"
    for call, line in (
        (lambda: blend.similar_items(3, part="cm"), 'unknown part of the blend "cm"'),
        (lambda: blend.similar_items(3, part="ease"), "EASE has no vectors"),
        (lambda: cml.similar_items(3, part="cml"), "part=cml: CML is not a blend"),
        (hlr_jax.blend([cml], {"cml": 1.0}).keys, "no part of the blend has keys"),
    ):
        with pytest.raises(InputError, match=line):
            call()


def test_validation_chooses_and_the_record_says_how(runs, tmp_path):
    done = command("blend", f"--workdirs={runs / 'ease'},{runs / 'cml'}", f"--workdir={tmp_path / 'out'}")
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads((tmp_path / "out" / "result" / "blend.json").read_text())
    chosen = record["chosen"]
    assert chosen["metric"] == "valid_ndcg@5"
    weights = chosen["weights"]
    assert f"{chosen['metric']} {chosen['value']:.4f} (" in done.stdout
    assert f"  weights: ease {weights['ease']:g}, cml {weights['cml']:g}\n" in done.stdout
    assert record["weights"] == {label: weight for label, weight in chosen["weights"].items() if weight}
    for name in ("ease", "cml"):  # EASE's own run has said the same of itself
        lines = [json.loads(line) for line in (runs / name / "metrics.jsonl").read_text().splitlines()]
        first = [line["valid_ndcg@5"] for line in lines if line["seed"] == 3]
        assert chosen["alone"][name] == pytest.approx(max(first), abs=1e-6)
    valid = json.loads((tmp_path / "out" / "eval" / "valid.json").read_text())
    ndcg = next(row["value"] for row in valid["metrics"] if (row["metric"], row["k"]) == ("ndcg", 5))
    assert chosen["value"] == pytest.approx(ndcg)
    # The same call takes its place; so does one with other weights.
    again = command(
        "blend", f"--workdirs={runs / 'ease'},{runs / 'cml'}", f"--workdir={tmp_path / 'out'}",
        "--weights=ease:0.25,cml:0.75",
    )  # fmt: skip
    assert again.returncode == 0
    assert hlr_jax.load_run(tmp_path / "out", log=silent).parts.model.weights == {"ease": 0.25, "cml": 0.75}


def test_every_command_reads_it(blend, runs, tmp_path):
    _, folder = blend
    before = (folder / "eval" / "test.json").read_text()
    done = {}
    for name, *flags in (
        ("evaluate", "--k=3"),
        ("recommend", "--users=7", "--explain"),
        ("explain", "--user=7", "--k=2"),
        ("similar", "--items=3"),
        ("recommend", "--users=all", f"--output={tmp_path / 'all.parquet'}"),
    ):
        done[name] = command(name, f"--workdir={folder}", *flags)
        assert (done[name].returncode, done[name].stderr) == (0, ""), name
    assert "blend, test" in done["evaluate"].stdout
    assert "ease" in done["explain"].stdout
    assert "part" in done["similar"].stdout
    assert (folder / "eval" / "test.json").read_text() == before
    compared = command("compare", f"--workdir={folder},{runs / 'ease'}")
    assert compared.returncode == 0
    page = write_report([folder, runs / "ease"], tmp_path / "page.html").read_text()
    assert "EASE + CML" in page
    refused = command("evaluate", f"--workdir={folder}", "--strong_generalization=users")
    assert "a blend has no vectors, but --strong_generalization needs them" in refused.stderr


def test_all_seeds_of_a_run_are_a_blend(runs):
    both = Recommender.load(runs / "cml", blend_seeds=True)
    assert both.model.weights == {"seed-3": 0.5, "seed-4": 0.5}
    assert both.model.title == "2 x CML"
    each = Recommender.load(runs / "cml")
    equal = hlr_jax.blend([each, each.of_seed(4)], {"cml": 0.5, "cml-2": 0.5})
    assert both.recommend(k=6).equals(equal.recommend(k=6))
    shown = command("evaluate", f"--workdir={runs / 'cml'}", "--blend_seeds")
    assert "blend, test" in shown.stdout
    assert len(json.loads((runs / "cml" / "eval" / "test.json").read_text())["seeds"]) == 2  # is that of the run
    refused = command("recommend", f"--workdir={runs / 'cml'}", "--users=7", "--blend_seeds", "--seed=4")
    assert "--blend_seeds uses all seeds: leave --seed out" in refused.stderr


def test_each_part_is_refitted_and_the_weights_stay(runs, tmp_path):
    hlr_jax.run(config("popularity"), tmp_path / "popularity", log=silent)
    solved = {"start": "als", "num_epochs": 0, "batch": "users", "negatives": "all", "objective": "sampled_softmax"}
    hlr_jax.run(config("cml", solved, embed_dim=6, user="history"), tmp_path / "cml", quiet=True, log=silent)
    weights = {"ease": 0.6, "popularity": 0.2, "cml": 0.2}
    folders = {"ease": runs / "ease", "popularity": tmp_path / "popularity", "cml": tmp_path / "cml"}
    blend_runs(folders, tmp_path / "blend", weights, log=silent)
    again = hlr_jax.refit(tmp_path / "blend", tmp_path / "refit", quiet=True, log=silent)
    assert again.parts.model.weights == weights
    assert list(again.metrics) == ["test"]
    alone = hlr_jax.refit(runs / "ease", tmp_path / "ease", quiet=True, log=silent)
    np.testing.assert_array_equal(again.fits[0].params["ease"]["weights"], alone.fits[0].params["weights"])
    done = command("refit", f"--workdir={tmp_path / 'blend'}", f"--output={tmp_path / 'refit'}", "--quiet")
    assert done.returncode == 0, done.stderr
    with pytest.raises(InputError, match="is not an hlr-jax blend: it is a run"):
        hlr_jax.refit(tmp_path / "blend", runs / "cml", quiet=True, log=silent)


def test_each_part_is_updated_and_the_weights_stay(blend, tmp_path):
    rows = pl.DataFrame({"user": [1, 2, 999], "item": [49, 48, 47]})
    updated = hlr_jax.update(blend[1], rows, tmp_path / "updated", num_epochs=1, quiet=True, log=silent)
    assert updated.parts.model.weights == WEIGHTS
    assert updated.parts.dataset.num_users == 61
    assert Recommender.load(tmp_path / "updated").recommend(999)["item"].len() == 10


def test_mistakes_are_one_line_and_leave_nothing(blend, runs, tmp_path):
    _, folder = blend
    other = hlr_jax.load_dataset("planted-60x50x900", seed=9, cache=False, log=silent)
    hlr_jax.fit(other, "ease", workdir=tmp_path / "other", quiet=True, log=silent)
    ease = runs / "ease"
    for workdirs, weights, line in (
        ({"a": ease, "b": tmp_path / "other"}, None, "parts b and a have different data"),
        ({"a": folder}, None, "is a blend: blend its parts instead"),
        ({"a": tmp_path / "none"}, None, "is not a workdir"),
        ({"a/b": ease}, None, "a label of a blend's part"),
        ({}, None, "at least one part"),
        ({"a": ease}, {"b": 1.0}, '"a" has no weight|"b" is no part'),
        ({"a": ease}, {"a": 0.5}, "sum to 0.5; they must sum to 1"),
    ):
        with pytest.raises(InputError, match=line) as told:
            blend_runs(workdirs, tmp_path / "out", weights, log=silent)
        assert "\n" not in str(told.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]
    with pytest.raises(InputError, match="is not an hlr-jax blend"):
        blend_runs({"a": ease}, ease, log=silent)
    for flags, line in (
        ([f"--workdirs={ease},{tmp_path / 'x' / 'ease'}"], "has two folders called ease"),
        ([f"--workdirs={ease}", "--weights=ease"], "--weights: 'ease' is not NAME:WEIGHT"),
    ):
        assert line in command("blend", *flags, f"--workdir={tmp_path / 'out'}").stderr
    with pytest.raises(InputError, match="is already a blend: leave out blend_seeds"):
        hlr_jax.load_run(folder, blend_seeds=True, log=silent)
    with pytest.raises(InputError, match="ranked on the host: leave out the mesh"):
        hlr_jax.load_run(folder, mesh={"data": 2, "model": 1}, log=silent)
    whole = hlr_jax.refit(ease, tmp_path / "whole", train_splits="train+valid", log=silent)
    assert whole.metrics
    with pytest.raises(InputError, match="no validation interactions to select weights: pass weights"):
        hlr_jax.blend([Recommender.load(tmp_path / "whole")], log=silent)
    broken = shutil.copytree(folder, tmp_path / "broken")
    shutil.rmtree(broken / "parts" / "cml")
    with pytest.raises(InputError, match="cml is not a workdir"):
        hlr_jax.load_run(broken, log=silent)
    hlr_jax.fit(other, "cml", train={"num_epochs": 1}, workdir=broken / "parts" / "cml", quiet=True, log=silent)
    with pytest.raises(InputError, match="parts cml and ease have different data"):
        hlr_jax.load_run(broken, log=silent)
    changed = json.loads((folder / "config.json").read_text())
    changed["model"]["parts"]["cml"].pop("weight")
    write_json(broken / "config.json", changed)
    with pytest.raises(InputError, match="does not describe a blend"):
        hlr_jax.load_run(broken, log=silent)
    start = config("cml", TRAIN | {"start": str(folder), "num_epochs": 1}, embed_dim=6)
    with pytest.raises(InputError, match="is a run of model blend, but the model is cml"):
        hlr_jax.run(start, tmp_path / "started", quiet=True, log=silent)


def test_runs_that_stand_in_place_are_blended_there(runs, tmp_path):
    """What trains the parts itself puts them where they belong."""
    for name in ("ease", "cml"):
        shutil.copytree(runs / name, tmp_path / "parts" / name)
    with mock.patch.object(loading, "read_stored", wraps=loading.read_stored) as read:
        done = finish_blend(tmp_path, ["ease", "cml"], log=silent)
        assert read.call_count == 1  # its parts have the same data
        loaded = hlr_jax.load_run(tmp_path, log=silent)
        assert read.call_count == 2
    assert loaded.parts.model.weights == done.result.parts.model.weights
    assert set(done.chosen.weights) == {"ease", "cml"}
    seconds = json.loads((tmp_path / "metrics.jsonl").read_text())["seconds"]
    assert seconds > train_seconds(runs / "ease") + train_seconds(runs / "cml")
