"""How a ranking is divided: in what is of use, within a budget."""

from functools import partial

import jax
import numpy as np
import pytest

import hlr_jax
from hlr_jax.compile_memory import planned
from hlr_jax.evaluation.evaluate import interactions_at
from hlr_jax.ranking.inputs import ranking_inputs
from hlr_jax.ranking.plan import TilePlan, _items_per_part, _pairs_pay, first_plan, fitting_plan
from hlr_jax.ranking.single import single_device_program

USERS, ITEMS, K = 60, 50, 10


@pytest.fixture(scope="module")
def trained():
    model = hlr_jax.create_model("hlr", embed_dim=8, num_memories=3, max_history=4)
    return model, model.init(jax.random.key(0), USERS, ITEMS)


def test_pairs_of_items_pay_for_many_users_within_the_budget(trained):
    assert _pairs_pay(*trained, USERS, 64 << 20)
    assert not _pairs_pay(*trained, 12, 64 << 20)  # 12 users of 4 neighbors, 50 items
    assert not _pairs_pay(*trained, USERS, 0)
    assert not _pairs_pay(hlr_jax.create_model("cml"), trained[1], USERS, 64 << 20)


def test_users_are_divided_among_the_workers_in_tiles_of_nearly_one_size(trained, monkeypatch):
    monkeypatch.setattr("hlr_jax.ranking.plan.num_workers", lambda: 3)
    first = partial(first_plan, *trained, num_items=ITEMS, limit=192 << 20)
    assert first(num_users=USERS) == TilePlan(20, ITEMS, by_pairs=True, workers=3)
    assert first(num_users=12) == TilePlan(4, ITEMS, by_pairs=False, workers=3)
    assert first(num_users=2).users == 1
    assert first(num_users=0).users == 1
    # At most 1,024 in a tile: 3,400 users in four of 850 and a few for padding, not three of 1,024 and a small one.
    assert first(num_users=3400).users == 896
    assert first(num_users=4000).users == 1024
    # Validation and test rank a few users more or less, with tiles of one size.
    assert {first(num_users=3 * count).users for count in (385, 400, 437, 448)} == {448}


def test_users_scored_at_once_divide_a_tile(trained, monkeypatch):
    cml = hlr_jax.create_model("cml"), trained[1]
    monkeypatch.setattr("hlr_jax.ranking.plan.num_workers", lambda: 1)

    def sizes(num_users, limit=1 << 40):
        plan = first_plan(*cml, num_users, ITEMS, limit)
        return plan.users, plan.users_at_once

    assert sizes(20) == (20, 20)
    assert sizes(900) == (1024, 32)
    # 48 users of 600 bytes; 1,024 users are 22 batches of 47, not 21 of 48 and one of 16.
    monkeypatch.setattr("hlr_jax.ranking.plan._CPU_USERS", 64)
    assert sizes(1024, limit=48 * 12 * ITEMS) == (22 * 47, 47)


def test_tiles_by_pairs_of_items_are_larger_on_an_accelerator(trained, monkeypatch):
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    plan = first_plan(*trained, 10**6, ITEMS, 1 << 40)
    assert (plan.users, plan.users_at_once, plan.by_pairs) == (4096, 4096, True)
    plan = first_plan(*trained, 10**6, ITEMS, 0)
    assert (plan.users, plan.users_at_once, plan.by_pairs) == (1024, 1, False)


@pytest.mark.parametrize(("name", "by_pairs"), [("hlr", True), ("cml", False)])
def test_a_tile_keeps_within_its_budget_by_the_compilers_plan(trained, world, name, by_pairs):
    model = trained[0] if name == "hlr" else hlr_jax.create_model(name)
    seen = interactions_at(world, "test")
    inputs = ranking_inputs(model, seen, seen, (USERS, ITEMS))
    prepare = partial(single_device_program, model, trained[1], inputs, K)
    plan = TilePlan(USERS, ITEMS, by_pairs=by_pairs)

    def need(tile):
        program, arguments = prepare(plan)
        nobody = np.zeros(tile, np.int32)
        return sum(planned(program, *arguments(nobody, nobody))[1:])

    def fitting(limit):
        chosen = fitting_plan(plan, prepare, USERS, limit)
        assert (chosen.bytes, chosen.items, chosen.by_pairs) == (need(chosen.users), ITEMS, by_pairs)
        return chosen.users

    whole = 64  # a tile of all 60 users, in whole eighths
    assert fitting(need(whole)) == whole
    smaller = fitting(need(whole) - 1)
    assert smaller < USERS
    assert need(smaller) < need(whole)
    assert fitting(1) <= smaller  # less than any tile needs: and still it is ranked


def test_a_small_budget_makes_the_parts_of_the_catalogue_small():
    model = hlr_jax.create_model("hlrpp", embed_dim=100, max_item_users=20)
    params = {"item": np.zeros((100_000, 100))}
    assert _items_per_part(model, params, 50, 64 << 20) == 50
    parts = [_items_per_part(model, params, 100_000, budget << 20) for budget in (0, 16, 256, 4096)]
    assert parts == [128, 512, 7808, 7808]
    assert _items_per_part(model, params, 11_508, 4096 << 20) == 5760  # two parts, of which little is padding
