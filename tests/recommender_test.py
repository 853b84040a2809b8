"""The object that ``hlr_jax.fit`` returns: what it holds, does, keeps and refuses."""

import json
import shutil

import jax
import numpy as np
import polars as pl
import pytest
from compilations import compilations

import hlr_jax
from hlr_jax import EvalOptions, InputError, Recommender, TrainOptions
from hlr_jax.data import neighbor_sampling
from hlr_jax.data.csr import csr_of
from hlr_jax.json_files import write_json
from hlr_jax.models.mf_als import mf_als
from hlr_jax.ranking import inputs
from hlr_jax.scorers.ease import Ease

TINY = {"model": {"embed_dim": 6, "num_memories": 3, "max_history": 4}, "quiet": True}


@pytest.fixture(scope="module")
def made(world, tmp_path_factory):
    """A recommender of two seeds and the workdir of its run."""
    folder = tmp_path_factory.mktemp("runs") / "hlr"
    train = {"num_epochs": 2, "temperatures": (0.2, 0.5), "batch_size": 300}
    return hlr_jax.fit(world, "hlr", **TINY, train=train, eval={"k": (5, 10)}, num_seeds=2, workdir=folder), folder


@pytest.fixture(scope="module")
def hlr(made):
    return made[0]


def refused(match, call, *arguments, **options):
    with pytest.raises(InputError, match=match) as line:
        call(*arguments, **options)
    assert "\n" not in str(line.value)


def test_it_does_what_the_functions_do_with_what_it_holds(hlr, world):
    run, seed = (hlr.model, hlr.params, hlr.dataset), {"seed": hlr.seed}
    assert hlr.recommend([3, 7], k=4).equals(hlr_jax.recommend(*run, [3, 7], k=4, **seed))
    whole = hlr.recommend(7, k=50, filter_seen=False)
    assert sorted(whole["item"]) == world.item_ids.to_list()
    assert hlr.explain(7, 5).equals(hlr_jax.explain(*run, 7, [5], **seed))
    assert hlr.similar_items([3, 4], k=2).equals(hlr_jax.similar_items(*run, [3, 4], k=2))
    assert hlr.similar_users(3, k=2).equals(hlr_jax.similar_users(*run, [3], k=2))
    assert hlr.nearest_keys(3, user=5).equals(hlr_jax.nearest_keys(*run, 3, user=5, **seed))
    people = hlr_jax.fold_in(*run, {"new": [3, 4, 5]}, training=hlr.training, **seed)
    assert hlr.recommend(histories=[3, 4, 5], k=3).equals(hlr_jax.recommend(*run, k=3, among=people, **seed))
    assert hlr.recommend(histories=hlr.fold_in({"new": [3, 4, 5]}), k=3).equals(
        hlr.recommend(histories=pl.DataFrame({"user": ["new"] * 3, "item": [3, 4, 5]}), k=3)
    )
    measured = hlr_jax.evaluate(*run, options=EvalOptions(k=(5, 7)), **seed)
    assert hlr.evaluate(k=(5, 7)).metrics.values == measured.metrics.values
    assert hlr.keys(interactions=99)["usage"].sum() == pytest.approx(1, abs=1e-5)


def test_the_training_of_its_own_run_folds_in(hlr):
    """Softmax at the temperature that was kept; with the hinge, other lists come out."""
    assert (hlr.training.objective, hlr.training.temperatures) == ("sampled_softmax", ())
    assert hlr.training.temperature in (0.2, 0.5)
    vectors = [
        people.params["user"][people.rows[0]]
        for people in (
            hlr.fold_in([3, 4, 5]),
            hlr_jax.fold_in(hlr.model, hlr.params, hlr.dataset, {"new": [3, 4, 5]}, training=TrainOptions()),
        )
    ]
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_nothing_is_compiled_or_indexed_twice_and_calls_of_up_to_a_power_of_two_share_a_program(hlr, monkeypatch):
    calls = {
        "recommend": lambda turn: hlr.recommend([1, 2, 3, 4][: 3 + turn], k=6),
        "exclude": lambda turn: hlr.recommend(1 + turn, k=6, exclude={1 + turn: [turn]}, candidates={1 + turn: [3, 4]}),
        "histories": lambda turn: hlr.recommend(histories=[3, 4, 5, 6, 7, 8][: 5 + turn], k=6),
        "reasons": lambda turn: hlr.recommend(1 + turn, k=6, num_reasons=2),
        "explain": lambda turn: hlr.explain(1 + turn, [4, 5, 6, 7][: 3 + turn]),
        "similar_items": lambda turn: hlr.similar_items([3, 4, 5, 6][: 3 + turn], k=7),
        "similar_users": lambda turn: hlr.similar_users(3 + turn, k=7),
        "nearest_keys": lambda turn: (hlr.nearest_keys(3 + turn), hlr.nearest_keys(3, user=4 + turn)),
        "keys": lambda turn: hlr.keys(seed=turn, interactions=98),
        "evaluate": lambda turn: hlr.evaluate(k=9),
    }
    for name, call in calls.items():
        with compilations() as made:
            call(0)
        assert made, name

    def index(interactions, num_rows):
        assert len(interactions) < 10, "all interactions are indexed again"
        return csr_of(interactions, num_rows)

    for module in (inputs, neighbor_sampling):
        monkeypatch.setattr(module, "csr_of", index)
    for name, call in calls.items():
        with compilations() as made:
            call(1)
        assert not made, name
    assert hlr.users.placed[0].items is hlr.users.placed[1].history.rows.items  # one upload of who met what


def test_a_run_and_what_it_saves_are_the_same_recommender(made, tmp_path):
    recommender, workdir = made
    saved = recommender.save(tmp_path / "saved")
    assert {path.suffix for path in saved.rglob("*") if path.is_file()} == {".json", ".safetensors", ".parquet"}
    for folder in (workdir, saved):
        again = Recommender.load(folder)
        assert again.seeds == [0, 1]
        assert (again.settings["model"], again.seed, again.best_epoch) == (
            recommender.settings["model"], 0, recommender.best_epoch,
        )  # fmt: skip
        assert again.training == recommender.training
        assert again.metrics == recommender.metrics
        assert again.metrics["test"].k == (5, 10)
        for seed in (0, 1):
            lists = recommender.of_seed(seed).recommend(k=5, num_reasons=1)
            assert Recommender.load(folder, seed=seed).recommend(k=5, num_reasons=1).equals(lists)
    assert hlr_jax.load_run(workdir, log=lambda _: None).seeds == [0, 1]
    both = Recommender.load(workdir, blend_seeds=True)
    again = Recommender.load(both.save(tmp_path / "both"))
    assert again.model.weights == {"seed-0": 0.5, "seed-1": 0.5}
    assert again.recommend(k=5, num_reasons=1).equals(both.recommend(k=5, num_reasons=1))
    # The same call goes on with the run, which has ended; an older artifact is replaced.
    train = TrainOptions(**recommender.settings["train"])
    once_more = hlr_jax.fit(recommender.dataset, "hlr", **TINY, train=train, eval={"k": (5, 10)}, workdir=workdir)
    assert once_more.recommend(k=3).equals(recommender.recommend(k=3))
    both.save(saved)
    assert Recommender.load(saved).seeds == [0]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_damaged_and_foreign_folders_are_refused_in_one_line(made, tmp_path):
    recommender, workdir = made
    refused("holds no recommender: neither recommender.json nor config.json$", Recommender.load, tmp_path)
    refused("seed 4 is not among this run's seeds: 0, 1", Recommender.load, workdir, seed=4)
    (tmp_path / "mine.txt").write_text("mine")
    refused("is not an hlr-jax saved recommender", recommender.save, tmp_path)
    refused("is a file; pass another folder", recommender.save, tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    saved = recommender.save(tmp_path / "saved")
    refused("is a saved recommender: blend_seeds and mesh need", Recommender.load, saved, blend_seeds=True)

    def with_manifest(**changes):
        folder = tmp_path / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(saved, folder)
        manifest = json.loads((folder / "recommender.json").read_text())
        write_json(folder / "recommender.json", manifest | changes)
        return folder

    refused("has format 99, .* reads formats up to 1; install", Recommender.load, with_manifest(format=99))
    refused("recommender.json is not an hlr_jax recommender", Recommender.load, with_manifest(kind="other"))
    lacking = r'recommender.json: of another version, it has no "seeds\[0\]\.run"; save'
    refused(lacking, Recommender.load, with_manifest(seeds=[{}]))
    folder = with_manifest()
    table = folder / "dataset" / "items.parquet"
    table.write_bytes(table.read_bytes()[:-1] + b"?")
    refused(r"items\.parquet: damaged, it is not what was written; save the", Recommender.load, folder)
    (folder / "parameters" / "1.safetensors").unlink()
    table.write_bytes((saved / "dataset" / "items.parquet").read_bytes())
    refused(r"1\.safetensors: no such file; save the", Recommender.load, folder)


def test_a_model_that_no_name_makes_is_fitted_but_not_kept(world, tmp_path):
    by_hand = mf_als(embed_dim=4)  # without create_model, nothing knows its options
    recommender = hlr_jax.fit(world, by_hand, train=TrainOptions(num_epochs=1), quiet=True)
    assert recommender.recommend(3, k=2)["user"].to_list() == [3, 3]
    refused("a model without a registered name can't be saved", recommender.save, tmp_path / "own")
    options = {"train": {"num_epochs": 1}, "quiet": True, "workdir": tmp_path / "own"}
    refused("a model without a registered name can't be saved", hlr_jax.fit, world, by_hand, **options)
    assert not (tmp_path / "own").exists()
    model = hlr_jax.create_model("mf_als", embed_dim=4)
    named = hlr_jax.fit(world, model, **options, eval=EvalOptions(k=4))
    assert Recommender.load(tmp_path / "own").model == named.model == model


def test_a_scorer_is_a_recommender_too(world, tmp_path):
    ease = hlr_jax.fit(world, "ease", model={"regularization": (30.0, 300.0)}, workdir=tmp_path / "run", quiet=True)
    assert ease.model in (Ease((30.0,)), Ease((300.0,)))
    assert ease.metrics["test"].value("ndcg") == ease.evaluate(k=10).metrics.value("ndcg")
    met, new = [3, 4, 5], ease.recommend(histories=[3, 4, 5], k=47)
    scores = ease.params["weights"][met].sum(axis=0)
    order = [item for item in np.argsort(-scores, kind="stable").tolist() if item not in met]
    assert new["item"].to_list() == order
    few = ease.recommend(histories={"a": met, "b": [1]}, k=9, exclude={"a": order[:2]}, candidates={"a": order[:5]})
    assert few.select("user", "item").rows() == [("a", item) for item in order[2:5]]
    assert ease.explain(3, order[0], histories=None)["item"].unique().to_list() in ([], [order[0]])
    for folder in (tmp_path / "run", ease.save(tmp_path / "saved")):
        again = Recommender.load(folder)
        assert again.model == ease.model
        assert again.recommend(k=3, num_reasons=1).equals(ease.recommend(k=3, num_reasons=1))
    by_hand = hlr_jax.fit(world, Ease((30.0,)), quiet=True)
    assert by_hand.settings["model"] == {"name": "ease", **dict(by_hand.model.options)}
    refused("EASE has no vectors, but similar needs them", ease.similar_items, 3)
    refused("EASE reads no settings of training", hlr_jax.fit, world, "ease", num_seeds=2)
    popularity = hlr_jax.fit(world, "popularity", quiet=True)
    state = popularity.model, ease.params, world
    refused("parameters of another model: popularity has no weights;", hlr_jax.recommend, *state, 3)


def test_settings_that_are_not_there_or_not_read_are_refused(world):
    refused('unknown recipe "hrl"', hlr_jax.fit, world, "hrl")
    refused(r"unknown setting train\.num_epoch \(did you mean", hlr_jax.fit, world, train={"num_epoch": 1})
    refused(r"unknown setting model\.num_memory \(did you mean", hlr_jax.fit, world, model={"num_memory": 1})
    refused(r"train\.temperature has no effect", hlr_jax.fit, world, train={"temperature": 0.2})
    refused("a Model already has its settings", hlr_jax.fit, world, mf_als(), model={"embed_dim": 3})


def test_what_does_not_belong_together_is_refused_wherever_it_is_handed_in(hlr, world):
    model, params, cml = hlr.model, hlr.params, hlr_jax.create_model("cml", embed_dim=6)
    other = hlr_jax.load_dataset("planted-40x50x500", log=lambda _: None)
    wider = hlr_jax.create_model("hlr", embed_dim=6, num_memories=4, max_history=4)
    cases = [
        (cml, params, world, "parameters of another model: cml has no keys, memories;"),
        (model, cml.init(jax.random.key(0), 60, 50), world, "hlr has keys, memories, but the parameters do not;"),
        (
            model,
            params,
            other,
            r"user has shape \[60, 6\], but should have \[40, 6\] for model hlr, 40 users and 50 items",
        ),
        (wider, params, world, r"keys has shape \[3, 6\], but should have \[4, 6\]"),
    ]
    functions = {
        "recommend": lambda run: hlr_jax.recommend(*run, users=[3]),
        "explain": lambda run: hlr_jax.explain(*run, 3, [5]),
        "similar_items": lambda run: hlr_jax.similar_items(*run, 3),
        "similar_users": lambda run: hlr_jax.similar_users(*run, 3),
        "nearest_keys": lambda run: hlr_jax.nearest_keys(*run, 3),
        "evaluate": lambda run: hlr_jax.evaluate(*run),
        "fold_in": lambda run: hlr_jax.fold_in(*run, {"ann": [3]}, training=hlr.training),
        "export_model": lambda run: hlr_jax.export_model(*run, "nowhere"),
        "the object": lambda run: Recommender(
            hlr_jax.LoadedRun(hlr._run.parts._replace(model=run[0], dataset=run[2]), [run[1]], hlr._run.progress), {}
        ),
    }
    for *run, message in cases:
        for name, call in functions.items():
            if name == "explain" and run[0] is cml:
                continue  # has no history: that comes first
            refused(message, call, run)
    people = hlr.of_seed(1).fold_in([3, 4])
    refused("another recommender folded these users in", hlr.recommend, histories=people)


def test_the_lower_level_says_where_a_whole_run_is_kept(world, tmp_path):
    options = TrainOptions(num_epochs=1)
    hlr_jax.train_model(world, hlr_jax.create_model("mf_als", embed_dim=4), options, workdir=tmp_path, quiet=True)
    for load in (hlr_jax.load_run, Recommender.load):
        refused("holds checkpoints of train_model .* hlr_jax.fit.* stores a complete run", load, tmp_path)


def test_a_recommender_on_a_mesh_gives_the_same_lists_and_is_saved_without_padding(world, tmp_path):
    options = {"model": {"embed_dim": 4}, "train": {"num_epochs": 1}, "quiet": True, "workdir": tmp_path / "run"}
    single = hlr_jax.fit(world, "cml-paper", **options)
    divided = Recommender.load(tmp_path / "run", mesh={"data": 2, "model": 4})
    assert len(divided.params["item"]) == 52
    few = {"users": [3, 4], "k": 4, "exclude": {3: [5, 6]}}
    assert divided.recommend(**few)["item"].to_list() == single.recommend(**few)["item"].to_list()
    again = Recommender.load(divided.save(tmp_path / "saved"))
    np.testing.assert_array_equal(again.params["item"], single.params["item"])
    refused("fold_in runs on one device", divided.recommend, histories=[3])
