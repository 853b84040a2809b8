"""``auto``: what is searched, which steps are taken, and what is left of them in a workdir."""

import json
import re
from unittest import mock

import jax
import numpy as np
import pytest
from command_line import command

import hlr_jax
from hlr_jax import InputError
from hlr_jax.auto import closed_forms, refined
from hlr_jax.auto import run as auto
from hlr_jax.auto.run import run_auto
from hlr_jax.auto.search import Climb, scaled, to_next
from hlr_jax.cli.support.tables import print_auto
from hlr_jax.evaluation.evaluate import values_on_valid
from hlr_jax.recommender.recommender import Recommender
from hlr_jax.scorers.item_knn import ItemKNN
from hlr_jax.scorers.item_matrix import ItemMatrix
from hlr_jax.sweeps.sweep import Sweep
from hlr_jax.workdir import AUTO


def refused(match, call, *arguments, **options):
    with pytest.raises(InputError, match=match) as line:
        call(*arguments, **options)
    assert "\n" not in str(line.value)


def config(**model):
    return {"model": {"name": "auto", "max_dim": 16} | model, "eval": {"monitor": "ndcg"}, "seed": 3}


@pytest.fixture(scope="module", autouse=True)
def short():
    """One start in a smaller ball, and few steps: what is compiled counts, not what is learned."""
    few = refined._CML | {"num_epochs": 2}
    with mock.patch.object(refined, "ITERATIONS", 2), mock.patch.object(refined, "_CML", few):
        yield


@pytest.fixture(scope="module")
def found(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("auto") / "run"
    return run_auto(config(), folder, dataset=world, quiet=True, log=lambda line: None), folder


def test_a_climb_finds_the_top_and_measures_each_point_once():
    measured = []

    def measure(point):
        measured.append(tuple(point.values()))
        return -((point["a"] - 4) ** 2) - (point["b"] - 1) ** 2

    a, b = to_next("a", [1, 2, 3, 4, 5, 9]), to_next("b", [0, 1, 2, 3, 7])
    climb = Climb(measure, {"a": 2, "b": 3}).along(a, b)
    assert (climb.best, climb.best_value) == ({"a": 4, "b": 1}, 0)
    assert measured == [(2, 3), (3, 3), (4, 3), (5, 3), (4, 7), (4, 2), (4, 1), (4, 0)]
    assert climb.along(a, b).best == {"a": 4, "b": 1}
    assert len(measured) == len(set(measured))


def test_a_climb_along_a_ridge_moves_both_settings_together():
    def measure(point):
        return -abs(point["a"] / point["b"] - 0.5) - abs(point["b"] - 16)

    climb = Climb(measure, {"a": 1.0, "b": 2.0}).along(scaled(2.0, "a"), scaled(2.0, "a", "b"))
    assert (climb.best, climb.best_value) == ({"a": 8.0, "b": 16.0}, 0)


def test_a_climb_ends_when_there_is_no_more_time():
    climb = Climb(lambda point: point["a"], {"a": 0}, may_continue=lambda: len(climb_values) < 3)
    climb_values = climb.values
    assert climb.along(to_next("a", range(9))).best == {"a": 2}


def test_the_best_of_ease_is_what_its_own_fit_measures(world):
    best = dict(closed_forms.search_ease(world, hlr_jax.EvalOptions()).options)
    ease = hlr_jax.fit(world, "ease", model=best, quiet=True)
    assert dict(ease.model.options) == best
    measured = ease.evaluate("valid", k=10).metrics.value("ndcg")
    each = values_on_valid(ease.model, ease.params, world, hlr_jax.EvalOptions(monitor="ndcg"))
    assert measured == pytest.approx(each.mean())
    for factor in (0.1, 10):
        other = hlr_jax.fit(world, "ease", model=best | {"regularization": best["regularization"][0] * factor})
        assert other.evaluate("valid", k=10).metrics.value("ndcg") <= measured


def test_the_best_of_item_knn_is_what_its_own_fit_measures(world):
    lists = hlr_jax.EvalOptions(monitor="ndcg")

    def measured(scorer):
        state = next(scorer.fits(world)).state
        return values_on_valid(scorer, state, world, lists).mean()

    best = closed_forms.search_item_knn(world, lists)
    (matches,), (shrink,) = best.best_matches, best.shrink
    assert measured(best) > measured(ItemKNN((0,), (10.0,)))  # where the search begins
    order = (1, 3, 10, 0)
    place = order.index(matches)
    for other in order[max(place - 1, 0) : place + 2]:
        assert measured(ItemKNN((other,), (shrink,))) <= measured(best)


def test_dimensions_double_as_long_as_that_is_worth_more_than_a_standard_error(world):
    each = np.random.default_rng(0).uniform(size=100)  # of each user, whatever the strengths
    noise = np.where(np.arange(100) % 2, 0.1, -0.1)  # a standard error of 0.01
    by_dim = {4: each, 8: each + 0.02 + noise, 16: each + 0.025 + 2 * noise, 32: each + 1}

    def values(model, params, dataset, options):
        return by_dim[model.init(jax.random.key(0), 1, 1)["item"].shape[1]]

    with (
        mock.patch.object(closed_forms, "_FIRST_DIM", 4),
        mock.patch.object(closed_forms, "factorize"),
        mock.patch.object(closed_forms, "values_on_valid", values),
    ):
        assert closed_forms.search_mf_als(world, hlr_jax.EvalOptions(), 64)["embed_dim"] == 8
        assert closed_forms.search_mf_als(world, hlr_jax.EvalOptions(), 7)["embed_dim"] == 4


def test_the_weights_of_ease_that_validate_best_are_kept_and_not_made_again(world):
    best = closed_forms.search_ease(world, hlr_jax.EvalOptions())
    anew = hlr_jax.fit(world, "ease", model=dict(best.options), quiet=True)
    with mock.patch("hlr_jax.scorers.ease.gram_matrix", side_effect=AssertionError("made again")):
        kept = run_auto(config(parts=("ease",)), dataset=world, quiet=True, log=lambda line: None).blend
    assert kept.parts.model.parts["ease"].system == anew.model
    np.testing.assert_array_equal(kept.params[0]["ease"]["weights"], anew.params["weights"])


def test_the_blend_is_on_validation_no_worse_than_its_best_part(found, world):
    result, _ = found
    assert list(result.parts) == ["ease", "item_knn", "mf_als", "cml"]
    valid = {label: part.metrics["valid"].value("ndcg") for label, part in result.parts.items()}
    assert result.metrics["valid"].value("ndcg") == pytest.approx(result.chosen.value)
    assert result.chosen.value >= max(valid.values()) - 1e-9
    assert sum(part.weight for part in result.parts.values()) == pytest.approx(1)
    assert {label for label, part in result.parts.items() if part.weight} == set(result.blend.parts.model.parts)
    assert "recommended" in result.verdict


def test_its_workdir_is_a_recommender_and_so_is_each_part(found, world):
    result, folder = found
    loaded = Recommender.load(folder)
    fitted = hlr_jax.fit(world, "auto", model={"max_dim": 16}, seed=3, quiet=True, log=lambda line: None)
    assert loaded.model == fitted.model == result.blend.parts.model
    assert loaded.recommend(k=4).equals(fitted.recommend(k=4))
    assert loaded.metrics["test"].value("ndcg") == result.metrics["test"].value("ndcg")
    part = Recommender.load(folder / "parts" / "mf_als")
    assert part.metrics["test"].value("ndcg") == result.parts["mf_als"].metrics["test"].value("ndcg")


def test_the_same_call_resumes_and_searches_nothing_again(found, world):
    result, folder = found
    record = json.loads((folder / AUTO).read_text())
    with (
        mock.patch.object(auto, "search_ease", side_effect=AssertionError("searched again")),
        mock.patch.object(auto, "search_item_knn", side_effect=AssertionError("searched again")),
        mock.patch.object(auto, "search_mf_als", side_effect=AssertionError("searched again")),
    ):
        again = run_auto(config(), folder, dataset=world, quiet=True, log=lambda line: None)
    assert again.chosen == result.chosen
    assert json.loads((folder / AUTO).read_text()) == record
    assert {label: part.seconds for label, part in again.parts.items()} == {
        step["step"]: step["seconds"] for step in record["steps"]
    }


def test_what_the_time_budget_left_out_stays_out(world, tmp_path):
    said = []
    few = run_auto(config(time_budget=1e-9), tmp_path, dataset=world, quiet=True, log=said.append)
    assert list(few.parts) == ["ease"]
    assert {f"{label} is left out: the time budget is used up" for label in ("item_knn", "mf_als")} <= set(said)
    valid = few.metrics["valid"].value("ndcg")
    assert any(re.fullmatch(rf"after \d+ s: ease: valid_ndcg@10 {valid:.4f}", line) for line in said)
    with mock.patch.object(auto.time, "perf_counter", return_value=0.0):  # now there would be time
        again = run_auto(config(time_budget=1e-9), tmp_path, dataset=world, quiet=True, log=said.append)
    assert list(again.parts) == ["ease"]
    assert again.metrics["test"].value("ndcg") == few.metrics["test"].value("ndcg")


def test_a_matrix_is_left_out_where_it_takes_too_much_and_refused_where_there_is_nothing_else(world):
    said, matrices = [], ("ease", "item_knn")
    with mock.patch.object(ItemMatrix, "check_memory", side_effect=InputError("it takes too much")):
        others = run_auto(config(parts=(*matrices, "mf_als")), dataset=world, quiet=True, log=said.append)
        refused("too much", run_auto, config(parts=matrices), dataset=world, quiet=True)
    assert list(others.parts) == ["mf_als"]
    assert {f"{label} is left out: it takes too much" for label in matrices} <= set(said)


def test_a_part_without_factors_to_start_from_is_left_out(world, tmp_path):
    said = []
    point = {"confidence": 2.0, "regularization": 1e7, "embed_dim": 8}
    with mock.patch.object(auto, "search_mf_als", return_value=point):
        result = run_auto(config(), tmp_path / "run", dataset=world, quiet=True, log=said.append)
    assert list(result.parts) == ["ease", "item_knn", "mf_als"]
    assert any(line.startswith("cml is left out: train.start_regularization=1e+07 shrinks") for line in said)
    assert not (tmp_path / "run" / "parts" / "cml").exists()


def test_what_it_prints(found, capsys):
    result, _ = found
    print_auto(result)
    printed = capsys.readouterr().out
    for label, part in result.parts.items():
        assert f"{label}: {part.title}" in printed
        assert f"{part.metrics['test'].value('ndcg'):.4f}" in printed
    assert f"{result.metrics['test'].value('ndcg'):.4f}" in printed
    assert result.verdict in printed.replace("\n", " ")


def test_what_trains_a_single_system_says_what_runs_auto(world, tmp_path):
    says = r'call hlr_jax\.fit\(dataset, "auto"\), or run hlr-jax train --config=auto:DATA'
    refused(says, hlr_jax.run, config(), tmp_path / "run", dataset=world)
    refused(says, Sweep, config(), tmp_path / "sweep")
    assert list(tmp_path.iterdir()) == []
    for grid in ("model.max_dim=16,32", "train.margin=0.5,1"):
        arguments = "--config=auto:planted", f"--grid={grid}", "--num_seeds=2", f"--workdir={tmp_path}/sweep"
        ended = command("sweep", *arguments)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert re.fullmatch(f"error: .*{says}\n", ended.stderr)
    assert list(tmp_path.iterdir()) == []


def test_no_other_run_takes_its_folder(found, world, tmp_path):
    result, folder = found
    ease = {"model": {"name": "ease"}}
    refused("is not an hlr-jax run: it is a run of auto", hlr_jax.run, ease, folder, dataset=world)
    assert Recommender.load(folder).model == result.blend.parts.model
    (tmp_path / AUTO).write_text("{}")
    refused("is not an hlr-jax run", hlr_jax.run, ease, tmp_path, dataset=world)
    refused("has an unfinished run of auto", hlr_jax.refit, tmp_path, tmp_path / "refit")
    assert [path.name for path in tmp_path.iterdir()] == [AUTO]


def test_bad_settings_and_other_folders_are_refused(found, world, tmp_path):
    _, folder = found
    options = {"dataset": world, "quiet": True}
    refused("model.max_dim is 16 there and 32 here", run_auto, config(max_dim=32), folder, **options)
    refused('unknown model.parts "svd"', run_auto, config(parts=("svd",)), **options)
    refused("leave out the section train", run_auto, config() | {"train": {"num_epochs": 3}}, **options)
    refused("max_dims", run_auto, config(max_dims=3), **options)
    other = hlr_jax.load_dataset("planted-60x50x900", seed=9, cache=False, log=lambda line: None)
    refused("holds a run on other data", run_auto, config(), folder, dataset=other, quiet=True)
    (tmp_path / "mine.txt").write_text("precious")
    refused("is not an hlr-jax run of auto", run_auto, config(), tmp_path, **options)
    assert (tmp_path / "mine.txt").read_text() == "precious"
    with pytest.raises(InputError, match="valid"):
        run_auto(config(), dataset=world.trained_on("train+valid"), quiet=True)
