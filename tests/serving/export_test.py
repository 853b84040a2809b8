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
from safetensors.numpy import load_file

import hlr_jax
from hlr_jax import InputError
from hlr_jax.files import sha256

HISTORY = {"num_memories": 3, "max_history": 4}
CASES = {
    "cml": {},
    "lrml": {"num_memories": 3},
    "mf_als": {},
    "transcf": {},
    "adacml": {"max_history": 4},
    "hlr": HISTORY,
    "hlr inverse": HISTORY | {"history_sampling": "inverse_popularity", "variant": "reference"},
    "hlrpp": HISTORY | {"max_item_users": 3},
    "hlr bfloat16": HISTORY,
}
K, SEED = 45, 3  # of 50 items: some users have met too many for a full list

# Another program: it cannot import hlr_jax, and reads what lies in the folders.
ELSEWHERE = """
import pathlib, runpy, sys
sys.modules["hlr_jax"] = None
import polars as pl
for folder in map(pathlib.Path, sys.argv[1:]):
    answer = runpy.run_path(folder / "answer.py")["TopK"](folder)
    users = pl.read_parquet(folder / "users.parquet")["id"].to_list()
    answer(users).write_parquet(folder.with_name(folder.name + ".lists"))
assert [name for name in sys.modules if name.startswith("hlr_jax")] == ["hlr_jax"]
"""


def trained(world, case):
    model = hlr_jax.create_model(case.split()[0], embed_dim=6, **CASES[case])
    params = model.init(jax.random.key(2), world.num_users, world.num_items)
    stored = jnp.bfloat16 if case.endswith("bfloat16") else jnp.float32
    return model, jax.tree.map(lambda array: (1.5 * array).astype(stored).astype(jnp.float32), params)


@pytest.fixture(scope="module")
def exported(world, tmp_path_factory):
    """A folder for each model, and beside it what another process reads there."""
    root = tmp_path_factory.mktemp("exported")
    folders = {
        case: hlr_jax.export_model(
            *trained(world, case),
            world,
            root / case,
            k=K,
            seed=SEED,
            about={"run": case},
            dtype="bfloat16" if case.endswith("bfloat16") else "float32",
        )
        for case in CASES
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", ELSEWHERE, *map(str, folders.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, env=environment)
    assert done.returncode == 0, done.stderr
    return folders


@pytest.mark.parametrize("case", CASES)
def test_a_process_without_the_package_finds_the_same_lists(exported, world, case):
    users = world.user_ids.to_list()
    best = hlr_jax.recommend(*trained(world, case), world, users, k=K, seed=SEED)
    lists = pl.read_parquet(exported[case].with_name(f"{case}.lists"))
    assert best.height < K * len(users)  # nothing unseen is left for some
    assert lists.drop("score").equals(best.drop("score").cast({"rank": pl.Int64}))
    np.testing.assert_allclose(lists["score"], best["score"], rtol=1e-5)


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


def test_any_number_of_users_may_be_given_and_numbers_that_are_none_get_empty_lists(exported, world):
    folder = exported["cml"]
    program = export.deserialize(bytearray((folder / "topk.stablehlo").read_bytes()))
    arrays = [load_file(folder / f"{name}.safetensors") for name in ("parameters", "interactions")]
    items, scores = program.call(*arrays, jnp.array([-1, 0, world.num_users], jnp.int32))
    assert (items[0] == -1).all()
    assert (items[2] == -1).all()
    assert np.isneginf(scores[2]).all()
    everyone = program.call(*arrays, jnp.arange(world.num_users))
    np.testing.assert_array_equal(items[1], everyone[0][0])
    np.testing.assert_allclose(scores[1], everyone[1][0], rtol=1e-6)


def test_parameters_may_be_stored_in_half_the_bytes(exported, world, tmp_path):
    arrays = load_file(exported["hlr bfloat16"] / "parameters.safetensors")
    assert {str(array.dtype) for array in arrays.values()} == {"bfloat16"}
    manifest = json.loads((exported["hlr bfloat16"] / "manifest.json").read_text())
    assert manifest["program"]["inputs"][0]["arrays"]["user"]["dtype"] == "bfloat16"
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


def test_the_manifest_tells_what_lies_beside_it(exported):
    folder = exported["transcf"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["files"]) | {"manifest.json"} == {path.name for path in folder.iterdir()}
    for name, facts in manifest["files"].items():
        assert facts == {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
    *files, users = manifest["program"]["inputs"]
    assert users == {"users": {"shape": ["b"], "dtype": "int32"}}
    for described in files:
        shapes = {name: (list(a.shape), str(a.dtype)) for name, a in load_file(folder / described["file"]).items()}
        assert {name: (a["shape"], a["dtype"]) for name, a in described["arrays"].items()} == shapes
    assert manifest["program"]["outputs"][0] == {"items": {"shape": ["b", K], "dtype": "int32"}}
    assert {"cpu", "cuda", "tpu"} <= set(manifest["program"]["platforms"])
    assert (manifest["model"]["name"], manifest["run"], manifest["seed_of_histories"]) == ("transcf", "transcf", SEED)


def test_answer_as_a_command(exported, world, monkeypatch, capsys):
    script = str(exported["hlr"] / "answer.py")
    user = str(world.user_ids[4])
    monkeypatch.setattr(sys, "argv", [script, user])
    runpy.run_path(script, run_name="__main__")
    best = hlr_jax.recommend(*trained(world, "hlr"), world, [user], k=1, seed=SEED)
    assert best["title"][0] in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [script, "nobody"])
    with pytest.raises(SystemExit, match=r"^error: nobody is no user of users\.parquet$"):
        runpy.run_path(script, run_name="__main__")


def test_an_export_replaces_an_older_one_and_nothing_else(world, tmp_path, monkeypatch):
    cml = trained(world, "cml")
    folder = tmp_path / "there"
    hlr_jax.export_model(*cml, world, folder, k=5)
    (folder / "left.txt").write_text("of the older one")
    hlr_jax.export_model(*cml, world, folder, k=6)
    assert json.loads((folder / "manifest.json").read_text())["program"]["outputs"][0]["items"]["shape"] == ["b", 6]
    assert not (folder / "left.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match="other holds something that is no export; pass another folder or delete it"):
        hlr_jax.export_model(*cml, world, other)
    assert [path.name for path in other.iterdir()] == ["manifest.json"]
    with pytest.raises(InputError, match=r"manifest\.json is a file"):
        hlr_jax.export_model(*cml, world, other / "manifest.json")
    with pytest.raises(InputError, match=r"export\.k must be at least 1, got 0"):
        hlr_jax.export_model(*cml, world, folder, k=0)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(InputError, match=r"pip install 'hlr_jax\[export\]'"):
        hlr_jax.export_model(*cml, world, folder)
