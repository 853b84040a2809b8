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
from hlr_jax import EvalOptions, InputError, TrainOptions
from hlr_jax.data.csr import contains
from hlr_jax.data.interactions import Interactions
from hlr_jax.ranking.inputs import ranking_inputs
from hlr_jax.ranking.rank import plan_ranking, rank
from hlr_jax.sharding import create_mesh, pad_rows, replicate, replicated, shardings
from hlr_jax.training.history import ATTENTION
from hlr_jax.training.learner import GradientLearner

# Primes: no mesh divides them, so tables end in rows of padding. Users come in two widths, of 5 and of 16 positives.
WORLD, DIM = "planted-61x53x350", 24
EVALUATION = EvalOptions(k=5, monitor="ndcg")
OPTIONS = TrainOptions(num_epochs=2, batch_size=16, learning_rate=0.02, num_negatives=1)
USERS = replace(OPTIONS, batch="users", negatives="per_user", batch_size=2)
SHARED = replace(OPTIONS, objective="sampled_softmax", negatives="shared", num_negatives=2)
LAZY = replace(OPTIONS, batch_size=8, optimizer="lazy_adam")  # touches 8 users and 16 items of a step at most
HLR = hlr_jax.create_model("hlr", embed_dim=DIM, num_memories=2, max_history=2)
CML, TRANSCF = (hlr_jax.create_model(name, embed_dim=DIM) for name in ("cml", "transcf"))
COLLECTIVE = re.compile(r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(")


@pytest.fixture(scope="module")
def primes():
    return hlr_jax.load_dataset(WORLD, log=lambda _: None)


@pytest.fixture
def programs(monkeypatch):
    """The text of every program that is made ready to run from here on, as it is on one device, by name."""
    texts, make = [], compiler.compile_or_get_cached

    def compile_or_get_cached(*arguments, **options):
        executable = make(*arguments, **options)
        texts.extend((module.name, module.to_string()) for module in executable.hlo_modules())
        return executable

    monkeypatch.setattr(compiler, "compile_or_get_cached", compile_or_get_cached)
    return texts


def largest_float_array(text):
    """Return the number of elements of the largest array of floats anywhere in a program."""
    shapes = re.findall(r"\b(?:f16|bf16|f32|f64)\[([\d,]*)\]", text)
    return max((math.prod(map(int, filter(None, shape.split(",")))) for shape in shapes), default=0)


def run(world, model, options, mesh):
    fitted = hlr_jax.train_model(world, model, options, EVALUATION, seed=3, mesh=mesh, quiet=True)
    return fitted, hlr_jax.evaluate(model, fitted.params, world, split="valid", options=EVALUATION, seed=3)


def assert_same_run(run_on_mesh, run_alone):
    (fitted, evaluation), (alone, expected) = run_on_mesh, run_alone
    attention = [name for name in ATTENTION if name in alone.history[0]]
    for metric in ("train_loss", "valid_loss", "valid_ndcg@5", *attention):
        values = ([record[metric] for record in result.history] for result in (fitted, alone))
        np.testing.assert_allclose(*values, rtol=2e-4, err_msg=metric)
    assert fitted.best_epoch == alone.best_epoch
    np.testing.assert_array_equal(evaluation.ranking.items, expected.ranking.items)
    np.testing.assert_allclose(evaluation.ranking.scores, expected.ranking.scores, rtol=1e-3, atol=1e-5)
    for metric in ("ndcg", "recall", "coverage", "gini"):
        assert evaluation.metrics.value(metric) == pytest.approx(expected.metrics.value(metric), rel=1e-6)


@pytest.mark.parametrize(
    ("model", "options", "shape"),
    [(HLR, OPTIONS, (2, 4)), (HLR, USERS, (2, 4)), (CML, SHARED, (1, 8)), (CML, LAZY, (2, 4))],
    ids=["hlr", "hlr, users", "cml", "cml, lazy"],
)
def test_a_mesh_trains_ranks_and_measures_as_one_device_and_never_holds_a_whole_table(
    model, options, shape, primes, programs, monkeypatch
):
    # A batch, a tile of users or of pairs, and the products of a shard's items with all memories must be smaller than
    # the smaller table for what follows to tell them apart.
    monkeypatch.setattr("hlr_jax.ranking.plan._MOST_USERS", 8)
    monkeypatch.setattr("hlr_jax.ranking.plan._CPU_USERS", 2)
    monkeypatch.setattr("hlr_jax.training.attention._AT_ONCE", 8)
    on_mesh = run(primes, model, options, create_mesh(*shape))
    ours = list(programs)
    assert_same_run(on_mesh, run(primes, model, options, None))
    params = on_mesh[0].params
    assert params["item"].sharding.spec[0] == params["user"].sharding.spec[0] == "model"
    expected = {"jit_run_epoch", "jit_valid_loss"}
    if options is not USERS:  # what those are ranked by was made ready in the case before
        expected |= {"jit_item_users", "jit_rank_tile"} | ({"jit_attention"} if model is HLR else set())
    assert expected <= {name for name, _ in ours}
    assert {name for name, text in ours if largest_float_array(text) >= primes.num_items * DIM} == set()


@pytest.mark.parametrize("shape", [(2, 4), (8, 1)])
def test_factors_of_a_mesh_are_those_of_one_device(shape, primes, programs, monkeypatch):
    model = hlr_jax.create_model("mf_als", embed_dim=DIM, confidence=3.0, regularization=1.0, frequency_exponent=0.5)
    options = TrainOptions(num_epochs=2)

    def fit(mesh):
        fitted = hlr_jax.train_model(primes, model, options, EVALUATION, seed=3, mesh=mesh, quiet=True)
        return fitted, hlr_jax.evaluate(model, fitted.params, primes, split="valid", options=EVALUATION)

    # Small blocks and tiles, so that a whole table is the largest array that a program could hold.
    monkeypatch.setattr("hlr_jax.training.row_blocks._SHAPES", ((4, 4), (2, 8), (1, 16)))
    monkeypatch.setattr("hlr_jax.training.row_blocks._SAVED_CELLS", 0)
    monkeypatch.setattr("hlr_jax.ranking.plan._MOST_USERS", 8)
    on_mesh, there = fit(create_mesh(*shape))
    ours = dict(programs)
    alone, here = fit(None)
    assert "jit_solve_on_mesh" in ours
    if shape == (2, 4):
        assert on_mesh.params["item"].sharding.spec[0] == on_mesh.params["user"].sharding.spec[0] == "model"
        assert {name for name, text in ours.items() if largest_float_array(text) >= primes.num_items * DIM} == set()
    for name, count in (("user", primes.num_users), ("item", primes.num_items)):
        np.testing.assert_allclose(on_mesh.params[name][:count], alone.params[name], rtol=1e-3, atol=1e-5)
    losses = ([record["train_loss"] for record in fitted.history] for fitted in (on_mesh, alone))
    np.testing.assert_allclose(*losses, rtol=1e-5)
    np.testing.assert_array_equal(there.ranking.items, here.ranking.items)


def test_users_with_all_items_train_on_a_mesh_as_on_one_device():
    world = hlr_jax.load_dataset("planted-61x101x310", log=lambda _: None)  # all users have one width
    model = hlr_jax.create_model("hlr", embed_dim=4, num_memories=2, max_history=3)
    options = replace(USERS, objective="sampled_softmax", negatives="all", batch_size=8, num_epochs=1)
    assert_same_run(*(run(world, model, options, mesh) for mesh in (create_mesh(2, 4), None)))


def test_arrays_that_a_model_derives_are_those_of_one_device_where_tables_stand_whole(primes):
    alone = run(primes, TRANSCF, OPTIONS, None)
    assert_same_run(run(primes, TRANSCF, OPTIONS, create_mesh(8, 1)), alone)
    mesh = create_mesh(4, 2)
    message = r"model transcf derives arrays from whole tables; set mesh\.model to 1"
    with pytest.raises(InputError, match=message):
        run(primes, TRANSCF, OPTIONS, mesh)
    padded = pad_rows(alone[0].params, mesh)
    with pytest.raises(InputError, match=message):
        hlr_jax.evaluate(TRANSCF, jax.device_put(padded, shardings(padded, mesh)), primes, options=EVALUATION)


def test_the_search_for_whole_tables_sees_one(primes, programs):
    """What the assertion above rests on: a table gathered on purpose is seen."""
    mesh = create_mesh(4, 2)
    table = jax.device_put(np.ones((54, DIM), np.float32), NamedSharding(mesh, PartitionSpec("model")))
    jax.jit(lambda table: table[::-1] * 2, out_shardings=replicated(mesh))(table)
    assert max(largest_float_array(text) for _, text in programs) >= primes.num_items * DIM


def draw(world, options, sampling, mesh):
    """Return the second batch of validation's last group, and the text of the program that draws it."""
    model = hlr_jax.create_model(
        "hlrpp", embed_dim=4, max_history=3, max_item_users=2, history_sampling=sampling, item_users_sampling=sampling
    )
    learner = GradientLearner(model, options, (world.num_users, world.num_items), mesh)
    source = learner.source(world.valid, world.train, world.train + world.valid)

    def batch(source, key):
        return learner.draws(source, key)[-1](jax.random.fold_in(key, 1), jnp.int32(1))

    given = replicate((source, jax.random.key(5)), mesh)
    program = jax.jit(batch).lower(*given).compile()
    return program(*given), program.as_text()


@pytest.mark.parametrize(
    ("shape", "sampling", "options"),
    [
        ((2, 4), "inverse_popularity", SHARED),
        ((2, 4), "uniform", replace(SHARED, negatives="in_batch")),
        ((2, 4), "uniform", USERS),
        ((2, 4), "inverse_popularity", replace(USERS, objective="sampled_softmax", negatives="all")),
        ((8, 1), "uniform", replace(OPTIONS, num_negatives=2)),
        ((8, 1), "uniform", replace(SHARED, negative_popularity=0.5)),
        ((8, 1), "uniform", replace(USERS, batch_size=8, negative_popularity=0.5)),
    ],
    ids=lambda value: f"{value.batch}-{value.negatives}" if isinstance(value, TrainOptions) else None,
)
def test_devices_draw_the_batch_of_one_device_each_its_own_rows(shape, sampling, options, primes, monkeypatch):
    if shape == (8, 1):
        # As on an accelerator: a CPU walks through the rows of users one after the other, wherever these are.
        def contains_shared(rows, users, items, num_items):
            return jax.vmap(lambda user: contains(rows, user, items))(users)

        monkeypatch.setattr("hlr_jax.training.examples.contains_shared", contains_shared)
    (divided, text), (alone, _) = (draw(primes, options, sampling, mesh) for mesh in (create_mesh(*shape), None))
    jax.tree.map(np.testing.assert_array_equal, divided, alone)
    assert divided.items.sharding.spec[0] == "data"
    if shape == (8, 1):
        assert COLLECTIVE.findall(text) == []


@pytest.mark.parametrize(("name", "shape"), [("transcf", (8, 1)), ("hlrpp", (2, 4)), ("hlr", (8, 1))])
def test_a_mesh_ranks_by_means_by_the_users_of_items_and_by_pairs_of_items_as_one_device(name, shape, primes):
    mesh, model = create_mesh(*shape), hlr_jax.create_model(name, embed_dim=4)
    sizes = primes.num_users, primes.num_items
    params = jax.tree.map(lambda table: 3 * table, model.init(jax.random.key(0), *sizes))
    padded = pad_rows(params, mesh)
    users = np.arange(0, primes.num_users, 3)

    def ranked(placed):
        inputs = ranking_inputs(model, primes.train, primes.train, sizes, params=placed)
        # Pairs of items need the whole table of items on each device.
        whole = placed is params or shape[1] == 1
        assert plan_ranking(model, placed, len(users), inputs, 5).by_pairs == (whole and name != "transcf")
        return rank(model, placed, users, inputs, k=5)

    divided, alone = ranked(jax.device_put(padded, shardings(padded, mesh))), ranked(params)
    np.testing.assert_array_equal(divided.items, alone.items)
    np.testing.assert_allclose(divided.scores, alone.scores, rtol=1e-4)


def test_lists_of_users_who_have_seen_nearly_all_are_short_on_a_mesh_too(primes):
    mesh, model = create_mesh(2, 4), hlr_jax.create_model("cml", embed_dim=4)
    params = pad_rows(model.init(jax.random.key(0), 1, 6), mesh)
    seen = Interactions(np.zeros(5, np.int32), np.array([0, 1, 2, 4, 5], np.int32))
    params = jax.device_put(params, shardings(params, mesh))
    lists = rank(model, params, np.array([0]), ranking_inputs(model, seen, seen, (1, 6), params=params), k=3)
    np.testing.assert_array_equal(lists.items, [[3, -1, -1]])
    assert np.isneginf(lists.scores[0, 1:]).all()
