import json
import os
import runpy
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import polars as pl
import pytest
from jax import export
from own_model import own_model
from safetensors.numpy import load_file

import hlr_jax
from hlr_jax import FoldInOptions, IndexOptions, InputError, TrainOptions
from hlr_jax.files import sha256
from hlr_jax.folders import MARKER
from hlr_jax.serving import programs
from hlr_jax.serving.answer import TopK

HISTORY = {"num_memories": 3, "max_history": 4}
CASES = {
    "cml": {},
    "lrml": {"num_memories": 3},
    "mf_als": {"confidence": 3.0, "frequency_exponent": 0.5},
    "transcf": {},
    "adacml": {"max_history": 4},
    "hlr": HISTORY,
    "hlr inverse": HISTORY
    | {"history_sampling": "inverse_popularity", "variant": "reference", "learned_scales": True, "key_scale": 2.0},
    "hlrpp": HISTORY | {"max_item_users": 3},
    "hlr bfloat16": HISTORY,
    "own": {},
}
K, SEED = 45, 3  # of 50 items: some users have met too many for a full list
# Models with training options take new users; a model that is solved for needs none.
SOFTMAX = TrainOptions(objective="sampled_softmax", temperature=0.5, num_negatives=4, negative_popularity=0.5)
TRAINING = {"cml": SOFTMAX, "transcf": TrainOptions(), "adacml": TrainOptions(batch="users", negatives="per_user")}
NEW = ("mf_als", *TRAINING)
STEPS = FoldInOptions(num_steps=4, positives=3)

# Another program: it cannot import hlr_jax, and reads what lies in the folders.
ELSEWHERE = """
import json, pathlib, runpy, sys
sys.modules["hlr_jax"] = None
import polars as pl
for folder in map(pathlib.Path, sys.argv[2:]):
    answer = runpy.run_path(folder / "answer.py")["TopK"](folder)
    users = pl.read_parquet(folder / "users.parquet")["id"].to_list()
    answer(users).write_parquet(folder.with_name(folder.name + ".lists"))
    if (folder / "newcomers.stablehlo").exists():
        answer.newcomers(json.loads(sys.argv[1])).write_parquet(folder.with_name(folder.name + ".new"))
assert [name for name in sys.modules if name.startswith("hlr_jax")] == ["hlr_jax"]
"""


def trained(world, case):
    model = own_model() if case == "own" else hlr_jax.create_model(case.split()[0], embed_dim=6, **CASES[case])
    params = model.init(jax.random.key(2), world.num_users, world.num_items)
    stored = jnp.bfloat16 if case.endswith("bfloat16") else jnp.float32
    return model, jax.tree.map(lambda array: (1.5 * array).astype(stored).astype(jnp.float32), params)


def histories(world):
    """Nine people: one more than are solved for together, and the last one like the first."""
    rng = np.random.default_rng(4)
    met = [rng.choice(world.num_items, size, replace=False) for size in (6, 1, 12, 3, 6, 7, 20, 2)]
    return {f"new {place}": world.item_ids.gather(items).to_list() for place, items in enumerate([*met, met[0]])}


@pytest.fixture(scope="module")
def exported(world, tmp_path_factory):
    """A folder for each model, and beside it what another process reads there."""
    root = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "_SAMPLED_AT_ONCE", 16)  # fewer than the users, so several calls sample
        folders = folders_of(world, root)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", ELSEWHERE, json.dumps(histories(world)), *map(str, folders.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, env=environment)
    assert done.returncode == 0, done.stderr
    return folders


def folders_of(world, root):
    return {
        case: hlr_jax.export_model(
            *trained(world, case),
            world,
            root / case,
            k=K,
            seed=SEED,
            about={"run": case},
            dtype="bfloat16" if case.endswith("bfloat16") else "float32",
            training=TRAINING.get(case),
            fold_in=STEPS,
        )
        for case in CASES
    }


@pytest.mark.parametrize("case", CASES)
def test_a_process_without_the_package_finds_the_same_lists(exported, world, case):
    users = world.user_ids.to_list()
    best = hlr_jax.recommend(*trained(world, case), world, users, k=K, seed=SEED)
    lists = pl.read_parquet(exported[case].with_name(f"{case}.lists"))
    assert best.height < K * len(users)  # nothing unseen is left for some
    assert lists.drop("score").equals(best.drop("score").cast({"rank": pl.Int64}))
    np.testing.assert_allclose(lists["score"], best["score"], rtol=1e-5, atol=1e-6)  # a sum of terms of about 1


def test_the_arrays_are_what_the_paper_scores_with(exported):
    """The files alone, by another hand: the best items of a user after the oracle's float64 scores."""
    folder, user = exported["hlr"], 7
    params = oracles.float64(load_file(folder / "parameters.safetensors"))
    near = load_file(folder / "interactions.safetensors")
    history = [item for item in near["history"][user] if item >= 0]
    scores = np.array([oracles.hlr(params, user, item, history, [])[0] for item in range(len(params["item"]))])
    scores[near["seen_items"][slice(*near["seen_offsets"][user : user + 2])]] = -np.inf
    lists = pl.read_parquet(folder.with_name("hlr.lists"))
    ids = pl.read_parquet(folder / "users.parquet")["id"], pl.read_parquet(folder / "items.parquet")["id"]
    row = lists.filter(pl.col("user") == ids[0][user])
    order = np.argsort(-scores)[: row.height]
    assert row["item"].to_list() == ids[1].gather(order).to_list()
    np.testing.assert_allclose(row["score"], scores[order], rtol=2e-5)


@pytest.mark.parametrize("case", NEW)
def test_it_finds_the_lists_of_new_users(exported, world, case):
    model, params = trained(world, case)
    met = histories(world)
    first = dict(list(met.items())[:8])
    people = hlr_jax.fold_in(model, params, world, first, training=TRAINING.get(case), options=STEPS, seed=SEED)
    best = hlr_jax.recommend(model, params, world, k=K, seed=SEED, among=people)
    lists = pl.read_parquet(exported[case].with_name(f"{case}.new"))
    eight = lists.filter(pl.col("user") != "new 8")
    assert eight.drop("score").equals(best.drop("score").cast({"rank": pl.Int64}))
    np.testing.assert_allclose(eight["score"], best["score"], rtol=1e-4, atol=1e-6)
    # Nobody's list depends on who stands before them.
    assert lists.filter(user="new 8").drop("user").equals(lists.filter(user="new 0").drop("user"))
    for person, items in met.items():
        assert not set(items) & set(lists.filter(user=person)["item"])


def test_an_export_without_training_options_accepts_no_new_users(exported, world):
    assert [case for case in CASES if (exported[case] / "newcomers.stablehlo").exists()] == [
        case for case in CASES if case in NEW
    ]
    with pytest.raises(ValueError, match="accepts no new users: export_model was not given the training options"):
        TopK(exported["hlr"]).newcomers({"ann": [world.item_ids[0]]})


def test_histories_that_cannot_be_answered_are_refused(exported, world):
    answer = TopK(exported["cml"])
    with pytest.raises(ValueError, match=r"^nothing: no such item in items\.parquet$"):
        answer.newcomers({"ann": ["nothing"]})
    with pytest.raises(ValueError, match="user ann has 0 items; pass from 1 to 49"):
        answer.newcomers({"ann": []})
    with pytest.raises(ValueError, match="user ann has 50 items; pass from 1 to 49"):
        answer.newcomers({"ann": world.item_ids})


def test_lists_keep_to_candidates_and_leave_out_what_is_excluded(exported, world):
    users, answer = world.user_ids[:3].to_list(), TopK(exported["cml"])
    candidates, exclude = world.item_ids[::2].to_list(), world.item_ids[:10].to_list()
    choice = {"candidates": candidates, "exclude": exclude}
    best = hlr_jax.recommend(*trained(world, "cml"), world, users, k=K, seed=SEED, **choice)
    lists = answer(users, **choice)
    assert lists.drop("score").equals(best.drop("score").cast({"rank": pl.Int64}))
    assert set(lists["item"]) == set(candidates) - set(exclude) - {None}
    for person in (answer(users[0], exclude=exclude), answer.newcomers({"ann": candidates[:3]}, **choice)):
        assert not set(person["item"]) & set(exclude)
        assert person.height
    with pytest.raises(ValueError, match=r"^nothing: no such item in items\.parquet$"):
        answer(users, exclude=["nothing"])
    with pytest.raises(ValueError, match="no item is left to recommend"):
        answer(users, candidates=exclude, exclude=exclude)


def test_the_program_takes_any_number_of_users_and_lists_nothing_where_nothing_is_allowed(exported, world):
    folder = exported["cml"]
    program = export.deserialize(bytearray((folder / "topk.stablehlo").read_bytes()))
    arrays = load_file(folder / "parameters.safetensors") | load_file(folder / "interactions.safetensors")
    facts = json.loads((folder / "manifest.json").read_text())["programs"]["topk"]
    given, people = ({name: arrays[name] for name in names} for names in (facts["reads"], facts["inputs"][0]))
    allowed = np.ones((world.num_users, world.num_items), bool)
    allowed[1] = False
    everyone = program.call(given, people, allowed)
    assert (everyone[0][1] == -1).all()
    assert np.isneginf(everyone[1][1]).all()
    items, scores = program.call(given, {name: rows[:2] for name, rows in people.items()}, allowed[:2])
    np.testing.assert_array_equal(items, everyone[0][:2])
    np.testing.assert_allclose(scores[0], everyone[1][0], rtol=1e-6)


def test_parameters_may_be_stored_in_half_the_bytes(exported, world, tmp_path):
    arrays = load_file(exported["hlr bfloat16"] / "parameters.safetensors")
    assert {str(array.dtype) for array in arrays.values()} == {"bfloat16"}
    manifest = json.loads((exported["hlr bfloat16"] / "manifest.json").read_text())
    assert manifest["arrays"]["parameters.safetensors"]["user"]["dtype"] == "bfloat16"
    with pytest.raises(InputError, match=r'unknown export\.dtype "float16"'):
        hlr_jax.export_model(*trained(world, "cml"), world, tmp_path / "half", dtype="float16")


@pytest.mark.parametrize("case", ["hlr", "transcf", "hlr bfloat16"])
def test_tables_hold_the_parameters_bit_by_bit(exported, world, case):
    folder, (_, params) = exported[case], trained(world, case)
    arrays = load_file(folder / "parameters.safetensors")
    assert set(arrays) == set(params)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, params[name])
    for name, ids in (("user", world.user_ids), ("item", world.item_ids)):
        frame = pl.read_parquet(folder / f"{name}s.parquet")
        assert frame["id"].equals(ids)
        np.testing.assert_array_equal(frame["vector"].to_numpy(), params[name])
    titles = pl.read_parquet(folder / "items.parquet")["title"]
    assert titles.to_list() == [world.title(item) for item in range(world.num_items)]
    if case == "transcf":
        assert not (folder / "memories.parquet").exists()
        return
    memories = pl.read_parquet(folder / "memories.parquet")
    assert memories["id"].to_list() == [0, 1, 2]
    np.testing.assert_array_equal(memories["key"].to_numpy(), params["keys"])
    np.testing.assert_array_equal(memories["memory"].to_numpy(), params["memories"])


def test_the_manifest_describes_the_other_files(exported):
    folder = exported["transcf"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["files"]) | {"manifest.json", MARKER} == {path.name for path in folder.iterdir()}
    for name, facts in manifest["files"].items():
        assert facts == {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
    arrays = {}
    for file, described in manifest["arrays"].items():
        held = load_file(folder / file)
        assert {name: (list(a.shape), str(a.dtype)) for name, a in held.items()} == {
            name: (a["shape"], a["dtype"]) for name, a in described.items()
        }
        assert all(a["holds"] for a in described.values())
        arrays |= held
    topk, newcomers = manifest["programs"]["topk"], manifest["programs"]["newcomers"]
    people, allowed = topk["inputs"]
    assert set(people) == set(newcomers["outputs"]) == {"user", "user_mean", "history"}
    assert people == newcomers["outputs"]
    assert people["user_mean"] == {"shape": ["b", 6], "dtype": "float32"}
    assert allowed == {"shape": ["b", 50], "dtype": "bool"}
    assert topk["outputs"][0] == {"shape": ["b", K], "dtype": "int32"}
    assert {*topk["reads"], *newcomers["reads"], *people} <= set(arrays)
    assert {"cpu", "cuda", "tpu"} <= set(topk["platforms"])
    assert (manifest["model"]["name"], manifest["run"], manifest["seed_of_histories"]) == ("transcf", "transcf", SEED)
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1  # whoever may read one file may read all


def test_answer_as_a_command(exported, world, monkeypatch, capsys):
    script = str(exported["cml"] / "answer.py")
    user, items = str(world.user_ids[4]), [str(item) for item in world.item_ids[:3]]

    def shown(*arguments):
        """The first row of the table."""
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        runpy.run_path(script, run_name="__main__")
        rows = [line.strip("│").split("┆") for line in capsys.readouterr().out.splitlines() if "┆" in line]
        return [cell.strip() for cell in rows[1]]

    best = hlr_jax.recommend(*trained(world, "cml"), world, [user], k=2, seed=SEED)["title"]
    assert shown(user)[:2] + shown(user)[3:4] == [user, "1", best[0]]
    assert shown(user, "--exclude", best[0])[3] == best[1]
    new = pl.read_parquet(exported["cml"].with_name("cml.new")).filter(user="new 0")["title"]
    told = shown("--history", *map(str, histories(world)["new 0"]))
    assert told[:2] + told[3:4] == ["new user", "1", new[0]]
    for arguments, line in (
        (["nobody"], r"^error: nobody: no such user in users\.parquet$"),
        ([user, "--candidates", items[0], "--exclude", items[0]], "^error: no item is left to recommend"),
    ):
        with pytest.raises(SystemExit, match=line):
            shown(*arguments)


@pytest.fixture(scope="module")
def indexed(world, tmp_path_factory):
    """A folder with an index for a model that moves users, and for two that do not."""
    pytest.importorskip("usearch")
    root = tmp_path_factory.mktemp("indexed")
    index = IndexOptions(candidates=10, m=4, ef=20)
    options = {"k": 5, "seed": SEED, "index": index}
    return {
        case: hlr_jax.export_model(*trained(world, case), world, root / case, **options)
        for case in ("lrml", "cml", "mf_als")
    }


@pytest.mark.parametrize("case", ["lrml", "cml", "mf_als"])
def test_an_index_finds_what_the_model_ranks(indexed, world, case):
    users, answer = world.user_ids.to_list(), TopK(indexed[case])
    everything, found = answer(users, exact=True), answer(users)
    facts = json.loads((indexed[case] / "index.json").read_text())
    assert facts["query"] == ("query.stablehlo" if case == "lrml" else "user")
    assert facts["space"] == ("ip" if case == "mf_als" else "l2sq")
    hits = everything.join(found.select("user", "item", score_found="score"), on=["user", "item"])
    assert hits.height >= 0.95 * everything.height
    np.testing.assert_allclose(hits["score_found"], hits["score"], rtol=1e-5)
    known = world.train + world.valid
    met = pl.DataFrame({"user": world.user_ids.gather(known.user), "item": world.item_ids.gather(known.item)})
    assert found.height == everything.height
    assert found.join(met, on=["user", "item"]).is_empty()


def test_users_with_few_allowed_items_get_exact_lists(indexed, world):
    users, answer = world.user_ids.to_list(), TopK(indexed["lrml"])
    few = {"candidates": world.item_ids[:6].to_list()}  # 44 others, more than three times the candidates
    assert answer(users, **few).equals(answer(users, exact=True, **few))


def test_an_index_that_cannot_be_read_or_serve_is_refused(indexed, world, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"index\.candidates is 4, fewer than the 5 items of a list"):
        hlr_jax.export_model(*trained(world, "cml"), world, tmp_path / "x", k=5, index=IndexOptions(candidates=4))
    with pytest.raises(InputError, match=r'unknown index\.kind "tree"'):
        IndexOptions("tree")
    monkeypatch.setitem(sys.modules, "usearch", None)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(InputError, match=r"pip install 'hlr_jax\[ann\]'"):
        hlr_jax.export_model(*trained(world, "cml"), world, tmp_path / "x", k=5, index=IndexOptions())
    answer = TopK(indexed["cml"])
    with pytest.raises(ValueError, match="the index needs usearch: pip install usearch, or ask for exact lists"):
        answer(world.user_ids[:1])
    assert answer(world.user_ids[:1], exact=True).height == 5


def test_an_export_replaces_an_older_one_and_nothing_else(world, tmp_path, monkeypatch):
    cml = trained(world, "cml")
    folder = tmp_path / "there"
    hlr_jax.export_model(*cml, world, folder, k=5)
    (folder / "__pycache__").mkdir()  # answer.py was imported
    (folder / "__pycache__" / "answer.pyc").touch()
    hlr_jax.export_model(*cml, world, folder, k=6)
    assert json.loads((folder / "manifest.json").read_text())["programs"]["topk"]["outputs"][0]["shape"] == ["b", 6]
    (folder / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match=r"there would be replaced, and holds mine\.txt"):
        hlr_jax.export_model(*cml, world, folder, k=7)
    assert (folder / "mine.txt").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match="other is not an hlr-jax export: it has no"):
        hlr_jax.export_model(*cml, world, other)
    assert [path.name for path in other.iterdir()] == ["manifest.json"]
    with pytest.raises(InputError, match=r"manifest\.json is a file"):
        hlr_jax.export_model(*cml, world, other / "manifest.json")
    with pytest.raises(InputError, match=r"export\.k must be at least 1, got 0"):
        hlr_jax.export_model(*cml, world, folder, k=0)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(InputError, match=r"pip install 'hlr_jax\[export\]'"):
        hlr_jax.export_model(*cml, world, folder)
