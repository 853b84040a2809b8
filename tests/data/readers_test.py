import polars as pl
import pytest

from hlr_jax.data.options import DataOptions
from hlr_jax.data.reading.files import read_interactions
from hlr_jax.data.reading.formats import FORMATS
from hlr_jax.data.titles import read_titles
from hlr_jax.errors import InputError

ROWS = [(7, 3, 5.0), (7, 12, 2.0), (9, 3, 4.0)]
FILES = {
    "movielens-100k": ("u.data", "7\t3\t5\t100\n7\t12\t2\t200\n9\t3\t4\t300\n"),
    "movielens-dat": ("ratings.dat", "7::3::5::100\n7::12::2::200\n9::3::4::300\n"),
    "movielens-csv": ("ratings.csv", "userId,movieId,rating,timestamp\n7,3,5.0,100\n7,12,2.0,200\n9,3,4.0,300\n"),
    "taste-profile": ("train_triplets.txt", "7\t3\t5\n7\t12\t2\n9\t3\t4\n"),
    "yelp-json": (
        "review.json",
        "".join(
            f'{{"user_id":"{u}","business_id":"{i}","stars":{r},"text":"a, b","date":"1970-01-01 00:01:40"}}\n'
            for u, i, r in ROWS
        ),
    ),
    "amazon-csv": ("ratings_Books.csv", "7,3,5.0,100\n7,12,2.0,200\n9,3,4.0,300\n"),
    "hetrec": ("user_artists.dat", "userID\tartistID\tweight\n7\t3\t5\n7\t12\t2\n9\t3\t4\n"),
    "recbole": (
        "x.inter",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t3\t5\t100\n7\t12\t2\t200\n9\t3\t4\t300\n",
    ),
    "csv": ("own.csv", 'item,user,rating,split\n3,7,5,train\n12,7,2,train\n"3",9,4,test\n'),
    "tsv": ("own.tsv", "user\titem\trating\n7\t3\t5\n7\t12\t2\n9\t3\t4\n"),
    "ndjson": ("own.ndjson", "".join(f'{{"user":{u},"item":{i},"rating":{r}}}\n' for u, i, r in ROWS)),
}


def read(path, **options):
    return read_interactions(path, DataOptions(**options)).rows


@pytest.mark.parametrize("name", FILES)
def test_every_published_format(tmp_path, name):
    file, text = FILES[name]
    path = tmp_path / file
    path.write_text(text)
    frame = read(path, name)
    assert [(int(u), int(i), r) for u, i, r in frame.rows()] == ROWS
    assert frame["rating"].dtype == pl.Float64
    assert read(path, name, threshold=4).height == 2


def test_parquet_and_adjacency(tmp_path):
    path = tmp_path / "own.parquet"
    pl.DataFrame(ROWS, schema=["who", "item", "rating"], orient="row").write_parquet(path)
    assert read(path, columns={"user": "who"}).rows() == ROWS
    lists = tmp_path / "lists.dat"
    lists.write_text("7 3 12\n9 3\n")
    assert read(lists, "adjacency", roles=("user", "item")).rows() == [(7, 3), (7, 12), (9, 3)]
    lists.write_text("2 3 12\n1 3\n")
    assert read(lists, "adjacency-counted", roles=("user", "item")).rows() == [(0, 3), (0, 12), (1, 3)]


@pytest.mark.parametrize("name", ["csv", "movielens-dat", "ndjson", "parquet"])
def test_a_path_is_no_pattern(tmp_path, name):
    path = tmp_path / "a[1]*" / "own[1-9]?.data"
    path.parent.mkdir()
    if name == "parquet":
        pl.DataFrame(ROWS, schema=["user", "item", "rating"], orient="row").write_parquet(path)
    else:
        path.write_text(FILES[name][1])
    assert [(int(u), int(i), r) for u, i, r in read(path, name).rows()] == ROWS


def test_every_format_is_tested():
    assert set(FILES) | {"parquet", "adjacency", "adjacency-counted"} == set(FORMATS)


def test_timestamps_in_every_form_become_seconds(tmp_path):
    path = tmp_path / "u.csv"
    path.write_text("user,item,timestamp\na,b,1970-01-01 00:01:40\n")
    assert read(path, roles=("user", "item", "timestamp"))["timestamp"].to_list() == [100.0]
    path.write_text("user,item,timestamp\na,b,100\n")
    assert read(path, roles=("user", "item", "timestamp"))["timestamp"].to_list() == [100.0]


def test_string_ids_stay_strings(tmp_path):
    path = tmp_path / "u.csv"
    path.write_text("user,item,rating\n007,B00X,5\n8,0001,4\n")
    frame = read(path)
    assert frame["item"].to_list() == ["B00X", "0001"]


BAD = {
    "no such file": (None, "no such file"),
    "empty": ("", "the file is empty"),
    "missing column": ("usr,item,rating\n1,2,3\n", 'no column "user" (did you mean "usr"?)'),
    "rating no number": ("user,item,rating\n1,2,3\n1,3,good\n", "line 3: column \"rating\" is no number: 'good'"),
    "rating missing": ("user,item,rating\n1,2,3\n1,3,\n", 'line 3: column "rating" is empty'),
    "user missing": ("user,item,rating\n1,2,3\n,3,4\n", 'line 3: column "user" is empty'),
    "rating NaN": ("user,item,rating\n1,2,3\n1,3,nan\n", "line 3: column \"rating\" is no number: 'nan'"),
    "no text": ("user,item,rating\n1,2,\0\udcff\n", "not readable as delimited: 'utf-8' codec"),
    "ragged": ("user,item,rating\n1,2,3\n1,2,3,4\n", "line 3 has 4 fields instead of 3"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_name_the_line(tmp_path, case):
    text, message = BAD[case]
    path = tmp_path / "u.csv"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as caught:
        read(path, threshold=1)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_json_parquet_and_adjacency(tmp_path):
    path = tmp_path / "u.ndjson"
    path.write_text('{"user":1,"item":2}\n{"user":1,"item":\n')
    with pytest.raises(InputError, match="line 2 is not a JSON object"):
        read(path, roles=("user", "item"))
    path = tmp_path / "u.parquet"
    path.write_bytes(b"PAR1 cut off")
    with pytest.raises(InputError, match=r"u\.parquet: not readable as parquet"):
        read(path)
    pl.DataFrame({"user": [1, None], "item": [1, 2]}).write_parquet(path)
    with pytest.raises(InputError, match='row 2: column "user" is empty'):
        read(path, roles=("user", "item"))
    path = tmp_path / "lists.dat"
    path.write_text("2 3 12\n3 3\n")
    with pytest.raises(InputError, match="line 2 says 3 items and has 1"):
        read(path, "adjacency-counted", roles=("user", "item"))
    with pytest.raises(InputError, match="its ending tells no format"):
        read(path)
    with pytest.raises(InputError, match="a compressed file; unpack it first"):
        read(tmp_path / "u.csv.gz")
    for layout, role in (("hetrec", "timestamp"), ("recbole", "split"), ("adjacency", "rating")):
        with pytest.raises(InputError, match=f'this format has no column for "{role}"'):
            read(path, layout, roles=("user", "item", role))
    path = tmp_path / "list.ndjson"
    for text in ("[1, 2]\n", '{"user":1,"item":2}\n[3]\n'):
        path.write_text(text)
        with pytest.raises(InputError, match="JSON object"):
            read(path, roles=("user", "item"))
    path = tmp_path / "damaged.parquet"
    pl.DataFrame({"user": range(5000), "item": range(5000)}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:4] + b"x" * 400 + path.read_bytes()[404:])
    with pytest.raises(InputError, match=r"damaged\.parquet"):
        read(path, roles=("user", "item"))


def test_ids_that_only_look_like_numbers_stay_as_they_are(tmp_path):
    path = tmp_path / "u.csv"
    path.write_text("user,item,rating\n" + "".join(f"{n},5,4\n" for n in range(12_000)) + "abc,6,4\n")
    assert read(path)["user"].to_list()[-2:] == ["11999", "abc"]
    path.write_text("user,item,rating\n001,5,4\n1,6,4\n")
    assert read(path)["user"].to_list() == ["001", "1"]
    assert read(path)["item"].to_list() == [5, 6]


def test_everyday_files_are_read(tmp_path):
    expected = [("a", 1, 5.0), ("b", 2, 4.0)]
    texts = {
        "blank.csv": "user,item,rating\r\na,1,5\r\nb,2,4\r\n\r\n",
        "quoted.tsv": '"user"\t"item"\t"rating"\n"a"\t"1"\t5\nb\t2\t4\n',
        "blank.ndjson": '\n{"user":"a","item":1,"rating":5}\n\n{"user":"b","item":2,"rating":4}\n',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, newline="")
        assert read(tmp_path / name).rows() == expected, name
    path = tmp_path / "dates.csv"
    path.write_text("user,item,timestamp\na,b,1970-01-01T00:01:40Z\n")
    assert read(path, roles=("user", "item", "timestamp"))["timestamp"].to_list() == [100.0]


def test_titles(tmp_path):
    files = {
        "movielens-100k": "1|Toy Story (1995)|01-Jan-1995||http://x|0|0|0|1|1|1" + "|0" * 13,
        "recbole": "h\n1\tToy Story\t1995\tAnimation Children's Comedy",
        "movielens-dat": "1::Toy Story (1995)::Animation|Children's|Comedy",
        "movielens-csv": "movieId,title,genres\n1,Toy Story (1995),Animation|Children's|Comedy",
    }
    for layout, text in files.items():
        path = tmp_path / layout
        path.write_text(text + "\n")
        assert read_titles(path, layout).rows() == [(1, "Toy Story (1995)", "Animation Children's Comedy")]
    path.write_text("movieId,title,genres\n7,Some Film (2001),(no genres listed)\n")
    assert read_titles(path, "movielens-csv").rows() == [(7, "Some Film (2001)", "")]
    path.write_text("id\tname\turl\n5\tPortishead\thttp://x\n")
    assert read_titles(path, "hetrec").rows() == [(5, "Portishead", "")]
    with pytest.raises(InputError, match="not a movielens-dat title file"):
        read_titles(path, "movielens-dat")
