import numpy as np
import pytest

from hlr_jax.data.interactions import Interactions
from hlr_jax.data.serialization import read_stored, store_dataset


@pytest.fixture
def stored(world, tmp_path):
    store_dataset(tmp_path / "dataset", world)
    return read_stored(tmp_path / "dataset")


def assert_same(pairs, user, item):
    assert len(pairs) == len(user)
    np.testing.assert_array_equal(pairs.user, user)
    np.testing.assert_array_equal(pairs.item, item)


@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize("which", ["train", "union"])
def test_parts_counts_and_the_transpose_equal_those_of_the_columns(kind, which, world, stored):
    source = world if kind == "memory" else stored
    user, item = world.train.user, world.train.item
    pairs = source.train
    if which == "union":
        pairs = source.train + source.valid
        user, item = np.append(user, world.valid.user), np.append(item, world.valid.item)
        order = np.lexsort((item, user))
        user, item = user[order], item[order]
    by_item = np.lexsort((user, item))
    assert_same(pairs, user, item)
    assert_same(pairs.transposed(), item[by_item], user[by_item])
    np.testing.assert_array_equal(pairs.degrees(world.num_users + 3)[:-3], np.bincount(user, minlength=world.num_users))
    np.testing.assert_array_equal(pairs.item_degrees(world.num_items), np.bincount(item, minlength=world.num_items))
    np.testing.assert_array_equal(pairs.transposed().degrees(world.num_items), pairs.item_degrees(world.num_items))
    assert_same(pairs.where(user % 2 == 0), user[user % 2 == 0], item[user % 2 == 0])


def test_a_union_has_the_users_of_all_parts():
    first = Interactions(np.array([0, 0, 3]), np.array([2, 5, 1]))
    second = Interactions(np.array([1, 3, 6]), np.array([4, 0, 9]))
    assert_same(first + second, [0, 0, 1, 3, 3, 6], [2, 5, 4, 0, 1, 9])
    assert (first + second).degrees().tolist() == [2, 1, 0, 2, 0, 0, 1]
    nothing = first.where(np.zeros(3, bool))
    assert_same(nothing + second, second.user, second.item)
    assert_same(second + nothing, second.user, second.item)
