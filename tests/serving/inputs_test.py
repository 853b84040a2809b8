import polars as pl
import pytest

from hlr_jax import InputError
from hlr_jax.data.ids import IdIndex
from hlr_jax.serving.inputs import read_choice, read_histories, read_ids, read_pairs


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
    with pytest.raises(InputError, match=r"no\.csv: no such file"):
        read_histories(tmp_path / "no.csv")
    (tmp_path / "half.csv").write_text("user,item\nann,\n")
    with pytest.raises(InputError, match='line 2: column "item" is empty'):
        read_histories(tmp_path / "half.csv")


def test_what_exists_as_an_id_is_an_id_and_a_file_is_named_by_an_at_sign(tmp_path):
    (tmp_path / "ids.txt").write_text("u1\nnew\n")
    index = IdIndex(pl.Series(["u1", "u2", "SKU/0000", "SKU/0001", "@ann", "a,b"]))

    def chosen(value, **options):
        return read_choice(value, "user", index, **options).to_list()

    assert chosen("u1, u2,") == ["u1", "u2"]
    assert chosen("SKU/0000,SKU/0001") == ["SKU/0000", "SKU/0001"]
    assert chosen("@ann") == ["@ann"]
    assert chosen("@ann,u1") == ["@ann", "u1"]
    assert chosen("a,b") == ["a,b"]
    assert chosen(f"@{tmp_path}/ids.txt") == ["u1", "new"]
    assert chosen("u1,who", on_unknown="skip") == ["u1", "who"]
    with pytest.raises(InputError, match=r'^1 of 2 users are unknown, such as "SKU/9"; a file of ids is @FILE$'):
        chosen("u1,SKU/9")
    with pytest.raises(InputError, match=r"no\.txt: no such file"):
        chosen("@no.txt")
    with pytest.raises(InputError, match="no user ids; pass id,id or @FILE"):
        chosen(" ,")


def test_items_of_users_as_a_frame_or_a_dict():
    expected = [("7", "1"), ("7", "2"), ("ann", "3")]
    assert read_pairs({7: [1, 2], "ann": 3, "bob": []}, "here").rows() == expected
    frame = pl.DataFrame({"item": ["1"], "more": [0], "user": ["7"]})
    assert read_pairs(frame, "here").rows() == [("7", "1")]
    with pytest.raises(InputError, match='here: no column "user" '):
        read_pairs(frame.select("item"), "here")
    with pytest.raises(InputError, match="here: None is no id"):
        read_pairs({7: [None]}, "here")
