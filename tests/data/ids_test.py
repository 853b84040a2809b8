import numpy as np
import polars as pl
import pytest

from hlr_jax import InputError
from hlr_jax.data.ids import IdIndex, texts_of, typed_ids
from hlr_jax.data.interactions import Interactions


def test_ids_are_found_as_text_in_any_order():
    ids = pl.Series(["b", "a,1", "", "10", "9", "é"])
    wanted = ["9", "c", "", "é", "a", "b", "10", "b", "~"]
    expected = [ids.to_list().index(id) if id in ids.to_list() else -1 for id in wanted]
    assert IdIndex(ids).find(pl.Series(wanted)).tolist() == expected
    numbers = pl.Series([5, 40, 2**62, -3])
    assert IdIndex(numbers).find(pl.Series(["-3", "05", str(2**62), "40"])).tolist() == [3, -1, 2, 1]
    assert IdIndex(pl.Series([], dtype=pl.String)).find(pl.Series(["a"])).tolist() == [-1]


def test_rows_of_some_users_are_renumbered_by_position(rng):
    users, items = rng.integers(0, [[6], [9]], (2, 40))
    code = np.unique(users * 9 + items)
    all_pairs = Interactions(*(part.astype(np.int32) for part in np.divmod(code, 9)))
    chosen = np.array([4, 0, 4, 8])
    some = all_pairs.of_users(chosen)
    expected = [(place, item) for place, user in enumerate(chosen) for item in all_pairs.item[all_pairs.user == user]]
    assert list(zip(some.user, some.item, strict=True)) == expected


def test_ids_lose_blanks_and_keep_their_types():
    assert texts_of([" ann", "b b\u3000", 7, 8.0, np.int32(9)], "x").to_list() == ["ann", "b b", "7", "8", "9"]
    for seven in (7, "7", np.int64(7), np.array(7), [7], pl.Series([7]), pl.Series([7]).to_arrow(), {7}):
        assert texts_of(seven, "x").to_list() == ["7"]
    assert typed_ids([7, np.uint8(8), 9.0], "x").to_list() == [7, 8, 9]
    assert typed_ids(["7", "008"], "x").to_list() == ["7", "008"]
    assert typed_ids([], "x").dtype == pl.String


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([True], "True is not an id"),
        (7.5, "7.5 is not an id"),
        ([b"a"], "b'a' is not an id"),
        ([[7]], "a list is not an id"),
        (["a", " "], "an id is blank; drop rows"),
        (pl.Series(["a", None]), "an id is missing"),
        (pl.DataFrame({"user": [1]}), "pass ids as a list or a column, not a DataFrame; pass one column of it"),
        ({7: 1}, "pass ids as a list or a column, not a dict"),
    ],
)
def test_bad_ids_are_one_line(ids, message):
    with pytest.raises(InputError, match=f"^x: {message}"):
        texts_of(ids, "x")


def test_a_whole_number_of_more_than_64_bits_is_an_error():
    with pytest.raises(
        InputError, match=r'^x: a whole number needs more than 64 bits: "9223372036854775808"; pass texts$'
    ):
        typed_ids([1, 2**63], "x")
