"""Timestamps: the witness is Python's datetime, which writes and parses them."""

from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import format_datetime

import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.time_patterns import DATES
from hlr_jax.data.timestamps import agreed, find_form
from hlr_jax.errors import InputError


def read(values, given="", dtype=None):
    """Return a column in seconds and its detected form."""
    column = pl.DataFrame({"timestamp": pl.Series(values, dtype=dtype, strict=False)})
    form = find_form(column.lazy(), given, "log.csv", "when")
    made = column.select(form.expression(pl.col("timestamp"), column["timestamp"].dtype)).to_series()
    seconds, form = form.settled(made)
    return seconds.to_list(), form


def problem(values, given=""):
    """Return the first row that can't be read, and what is wrong with it."""
    seconds, form = read(values, given)
    return form.problem(
        pl.Series(values, strict=False), pl.Series(seconds, dtype=pl.Float64), lambda row: f"record {row + 1}"
    )


@pytest.fixture
def moments(rng):
    """Whole seconds from 1970 to 2099, including the end of February in a leap year."""
    seconds = [*rng.integers(0, 4_102_444_800, 300).tolist(), 951_782_399, 951_782_400, 0]
    return [datetime.fromtimestamp(second, UTC) for second in seconds]


@pytest.mark.parametrize("pattern", DATES)
def test_every_pattern_reads_what_strftime_writes(pattern, moments):
    seconds, form = read([moment.strftime(pattern) for moment in moments])
    dated = "%H" not in pattern
    expected = [moment.replace(hour=0, minute=0, second=0) if dated else moment for moment in moments]
    assert seconds == [moment.timestamp() for moment in expected]
    assert form.kind == pattern


TIMES = {
    " %H:%M:%S": 1, "T%H:%M:%S": 1, ":%H:%M:%S": 1, ", %H:%M:%S": 1, " %I:%M:%S %p": 1, " %I:%M:%S%p": 1,
    " %H:%M:%S %z": 1, "T%H:%M:%SZ": 1, " %H:%M:%S UTC": 1, " %H:%M": 60,
}  # fmt: skip


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("date", ["%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%b %d, %Y", "%d/%b/%Y"])
def test_a_time_of_day_may_follow_a_date(date, time, moments):
    seconds, form = read([moment.strftime(date + time) for moment in moments])
    assert seconds == [moment.timestamp() // TIMES[time] * TIMES[time] for moment in moments]
    assert form.kind == date


def test_iso_forms_of_one_column_may_differ(rng, moments):
    """Python writes no fraction where it is 0, and any of these offsets."""
    written, expected = [], []
    for moment in moments:
        offset = timezone(timedelta(minutes=int(rng.integers(-23 * 60, 23 * 60))))
        exact = moment.replace(microsecond=int(rng.integers(0, 2) * rng.integers(0, 10**6))).astimezone(offset)
        text = exact.isoformat(sep=["T", " "][rng.integers(2)])
        written.append([text, text[:-3] + text[-2:], text[:-6] + " " + text[-6:]][rng.integers(3)])
        expected.append(exact.timestamp())
    seconds, form = read([*written, "2021-01-31T10:00:00Z", "2021-01-31 10:00:00+02"])
    np.testing.assert_allclose(seconds, [*expected, 1612087200.0, 1612080000.0], rtol=0, atol=1e-6)
    assert form.local == 0


def test_mail_dates_are_read(moments):
    assert read([format_datetime(moment, usegmt=True) for moment in moments])[0] == [m.timestamp() for m in moments]
    east = [moment.astimezone(timezone(timedelta(hours=5, minutes=30))) for moment in moments]
    assert read([format_datetime(moment) for moment in east])[0] == [moment.timestamp() for moment in moments]


PATTERNS = ("%d.%m.%y %H:%M", "%Y%m%d%H%M%S", "%B %d %Y at %I %p", "%FT%T", "%D", "%Y-%m-%d %H:%M:%S.%f", "%y%m%d")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_given_pattern_equals_that_of_strptime(pattern, moments):
    moments = [moment.replace(microsecond=250_000) for moment in moments if moment.year < 2069]
    written = [moment.strftime(pattern) for moment in moments]
    long = pattern.replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S").replace("%D", "%m/%d/%y")
    assert read(written, pattern)[0] == [
        datetime.strptime(text, long).replace(tzinfo=UTC).timestamp() for text in written
    ]


def test_a_date_by_a_given_pattern_may_have_a_time():
    assert read(["01/02/2021 10:00", "01/02/2021"], "%d/%m/%Y")[0] == [1612173600.0, 1612137600.0]
    assert read([20210201, 20210131], "%Y%m%d")[0] == [1612137600.0, 1612051200.0]
    assert read(["10", "20"], "ms")[0] == [0.01, 0.02]


NUMBERS = {
    "seconds": ([1600000000, 1, 0], [1600000000.0, 1.0, 0.0], "seconds since 1970"),
    "text": (["1600000000", " 1600000001.5 "], [1600000000.0, 1600000001.5], "seconds since 1970"),
    "milliseconds": ([1600000000123, 0], [1600000000.123, 0.0], "milliseconds since 1970"),
    "microseconds": ([1600000000000001], [1600000000.000001], "microseconds since 1970"),
    "nanoseconds": ([1600000000 * 10**9], [1600000000.0], "nanoseconds since 1970"),
    "places": ([3, 1, 2], [3.0, 1.0, 2.0], "plain numbers"),
    "before 1970": ([-1000, 1600000000], [-1000.0, 1600000000.0], "seconds since 1970"),
    "days": ([20210201, 20210131], [1612137600.0, 1612051200.0], "dates such as 20210201, by %Y%m%d"),
    "days as text": (["20210201"], [1612137600.0], "dates such as 20210201, by %Y%m%d"),
    "minutes": ([202102011030], [1612175400.0], "dates such as 202102011030, by %Y%m%d%H%M"),
    "with seconds": ([20210201103001], [1612175401.0], "dates such as 20210201103001, by %Y%m%d%H%M%S"),
}  # fmt: skip


@pytest.mark.parametrize("case", NUMBERS)
def test_units_of_numbers_are_found_by_magnitude(case):
    values, expected, note = NUMBERS[case]
    seconds, form = read(values)
    assert seconds == expected
    assert form.note.startswith(f"timestamp: {note}")


def test_polars_dates_are_read_directly():
    moment = datetime(2021, 7, 1, 10, 0, 0, 250_000, tzinfo=UTC)
    for unit in ("ms", "us", "ns"):
        assert read([moment], dtype=pl.Datetime(unit, "Europe/Berlin"))[0] == [moment.timestamp()]
        assert read([moment.replace(tzinfo=None)], dtype=pl.Datetime(unit))[0] == [moment.timestamp()]
    assert read([date(2021, 7, 1)])[0] == [1625097600.0]
    assert read(["2021-07-01"], dtype=pl.Categorical)[0] == [1625097600.0]
    for values in ([True], [timedelta(1)], [[1]]):
        assert find_form(pl.LazyFrame({"timestamp": values}), "", "log.csv", "when") is None
    with pytest.raises(InputError, match='"when" already has the type date; leave out'):
        read([date(2021, 7, 1)], "%Y")


def test_one_row_of_many_decides_between_day_and_month():
    rows = ["02/01/2021"] * 3000
    assert read([*rows, "31/01/2021"])[0][:1] == [1609545600.0]  # 2 January
    assert read([*rows, "01/31/2021"])[0][:1] == [1612137600.0]  # 1 February
    with pytest.raises(InputError) as caught:
        read(["01/01/2021", *rows])
    assert str(caught.value) == (
        "log.csv: column \"when\" is ambiguous: '02/01/2021' may be 2021-01-02 or 2021-02-01; "
        "pass dataset.timestamp_format=%d/%m/%Y or dataset.timestamp_format=%m/%d/%Y"
    )
    assert read(["02.01.2021"])[0] == [1609545600.0]  # with dots, the day comes first
    assert problem([*rows, "31/01/2021", "01/31/2021"]) == (
        3001, "has another format: '01/31/2021'; record 1 has '02/01/2021'; use one format"
    )  # fmt: skip


PROBLEMS = {
    "a date among numbers": (["1600000000", "2021-01-14", "2021-01-15", "1600000000"], 1,
        "has another format: '2021-01-14'; record 1 has '1600000000'; use one format"),
    "a number among dates": (["2021-01-14", "2021-01-15", "16"], 2,
        "has another format: '16'; record 1 has '2021-01-14'"),
    "another form": (["2021-01-14", "2021/01/15"], 1, "has another format: '2021/01/15'; record 1 has"),
    "other units": ([0, 1600000000, 1600000000000], 2,
        "is in milliseconds: 1600000000000; record 1 has 0, in seconds; use one unit"),
    "a small number": ([1600000000000, 3], 1, "is in seconds: 3; record 1 has 1600000000000, in milliseconds"),
    "beyond all": ([10**19, 1], 0, "is after 2100 in every unit: 10000000000000000000; pass dataset.ti"),
    "no such day": (["2021-02-28", "2021-02-29"], 1, "is not a date: '2021-02-29'; correct it"),
    "no such month": (["2021-02-28", "2021-13-01"], 1, "is neither a number nor a date: '2021-13-01'"),
    "no such hour": (["2021-02-28 23:00", "2021-02-28 24:00"], 1, "is neither a number nor a date"),
    "no compact day": ([20210101, 20210132], 1, "is not a date: 20210132"),
    "a word first": (["soon", "2021-02-28", "2021-02-28"], 0, "is neither a number nor a date: 'soon'"),
    "words": (["soon"], 0, "is neither a number nor a date: 'soon'; correct it, or pass dataset.timestamp_format"),
    "a long word": (["1", "x" * 500], 1, f"is neither a number nor a date: '{'x' * 36}...;"),
    "nothing": (["1", None], 1, "is empty; fill or remove the row"),
    "blanks": (["2021-02-28", "  "], 1, "is empty; fill or remove the row"),
    "NaN": ([1.0, float("nan")], 1, "is empty; fill or remove the row"),
    "infinity": (["1", "inf"], 1, "is neither a number nor a date: 'inf'"),
    "touching digits": (["2021-01-14", "2021111"], 1, "has another format: '2021111'; record 1 has"),
}  # fmt: skip


@pytest.mark.parametrize("case", PROBLEMS)
def test_the_first_bad_value_is_named(case):
    values, row, message = PROBLEMS[case]
    found = problem(values)
    assert found[0] == row
    assert found[1].startswith(message)
    assert len(found[1]) < 200


def test_values_that_do_not_match_the_given_format():
    assert problem(["31/01/2021", "01/31/2021"], "%d/%m/%Y") == (
        1, "does not match dataset.timestamp_format=%d/%m/%Y: '01/31/2021'"
    )  # fmt: skip
    assert problem(["5", "2021-01-31"], "ms")[0] == 1


def test_the_form_is_logged():
    for values, note in [
        (["2021-01-31 10:00:00+02:00"], "dates such as 2021-01-31 10:00:00+02:00, by %Y-%m-%d"),
        (["2021-01-31"], "dates such as 2021-01-31, by %Y-%m-%d; without an offset, read as UTC"),
        (
            ["2021-01-31T10:00Z", "2021-01-31"],
            "dates such as 2021-01-31T10:00Z, by %Y-%m-%d; 1 without an offset are rea",
        ),
        (
            ["Sat Jan 30 10:00:00 +0000 2021"],
            "dates such as Sat Jan 30 10:00:00 +0000 2021, by %a %b %d %H:%M:%S %z %Y",
        ),
        ([date(2021, 1, 31)], "dates; without an offset, read as UTC"),
    ]:
        assert read(values)[1].note.startswith(f"timestamp: {note}"), values
    seconds, form = read([1612051200000, 1612087201000])
    assert (
        form.note_with_range(pl.Series(seconds))
        == "timestamp: milliseconds since 1970; 2021-01-31 to 2021-01-31 10:00:01"
    )
    seconds, form = read([3, 1])
    assert form.note_with_range(pl.Series(seconds)) == "timestamp: plain numbers; 1 to 3"


MOMENTS = [
    ([1600000000000], "1612051200000", 1612051200.0), ([1600000000], "1612051200", 1612051200.0),
    ([1600000000], "2021-01-31", 1612051200.0), (["15/01/2021"], "01/02/2021", 1612137600.0),
    (["15/01/2021"], "2021-01-31T02:00+02:00", 1612051200.0), ([20210101], "20210131", 1612051200.0),
    (["1 Jan 2021"], "31 Jan 2021", 1612051200.0), ([date(2021, 1, 1)], "1612051200", 1612051200.0), ([5], "7", 7.0),
]  # fmt: skip


@pytest.mark.parametrize(("values", "text", "expected"), MOMENTS)
def test_a_time_may_be_given_as_in_the_column_or_as_a_date(values, text, expected):
    assert read(values)[1].moment(text, "dataset.test_from") == expected


def test_bad_times():
    for values, text, message in [
        ([5], "2021-01-31", 'dataset.test_from="2021-01-31" is a date, but the timestamps are plain numbers'),
        (["2021-01-31"], "soon", 'dataset.test_from="soon" is not a time; pass a date such as 2021-01-31'),
        (["2021-01-31"], "01/02/2021", 'dataset.test_from="01/02/2021" is not a time'),
    ]:
        with pytest.raises(InputError) as caught:
            read(values)[1].moment(text, "dataset.test_from")
        assert message in str(caught.value)


def test_all_parts_of_a_source_have_one_form():
    seconds, places, days = (read(values)[1] for values in ([1600000000], [1, 2], ["2021-01-31"]))
    assert agreed([None, None]) is None
    assert agreed([days, days]) == days
    assert agreed([places, seconds]).kind == "s"
    assert agreed([seconds, days]).moment("2021-01-31", "dataset.test_from") == 1612051200.0
    with pytest.raises(
        InputError, match=r"two kinds of timestamps: plain numbers and dates such as 2021-01-31, by .*one format"
    ):
        agreed([places, days])


BAD_FORMATS = {
    "%Q-%d": "unknown directive %Q; use %Y", "%H:%M": "must have year, month and day",
    "%Y-%m-%d %": "unknown directive %;",
    "minutes": "must have year, month and day", "%Y-%m-%d %d": "once each",
}  # fmt: skip


@pytest.mark.parametrize("given", BAD_FORMATS)
def test_bad_formats_are_errors(given):
    with pytest.raises(InputError) as caught:
        hlr_jax.load_dataset(path="log.csv", split="time", timestamp_format=given)
    assert BAD_FORMATS[given] in str(caught.value)


def test_files_and_frames_name_the_row(tmp_path):
    rows = pl.DataFrame({"user": [1, 1, 2], "item": [1, 2, 1], "timestamp": ["1600000000", "2021-01-14", "1600000000"]})
    rows.write_csv(tmp_path / "log.csv")
    rows.write_parquet(tmp_path / "log.parquet")
    rest = "column \"timestamp\" has another format: '2021-01-14';"
    for source, place, other in [
        (tmp_path / "log.csv", "line 3", "line 2"),
        (tmp_path / "log.parquet", "row 2", "row 1"),
        (rows, "row 1 (counted from 0)", "row 0 (counted from 0)"),
    ]:
        with pytest.raises(InputError) as caught:
            hlr_jax.load_dataset(source, split="time", log=lambda _: None)
        assert f"{place}: {rest} {other} has '1600000000'" in str(caught.value)


def test_the_format_of_a_column_is_given(tmp_path):
    rows = pl.DataFrame(
        {"user": [1] * 4, "item": [1, 2, 3, 4], "timestamp": [f"0{day}/02/2021" for day in (1, 3, 2, 4)]}
    )
    dataset = Dataset.from_frame(rows, split="leave-last-out", timestamp_format="%d/%m/%Y", log=lambda _: None)
    assert dataset.to_frame().filter(pl.col("split") == "test")["item"].to_list() == [4]
    note = "frame: timestamp: dates such as 01/02/2021, by %d/%m/%Y; without an offset, read as UTC"
    assert dataset.reading.notes == (f"{note}; 2021-02-01 to 2021-02-04",)
    with pytest.raises(
        InputError, match=r"dataset\.timestamp_format is for splits by time, but dataset\.split is random"
    ):
        Dataset.from_frame(rows, timestamp_format="ms")
