"""Adam over whole tables and over touched rows, against Adam written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hlr_jax
from hlr_jax.data.neighbor_sampling import neighbor_tables
from hlr_jax.losses import OBJECTIVES, LossParams
from hlr_jax.training.batch_sampling import draw_batch, training_triplets
from hlr_jax.training.batches import Negatives
from hlr_jax.training.gradients import batch_gradient
from hlr_jax.training.optimizer import ADAM, adam_step

STEPS, RATE = 3, 0.05
MODELS = {"cml": {}, "hlrpp": {"num_memories": 2, "max_history": 2, "max_item_users": 2}}


def numpy_adam(table, slopes, touched):
    """Adam (Kingma and Ba 2015, algorithm 1) in the rows that ``touched`` names at each step, then the unit ball."""
    table = np.array(table, np.float64)
    m, v = np.zeros_like(table), np.zeros_like(table)
    for step, (slope, rows) in enumerate(zip(slopes, touched, strict=True), 1):
        m[rows] = 0.9 * m[rows] + 0.1 * slope[rows]
        v[rows] = 0.999 * v[rows] + 0.001 * slope[rows] ** 2
        moved = table[rows] - RATE * (m[rows] / (1 - 0.9**step)) / (np.sqrt(v[rows] / (1 - 0.999**step)) + 1e-8)
        table[rows] = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1)
    return table


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("name", "negatives"), [*((name, Negatives()) for name in MODELS), ("cml", Negatives("all"))])
def test_steps_are_those_of_adam_in_the_rows_that_move(world, name, negatives, lazy):
    model = hlr_jax.create_model(name, embed_dim=4, **MODELS[name])
    source = training_triplets(world.train, world.num_users, world.num_items, model, negatives)
    params = model.init(jax.random.key(0), world.num_users, world.num_items)
    rows = jnp.arange(5)  # 5 users and 10 items of 60 and 50; with neighbors 25 and 20

    @jax.jit
    def step(params, state, index):
        batch = draw_batch(jax.random.fold_in(jax.random.key(1), index), source, rows, jnp.ones(5), negatives)

        def gradient(params, tables, batch):
            return batch_gradient(
                model,
                OBJECTIVES["hinge_mean"],
                params,
                tables,
                batch,
                LossParams(jnp.float32(2.0), jnp.float32(1.0)),
                5,
            )

        tables = neighbor_tables(params, source.near)
        found = adam_step(
            model, params, state, tables, batch, gradient, jnp.float32(RATE), jax.random.key(2), lazy=lazy
        )
        return found, gradient(params, tables, batch), batch

    state, start = ADAM.init(params), params
    losses, slopes, touched = [], {"user": [], "item": []}, {"user": [], "item": []}
    for index in range(STEPS):
        (params, state, loss), (expected, slope), batch = step(params, state, index)
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        losses.append(loss)
        users, items = [batch.user, batch.item_users.ids], [batch.items, batch.history.ids]
        if batch.common is not None:
            items.append(batch.common.items)
        for table, ids in (("user", users), ("item", items)):
            slopes[table].append(np.float64(slope[table]))
            met = np.unique(np.concatenate([np.ravel(one) for one in ids]))
            touched[table].append(met if lazy else np.arange(len(slope[table])))
    assert min(losses) > 0
    for table in slopes:
        found = numpy_adam(start[table], slopes[table], touched[table])
        np.testing.assert_allclose(params[table], found, rtol=1e-4, atol=1e-5)


def test_a_small_table_takes_the_whole_step(world):
    model = hlr_jax.create_model("cml", embed_dim=4)
    source = training_triplets(world.train, world.num_users, world.num_items, model, Negatives())
    params = model.init(jax.random.key(0), world.num_users, world.num_items)
    batch = draw_batch(jax.random.key(1), source, jnp.arange(40), jnp.ones(40), Negatives())

    def gradient(params, tables, batch):
        assert params["user"].shape == (world.num_users, 4)
        return jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)

    tables = neighbor_tables(params, source.near)
    adam_step(
        model, params, ADAM.init(params), tables, batch, gradient, jnp.float32(RATE), jax.random.key(2), lazy=True
    )
