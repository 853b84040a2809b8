"""Splits by time and by draws; the witnesses are values derived by hand and loops over Python's own numbers."""

import hashlib
import math
import random

import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.options import DataOptions
from hlr_jax.data.splits import pair_hashes
from hlr_jax.data.time_cuts import find_cuts
from hlr_jax.data.timestamps import TimestampForm
from hlr_jax.errors import InputError


def divided(frame, **options):
    """Return the split of each pair of a frame."""
    dataset = Dataset.from_frame(frame, unknown_users="keep", log=lambda _: None, **options)
    return {(user, item): split for user, item, split in dataset.to_frame().rows()}


@pytest.fixture(scope="module")
def ties():
    """200 users of 10 items each; all rows of a user bear one timestamp."""
    draw = random.Random(3)
    rows = [(user, item, 1000 + user) for user in range(200) for item in draw.sample(range(100), 10)]
    return pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")


def hash_of(user, item, seed):
    """The documented hash, in Python's whole numbers."""

    def mix(value):
        value = (value + 0x9E3779B97F4A7C15) % 2**64
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
        return value ^ value >> 31

    def of_id(text):
        return int.from_bytes(hashlib.blake2b(str(text).encode(), digest_size=8).digest(), "little")

    assert mix(0) == 0xE220A8397B1DCDAF  # the first number of SplitMix64 with seed 0, as published
    return mix(mix(mix(seed) ^ of_id(user)) ^ of_id(item))


def test_hashes_are_what_is_documented():
    users, items = pl.Series(["ann", "zoë"]), pl.Series([7, 2**40, -1])
    made = pair_hashes(np.array([0, 1, 1, 0]), np.array([2, 0, 1, 0]), users, items, 2021)
    pairs = [("ann", -1), ("zoë", 7), ("zoë", 2**40), ("ann", 7)]
    assert made.tolist() == [hash_of(user, item, 2021) for user, item in pairs]


def test_leave_last_out_draws_among_rows_of_one_moment(ties):
    split_of = divided(ties, split="leave-last-out", seed=5)
    for user, own in ties.group_by("user"):
        order = sorted(own["item"], key=lambda item: hash_of(user[0], item, 5))
        assert [split_of[user[0], item] for item in order] == ["train"] * 8 + ["valid", "test"]
    largest = ties.group_by("user").agg(pl.col("item").max()).rows()
    assert 8 <= sum(split_of[pair] == "test" for pair in largest) <= 34  # a tenth of 200, and three deviations


def test_leave_last_out_goes_by_time_first():
    rows = [("a", item, time) for item, time in [(9, 1), (8, 1), (1, 2), (7, 1), (2, 2), (3, 3)]]
    frame = pl.DataFrame([*rows, ("b", 9, 1), ("b", 1, 2)], schema=["user", "item", "timestamp"], orient="row")
    for seed in range(8):
        split_of = divided(frame, split="leave-last-out", seed=seed)
        later = max([1, 2], key=lambda item: hash_of("a", item, seed))
        assert {pair: split for pair, split in split_of.items() if split != "train"} == {
            ("a", 3): "test", ("a", later): "valid"
        }  # fmt: skip


@pytest.mark.parametrize("split", ["leave-last-out", "per-user"])
def test_draws_of_a_user_depend_on_nothing_else(ties, split):
    everyone = divided(ties, split=split)
    assert divided(ties.sample(fraction=1, shuffle=True, seed=1), split=split) == everyone
    some = divided(ties.filter(pl.col("user") % 3 == 0), split=split)
    assert some == {pair: part for pair, part in everyone.items() if pair[0] % 3 == 0}
    texts = divided(ties.with_columns(pl.col("user", "item").cast(pl.String)), split=split)
    assert {(int(user), int(item)): part for (user, item), part in texts.items()} == everyone
    assert divided(ties, split=split, seed=1) != everyone


def test_the_cache_knows_the_seed_and_the_cuts(ties, tmp_path):
    ties.write_csv(tmp_path / "ties.csv")

    def fingerprint(**options):
        return hlr_jax.load_dataset(
            tmp_path / "ties.csv", log=lambda _: None, unknown_users="keep", **options
        ).fingerprint

    assert fingerprint(split="leave-last-out") != fingerprint(split="leave-last-out", seed=1)
    assert fingerprint(split="time") == fingerprint(split="time", seed=1)
    assert fingerprint(split="time", test_from="1100") != fingerprint(split="time", test_from="1101")
    again = hlr_jax.load_dataset(tmp_path / "ties.csv", log=lambda _: None, unknown_users="keep", split="time")
    assert again.reading.notes == (
        "ties: timestamp: plain numbers; 1000 to 1199",
        "ties: split: valid from 1144, test from 1160",
    )


@pytest.fixture(scope="module")
def days():
    """Ten days of 20 users, each with a row a day."""
    draw = random.Random(3)
    rows = [
        (user, item, f"2021-01-{day:02}")
        for user in range(20)
        for day, item in enumerate(draw.sample(range(99), 10), 1)
    ]
    return pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")


def days_of(frame, **options):
    """Return the days of each part."""
    split_of, found = divided(frame, split="time", **options), {"train": set(), "valid": set(), "test": set()}
    for user, item, day in frame.rows():
        found[split_of[user, item]].add(int(day[-2:]))
    return [sorted(part) for part in found.values()]


def test_no_day_lies_on_both_sides_of_a_cut(days):
    # 72/8/20 % of ten days: the cuts nearest to 7.2 and 8 days. 80/10/10: to 8 and 9.
    assert days_of(days) == [[*range(1, 8)], [8], [9, 10]]
    assert days_of(days, protocol="paper") == [[*range(1, 9)], [9], [10]]
    assert days_of(days.sample(fraction=1, shuffle=True, seed=1)) == days_of(days)


def cuts_of(stamps, **options):
    options = DataOptions(split="time", **options)
    return find_cuts(np.array(stamps, float), options, TimestampForm("plain"), "log.csv")


def test_cuts_with_few_moments():
    # Ten rows at four moments: 0, 4, 7 or 9 rows come before. Of 7 and 9 both are as near to 8, and the first is taken.
    # Of the 7 rows before, 0.7 are wanted for valid, in whole rows 1: the cut at 4 is the only one but that at 0.
    assert cuts_of([1] * 4 + [2] * 3 + [3] * 2 + [4]) == (2, 3)
    assert cuts_of([1, 2, 3]) == (2, 3)
    assert cuts_of([1] * 98 + [2, 3]) == (2, 3)
    assert cuts_of([1, 2] + [3] * 98) == (2, 3)
    assert cuts_of([1] * 9 + [2]) == (2, 2)
    assert cuts_of([5, 5]) == (math.inf, math.inf)


@pytest.mark.parametrize("seed", range(20))
def test_cuts_are_the_nearest_of_all_that_leave_nothing_empty(seed):
    draw = random.Random(seed)
    stamps = sorted(draw.randrange(30) for _ in range(draw.randrange(30, 300)))
    cuts, moments = cuts_of(draw.sample(stamps, len(stamps))), sorted(set(stamps))
    wanted = len(stamps) - math.ceil(len(stamps) * 0.2)
    assert cuts.test_from == min(moments[2:], key=lambda moment: abs(stamps.index(moment) - wanted))
    rest = stamps[: stamps.index(int(cuts.test_from))]
    wanted = len(rest) - math.ceil(len(rest) * 0.1)
    assert cuts.valid_from == min(sorted(set(rest))[1:], key=lambda moment: abs(stamps.index(moment) - wanted))


def test_cuts_are_given_as_dates(days):
    assert days_of(days, valid_from="2021-01-04", test_from="2021-01-06") == [[1, 2, 3], [4, 5], [6, 7, 8, 9, 10]]
    assert days_of(days, valid_from="2021-01-03", test_from="2021-01-03T12:00+02:00") == [[1, 2], [3], [*range(4, 11)]]
    # A tenth of five days is 10 rows of 100: half a day, which is as near to none as to one.
    assert days_of(days, test_from="2021-01-06") == [[1, 2, 3, 4], [5], [6, 7, 8, 9, 10]]
    seconds = days.with_columns(pl.col("timestamp").str.to_datetime().dt.timestamp("ms"))
    given = {"test_from": "1609891200000", "valid_from": "2021-01-04", "unknown_users": "keep"}
    dataset = Dataset.from_frame(seconds, split="time", log=lambda _: None, **given)
    assert [len(part) for part in dataset.splits.values()] == [60, 40, 100]
    assert dataset.reading.notes[1] == "frame: split: valid from 2021-01-04, test from 2021-01-06"


def test_empty_parts_are_said():
    rows = pl.DataFrame({"user": [1, 1, 2], "item": [1, 2, 3], "timestamp": [5, 5, 5]})
    lines = []
    dataset = Dataset.from_frame(rows, split="time", log=lines.append)
    assert dataset.reading.notes[1] == "frame: split: all rows are of one moment, so valid and test are empty"
    assert lines[:2] == ["frame: no valid interactions", "frame: no test interactions"]
    rows = pl.DataFrame({"user": [1, 2, 1], "item": [1, 3, 2], "timestamp": [5, 5, 6]})
    dataset = Dataset.from_frame(rows, split="time", log=lines.append)
    assert dataset.reading.notes[1] == "frame: split: test from 6; too few moments lie before it for valid"


GIVEN = {
    "no time": ({"test_from": "soon"}, 'dataset.test_from="soon" is no time; pass a date such as 2021-01-31'),
    "too early": ({"test_from": "2021-01-01"}, "leaves no row for train; pass a time after 2021-01-01 and not"),
    "too late": ({"test_from": "2021-01-10T00:01"}, "leaves no row for test; pass a time after 2021-01-01"),
    "out of order": ({"valid_from": "2021-01-05", "test_from": "2021-01-05"}, "and before dataset.test_from=2021-01"),
    "no train": ({"valid_from": "2021-01-01", "test_from": "2021-01-05"}, "must lie after 2021-01-01, the first"),
    "valid alone": ({"valid_from": "2021-01-05"}, "dataset.valid_from needs dataset.test_from"),
    "another split": ({"split": "leave-last-out", "test_from": "2021-01-05"}, "are for dataset.split=time, and that"),
    "a number": ({"test_from": 5}, "dataset.test_from must be text, got 5"),
}  # fmt: skip


@pytest.mark.parametrize("case", GIVEN)
def test_cuts_that_are_none(days, case):
    options, message = GIVEN[case]
    with pytest.raises(InputError) as caught:
        divided(days, **{"split": "time"} | options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
