"""New interactions are added to a data set."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from hlr_jax import InputError
from hlr_jax.data.growth import with_interactions


def rows(*pairs):
    return pl.DataFrame(pairs, schema=["user", "item"], orient="row", strict=False)


def pairs_of(dataset, part):
    return set(
        zip(dataset.user_ids.gather(part.user).to_list(), dataset.item_ids.gather(part.item).to_list(), strict=True)
    )


def test_new_pairs_go_to_training_and_held_out_pairs_stay_held_out(world):
    held = int(world.test.user[0]), int(world.test.item[0])
    known = int(world.train.user[0]), int(world.train.item[0])
    everything = pairs_of(world, world.train + world.valid + world.test)
    fresh = next((0, item) for item in range(50) if (0, item) not in everything)
    grown = with_interactions(world, rows((99, 7), held, (99, 7), fresh, known, (3, 70), (98, 70)))
    added = pairs_of(grown, grown.train) - pairs_of(world, world.train)
    assert added == {(99, 7), fresh, (3, 70), (98, 70)}
    assert len(grown.train) == len(world.train) + 4
    assert grown.test is world.test
    assert grown.user_ids.to_list() == [*range(60), 99, 98]  # in row order
    assert grown.item_ids.to_list() == [*range(50), 70]
    order = grown.train.user.astype(int) * 51 + grown.train.item
    assert (np.diff(order) > 0).all()
    again = with_interactions(world, rows((99, 7), fresh, (3, 70), (98, 70)))
    assert again.fingerprint == grown.fingerprint != world.fingerprint
    assert with_interactions(world, rows((99, 8), fresh, (3, 70), (98, 70))).fingerprint != grown.fingerprint


@pytest.mark.parametrize(("new", "ids"), [
    (["100", "60"], [100, 60]), (["ann", "60"], ["ann", "60"]), (["007", "60"], ["007", "60"]),
])  # fmt: skip
def test_ids_stay_numbers_if_all_are_numbers(world, new, ids):
    grown = with_interactions(world, rows(*((user, "1") for user in new)))
    known = list(range(60))
    assert grown.user_ids.to_list() == (known if isinstance(ids[0], int) else list(map(str, known))) + ids
    assert grown.item_ids.to_list() == list(range(50))


def test_new_items_have_no_titles(world):
    named = replace(world, titles=pl.DataFrame({"title": ["x"] * 50, "genres": [["a"]] * 50}))
    grown = with_interactions(named, rows((1, "new")))
    assert grown.titles.height == 51
    assert grown.item_titles[50] == "new"


def test_a_user_with_all_items_is_an_error(world):
    nothing = world.test.where(np.zeros(len(world.test), bool))
    with pytest.raises(InputError, match="user 4 has interacted with all 50 items"):
        with_interactions(replace(world, test=nothing), rows(*((4, item) for item in range(50))))
