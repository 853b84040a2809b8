import numpy as np
import polars as pl

from hlr_jax.data.ids import IdIndex
from hlr_jax.data.interactions import Interactions


def test_ids_are_found_as_text_in_any_order():
    ids = pl.Series(["b", "a,1", "", "10", "9", "é"])
    wanted = ["9", "c", "", "é", "a", "b", "10", "b", "~"]
    expected = [ids.to_list().index(id) if id in ids.to_list() else -1 for id in wanted]
    assert IdIndex(ids).find(pl.Series(wanted)).tolist() == expected
    numbers = pl.Series([5, 40, 2**62, -3])
    assert IdIndex(numbers).find(pl.Series(["-3", "05", str(2**62), "40"])).tolist() == [3, -1, 2, 1]
    assert IdIndex(pl.Series([], dtype=pl.String)).find(pl.Series(["a"])).tolist() == [-1]


def test_rows_of_some_users_are_numbered_by_their_places(rng):
    users, items = rng.integers(0, [[6], [9]], (2, 40))
    code = np.unique(users * 9 + items)
    all_pairs = Interactions(*(part.astype(np.int32) for part in np.divmod(code, 9)))
    chosen = np.array([4, 0, 4, 8])
    some = all_pairs.of_users(chosen)
    expected = [(place, item) for place, user in enumerate(chosen) for item in all_pairs.item[all_pairs.user == user]]
    assert list(zip(some.user, some.item, strict=True)) == expected
