"""A source of several files, and the files of a path."""

import polars as pl
import pytest

import hlr_jax
from hlr_jax import InputError


def load(*source, **options):
    return hlr_jax.load_dataset(*source, log=lambda _: None, **options)


@pytest.fixture
def parts(tmp_path, rng):
    """A folder of part files, and its rows."""
    pairs = pl.DataFrame(rng.integers(0, 40, (400, 2)), schema=["user", "item"]).unique(maintain_order=True)
    folder = tmp_path / "log[1]"
    (folder / "day=2").mkdir(parents=True)
    pairs[:100].write_parquet(folder / "part-0.parquet")
    pairs[100:200].cast(pl.Int32).write_parquet(folder / "day=2" / "part-1.parquet")
    pairs[200:].write_csv(folder / "day=2" / "rest.csv")
    (folder / "_SUCCESS").write_text("")
    (folder / ".part-0.parquet.crc").write_bytes(b"x")
    pairs.write_csv(tmp_path / "whole.csv")
    return folder, pairs


def test_parts_are_one_source(parts, tmp_path, monkeypatch):
    folder, pairs = parts
    whole = load(tmp_path / "whole.csv")
    files = [folder / "day=2" / "rest.csv", str(folder / "part-0.parquet"), folder / "day=2" / "part-1.parquet"]
    pattern = str(tmp_path / "log[[]1]" / "**" / "*.*")
    ways = {
        "folder": load(folder), "path": load(path=str(folder)), "list": load(files), "tuple": load(path=tuple(files)),
        "pattern": load(path=pattern, glob=True), "pattern first": load(pattern, glob=True),
        "again": load(folder, cache=False),
    }  # fmt: skip
    for way, dataset in ways.items():
        assert dataset.fingerprint == whole.fingerprint, way
        assert dataset.reading_report().rows == pairs.height, way
    assert ways["folder"].name == "log[1]"
    assert load(path=folder, name="mine").name == "mine"
    monkeypatch.chdir(tmp_path)
    assert load("whole.csv").fingerprint == load("./whole.csv").fingerprint == whole.fingerprint
    # The cache key depends on the content of the files.
    pairs[:50].write_parquet(folder / "part-0.parquet")
    assert load(folder).reading_report().rows == pairs.height - 50


def test_ids_are_text_if_any_part_has_text(tmp_path):
    (tmp_path / "a.csv").write_text("user,item\n1,5\n2,6\n")
    (tmp_path / "b.csv").write_text("user,item\nx,5\n1,7\n")
    dataset = load([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert dataset.user_ids.to_list() == ["1", "2", "x"]
    assert dataset.item_ids.to_list() == [5, 6, 7]


def test_missing_ids_among_numbers_are_missing(tmp_path):
    path = tmp_path / "own.csv"
    for word in ("nan", "NULL", "None", "<NA>", "NA"):
        path.write_text(f"user,item\n1,5\n{word},6\n")
        with pytest.raises(InputError, match=f'line 3: column "user" is {word}, a missing id'):
            load(path)
    path.write_text("user,item\nNA,5\nDE,6\n")  # countries
    assert load(path).user_ids.to_list() == ["DE", "NA"]


def test_dates_may_have_an_offset_from_utc(tmp_path):
    path = tmp_path / "own.csv"
    # In UTC: 8:00, 9:30 and 10:00, so the last line has the last time.
    path.write_text(
        "user,item,timestamp\n1,5,2024-01-01T10:00:00+02:00\n1,6,2024-01-01T07:00:00-0230\n1,7,2024-01-01T10:00:00Z\n"
    )
    split_of = dict(load(path, split="leave-last-out").to_frame().select("item", "split").rows())
    assert split_of == {5: "train", 6: "valid", 7: "test"}


def test_mistakes_are_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.txt").write_text("hello")
    for source, options, message in [
        (tmp_path / "no.csv", {}, "no.csv: no such file; check dataset.path"),
        ("no/*.csv", {"glob": True}, "no/*.csv: no file matches; check dataset.path"),
        (tmp_path / "*.csv", {}, "pass dataset.glob=true if it is a pattern"),
        (tmp_path / "empty", {}, "empty: the folder has no files"),
        (tmp_path / "other", {}, "README.txt: unknown file extension"),
    ]:
        with pytest.raises(InputError) as caught:
            load(source, **options)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
