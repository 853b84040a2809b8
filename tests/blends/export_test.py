"""Exports of scorers and blends: lists of the folder's own program are those of ``recommend``."""

import json
import runpy

import jax
import numpy as np
import pytest

import hlr_jax
from hlr_jax import FoldInOptions, IndexOptions, InputError, TrainOptions
from hlr_jax.blended_systems import Blend, Part
from hlr_jax.files import sha256
from hlr_jax.folders import MARKER
from hlr_jax.scorers.ease import Ease
from hlr_jax.scorers.item_knn import ItemKNN
from hlr_jax.scorers.popularity import Popularity

K, STEPS = 45, FoldInOptions(num_steps=4, positives=3)  # of 50 items: some users have met too many for a full list
TRAINING = TrainOptions(objective="sampled_softmax", temperature=0.5, num_negatives=4)


def answer_of(folder):
    return runpy.run_path(str(folder / "answer.py"))["TopK"](folder)


def same(found, expected):
    """Whether two frames are the same lists, but for the rounding of scores."""
    assert found["user"].cast(str).to_list() == expected["user"].cast(str).to_list()
    assert found.drop("user", "score").equals(expected.drop("user", "score"))
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-4, atol=1e-5)


def people(world):
    rng = np.random.default_rng(4)
    return {f"new {n}": world.item_ids.gather(rng.choice(50, n, replace=False)).to_list() for n in (6, 1, 12)}


SCORERS = {
    "ease": Ease((10.0,)), "popularity": Popularity(), "best": ItemKNN((3,), (1.0,)), "all": ItemKNN((0,), (0.0,))
}  # fmt: skip


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_scorer_answers_known_and_new_users(world, tmp_path, scorer, dtype):
    fit = next(scorer.fits(world))
    state = {name: array.astype(jax.numpy.dtype(dtype)).astype(np.float32) for name, array in fit.state.items()}
    folder = hlr_jax.export_model(scorer, fit.state, world, tmp_path / "out", k=K, dtype=dtype)
    answer = answer_of(folder)
    same(answer(world.user_ids.to_list()), hlr_jax.recommend(scorer, state, world, k=K))
    folded = hlr_jax.fold_in(scorer, state, world, people(world))
    same(answer.newcomers(people(world)), hlr_jax.recommend(scorer, state, world, among=folded, k=K))
    items = world.item_ids.to_list()
    given = {"candidates": items[:9], "exclude": items[:2]}
    same(answer([3, 7], **given), hlr_jax.recommend(scorer, state, world, [3, 7], k=K, **given))
    size = (folder / "parameters.safetensors").stat().st_size
    numbers = sum(array.size for array in state.values())
    assert size == pytest.approx(numbers * (4 if dtype == "float32" else 2), abs=200)  # EASE: I x I numbers


@pytest.fixture(scope="module")
def blend(world):
    fit = next(Ease((10.0,)).fits(world))
    parts, params = {"ease": Part(fit.scorer, 0.5)}, {"ease": fit.state}
    for seed, (name, weight) in enumerate((("mf_als", 0.3), ("cml", 0.2))):
        model = hlr_jax.create_model(name, embed_dim=6)
        parts[name] = Part(model, weight, seed, None if name == "mf_als" else TRAINING)
        params[name] = model.init(jax.random.key(seed), world.num_users, world.num_items)
    made = hlr_jax.create_model("cml", embed_dim=6, user="history")
    parts["mf_als"] = parts["mf_als"]._replace(weight=0.2)
    parts["history"] = Part(made, 0.1)
    params["history"] = made.init(jax.random.key(9), world.num_users, world.num_items)
    return Blend(parts), params


def test_a_blend_answers_as_it_recommends(blend, world, tmp_path):
    folder = hlr_jax.export_model(*blend, world, tmp_path / "out", k=K, fold_in=STEPS)
    answer = answer_of(folder)
    same(answer(world.user_ids.to_list()), hlr_jax.recommend(*blend, world, k=K))
    folded = hlr_jax.fold_in(*blend, world, people(world), options=STEPS)
    same(answer.newcomers(people(world)), hlr_jax.recommend(*blend, world, among=folded, k=K))
    items = world.item_ids.to_list()
    given = {"candidates": items[:9], "exclude": items[:2]}
    same(answer([3, 7], **given), hlr_jax.recommend(*blend, world, [3, 7], k=K, **given))
    # A part is an export of its own.
    part = answer_of(folder / "parts" / "cml")
    system, _, seed, _ = blend[0].parts["cml"]
    same(part([3, 7]), hlr_jax.recommend(system, blend[1]["cml"], world, [3, 7], k=K, seed=seed))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["blend"] == {"ease": 0.5, "mf_als": 0.2, "cml": 0.2, "history": 0.1}
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(manifest["files"]) | {"manifest.json", MARKER} == written
    assert all(sha256(folder / name) == facts["sha256"] for name, facts in manifest["files"].items())
    for histories, line in (
        ({"ann": []}, "user ann has 0 items; pass from 1 to 49"),
        ({"ann": ["x"]}, "x: no such item"),
    ):
        with pytest.raises(ValueError, match=line):
            answer.newcomers(histories)


def test_what_cannot_be_exported_is_an_error(blend, world, tmp_path):
    class Newest:
        name, title, explains, options = "newest", "Newest", False, ()

    for given, options, line in (
        ((Newest(), {"age": np.arange(50)}), {}, "Newest is not a scorer of this package; export takes models, EASE, "),
        (blend, {"index": IndexOptions("hnsw")}, "has no vectors that an index could search"),
    ):
        with pytest.raises(InputError, match=line):
            hlr_jax.export_model(*given, world, tmp_path / "out", **options)
    assert not any(tmp_path.iterdir())
    # A part of a blend without training options: the export accepts no new users.
    model = blend[0].parts["cml"].system
    untold = Blend({"cml": Part(model, 1.0)})
    folder = hlr_jax.export_model(untold, {"cml": blend[1]["cml"]}, world, tmp_path / "out")
    with pytest.raises(ValueError, match="accepts no new users"):
        answer_of(folder).newcomers({"ann": [3]})
