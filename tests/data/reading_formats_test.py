"""Every known format gives the same rows."""

import bz2
import gzip
import lzma
import zipfile

import polars as pl
import pytest

from hlr_jax.data.options import DataOptions
from hlr_jax.data.reading.files import read_interactions, read_texts
from hlr_jax.data.reading.formats import FORMATS
from hlr_jax.data.reading.plain_text import zstd
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
    "amazon-2018-csv": ("Books.csv", "3,7,5.0,100\n12,7,2.0,200\n3,9,4.0,300\n"),
    "hetrec": ("user_artists.dat", "userID\tartistID\tweight\n7\t3\t5\n7\t12\t2\n9\t3\t4\n"),
    "recbole": (
        "x.inter",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t3\t5\t100\n7\t12\t2\t200\n9\t3\t4\t300\n",
    ),
    "csv": ("own.csv", 'item,user,rating,split\n3,7,5,train\n12,7,2,train\n"3",9,4,test\n'),
    "tsv": ("own.tsv", "user\titem\trating\n7\t3\t5\n7\t12\t2\n9\t3\t4\n"),
    "ndjson": ("own.ndjson", "".join(f'{{"user":{u},"item":{i},"rating":{r}}}\n' for u, i, r in ROWS)),
}
PLAIN = "user,item,rating\n7,3,5\n7,12,2\n9,3,4\n"


def read(path, **options):
    return read_interactions(path, DataOptions(**{"threshold": 0} | options)).rows


@pytest.mark.parametrize("name", FILES)
def test_every_published_format(tmp_path, name):
    file, text = FILES[name]
    path = tmp_path / file
    path.write_text(text)
    frame = read(path, format=name).select("user", "item", "rating")
    assert frame.rows() == ROWS
    assert frame.schema == {"user": pl.Int64, "item": pl.Int64, "rating": pl.Float64}
    report = read_interactions(path, DataOptions(format=name, threshold=4)).report
    assert (report.rows, report.below_threshold) == (3, 1)


def test_parquet_and_adjacency(tmp_path):
    path = tmp_path / "own.parquet"
    pl.DataFrame(ROWS, schema=["who", "item", "rating"], orient="row").write_parquet(path)
    assert read(path, user_column="who").rows() == ROWS
    lists = tmp_path / "lists.dat"
    lists.write_text("7 3 12\n9 3\n")
    assert read(lists, format="adjacency", threshold=None).rows() == [(7, 3), (7, 12), (9, 3)]
    lists.write_text("2 3 12\n1 3\n")
    assert read(lists, format="adjacency-counted", threshold=None).rows() == [(0, 3), (0, 12), (1, 3)]


def test_every_format_is_tested():
    assert set(FILES) | {"parquet", "adjacency", "adjacency-counted"} == set(FORMATS)


@pytest.mark.parametrize("name", ["csv", "movielens-dat", "ndjson", "parquet"])
def test_a_path_is_not_a_pattern(tmp_path, name):
    path = tmp_path / "a[1]*" / "own[1-9]?.data"
    path.parent.mkdir()
    other = tmp_path / "a1" / "own1x.data"  # what the path would match
    other.parent.mkdir()
    other.write_text("user,item,rating\nwrong,wrong,1\n")
    if name == "parquet":
        pl.DataFrame(ROWS, schema=["user", "item", "rating"], orient="row").write_parquet(path)
    else:
        path.write_text(FILES[name][1])
    assert read(path, format=name).select("user", "item", "rating").rows() == ROWS


PACKED = {
    ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress,
    "two.gz": lambda text: gzip.compress(text[:25]) + gzip.compress(text[25:]),
    "two.bz2": lambda text: bz2.compress(text[:25]) + bz2.compress(text[25:]),
}  # fmt: skip


@pytest.mark.parametrize("packing", PACKED)
def test_compressed_files(tmp_path, packing):
    packed, suffix = PACKED[packing](PLAIN.encode()), f".{packing.rpartition('.')[2]}"
    path = tmp_path / f"own.csv{suffix}"
    path.write_bytes(packed)
    assert read(path).rows() == ROWS
    assert f"own.csv{suffix}: unpacked from {suffix}" in read_interactions(path, DataOptions()).report.notes[0]
    for damaged in (packed[:-9], packed + b"what follows is no stream", b"x" + packed[1:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=f"damaged or truncated: it can't be unpacked as {suffix}"):
            read(path)


def test_an_archive_of_one_file(tmp_path):
    path = tmp_path / "own.csv.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log/own.csv", PLAIN)
        archive.writestr("__MACOSX/._own.csv", "x")
    assert read(path).rows() == ROWS
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(InputError, match=r"the archive has 2 files \(log/own.csv, readme.txt\); unpack it"):
        read(path)


def test_packed_parquet(tmp_path):
    path = tmp_path / "own.parquet"
    pl.DataFrame(ROWS, schema=["user", "item", "rating"], orient="row").write_parquet(path)
    packed = tmp_path / "own.parquet.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read(packed).rows() == ROWS


@pytest.mark.parametrize("ending", ["xlsx", "json", "pkl"])
def test_unsupported_files_are_errors_with_a_remedy(tmp_path, ending):
    path = tmp_path / f"own.{ending}"
    path.write_text("x")
    with pytest.raises(InputError, match=r"save it as CSV|write a line for each row|save it as Parquet"):
        read(path)


def test_tables_of_texts(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("category;item\nblue;7\n;9\n")
    assert read_texts(path, ("item", "category")).rows() == [("7", "blue"), ("9", None)]


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
    with pytest.raises(InputError, match=r"not a movielens-dat title file"):
        read_titles(path, "movielens-dat")
