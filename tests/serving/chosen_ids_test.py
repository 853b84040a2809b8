"""Ids on command lines and in files: what exists as an id is an id."""

import polars as pl
import pytest

from hlr_jax import InputError
from hlr_jax.data.ids import IdIndex
from hlr_jax.serving.chosen_ids import read_choice, read_choice_or_all, read_ids

IDS = ["u1", "u2", "AC/DC", "Smith, J", "@ann", "a,b", '5" disk', "007", "日本"]
INDEX = IdIndex(pl.Series(IDS))


def chosen(value, **options):
    return read_choice(value, "user", INDEX, **options).to_list()


def in_file(path, content, index=INDEX, log=None):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_ids(path, "user", index, (lambda line: None) if log is None else log.append).to_list()


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ("u1, u2,", ["u1", "u2"]),
        ("AC/DC,u1", ["AC/DC", "u1"]),
        ("Smith, J", ["Smith, J"]),
        (" Smith, J ", ["Smith, J"]),
        ('"Smith, J",u1', ["Smith, J", "u1"]),
        ('u1, "Smith, J"', ["u1", "Smith, J"]),
        ("a,b", ["a,b"]),
        ('5" disk,u1', ['5" disk', "u1"]),
        ("@ann", ["@ann"]),
        ("@ann,u1", ["@ann", "u1"]),
        ("u1\nu2\n", ["u1", "u2"]),
    ],
)
def test_an_option_names_ids_as_a_row_of_csv_does(value, ids):
    assert chosen(value) == ids


def test_unknown_ids_are_named_and_a_file_is_named_by_an_at_sign(tmp_path):
    (tmp_path / "ids, all.txt").write_text("u1\nnew\n")
    assert chosen(f"@{tmp_path}/ids, all.txt", on_unknown="skip") == ["u1", "new"]
    assert chosen("u1,who", on_unknown="skip") == ["u1", "who"]
    kind = 'ids of users are texts, such as "007"'
    with pytest.raises(InputError, match=rf'ids, all\.txt: 1 of 2 users are unknown, such as "new"; {kind}$'):
        chosen(f"@{tmp_path}/ids, all.txt")
    with pytest.raises(InputError, match=rf'^4 of 5 users are unknown, such as "x", "y", "z"; {kind}; pass a file'):
        chosen("x,y,z,v,u1")
    with pytest.raises(InputError, match="ids of users are whole numbers"):
        read_choice("7,x", "user", IdIndex(pl.Series([7])))
    with pytest.raises(InputError, match=r"no\.txt: no such file"):
        chosen("@no.txt")
    with pytest.raises(InputError, match="no user ids; pass id,id or @FILE"):
        chosen(" ,")
    with pytest.raises(InputError, match='user ids: unclosed quote in "abc; quote ids as in CSV'):
        chosen('"abc')
    with pytest.raises(InputError) as problem:
        chosen(",".join("x" * 500 + str(n) for n in range(9)))
    assert len(str(problem.value)) < 300


def test_all_is_all_users_unless_it_is_an_id():
    assert read_choice_or_all("all", "user", INDEX) is None
    assert read_choice_or_all("u1", "user", INDEX).to_list() == ["u1"]
    called_all = IdIndex(pl.Series(["all", "u1"]))
    with pytest.raises(InputError, match="all is also the id of one user: pass '\"all\"', in quotes"):
        read_choice_or_all("all", "user", called_all)
    assert read_choice_or_all('"all"', "user", called_all).to_list() == ["all"]


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        ("a.txt", "u1\n\n u2 \n   \n", ["u1", "u2"]),
        ("a.txt", "\ufeffAC/DC\r\nu1\r\n", ["AC/DC", "u1"]),
        ("a.csv", "\ufeffu1\r\nu2\r\n", ["u1", "u2"]),
        ("a.txt", "u1\ru2\r", ["u1", "u2"]),
        ("a.txt", "u1\r\nSmith, J\r\n日本\r\n".encode("utf-16"), ["u1", "Smith, J", "日本"]),
        ("a.csv", "Smith, J\nu1\n", ["Smith, J", "u1"]),
        ("a.csv", '"Smith, J"\n"u1"\n', ["Smith, J", "u1"]),
        ("a.txt", '"Smith, J"\n5" disk\n', ["Smith, J", '5" disk']),
        ("a.csv", 'name,user\n"Ann\nLee",007\n\nBob,u2\nCy,\n', ["007", "u2"]),
        ("a.csv", "n,user\na,b\nb,u2\n", ["b", "u2"]),
        ("a.tsv", "name\tUser-ID\nAnn\t007\n", ["007"]),
        ("a.jsonl", '{"user": "007", "age": 3}\n\n{"age": 4, "user": 8}\n"u1"\n', ["007", "8", "u1"]),
    ],
)
def test_ids_of_a_file(tmp_path, name, content, ids):
    folder = tmp_path / "a[1]*"  # no pattern
    folder.mkdir()
    assert in_file(folder / name, content) == ids


@pytest.mark.parametrize("name", ["banned.csv", "banned.tsv", "banned.txt"])
def test_a_first_line_is_an_id_or_a_header_and_the_log_says_which(tmp_path, name):
    log = []
    assert in_file(tmp_path / name, "u1\nu2\n", log=log) == ["u1", "u2"]
    assert log == []
    assert in_file(tmp_path / name, "user_id\nu1\nu2\n", log=log) == ["u1", "u2"]
    assert log == [f'{tmp_path / name}: the first line, "user_id", is read as the header']
    assert in_file(tmp_path / name, "user\nu1\n", IdIndex(pl.Series(["user", "u1"])), log) == ["user", "u1"]
    assert in_file(tmp_path / name, "whatever\nu1\n") == ["whatever", "u1"]  # and is refused as unknown
    with pytest.raises(InputError, match='1 of 2 users are unknown, such as "whatever"'):
        chosen(f"@{tmp_path / name}")


def test_parquet_keeps_whole_numbers_beside_missing_ones(tmp_path):
    path = tmp_path / "a*b.parquet"
    pl.DataFrame({"user": [7.0, None, 8.0, float("nan")], "n": [1, 2, 3, 4]}).write_parquet(path)
    assert read_ids(path, "user", INDEX).to_list() == ["7", "8"]
    pl.DataFrame({"any": ["u1 ", None, "u2"]}).write_parquet(path)
    assert read_ids(path, "user", INDEX).to_list() == ["u1", "u2"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wide.csv", "a,c\n1,2\n", 'no column "user"; its columns are "a", "c"'),
        ("empty.txt", "\n", "no user ids"),
        ("cut.parquet", "PAR1", "damaged, or not a Parquet file"),
        ("bad.jsonl", '"u1"\n{', "line 2 is not JSON"),
        ("nested.jsonl", '{"user": [1]}', "a list is not an id"),
        ("latin.txt", "Jos\u00e9\n".encode("latin-1"), "line 1 is not text in UTF-8; save it as UTF-8"),
    ],
)
def test_mistakes_are_one_line(tmp_path, name, content, message):
    with pytest.raises(InputError, match=f"{name}: {message}") as problem:
        in_file(tmp_path / name, content)
    assert len(str(problem.value).splitlines()) == 1
