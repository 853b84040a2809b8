"""The reading report: counts derived by hand, always logged, and stored with the data."""

from dataclasses import replace

import polars as pl
import pytest

import hlr_jax
from hlr_jax import Dataset, InputError
from hlr_jax.data.report import ReadingReport
from hlr_jax.data.serialization import read_stored, store_dataset
from hlr_jax.data.unknown_users import leave_out

# user, item, rating, timestamp: ten rows that are kept. The last two times are those of a new user.
KEPT = [
    ("a", 1, 5, 1), ("a", 2, 5, 2), ("a", 3, 3, 3), ("b", 1, 4, 4), ("b", 2, 5, 5), ("b", 4, 5, 6), ("c", 3, 5, 7),
    ("c", 4, 5, 8), ("d", 1, 5, 9), ("d", 2, 5, 10),
]  # fmt: skip
# Two ratings below 3; a repeated pair; f with one item; g with one item once the core has dropped item 9.
ROWS = [*KEPT, ("a", 4, 2, 1), ("e", 1, 1, 2), ("a", 1, 5, 11), ("f", 1, 5, 1), ("g", 9, 5, 1), ("g", 1, 5, 2)]
LINE = (
    "16 rows read, left out: 2 below the threshold of 3, 1 repeated, 3 outside the 2-core, "
    "2 of users without training interactions"
)
SETTINGS = {"threshold": 3, "k_core": 2, "split": "time"}


@pytest.fixture
def table():
    return pl.DataFrame(ROWS, schema=["user", "item", "rating", "timestamp"], orient="row")


def quiet(_):
    pass


def test_every_reason_is_counted(table):
    lines = []
    dataset = Dataset.from_frame(table, **SETTINGS, log=lines.append)
    expected = ReadingReport(
        16,
        below_threshold=2,
        duplicates=1,
        outside_k_core=3,
        of_unknown_users=2,
        users_dropped=1,
        threshold=3,
        k_core=2,
        notes=("timestamp: plain numbers; 1 to 11", "split: valid from 8, test from 9"),
    )
    assert dataset.reading_report() == expected
    assert str(expected) == LINE
    assert lines[-2:] == [f"frame: {LINE}", dataset.summary()]
    assert expected.interactions == len(dataset.train) + len(dataset.valid) + len(dataset.test) == 8
    # Of ten interactions the last two (a fifth, rounded up) are test, and the one before them is valid.
    assert dataset.valid.user.tolist() == [2]
    assert dataset.user_ids.to_list() == ["a", "b", "c"]
    assert dataset.summary().endswith("; users without training interactions: 0 kept, 1 dropped")


def test_unknown_users_are_kept_with_keep(table):
    dataset = Dataset.from_frame(table, **SETTINGS, unknown_users="keep", log=quiet)
    assert dataset.user_ids.to_list() == ["a", "b", "c", "d"]
    assert dataset.test.user.tolist() == [3, 3]
    report = dataset.reading_report()
    assert (report.of_unknown_users, report.users_dropped, report.users_kept) == (0, 0, 1)
    assert dataset.summary().endswith("; users without training interactions: 1 kept, 0 dropped")
    with pytest.raises(InputError, match=r"user d is in test but not in train \(1 such users\)"):
        Dataset.from_frame(table, **SETTINGS, unknown_users="error", log=quiet)
    drop = Dataset.from_frame(table, **SETTINGS, unknown_users="drop", log=quiet)
    assert drop.fingerprint == Dataset.from_frame(table, **SETTINGS, log=quiet).fingerprint


def test_training_on_all_splits_restores_all_users(table):
    new = pl.DataFrame([("d", 7, 5, 11), ("d", 8, 5, 12)], schema=table.columns, orient="row")  # items of d alone
    frame = pl.DataFrame(KEPT, schema=table.columns, orient="row").vstack(new)
    dataset = Dataset.from_frame(frame, split="time", log=quiet)
    assert not {"d", 7, 8} & {*dataset.user_ids, *dataset.item_ids}
    everything = dataset.trained_on("train+valid+test")
    assert set(everything.to_frame().rows()) == {(user, item, "train") for user, item, *_ in frame.rows()}
    assert everything.reading_report() == ReadingReport(12, notes=dataset.reading.notes)
    same = Dataset.from_frame(frame, split="time", train_splits="train+valid+test", log=quiet)
    assert same.fingerprint == everything.fingerprint


def test_training_on_validation_restores_its_users(table):
    rows = [*KEPT[:7], ("z", 1, 5, 8), ("z", 2, 5, 9), ("c", 2, 5, 10)]
    dataset = Dataset.from_frame(pl.DataFrame(rows, schema=table.columns, orient="row"), split="time", log=quiet)
    assert "z" not in dataset.user_ids
    both = dataset.trained_on("train+valid")
    assert set(both.to_frame().rows()) >= {("z", 1, "train"), ("z", 2, "test")}
    assert both.reading_report().of_unknown_users == 0


def test_titles_are_restored_too(table):
    rows = [*KEPT, ("d", 7, 5, 11), ("d", 8, 5, 12)]
    kept = Dataset.from_frame(
        pl.DataFrame(rows, schema=table.columns, orient="row"), split="time", unknown_users="keep", log=quiet
    )
    titles = pl.DataFrame({"title": [f"item {n}" for n in kept.item_ids], "genres": ""})
    dataset = leave_out(replace(kept, titles=titles))
    assert dataset.item_titles.to_list() == ["item 1", "item 2", "item 3", "item 4"]
    back = dataset.trained_on("train+valid+test")
    assert back.item_titles.to_list() == [f"item {n}" for n in (1, 2, 3, 4, 7, 8)]


def test_the_report_is_logged_from_cache_and_stored_copy(table, tmp_path):
    table.write_csv(tmp_path / "own.csv")
    told = []
    for _ in range(2):
        dataset = hlr_jax.load_dataset(tmp_path / "own.csv", **SETTINGS, log=told.append)
    assert told.count(f"own: {LINE}") == 2
    store_dataset(tmp_path / "dataset", dataset)
    again = read_stored(tmp_path / "dataset")
    assert again.reading_report() == dataset.reading_report()
    assert again.fingerprint == dataset.fingerprint
    everyone = dataset.trained_on("train+valid+test")
    assert again.trained_on("train+valid+test").fingerprint == everyone.fingerprint
    assert everyone.user_ids.to_list() == ["a", "b", "c", "d"]
    (tmp_path / "dataset" / "left_out.parquet").unlink()
    with pytest.raises(InputError, match=r"left_out\.parquet: no such file; delete .*dataset; the data is then read"):
        read_stored(tmp_path / "dataset")


def test_a_report_without_left_out_rows(world):
    assert str(world.reading_report()) == "900 rows read, left out: none; 8 users are without test interactions"
