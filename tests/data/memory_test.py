"""Data in memory: the same rows give the same data set in every container."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import scipy.sparse

import hlr_jax
from hlr_jax import Dataset, InputError

BIG = 2**53  # float64 can't represent BIG + 1
WANT = "an optional way in, of a library that the package does not need"


def quiet(_):
    pass


class Capsule:
    """A table with only the Arrow PyCapsule interface."""

    def __init__(self, frame):
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema=None):
        return self._frame.__arrow_c_stream__(requested_schema)


def pandas_of(frame):
    return pytest.importorskip("pandas", reason=WANT).DataFrame(frame.to_dict(as_series=False))


def arrow_of(frame):
    pytest.importorskip("pyarrow", reason=WANT)
    return frame.to_arrow()


def batches_of(frame):
    return arrow_of(frame).to_reader(max_chunksize=50)


FRAMES = {
    "polars": lambda frame: frame, "polars, lazy": pl.DataFrame.lazy, "arrow capsule": Capsule, "pandas": pandas_of,
    "pandas, other index": lambda frame: pandas_of(frame).sample(frac=1, random_state=1),
    "pandas, users in the index": lambda frame: pandas_of(frame).set_index("user"),
    "pandas, all ids in the index": lambda frame: pandas_of(frame).set_index(["item", "user"]),
    "pandas, categories": lambda frame: pandas_of(frame).astype({"user": "category", "item": "category"}),
    "pandas, nullable": lambda frame: pandas_of(frame).convert_dtypes(),
    "pyarrow": arrow_of, "pyarrow, batches": batches_of,
    "polars, categories": lambda frame: frame.with_columns(pl.col("user").cast(pl.Categorical)),
    "polars, enum": lambda frame: frame.with_columns(pl.col("user").cast(pl.Enum(frame["user"].unique().sort()))),
    "polars, narrow": lambda frame: frame.with_columns(pl.col("item").cast(pl.UInt16)),
}  # fmt: skip


@pytest.fixture
def frame(rng):
    """Rows with repeated pairs, ratings and times."""
    user, item = rng.integers(0, [30, 25], (500, 2)).T
    return pl.DataFrame(
        {"user": [f"u{u:02}" for u in user], "item": item + 1000, "rating": rng.integers(1, 6, 500),
         "timestamp": rng.permutation(500)}
    )  # fmt: skip


SETTINGS = {"threshold": 3, "k_core": 3, "split": "time", "unknown_users": "keep", "log": quiet}


def content(dataset):
    """Return the whole content of a data set, by ids."""
    rows = {tuple(row) for row in dataset.to_frame().rows()}
    return rows, dataset.user_ids.to_list(), dataset.item_ids.to_list(), dataset.fingerprint, dataset.reading_report()


@pytest.fixture
def of_file(frame, tmp_path):
    frame.write_csv(tmp_path / "own.csv")
    return content(hlr_jax.load_dataset(path=tmp_path / "own.csv", **SETTINGS))


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_equals_a_file_with_the_same_rows(frame, of_file, kind):
    assert content(Dataset.from_frame(FRAMES[kind](frame), **SETTINGS)) == of_file
    assert content(hlr_jax.load_dataset(FRAMES[kind](frame), **SETTINGS)) == of_file


def test_columns_have_any_names(frame, of_file):
    named = frame.rename({"user": "who", "item": "what", "rating": "stars", "timestamp": "when"})
    columns = {"user": "who", "item": "what", "rating": "stars", "timestamp": "when"}
    assert content(Dataset.from_frame(named, **columns, **SETTINGS)) == of_file
    options = {f"{role}_column": name for role, name in columns.items()}
    assert content(hlr_jax.load_dataset(path=named, **options, **SETTINGS)) == of_file


@pytest.mark.parametrize("kind", ["lists", "numpy", "series", "pandas", "pyarrow"])
def test_arrays_equal_a_file_with_the_same_rows(frame, of_file, kind):
    columns = frame.get_columns()
    if kind == "lists":
        columns = [column.to_list() for column in columns]
    if kind == "numpy":
        columns = [column.to_numpy() for column in columns]
    if kind == "pandas":
        columns = [pandas_of(frame)[name] for name in frame.columns]
    if kind == "pyarrow":
        columns = arrow_of(frame).columns
    assert content(Dataset.from_arrays(*columns, **SETTINGS)) == of_file


@pytest.mark.parametrize("form", ["csr_array", "coo_matrix", "lil_array"])
def test_the_entries_of_a_matrix_are_interactions(rng, form):
    counts = rng.integers(0, 4, (12, 9))
    counts[5] = 0  # a user without items
    matrix = getattr(scipy.sparse, form)(counts)
    user_ids, item_ids = [f"u{n}" for n in range(12)], np.arange(9) * 10
    for threshold, kept in ((None, counts > 0), (2, counts >= 2)):
        dataset = Dataset.from_csr(matrix, user_ids, item_ids, threshold=threshold, log=quiet)
        pairs = {(f"u{u}", int(item_ids[i])) for u, i in np.argwhere(kept)}
        assert set(dataset.to_frame().select("user", "item").rows()) == pairs
        report = dataset.reading_report()
        assert (report.rows, report.below_threshold) == ((counts > 0).sum(), (counts > 0).sum() - kept.sum())
    np.testing.assert_array_equal(matrix.toarray(), counts)  # it was not modified
    assert Dataset.from_csr(matrix, log=quiet).user_ids.to_list() == [n for n in range(12) if n != 5]


def test_zero_entries_are_no_interactions_and_duplicate_entries_are_summed():
    matrix = scipy.sparse.coo_array(([1, 2, 0, 5], ([0, 0, 1, 1], [1, 1, 0, 2])), shape=(2, 3))
    rows = Dataset.from_csr(matrix, log=quiet).to_frame()
    assert set(rows.select("user", "item").rows()) == {(0, 1), (1, 2)}
    rows = Dataset.from_csr(matrix, threshold=3, item_ids=["a", "b", "c"], log=quiet).to_frame()
    assert set(rows.select("user", "item").rows()) == {(0, "b"), (1, "c")}


@pytest.mark.parametrize("ids", [[BIG, BIG + 1, 2**62 + 1], [2**63 + 1, 2**63 + 2, 7]])
def test_64_bit_ids_are_never_floats(ids, tmp_path):
    frame = pl.DataFrame({"user": [1, 2, 3], "item": ids}, schema_overrides={"item": pl.UInt64})
    frame.write_parquet(tmp_path / "big.parquet")
    frame.write_csv(tmp_path / "big.csv")
    (tmp_path / "big.ndjson").write_text("".join(f'{{"user": {u}, "item": {i}}}\n' for u, i in frame.rows()))
    matrix = scipy.sparse.eye_array(3)
    ways = {
        "frame": Dataset.from_frame(frame, log=quiet),
        "parquet": hlr_jax.load_dataset(tmp_path / "big.parquet", log=quiet),
        "lists": Dataset.from_arrays([1, 2, 3], ids, log=quiet),
        "matrix": Dataset.from_csr(matrix, item_ids=np.array(ids, np.uint64), log=quiet),
    }
    for way, dataset in ways.items():
        assert dataset.item_ids.to_list() == sorted(ids), way
    for suffix in ("csv", "ndjson"):  # a number that Int64 has no room for is a text there
        found = hlr_jax.load_dataset(tmp_path / f"big.{suffix}", log=quiet).item_ids.to_list()
        assert found == (sorted(ids) if max(ids) < 2**63 else sorted(map(str, ids)))


def test_pandas_keeps_64_bit_ids_in_columns_with_missing_values(frame):
    pandas = pytest.importorskip("pandas", reason=WANT)
    for dtype in ("Int64", "UInt64", object):
        table = pandas.DataFrame({"user": pandas.Series([BIG + 1, BIG, 5], dtype=dtype), "item": ["a", "b", "c"]})
        assert Dataset.from_frame(table, log=quiet).user_ids.to_list() == [5, BIG, BIG + 1]
        table.loc[1, "user"] = None
        with pytest.raises(InputError, match=r'frame: row 1 \(counted from 0\): column "user" is empty'):
            Dataset.from_frame(table, log=quiet)
    table = pandas.DataFrame({"user": [1, 2, None], "item": [1, 2, 3]})  # 1.0, 2.0, NaN
    assert Dataset.from_frame(table.head(2), log=quiet).user_ids.to_list() == [1, 2]
    with pytest.raises(InputError, match=r'row 2 \(counted from 0\): column "user" is empty'):
        Dataset.from_frame(table, log=quiet)
    mixed = pandas.DataFrame({"user": [1, "b", 2], "item": [1, 2, 3], "rest": [{}, object(), None]})
    assert Dataset.from_frame(mixed, log=quiet).user_ids.to_list() == ["1", "2", "b"]
    mixed.columns = ["user", "item", "item"]
    with pytest.raises(InputError, match='several columns are called "item"'):
        Dataset.from_frame(mixed, log=quiet)


def test_texts_stay_texts_in_a_table_with_types(tmp_path):
    frame = pl.DataFrame({"user": ["7", "8", "8"], "item": [1, 2, 3]})
    frame.write_parquet(tmp_path / "own.parquet")
    for dataset in (Dataset.from_frame(frame, log=quiet), hlr_jax.load_dataset(tmp_path / "own.parquet", log=quiet)):
        assert dataset.user_ids.to_list() == ["7", "8"]


@pytest.mark.parametrize("dtype", [pl.Datetime("ns"), pl.Datetime("ms", "Europe/Berlin"), pl.Date, pl.String])
def test_times_of_every_type_are_seconds(dtype):
    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, 10), eager=True).cast(dtype)
    frame = pl.DataFrame({"user": [1] * 10, "item": range(10), "timestamp": days}).sample(
        fraction=1, shuffle=True, seed=3
    )
    dataset = Dataset.from_frame(frame, split="leave-last-out", log=quiet)
    split_of = dict(dataset.to_frame().select("item", "split").rows())
    assert (split_of[9], split_of[8], split_of[7]) == ("test", "valid", "train")


def test_frames_of_several_splits_are_a_given_split(frame):
    distinct = frame.unique(["user", "item"], maintain_order=True).select("user", "item")
    parts = {"train": distinct[:250], "valid": distinct[250:260], "test": distinct[260:280]}
    dataset = Dataset.from_frame(**parts, unknown_users="keep", log=quiet)
    expected = {(*row, name) for name, part in parts.items() for row in part.rows()}
    assert set(dataset.to_frame().rows()) == expected
    labels = pl.concat(part.with_columns(fold=pl.lit(name)) for name, part in parts.items())
    options = {"split": "given", "split_column": "fold", "unknown_users": "keep", "log": quiet}
    assert Dataset.from_frame(labels, **options).fingerprint == dataset.fingerprint
    again = Dataset.from_frame(dataset.to_frame(), split="given", unknown_users="keep", log=quiet)
    assert again.fingerprint == dataset.fingerprint
    columns = labels.rename({"fold": "split"}).get_columns()
    arrays = Dataset.from_arrays(*columns[:2], splits=columns[2], split="given", unknown_users="keep", log=quiet)
    assert arrays.fingerprint == dataset.fingerprint
    assert len(Dataset.from_frame(train=parts["train"], test=parts["test"], unknown_users="drop", log=quiet).valid) == 0
    with pytest.raises(InputError, match="is in two splits"):
        Dataset.from_frame(train=distinct, test=distinct.head(1), log=quiet)


def one(**columns):
    return pl.DataFrame({"user": ["a", "b"], "item": [1, 2]} | columns)


MISTAKES = {
    "a number": (lambda: hlr_jax.load_dataset(3, log=quiet), "takes a path or a list of paths, not int"),
    "nothing": (lambda: hlr_jax.load_dataset(path=None, log=quiet), "not NoneType; for data in memory use"),
    "numbers": (lambda: hlr_jax.load_dataset([1, 2], log=quiet), "not a list of int"),
    "no files": (lambda: hlr_jax.load_dataset([], log=quiet), "is an empty list"),
    "an array": (lambda: hlr_jax.load_dataset(path=np.ones((3, 2)), log=quiet), "not numpy.ndarray"),
    "a column": (lambda: hlr_jax.load_dataset(pl.Series([1]), log=quiet), "Dataset.from_frame, from_csr or from_arr"),
    "two sources": (lambda: hlr_jax.load_dataset(one(), path="x.csv", log=quiet), "takes one source"),
    "no frame": (lambda: Dataset.from_frame({"user": [1]}, log=quiet), "frame: pass a frame of polars, pandas"),
    "a dense matrix": (lambda: Dataset.from_csr(np.eye(3), log=quiet), "pass a SciPy sparse matrix with two dimens"),
    "too few ids": (lambda: Dataset.from_csr(scipy.sparse.eye(3), [1, 2]), "user_ids has 2 ids, but the matrix has 3"),
    "an id twice": (lambda: Dataset.from_csr(scipy.sparse.eye(3), None, "aab"), "item_ids: a column is a list or an"),
    "one id twice": (lambda: Dataset.from_csr(scipy.sparse.eye(3), None, list("aab")), 'the id "a" occurs twice'),
    "lengths": (lambda: Dataset.from_arrays([1, 2], [1]), "same length, got 2 users, 1 items"),
    "no users": (lambda: Dataset.from_arrays(None, [1]), "arrays: users: a column is a list or an array, not NoneType"),
    "no times": (lambda: Dataset.from_arrays([1], [1], split="time"), "split=time needs timestamps; pass timestam"),
    "two dimensions": (lambda: Dataset.from_arrays(np.ones((2, 1)), [1, 2]), "ids; write a row for each entry"),
    "another name": (lambda: Dataset.from_frame(one(), item="itm"), 'frame: no column "itm" (did you mean "item"?)'),
    "no name": (lambda: Dataset.from_frame(one(), user=0), "dataset.user_column must be text, got 0"),
    "another key": (lambda: Dataset.from_frame(one(), k_cor=2), "unknown setting dataset.k_cor (did you mean"),
    "a key of files": (lambda: Dataset.from_frame(one(), format="csv"), "format is for files"),
    "an unread rating": (lambda: Dataset.from_frame(one(), rating="item"), "a rating column is read only with a"),
    "an unread split": (lambda: Dataset.from_frame(one(), split_column="item"), "is read only with dataset.split="),
    "no train": (lambda: Dataset.from_frame(test=one()), "either one frame, or train= with optional valid"),
    "a random split": (lambda: Dataset.from_frame(train=one(), split="time"), "leave out split=time"),
    "a gone file": (lambda: Dataset.from_frame(pl.scan_csv("/no.csv")), "frame: can't be read: No such file or dir"),
    "null": (lambda: Dataset.from_frame(one(user=["a", None])), 'row 1 (counted from 0): column "user" is empty'),
    "no text": (lambda: Dataset.from_frame(one(user=["a", ""])), 'row 1 (counted from 0): column "user" is empty'),
    "NaN": (lambda: Dataset.from_arrays([1, float("nan")], [1, 2]), 'row 1 (counted from 0): column "user" is empty'),
    "a half": (lambda: Dataset.from_frame(one(item=[2.0, 1.5])), "row 1 (counted from 0): column \"item\" is neither"),
    "rounded": (lambda: Dataset.from_frame(one(item=[2.0, 2.0**60])), "is a floating-point number beyond 2^53"),
    "a boolean": (lambda: Dataset.from_frame(one(user=[True, False])), 'column "user" has booleans, which can\'t'),
    "lists": (lambda: Dataset.from_frame(one(item=[[1], [2]])), 'column "item" has lists, which can\'t be'),
    "a word": (lambda: Dataset.from_frame(one(rating=["5", "good"]), threshold=1), "is not a number: 'good'"),
    "no date": (lambda: Dataset.from_frame(one(timestamp=["2024-01-01", "x"]), split="time"), "nor a date: 'x'"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_line(case):
    wrong, message = MISTAKES[case]
    with pytest.raises(InputError) as caught:
        wrong()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_does_not_depend_on_the_name(frame):
    dataset = Dataset.from_frame(frame, log=quiet)
    assert dataclasses.replace(dataset, name="other").fingerprint == dataset.fingerprint
    assert Dataset.from_frame(frame, seed=1, log=quiet).fingerprint != dataset.fingerprint
    assert Dataset.from_frame(frame[1:], log=quiet).fingerprint != dataset.fingerprint
