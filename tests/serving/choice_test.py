"""Candidates and excluded items of all users and of single ones, against the scores of all items."""

import jax
import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax import InputError
from hlr_jax.sharding import create_mesh, pad_rows, shardings

USERS = [3, 0, 41, 7, 12]


@pytest.fixture(scope="module")
def trained(world):
    model = hlr_jax.create_model("cml", embed_dim=6)
    return model, model.init(jax.random.key(3), world.num_users, world.num_items), world


@pytest.fixture(scope="module")
def pairs():
    """Items of single users as sets: many, few, one, and none."""
    rng = np.random.default_rng(5)
    return {
        user: set(rng.choice(50, size, replace=False).tolist())
        for user, size in zip(USERS[:4], (30, 5, 1, 17), strict=True)
    }


def as_frame(of_users):
    rows = [(user, item) for user, items in of_users.items() for item in items]
    shuffled = pl.DataFrame(rows, schema=["user", "item"], orient="row").sample(fraction=1.0, shuffle=True, seed=1)
    return pl.concat([shuffled, shuffled[:3]])  # some pairs twice


def reference(trained, allowed, k):
    """The lists by NumPy in float64: the nearest items of each user among ``allowed(user)``."""
    _, params, world = trained
    user, item = (np.asarray(params[name], np.float64) for name in ("user", "item"))
    lists = {}
    for code in USERS:
        met = set(world.known.item[world.known.user == code].tolist())
        order = np.argsort(np.sum((user[code] - item) ** 2, axis=1), kind="stable").tolist()
        lists[code] = [v for v in order if v in allowed(code) and v not in met][:k]
    return lists


def lists_of(frame):
    return {user: frame.filter(user=user)["item"].to_list() for user in USERS}


@pytest.mark.parametrize("form", [as_frame, dict], ids=["frame", "dict"])
def test_excluded_items_of_single_users(trained, pairs, form):
    frame = hlr_jax.recommend(*trained, USERS, k=6, exclude=form(pairs))
    everything = set(range(50))
    assert lists_of(frame) == reference(trained, lambda user: everything - pairs.get(user, set()), 6)


def test_candidates_of_single_users_beside_items_that_no_user_gets(trained, pairs):
    frame = hlr_jax.recommend(*trained, USERS, k=60, candidates=as_frame(pairs), exclude=[4, 9, 30])
    assert lists_of(frame) == reference(trained, lambda user: pairs.get(user, set()) - {4, 9, 30}, 60)
    assert lists_of(frame)[12] == []  # no candidates, no list
    both = hlr_jax.recommend(*trained, USERS, k=5, candidates=as_frame(pairs), exclude={3: list(pairs[3])[:20]})
    kept = pairs | {3: set(list(pairs[3])[20:])}
    assert lists_of(both) == reference(trained, lambda user: kept.get(user, set()), 5)


def test_on_a_mesh_and_in_parts_of_the_catalogue_the_lists_are_the_same(trained, pairs, monkeypatch):
    model, params, world = trained
    options = {"k": 6, "candidates": as_frame(pairs), "exclude": {0: [1, 2], 7: [4]}}
    expected = hlr_jax.recommend(*trained, USERS, **options)
    mesh = create_mesh(data=2, model=4)
    padded = pad_rows(params, mesh)
    divided = jax.device_put(padded, shardings(padded, mesh))
    assert lists_of(hlr_jax.recommend(model, divided, world, USERS, **options)) == lists_of(expected)
    monkeypatch.setattr("hlr_jax.ranking.plan._items_per_part", lambda *_: 20)
    assert hlr_jax.recommend(*trained, USERS, **options).equals(expected)


def test_ids_that_are_none_or_unknown_are_one_line(trained, pairs):
    said = []
    frame = hlr_jax.recommend(
        *trained, 3, k=6, exclude={3: [*pairs[3], "x"], "y": [1]}, on_unknown="skip", log=said.append
    )
    assert frame["item"].to_list() == reference(trained, lambda user: set(range(50)) - pairs.get(user, set()), 6)[3]
    assert said == [
        '1 of 32 users of the excluded items are unknown, such as "y": left out',
        '1 of 32 excluded items are unknown, such as "x": left out',
    ]
    cases = [
        ({"users": [3], "exclude": {3: ["x"]}}, '1 of 1 excluded items are unknown, such as "x"'),
        ({"users": 2.5}, "users: 2.5 is not an id; ids are texts or whole numbers"),
        ({"users": [None]}, "users: None is not an id"),
        ({"users": [True]}, "users: True is not an id"),
        ({"users": trained[2]}, "users: a Dataset is not an id"),
        ({"users": [[3]]}, "users: a list is not an id"),
        ({"candidates": pl.DataFrame({"item": [1]})}, 'candidates: no column "user" '),
        ({"exclude": {3: [None]}}, "excluded items: None is not an id"),
        ({"users": pl.Series([3, None])}, "users: an id is missing"),
    ]
    for options, message in cases:
        with pytest.raises(InputError, match=message):
            hlr_jax.recommend(*trained, **options)


@pytest.mark.parametrize(
    "users", [7, "7", np.int64(7), 7.0, [7], ("7",), {7}, np.array([7]), pl.Series(["7"]), range(7, 8)]
)
def test_one_id_is_an_id_and_several_may_stand_in_anything(trained, users):
    assert hlr_jax.recommend(*trained, users, k=2).equals(hlr_jax.recommend(*trained, [7], k=2))
