"""Runs on a mesh of 8 virtual devices against the same runs on one."""

import math
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import compiler
from jax.sharding import NamedSharding, PartitionSpec

import hlr_jax
from hlr_jax import EvalOptions, TrainOptions
from hlr_jax.data.interactions import Interactions
from hlr_jax.evaluation.ranking import rank
from hlr_jax.sharding import create_mesh, pad_rows, replicated, shardings
from hlr_jax.training.batch_sampling import draw_batch, validation_triplets
from hlr_jax.training.batches import Negatives

# Primes: no mesh divides them, so tables end in rows of padding.
WORLD, DIM = "planted-127x101x1400", 24
MODELS = {
    "cml": {},
    "hlr": {"num_memories": 2, "max_history": 2},
    "transcf": {},
}
OPTIONS = TrainOptions(num_epochs=2, batch_size=32, learning_rate=0.02, num_negatives=1)
OPTIONS_OF = {
    "hlr": OPTIONS,
    "transcf": OPTIONS,
    "cml": replace(OPTIONS, objective="sampled_softmax", negatives="shared", num_negatives=2),
}
EVALUATION = EvalOptions(k=5, select_by="ndcg")


@pytest.fixture(scope="module")
def primes():
    return hlr_jax.load_dataset(WORLD, log=lambda _: None)


@pytest.fixture
def programs(monkeypatch):
    """The text of every program that is made ready to run from here on, as it is on one device, by name."""
    found, make = [], compiler.compile_or_get_cached

    def compile_or_get_cached(*arguments, **options):
        executable = make(*arguments, **options)
        found.extend((module.name, module.to_string()) for module in executable.hlo_modules())
        return executable

    monkeypatch.setattr(compiler, "compile_or_get_cached", compile_or_get_cached)
    return found


def largest_float_array(text):
    """Return the number of elements of the largest array of floats anywhere in a program."""
    shapes = re.findall(r"\b(?:f16|bf16|f32|f64)\[([\d,]*)\]", text)
    return max((math.prod(map(int, filter(None, shape.split(",")))) for shape in shapes), default=0)


def run(world, name, mesh):
    model = hlr_jax.create_model(name, embed_dim=DIM, **MODELS[name])
    fitted = hlr_jax.fit(world, model, OPTIONS_OF[name], EVALUATION, seed=3, mesh=mesh, quiet=True)
    return fitted, hlr_jax.evaluate(model, fitted.params, world, split="valid", options=EVALUATION, seed=3)


@pytest.mark.parametrize(("name", "shape"), [("hlr", (2, 4)), ("cml", (1, 8)), ("transcf", (4, 2))])
def test_a_mesh_trains_ranks_and_measures_as_one_device_and_never_holds_a_whole_table(
    name, shape, primes, programs, monkeypatch
):
    # A batch, a tile of users, the pieces of means, and the products of a shard's items with all memories must be
    # smaller than the smaller table for what follows to tell them apart.
    monkeypatch.setattr("hlr_jax.evaluation.ranking._MOST_USERS", 8)
    monkeypatch.setattr("hlr_jax.data.means._BLOCK", 64)
    fitted, found = run(primes, name, create_mesh(*shape))
    ours = list(programs)
    alone, expected = run(primes, name, None)
    for figure in ("train_loss", "valid_loss", "valid_ndcg@5"):
        np.testing.assert_allclose(
            *([record[figure] for record in one.history] for one in (fitted, alone)), rtol=2e-4, err_msg=figure
        )
    assert fitted.best_epoch == alone.best_epoch
    np.testing.assert_array_equal(found.ranking.items, expected.ranking.items)
    np.testing.assert_allclose(found.ranking.scores, expected.ranking.scores, rtol=1e-3, atol=1e-5)
    for figure in ("ndcg@5", "recall@5", "coverage@5", "gini@5"):
        assert found.metrics[figure] == pytest.approx(expected.metrics[figure], rel=1e-6)
    assert fitted.params["item"].sharding.spec[0] == fitted.params["user"].sharding.spec[0] == "model"
    assert {"jit_run_epoch", "jit_valid_loss", "jit_neighbors", "jit_rank_tile"} <= {name for name, _ in ours}
    assert {name for name, text in ours if largest_float_array(text) >= primes.num_items * DIM} == set()


def test_users_with_all_items_train_on_a_mesh_as_on_one_device(primes):
    model = hlr_jax.create_model("hlr", embed_dim=4, num_memories=2, max_history=3)
    options = replace(OPTIONS, objective="sampled_softmax", negatives="all", batch_size=32)
    histories = [
        hlr_jax.fit(primes, model, options, EVALUATION, seed=3, mesh=mesh, quiet=True).history
        for mesh in (create_mesh(2, 4), None)
    ]
    for figure in ("train_loss", "valid_loss", "valid_ndcg@5"):
        np.testing.assert_allclose(
            *([record[figure] for record in one] for one in histories), rtol=2e-4, err_msg=figure
        )


def test_the_search_for_whole_tables_finds_one(primes, programs):
    """What the assertion above rests on: a table gathered on purpose is seen."""
    mesh = create_mesh(4, 2)
    table = jax.device_put(np.ones((102, DIM), np.float32), NamedSharding(mesh, PartitionSpec("model")))
    jax.jit(lambda table: table[::-1] * 2, out_shardings=replicated(mesh))(table)
    assert max(largest_float_array(text) for _, text in programs) >= primes.num_items * DIM


@pytest.mark.parametrize(
    ("sampling", "negatives"),
    [
        ("uniform", Negatives(number=2)),
        ("inverse_popularity", Negatives("shared", 5)),
        ("uniform", Negatives("own", 2, 0.5)),
        ("uniform", Negatives("in_batch")),
        ("inverse_popularity", Negatives("all")),
    ],
)
def test_devices_share_the_interactions_and_draw_what_one_device_draws(sampling, negatives, primes):
    model = hlr_jax.create_model(
        "hlrpp", embed_dim=4, max_history=3, max_item_users=2, history_sampling=sampling, item_users_sampling=sampling
    )
    mesh, count, devices = create_mesh(2, 4), len(primes.train), 8
    alone, divided = (
        validation_triplets(primes.train, primes.valid, primes.num_users, primes.num_items, model, negatives, where)
        for where in (None, mesh)
    )
    rows = jnp.arange(0, alone.count, 3)
    weight = jnp.ones(len(rows))

    def draw(where, source):
        return jax.jit(lambda source: draw_batch(jax.random.key(1), source, rows, weight, negatives, where))(source)

    jax.tree.map(np.testing.assert_array_equal, draw(mesh, divided), draw(None, alone))
    positives = divided.user if divided.item is not None else divided.targets.items
    for held, longest in (
        (positives, divided.known.longest), (divided.known.items, divided.known.longest),
        (divided.near.history.rows.items, divided.near.history.rows.longest),
        (divided.near.item_users.rows.items, divided.near.item_users.rows.longest),
    ):  # fmt: skip
        # A share ends with a whole row, so it may be longer than an eighth by one.
        assert {shard.data.size <= 1.2 * count / devices + longest + 1 for shard in held.addressable_shards} == {True}
        assert len({shard.device for shard in held.addressable_shards}) == devices


@pytest.mark.parametrize("name", ["transcf", "hlrpp"])
def test_a_mesh_ranks_by_means_and_by_the_users_of_items_as_one_device(name, primes):
    mesh, model = create_mesh(2, 4), hlr_jax.create_model(name, embed_dim=4)
    params = jax.tree.map(lambda table: 3 * table, model.init(jax.random.key(0), primes.num_users, primes.num_items))
    padded = pad_rows(params, mesh)
    users, sizes = np.arange(0, primes.num_users, 3), {"num_users": primes.num_users, "num_items": primes.num_items}
    divided, alone = (
        rank(model, where, users, primes.train, **sizes, k=5)
        for where in (jax.device_put(padded, shardings(padded, mesh)), params)
    )
    np.testing.assert_array_equal(divided.items, alone.items)
    np.testing.assert_allclose(divided.scores, alone.scores, rtol=1e-4)


def test_lists_of_users_who_have_seen_nearly_all_are_short_on_a_mesh_too(primes):
    mesh, model = create_mesh(2, 4), hlr_jax.create_model("cml", embed_dim=4)
    params = pad_rows(model.init(jax.random.key(0), 1, 6), mesh)
    seen = Interactions(np.zeros(5, np.int32), np.array([0, 1, 2, 4, 5], np.int32))
    params = jax.device_put(params, shardings(params, mesh))
    found = rank(model, params, np.array([0]), seen, num_users=1, num_items=6, k=3)
    np.testing.assert_array_equal(found.items, [[3, -1, -1]])
    assert np.isneginf(found.scores[0, 1:]).all()
