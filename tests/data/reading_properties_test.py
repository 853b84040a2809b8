"""What is read is what was written; and after any change of a byte, what another reader reads, or nothing.

``HLR_JAX_READING_CASES=20000`` and ``--hypothesis-seed=N`` try that many other cases.
"""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from data.witness import read
from data.witness_values import ROLES, Reading, Refused
from data.written_logs import Log, logs
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from hlr_jax import Dataset, load_dataset
from hlr_jax.data.options import DataOptions
from hlr_jax.data.reading import plain_text
from hlr_jax.data.reading.files import read_interactions
from hlr_jax.data.report import ReadingReport
from hlr_jax.errors import InputError

CASES = int(os.environ.get("HLR_JAX_READING_CASES", "0"))
FOREIGN = ("polars", "pyarrow", "arrow", "Error", "dtype", "schema", "Traceback", "errno", "codec", "strict=", "\n")
SPECIAL = b'"",,;|\t\n\r\r\n  ::\0\xff\xc3\xef{}[]\\-+.0019eE#\x1a'

CHUNKS = st.sampled_from([16, 1 << 22, 1 << 22])  # bytes to read at a time


def budget(cases: int) -> settings:
    """Return the settings of a test with this many cases; by default they are the same in each run."""
    return settings(
        max_examples=CASES or cases,
        phases=[Phase.generate, Phase.shrink] if CASES else [Phase.generate],
        derandomize=not CASES,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("logs")


def read_by_package(folder: Path, log: Log, data: bytes, chunk: int) -> tuple[list[tuple], ReadingReport]:
    """Return the rows before any is dropped, and their counts, reading ``chunk`` bytes at a time."""
    path = folder / log.name
    path.write_bytes(data)
    timed = {} if log.layout.kind == "adjacency" else {"threshold": -1e300, "split": "leave-last-out"}
    options = DataOptions(path=str(path), **timed, **log.options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_text, "_CHUNK", chunk)
        reading = read_interactions(path, options)
    return compared(reading.rows.select(options.roles).rows()), reading.report


def ranks(moments: list) -> list[int]:
    places = {moment: place for place, moment in enumerate(sorted(set(moments)))}
    return [places[moment] for moment in moments]


def compared(rows: list[tuple]) -> list[tuple]:
    """Return rows with each time replaced by its rank."""
    if not rows or len(rows[0]) < len(ROLES):
        return rows
    return [(*row[:-1], rank) for row, rank in zip(rows, ranks([row[-1] for row in rows]), strict=True)]


def counts(report: ReadingReport | Reading) -> tuple[int, int, int]:
    """Return the counts of records, rows without ids and repeated headers, of the package or of the witness."""
    records = report.records if isinstance(report, Reading) else report.rows
    return records, report.without_ids, report.repeated_headers


@budget(150)
@given(log=st.one_of(logs(), logs(kinds=("found",))), chunk=CHUNKS)
def test_written_rows_are_read(folder, log, chunk):
    told = read(log.data, log.layout)
    rows, report = read_by_package(folder, log, log.data, chunk)
    assert [(str(row[0]), str(row[1])) for row in told.rows] == log.pairs
    assert rows == compared(told.rows)
    assert counts(report) == counts(told)


@st.composite
def mutations(draw) -> tuple:
    """A log, and its bytes with one byte inserted, deleted or replaced, or with the end removed."""
    log = draw(logs(packed_one_in=12))
    place = draw(st.integers(0, len(log.data) - 1))
    letter = bytes([draw(st.one_of(st.sampled_from(SPECIAL), st.integers(0, 255)))])
    before, after = log.data[:place], log.data[place:]
    # With damaged lengths inside Parquet, polars allocates too much memory and the process is killed.
    damages = ["cut"] if log.layout.kind == "parquet" else ["insert", "delete", "replace", "replace", "cut"]
    kind = draw(st.sampled_from(damages))
    parts = {"insert": [letter, after], "delete": [after[1:]], "replace": [letter, after[1:]], "cut": []}[kind]
    return log, before + b"".join(parts)


def witness_of(data: bytes, log: Log) -> Reading | None:
    """Return what the witness reads from changed bytes; None: it refuses them."""
    try:
        return read(data, log.layout)
    except Refused:
        # Libraries check different parts of the metadata. If one of them accepts the file, the columns are intact.
        return read(log.data, log.layout) if log.layout.kind == "parquet" else None


@budget(350)
@given(case=mutations(), chunk=CHUNKS)
def test_a_changed_byte_is_read_unchanged_or_an_error(folder, case, chunk):
    log, data = case
    told = witness_of(data, log)
    try:
        rows, report = read_by_package(folder, log, data, chunk)
    except InputError as error:
        words = str(error)
    else:
        event("read by both")
        assert told is not None, "the package reads what has no reading"
        assert rows == compared(told.rows)
        assert counts(report) == counts(told)
        return
    event("refused by both" if told is None else "refused by the package alone")
    assert len(words) <= 300
    assert not [word for word in FOREIGN if word in words]


def pairs_in(dataset: Dataset, split: str) -> list[tuple]:
    part = getattr(dataset, split)
    return [
        (dataset.user_ids[int(user)], dataset.item_ids[int(item)])
        for user, item in zip(part.user, part.item, strict=True)
    ]


@budget(40)
@given(log=logs(kinds=("csv", "csv", "ndjson", "parquet"), users=2), split=st.sampled_from(["leave-last-out", "time"]))
def test_time_splits_the_written_rows_and_every_record_is_counted(folder, log, split):
    path = folder / log.name
    path.write_bytes(log.data)
    options = {"split": split, "threshold": -9, "unknown_users": "keep", **log.options}
    dataset = load_dataset(path, cache=False, log=lambda line: None, **options)
    told = read(log.data, log.layout)
    moments: dict = {}
    for user, item, _, moment in told.rows:
        moments[user, item] = min(moment, moments.get((user, item), moment))
    parts = [pairs_in(dataset, split) for split in ("train", "valid", "test")]
    left = [pair for part in parts for pair in part]
    report = dataset.reading_report()
    assert counts(report) == counts(told)
    assert report.duplicates == len(told.rows) - len(moments)
    assert report.interactions == len(left) == len(moments)
    assert set(left) <= set(moments)
    for user in {user for user, _ in left}:
        times = [[moments[pair] for pair in part if pair[0] == user] for part in parts]
        assert all(max(before) <= min(after) for before, after in pairwise(filter(None, times)))
    if split == "time":  # and no moment lies on two sides
        times = [[moments[pair] for pair in part] for part in parts]
        assert all(max(before) < min(after) for before, after in pairwise(filter(None, times)))
