"""Unusual files: read correctly with a note on each decision, or an error that names the line and a remedy."""

import json

import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax import Dataset, InputError
from hlr_jax.data.options import DataOptions
from hlr_jax.data.reading.files import read_interactions

AB = [("a", 1), ("b", 2), ("c", 3)]


def read(tmp_path, text, name="log.csv", **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_interactions(path, DataOptions(**options))


READ = {
    "a quote inside a field is a letter": ('user,item,title\na,1,x\nb,2,12" single\nc,3,12" single\n', {}),
    "so in a column of ids": ('user,item,title\na,1,x\nb,2,y\nc,3,5" "thing"\n', {}),
    "quoted fields with separators, quotes and lines": (
        'title,user,item\n"x, ""y""\nz","a",1\nplain,b,2\n"",c,3\n',
        {},
    ),
    "carriage returns alone": ("user,item\ra,1\rb,2\rc,3\r", {}),
    "windows": ("\ufeffuser,item\r\na,1\r\nb,2\r\nc,3\r\n\r\n", {}),
    "lines of blanks": ("\nuser,item\na,1\n   \n\nb,2\nc,3\n", {}),
    "no line end at the end": ("user,item\na,1\nb,2\nc,3", {}),
    "blanks around fields": ("user, item\na, 1\nb ,2\n c, 3\n", {}),
    "semicolons": ('"user";"item";"x,y"\n"a";"1";","\nb;2;\nc;3;1,5\n', {}),
    "pipes": ("user|item\na|1\nb|2\nc|3\n", {}),
    "tabs in a csv": ("user\titem\na\t1\nb\t2\nc\t3\n", {}),
    "two colons with colons inside": ("user::item::x:y\na::1:: : \nb::2::1:2:3\nc::3::\n", {}),
    "another separator": ("user~item\na~1\nb~2\nc~3\n", {"separator": "~"}),
    "an order instead of a header": ("1,x,a\n2,y,b\n3,z,c\n", {"columns": "item,_,user"}),
    "an order and a header": ("item,title,user\n1,x,a\n2,y,b\n3,z,c\n", {"columns": "item,_,user"}),
    "a header that is passed over": ("p,q\na,1\nb,2\nc,3\n", {"columns": "user,item", "header": "yes"}),
    "exact names before typed ones": ("user:token,user,item\nx,a,1\ny,b,2\nz,c,3\n", {}),
    "typed names": ("item:token,user:token\n1,a\n2,b\n3,c\n", {}),
    "a name with a colon": ("u:token,item\na,1\nb,2\nc,3\n", {"user_column": "u:token"}),
    "utf-16": ("user,item\na,1\nb,2\nc,3\n".encode("utf-16"), {}),
    "utf-16, said": ("user,item\na,1\nb,2\nc,3\n".encode("utf-16"), {"encoding": "utf-16"}),
    "utf-8-sig, said": ("\ufeffuser,item\na,1\nb,2\nc,3\n", {"encoding": "utf-8-sig"}),
    "whole floats": ("user,item\na,1.0\nb,2\nc,3.00\n", {}),
    "quotes that are plain characters": ('user,item,x\na,1,"y\nb,2,"\nc,3,z\n', {"quotes": "no"}),
}


@pytest.mark.parametrize("case", READ)
def test_unusual_files_are_read_correctly(tmp_path, case):
    text, options = READ[case]
    reading = read(tmp_path, text, **options)
    assert reading.rows.select("user", "item").rows() == AB
    assert reading.report.rows == 3


def test_blanks_separate_the_fields_of_an_inter_file(tmp_path):
    reading = read(tmp_path, "user_id:token item_id:token\na 1\nb 2\nc 3\n", "log.inter")
    assert reading.rows.rows() == AB
    assert reading.report.notes == (
        'log.inter: fields separated by blanks; user is column "user_id:token", item is column "item_id:token"',
    )


def test_latin_1_by_setting_and_a_suggested_encoding(tmp_path):
    text = "user,item\nJosé,1\n".encode("latin-1")
    assert read(tmp_path, text, encoding="latin-1").rows.rows() == [("José", 1)]
    with pytest.raises(
        InputError, match=r"line 2 is not text in UTF-8; pass dataset.encoding, such as cp1252, which reads 'José,1'"
    ):
        read(tmp_path, text)
    with pytest.raises(InputError, match=r'unknown dataset.encoding "latin-99"'):
        read(tmp_path, text, encoding="latin-99")


def test_concatenated_files_have_repeated_headers(tmp_path):
    reading = read(tmp_path, "user,item\na,1\nuser,item\nb,2\n\ufeffuser,item\nc,3\n")
    assert reading.rows.rows() == AB
    assert (reading.report.rows, reading.report.repeated_headers) == (5, 2)
    assert str(reading.report) == "5 rows read, left out: 2 repeated headers"
    reading = read(tmp_path, "user, item,x\na,1,y\nuser, item,z\nb,2,y\nc,3,\n")
    assert (reading.rows.rows(), reading.report.repeated_headers) == (AB, 1)
    reading = read(tmp_path, "user,item\na,1\nb,2\nc,3\nuser,4\n")  # somebody who is called like the column
    assert (reading.report.rows, reading.report.repeated_headers, reading.rows.height) == (4, 0, 4)


def test_decisions_are_logged_each_time(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("who;what;stars;title\n" + "".join(f"{n % 5};{n};{1 + n % 5};x\n" for n in range(40)))
    expected = (
        'own.csv: fields separated by ";"; user is column "who", item is column "what"; not read: "stars", "title"'
    )
    for _ in range(2):  # the second time from the cache
        lines = []
        hlr_jax.load_dataset(path, user_column="who", item_column="what", log=lines.append)
        assert lines[0] == expected


def test_unread_ratings_are_logged_with_their_range(tmp_path):
    notes = read(tmp_path, "user,item,rating,weight\na,1,0.5,2\nb,2,5,3\n").report.notes
    assert notes == ('log.csv: not read: "rating" (0.5 to 5), "weight"',)


@pytest.mark.parametrize("low", ["0", "-1", "false"])
def test_ratings_of_zero_or_less_need_a_threshold(tmp_path, low):
    text = f"user,item,rating\na,1,{low}\nb,2,{'true' if low == 'false' else 1}\n"
    with pytest.raises(
        InputError, match=r'"rating" ranges from (0|-1) to 1, and without a threshold every row is an inter'
    ):
        read(tmp_path, text)
    assert read(tmp_path, text, threshold=1).rows["user"].to_list() == ["b"]
    assert read(tmp_path, text, threshold=-1).rows.height == 2
    frame = pl.DataFrame({"user": [1, 2], "item": [1, 2], "rating": [low == "false" and False, True]})
    with pytest.raises(InputError, match=r'frame: column "rating" ranges from 0 to 1'):
        Dataset.from_frame(frame)


def test_booleans_are_read_the_same_from_all_formats(tmp_path):
    frame = pl.DataFrame({"user": ["a", "b"], "item": [1, 2], "rating": [True, False]})
    frame.write_parquet(tmp_path / "log.parquet")
    frame.write_csv(tmp_path / "log.csv")
    frame.write_ndjson(tmp_path / "log.ndjson")
    (tmp_path / "python.csv").write_text("user,item,rating\na,1,True\nb,2,False\n")
    for name in ("log.parquet", "log.csv", "log.ndjson", "python.csv"):
        assert read_interactions(tmp_path / name, DataOptions(threshold=1)).rows.rows() == [("a", 1, 1.0)], name


def test_decimal_commas(tmp_path):
    text = "user;item;rating\na;1;4,5\nb;2;3\n"
    assert read(tmp_path, text, threshold=0, decimal=",").rows["rating"].to_list() == [4.5, 3.0]
    with pytest.raises(InputError, match=r"line 2: column \"rating\" is not a number: '4,5'; pass dataset.decimal=,"):
        read(tmp_path, text, threshold=0)


MISSING = "user,item\na,1\n,2\nNULL,3\n nan ,4\nb,None\nc,5\n"


def test_missing_ids_in_every_notation(tmp_path):
    with pytest.raises(InputError, match=r'line 3: column "user" is empty; .*missing_ids=drop \(4 rows lack an id\)'):
        read(tmp_path, MISSING)
    reading = read(tmp_path, MISSING, missing_ids="drop")
    assert reading.rows.rows() == [("a", 1), ("c", 5)]
    assert (reading.report.rows, reading.report.without_ids) == (6, 4)
    numbers = read(tmp_path, "user,item\n1,2\n,x\n3,4\n", missing_ids="drop")
    assert numbers.rows.rows() == [(1, 2), (3, 4)]
    kept = read(tmp_path, MISSING, missing_ids="drop", missing_words="")
    assert kept.rows["user"].to_list() == ["a", "NULL", "nan", "b", "c"]
    with pytest.raises(
        InputError, match=r'line 3: column "user" is NULL, a missing id; .* other dataset.missing_words'
    ):
        read(tmp_path, "user,item\na,1\nNULL,2\n")


def test_missing_ids_of_frames_and_parquet(tmp_path):
    frames = {
        "float": [1.0, float("nan"), None, 2.0], "text": ["1", "", "<NA>", "2"], "null": [1, None, None, 2],
    }  # fmt: skip
    for kind, users in frames.items():
        frame = pl.DataFrame({"user": users, "item": [1, 2, 3, 4]}, strict=False)
        frame.write_parquet(tmp_path / "log.parquet")
        rows = read_interactions(tmp_path / "log.parquet", DataOptions(missing_ids="drop")).rows
        assert rows["item"].to_list() == [1, 4], kind
        assert rows["user"].dtype == (pl.String if kind == "text" else pl.Int64)
        with pytest.raises(InputError, match=r'row 2: column "user" is (empty|<NA>).*2 rows lack an id'):
            read_interactions(tmp_path / "log.parquet", DataOptions())
        dataset = Dataset.from_frame(frame.vstack(frame), missing_ids="drop", log=lambda line: None)
        assert dataset.reading_report().without_ids == 4
    frame = pl.DataFrame({"user": [1.5, None], "item": [1, 2]})
    with pytest.raises(InputError, match=r"row 0 .* is neither text nor a whole number: 1.5"):
        Dataset.from_frame(frame, missing_ids="drop")


def test_ids_keep_their_types(tmp_path):
    def users(*values):
        return read(tmp_path, "user,item\n" + "".join(f"{value},1\n" for value in values)).rows["user"].to_list()

    assert users("007", "7") == ["007", "7"]
    assert users("5863.0", "5863", "-3") == [5863, 5863, -3]
    assert users("18446744073709551615", "1") == ["18446744073709551615", "1"]
    assert users("9223372036854775807", "1") == [9223372036854775807, 1]
    assert users("1.5", "1") == ["1.5", "1"]
    many = [str(number) for number in range(30)]
    reading = read(tmp_path, "user,item\n" + "".join(f"{user},1\n" for user in [*many, "abc"]))
    assert reading.rows["user"].to_list() == [*many, "abc"]
    assert reading.report.notes == (
        'log.csv: ids in column "user" are read as texts, because "abc" is among the numbers',
    )
    for value, problem in (("9007199254740994.0", "a floating-point number beyond 2"), ("1E+17", "a rounded numb")):
        with pytest.raises(InputError, match=f'line 3: column "user" is {problem}'):
            users("1", value)


REFUSED = {
    "no header": ("1,2\n1,3\n", {}, "the first line (1, 2) is not a header; pass dataset.columns=user,item"),
    "no header, columns named": ("1,2\n1,3\n", {"user_column": "1", "item_column": "2"}, "is not a header"),
    "other names": ("who;what\na;1\n", {}, 'no columns "user" and "item" (it has: who, what); pass the names of'),
    "one other name": ("usr,item\na,1\n", {}, 'no column "user" (did you mean "usr"?); pass the name of the user'),
    "a name twice": ("user,user,item\na,b,1\n", {}, '2 columns have the name "user"'),
    "ragged": ("user,item\na,1\nb,2,3\n", {}, "line 3 has 3 fields instead of 2"),
    "short": ("user,item,x\na,1,\nb,2\n", {}, "line 3 has 2 fields instead of 3"),
    "an unclosed quote": ('user,item\na,"1\nb,2\n', {}, "line 2: a quote is not closed"),
    "text after a quote": ('user,item\na,"1"x\nb,2\n', {}, "line 2: text follows a closing quote"),
    "lines within quotes": (
        'user,item,x\na,1,"y\nb,2,z\nc,3,"\n', {}, "line 2: a quoted field has a line that looks like a record",
    ),
    "a NUL": ("user,item\na,1\nb\0,2\n", {}, "line 3 has a NUL byte"),
    "several lines in a record": (
        'user,item,x\na,1,"p\nq"\nb,2\n', {}, "line 4 has 2 fields instead of 3",
    ),
    "records across lines are counted": (
        'user,item,x\na,1,"p\nq"\n,2,z\n', {}, 'record 2 (line 4): column "user" is empty',
    ),
    "an order of another length": ("1,2,3\n", {"columns": "user,item"}, "the first line has 3 fields, but dataset.c"),
    "a header in a format without": (
        "user,item,rating,timestamp\na,1,5,9\nb,2,4,9\n", {"format": "amazon-csv"}, "looks like a header, but the for",
    ),
    "products for users": (
        "B000000001,A1B2C3D4E5F6,5,1\nB000000002,A1B2C3D4E5F7,5,1\n", {"format": "amazon-csv"},
        "the user column has product ids (B000000001); pass dataset.format=amazon-2018-csv",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_seem_misread_are_errors(tmp_path, case):
    text, options, message = REFUSED[case]
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, **options)
    assert message in str(caught.value)
    assert str(tmp_path / "log.csv") in str(caught.value)
    assert len(str(caught.value)) - len(str(tmp_path)) < 300
    assert "\n" not in str(caught.value)


def test_lines_within_quotes_are_text_with_quotes_yes(tmp_path):
    reading = read(tmp_path, 'user,item,x\na,1,"y\nb,2,z\nc,3,"\n', quotes="yes")
    assert reading.rows.rows() == [("a", 1)]


def test_json_lines(tmp_path):
    lines = ['\ufeff{"user": "a", "item": 1, "x": [1]}', "", '{"item": 2.0, "user": "b"}', '{"user":"c","item":"3"}']
    assert read(tmp_path, "\n".join(lines), "log.jsonl").rows.rows() == AB
    bad = {
        '{"user": 1, "item": 2': "line 2 is not a JSON object",
        '{"user": 1, "item": [1, 2]}': 'line 2: column "item" has a list; write a row for each entry',
        '{"user": true, "item": 1}': 'line 2: column "user" has the boolean true, which is not an id',
        '{"user": 1, "item": 2}{"user": 1, "item": 3}': "line 2 is not a JSON object",
        '{"user": 1, "user": 2, "item": 3}': "line 2 is not a JSON object",
        '{"user": 1, "item": NaN}': "line 2 is not a JSON object",
        '{"user": "\\ud800", "item": 1}': "line 2 is not a JSON object",
        '{"item": 3}': 'line 2: column "user" is empty',
    }
    for line, message in bad.items():
        with pytest.raises(InputError) as caught:
            read(tmp_path, json.dumps({"user": 1, "item": 1}) + "\n" + line + "\n", "log.jsonl")
        assert message in str(caught.value)


def test_damaged_parquet_and_lists_in_cells(tmp_path):
    pl.DataFrame({"user": [1], "item": [[1, 2]]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(InputError, match=r'column "item" has lists, which can\'t be read as ids; write a row for eac'):
        read_interactions(tmp_path / "log.parquet", DataOptions())
    with pytest.raises(InputError, match=r"damaged or truncated: it can't be read as parquet"):
        read(tmp_path, b"PAR1 cut off", "log.parquet")
    pl.DataFrame({"user": np.arange(5000), "item": np.arange(5000)}).write_parquet(tmp_path / "log.parquet")
    data = (tmp_path / "log.parquet").read_bytes()
    with pytest.raises(InputError, match=r"log\.parquet"):
        read(tmp_path, data[:4] + b"x" * 400 + data[404:], "log.parquet")


def test_reading_settings_are_checked():
    for options, message in (
        ({"separator": "ab"}, "dataset.separator must be one character"),
        ({"columns": "user,thing"}, 'unknown role in dataset.columns "thing"'),
        ({"columns": "user,item,user"}, "dataset.columns names user twice"),
        ({"header": "maybe"}, 'unknown dataset.header "maybe"'),
    ):
        with pytest.raises(InputError) as caught:
            DataOptions(**options)
        assert message in str(caught.value)
    with pytest.raises(InputError, match=r"encoding is for files"):
        Dataset.from_frame(pl.DataFrame({"user": [1], "item": [1]}), encoding="latin-1")
