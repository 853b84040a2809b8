import json

import numpy as np
import polars as pl
import pytest
from fabricated import HASH, LEVELS, fabricate, sign

from hlr_jax.errors import InputError
from hlr_jax.evaluation.comparison import (
    check_comparable,
    compare,
    one_seed_note,
    paired_values,
    read_result,
    with_one_seed,
)
from hlr_jax.json_files import write_json


def test_equal_values_are_both_bold(tmp_path):
    results = {name: read_result(fabricate(tmp_path / name, 0.3)) for name in ("cml", "hlr")}
    block = compare("x", results)
    assert all(block.cells["MAP"][name].best for name in results)
    assert block.p_values == {"hlr": 1.0}


def test_the_test_pairs_users_and_knows_seeds(tmp_path):
    results = {name: read_result(fabricate(tmp_path / name, level)) for name, level in LEVELS.items()}
    frame = results["hlr"].per_user
    users = sorted(frame["user"].unique())
    values = paired_values(results, "NDCG", "seeds")["hlr"]
    assert values.shape == (3, len(users))
    for seed in range(3):
        row = frame.filter((pl.col("user") == users[7]) & (pl.col("seed") == seed))
        assert values[seed, 7] == row["ndcg"].item()
    np.testing.assert_array_equal(paired_values(results, "NDCG", "cohorts")["hlr"], values[:1])


def test_one_seed_is_noted_if_results_depend_on_the_seed(tmp_path):
    ease, model = {"name": "ease"}, {"name": "hlr"}
    blends = {name: {"name": "blend", "parts": {"a": {"model": ease}, "b": {"model": of}}}
              for name, of in (("closed", ease), ("mixed", model))}  # fmt: skip
    systems = {"ease": ease, "hlr": model} | blends
    results = {
        name: read_result(fabricate(tmp_path / name, 0.3, seeds=(4,), config={"model": settings}))
        for name, settings in systems.items()
    } | {"seeds": read_result(fabricate(tmp_path / "seeds", 0.3, config={"model": model}))}
    assert with_one_seed(results, "seeds") == ["hlr", "mixed"]
    assert with_one_seed(results, "cohorts") == ["hlr", "mixed", "seeds"]
    assert one_seed_note(["hlr", "mixed"]).startswith("One seed of hlr, mixed: ")
    assert one_seed_note([]) == ""


def test_protocols_k_and_data_are_not_mixed(tmp_path):
    results = {
        ("x", "cml"): read_result(fabricate(tmp_path / "x" / "cml", 0.3)),
        ("y", "cml"): read_result(fabricate(tmp_path / "y" / "cml", 0.3, data="cafe" * 4)),
    }
    check_comparable(results)
    other = fabricate(tmp_path / "y" / "hlr", 0.3, data="cafe" * 4, protocol="paper", protocol_hash="fedc" * 4)
    with pytest.raises(InputError, match="differ in protocol") as problem:
        check_comparable(results | {("y", "hlr"): read_result(other)})
    for part in ("x/cml/eval/test.json", "y/hlr/eval/test.json", f"reference {HASH}", "paper fedcfedcfedcfedc"):
        assert part in str(problem.value)
    assert "\n" not in str(problem.value)
    with pytest.raises(InputError, match="differ in data"):
        check_comparable(results | {("y", "hlr"): results["x", "cml"]})
    with pytest.raises(InputError, match="differ in K"):
        check_comparable(results | {("x", "hlr"): read_result(fabricate(tmp_path / "x" / "k", 0.3, k=5))})


def test_what_is_no_result(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_result(tmp_path)
    folder = fabricate(tmp_path / "run", 0.3)
    path = folder / "eval" / "test.json"
    summary = json.loads(path.read_text())
    write_json(path, {name: value for name, value in summary.items() if name != "protocol_hash"})
    with pytest.raises(InputError, match='it has no "protocol_hash"; run hlr-jax evaluate'):
        read_result(folder)
    path.write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_result(folder)
    write_json(path, summary)
    table, frame = folder / "eval" / "per_user.parquet", read_result(folder).per_user
    other = read_result(fabricate(tmp_path / "hlr", 0.3))
    for rows, message in ((frame.head(10), "have different users"), (frame[1:], "not all seeds have the same users")):
        rows.write_parquet(table)
        with pytest.raises(InputError, match=r"per_user\.parquet: damaged, it is not what was written; run hlr-jax"):
            read_result(folder)
        sign(folder)
        with pytest.raises(InputError, match=message):
            compare("x", {"cml": read_result(folder), "hlr": other})
