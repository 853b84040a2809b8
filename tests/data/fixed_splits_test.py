"""A script makes the fixed splits from their sources and verifies them."""

import hashlib
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from command_line import command, scripts

SCRIPT = "fixed_splits.py"


@pytest.fixture(scope="module")
def script():
    with scripts():
        import fixed_splits
    return fixed_splits


def test_random_splits_equal_those_of_scikit_learn(script):
    """Results of train_test_split of scikit-learn 1.9.1 for 23 rows: test_size=0.2, then 0.1, random_state=2021."""
    parts = script.shuffled_parts(23)
    assert np.flatnonzero(parts == 2).tolist() == [3, 4, 8, 9, 14]
    assert np.flatnonzero(parts == 1).tolist() == [17, 20]


# 2-core: dropping item 9 leaves user 30 with one item; dropping user 30 leaves item 6 with one user.
ROWS = [(20, 5), (10, 8), (20, 8), (30, 6), (30, 9), (10, 5), (10, 8), (10, 6), (40, 8), (40, 5)]


@pytest.mark.parametrize(
    ("ordered", "expected"),
    [
        # Rows in order: 10/5 10/8 20/5 20/8 40/5 40/8.
        (True, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]),
        # Rows in file order: 20/5 10/8 20/8 10/5 40/8 40/5, so users 20, 10, 40 are 0, 1, 2.
        (False, [(0, 0), (1, 1), (0, 1), (1, 0), (2, 1), (2, 0)]),
    ],
)
def test_rows_and_ids_have_the_chosen_order(script, ordered, expected):
    rows = pl.DataFrame(ROWS, schema=["user", "item"], orient="row")
    table = script.make_split(rows, script.FixedSplit("csv", 2, ordered, ""), "here")
    parts = [("train", "valid", "test")[part] for part in script.shuffled_parts(6)]
    assert table.rows() == sorted((*pair, part) for pair, part in zip(expected, parts, strict=True))
    assert table.schema == {"user": pl.Int32, "item": pl.Int32, "split": pl.String}


def test_the_checksum_is_of_the_sorted_lines(script):
    table = pl.DataFrame({"user": [2, 0, 10], "item": [1, 3, 0], "split": ["test", "train", "valid"]})
    assert script.checksum(table) == hashlib.sha256(b"0,3,train\n2,1,test\n10,0,valid\n").hexdigest()
    assert script.checksum(table.cast({"split": pl.Categorical})[::-1]) == script.checksum(table)


def test_a_wrong_source_is_an_error_and_writes_nothing(tmp_path):
    source, output = tmp_path / "users.dat", tmp_path / "split.parquet"
    source.write_text("".join(f"5 {' '.join(str(item) for item in range(5))}\n" for _ in range(5)))
    done = command(SCRIPT, "--data=citeulike-a", f"--source={source}", f"--output={output}")
    assert done.returncode == 2
    assert f"error: {source}: not the source of the fixed split citeulike-a" in done.stderr
    assert not output.exists()


def test_a_file_is_written_from_cached_downloads(script, tmp_path, monkeypatch):
    folder = tmp_path / "fixed_splits" / "yelp"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text("1 4 5\r\n0 5 4\r\n")
    (folder / "test.txt").write_text("1 6\r\n0 6\r\n")
    monkeypatch.setenv("HLR_JAX_DATA", str(tmp_path))
    pairs = [(user, item) for user in (0, 1) for item in (0, 1, 2)]
    lines = [
        f"{user},{item},{('train', 'valid', 'test')[part]}\n"
        for (user, item), part in zip(pairs, script.shuffled_parts(6), strict=True)
    ]
    right = replace(script.FIXED_SPLITS["yelp"], k_core=2, checksum=hashlib.sha256("".join(lines).encode()).hexdigest())
    monkeypatch.setitem(script.FIXED_SPLITS, "yelp", right)
    assert script.fixed_split("yelp", []).height == 6


# The sources in the folder of real data, where the rows of MovieLens-1M lost their order.
SOURCES = {
    "ml-100k": "ml-100k/ml-100k.inter", "lastfm-hetrec": "lastfm-hetrec/user_artists.dat",
    "citeulike-a": "citeulike-a/users.dat", "lastfm": "lastfm.parquet", "yelp": "yelp.parquet",
    "amazon-book": "amazon-book.parquet",
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_fixed_splits_are_made_row_by_row(shared_data, tmp_path, name):
    output = tmp_path / "split.parquet"
    done = command(SCRIPT, f"--data={name}", f"--source={shared_data / SOURCES[name]}", f"--output={output}")
    assert done.returncode == 0, done.stderr
    fixed = pl.read_parquet(shared_data / "splits" / f"{name}.parquet").cast({"split": pl.String})
    assert pl.read_parquet(output).equals(fixed)
    assert "as recorded" in done.stdout
