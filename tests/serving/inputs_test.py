import polars as pl
import pytest

from hlr_jax import InputError
from hlr_jax.serving.inputs import read_choice, read_histories, read_ids


def test_ids_in_every_form(tmp_path):
    tmp_path = tmp_path / "a[1]*"  # no pattern
    tmp_path.mkdir()
    (tmp_path / "ids.txt").write_text("u1\n\n u2 \n")
    (tmp_path / "ids.csv").write_text("name,user\nAnn,007\nBob,u2\n")
    (tmp_path / "one.tsv").write_text("whatever\nu1\nu2\n")
    pl.DataFrame({"user": [7, 8]}).write_parquet(tmp_path / "ids.parquet")
    pl.DataFrame({"user": ["u1"], "age": [3]}).write_ndjson(tmp_path / "ids.jsonl")
    ids = {path.name: read_ids(path, "user").to_list() for path in tmp_path.iterdir()}
    assert ids == {
        "ids.txt": ["u1", "u2"], "ids.csv": ["007", "u2"], "one.tsv": ["u1", "u2"], "ids.parquet": ["7", "8"],
        "ids.jsonl": ["u1"],
    }  # fmt: skip
    assert read_choice("u1, u2,", "user").to_list() == ["u1", "u2"]
    assert read_choice(str(tmp_path / "ids.txt"), "user").to_list() == ["u1", "u2"]


def test_mistakes_are_one_line(tmp_path):
    (tmp_path / "wide.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    (tmp_path / "bad.jsonl").write_text("{")
    expected = {
        "wide.csv": 'no column "user"', "empty.txt": "no user ids", "cut.parquet": "", "bad.jsonl": "",
        "no.csv": "no such",
    }  # fmt: skip
    for name, message in expected.items():
        with pytest.raises(InputError, match=f"{name}: .*{message}") as problem:
            read_ids(tmp_path / name, "user")
        assert len(str(problem.value).splitlines()) == 1
    with pytest.raises(InputError, match="no user ids; pass FILE"):
        read_choice(" ,", "user")
    with pytest.raises(InputError, match=r"no\.csv: no such file"):
        read_histories(tmp_path / "no.csv")
    (tmp_path / "half.csv").write_text("user,item\nann,\n")
    with pytest.raises(InputError, match='line 2: column "item" is empty'):
        read_histories(tmp_path / "half.csv")
