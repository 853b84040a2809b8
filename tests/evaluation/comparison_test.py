import json

import polars as pl
import pytest
from fabricated import HASH, LEVELS, fabricate

from hlr_jax.errors import InputError
from hlr_jax.evaluation.comparison import check_comparable, compare, read_result


def test_equal_figures_are_both_bold(tmp_path):
    results = {name: read_result(fabricate(tmp_path / name, 0.3)) for name in ("cml", "hlr")}
    block = compare("x", results)
    assert all(block.cells["MAP"][name].best for name in results)
    assert block.p_values == {"hlr": 1.0}


def test_the_test_averages_seeds_and_pairs_users(tmp_path):
    results = {name: read_result(fabricate(tmp_path / name, level)) for name, level in LEVELS.items()}
    values = results["hlr"].user_values("NDCG", "seeds")
    frame = results["hlr"].per_user
    assert values["user"].to_list() == sorted(frame["user"].unique())
    assert values["value"][7] == pytest.approx(frame.filter(pl.col("user") == "u07")["ndcg"].mean())
    first = results["hlr"].user_values("NDCG", "cohorts")["value"]
    assert first[7] == frame.filter((pl.col("user") == "u07") & (pl.col("seed") == 0))["ndcg"].item()


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
    path.write_text(json.dumps({name: value for name, value in summary.items() if name != "protocol_hash"}))
    with pytest.raises(InputError, match='it has no "protocol_hash"'):
        read_result(folder)
    path.write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_result(folder)
    path.write_text(json.dumps(summary))
    pl.read_parquet(folder / "eval" / "per_user.parquet").head(10).write_parquet(folder / "eval" / "per_user.parquet")
    with pytest.raises(InputError, match="of other users"):
        compare("x", {"cml": read_result(folder), "hlr": read_result(fabricate(tmp_path / "hlr", 0.3))})
