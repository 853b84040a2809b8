"""Adam over whole tables and over touched rows, against Adam written out in NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from own_model import own_model

import hlr_jax
from hlr_jax.losses import OBJECTIVES, LossParams
from hlr_jax.training.batches import Negatives, batch_source
from hlr_jax.training.examples import sample_triplets, sample_users, triplet_loss, user_loss
from hlr_jax.training.gradients import batch_gradient
from hlr_jax.training.many_runs import create_learner
from hlr_jax.training.optimizer import ADAM, adam_step
from hlr_jax.training.options import Run

STEPS, RATE, DECAY, SIZE = 3, 0.05, 0.3, 4
HLRPP = partial(hlr_jax.create_model, "hlrpp", num_memories=2, max_history=2, max_item_users=2)
CASES = {
    "cml": (partial(hlr_jax.create_model, "cml"), Negatives()),
    "hlrpp": (HLRPP, Negatives()),
    "users, all": (partial(hlr_jax.create_model, "cml"), Negatives("all")),
    "users": (partial(hlr_jax.create_model, "hlr", num_memories=2, max_history=1), Negatives("per_user", 1)),
    "own": (lambda embed_dim: own_model(), Negatives()),
}


def numpy_adam(table, slopes, touched, radius):
    """Adam (Kingma and Ba 2015, algorithm 1) in the rows that ``touched`` names at each step, then the ball.

    The decay of weights is that of Loshchilov and Hutter 2019, algorithm 2.
    """
    table = np.array(table, np.float64)
    m, v = np.zeros_like(table), np.zeros_like(table)
    for step, (slope, rows) in enumerate(zip(slopes, touched, strict=True), 1):
        m[rows] = 0.9 * m[rows] + 0.1 * slope[rows]
        v[rows] = 0.999 * v[rows] + 0.001 * slope[rows] ** 2
        adam = (m[rows] / (1 - 0.9**step)) / (np.sqrt(v[rows] / (1 - 0.999**step)) + 1e-8)
        moved = table[rows] - RATE * (adam + DECAY * table[rows])
        if np.isfinite(radius):
            moved = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True) / radius, 1)
        table[rows] = moved
    return table


def drawing(world, model, negatives, size=SIZE):
    """The function that draws a batch of the first users, or triplets, and their loss."""
    sizes = world.num_users, world.num_items
    source = batch_source(world.train, world.train, world.train, sizes, model, negatives)
    if source.widths is not None:
        users, width = source.groups[0][:size], source.widths[0]
        return lambda key: sample_users(key, source, users, jnp.ones(size), width, negatives), user_loss
    return lambda key: sample_triplets(key, source, jnp.arange(size), jnp.ones(size), negatives), triplet_loss


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_adam_in_the_rows_that_move(world, case, lazy):
    make, negatives = CASES[case]
    model = make(embed_dim=4)
    draw, loss_of = drawing(world, model, negatives)
    params = model.init(jax.random.key(0), world.num_users, world.num_items)
    loss_params = LossParams(jnp.float32(5.0), jnp.float32(1.0))
    options = hlr_jax.TrainOptions(optimizer="lazy_adam" if lazy else "adam", weight_decay=DECAY)
    objective = OBJECTIVES["sampled_softmax" if negatives.kind == "all" else "hinge_mean"]

    def gradient(params, batch):
        return batch_gradient(model, partial(loss_of, model, objective, loss_params), params, batch, SIZE)

    @jax.jit
    def step(params, state, index):
        batch = draw(jax.random.fold_in(jax.random.key(1), index))
        rate = jnp.float32(RATE)
        after = adam_step(model, params, state, batch, gradient, rate, options)
        return after, gradient(params, batch), batch

    state, start = ADAM.init(params), params
    losses, slopes, touched = [], {name: [] for name in params}, {name: [] for name in params}
    for index in range(STEPS):
        (params, state, loss), (expected, slope), batch = step(params, state, index)
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        losses.append(loss)
        ids = {"user": [batch.user, batch.item_users.ids], "item": [batch.items, batch.history.ids]}
        if batch.shared is not None:
            ids["item"].append(batch.shared.items)
        for name, array in params.items():
            slopes[name].append(np.float64(slope[name]))
            met = [] if model.axis_of(name) == "shared" else [np.ravel(part) for part in ids[model.axis_of(name)]]
            # Fewer than half of the rows, whatever is drawn; a row takes part if its slope is 0, as of padding.
            few = lazy and met and 2 * sum(map(len, met)) < len(array)
            assert not (lazy and met) or few == ((case, model.axis_of(name)) not in ALL_TOUCHED)
            touched[name].append(np.unique(np.concatenate(met)) if few else ...)
    assert min(losses) > 0
    for name in params:
        radius = 1.0 if case != "own" and name in ("user", "item") else np.inf
        expected = numpy_adam(start[name], slopes[name], touched[name], radius)
        np.testing.assert_allclose(params[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


ALL_TOUCHED = {("users, all", "item"), ("users", "item")}


def test_a_small_table_takes_the_whole_step(world):
    model = hlr_jax.create_model("cml", embed_dim=4)
    draw, _ = drawing(world, model, Negatives(), 40)

    def gradient(params, batch):
        assert params["user"].shape == (world.num_users, 4)
        return jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)

    def step(key):
        params = model.init(key, world.num_users, world.num_items)
        lazy = hlr_jax.TrainOptions(optimizer="lazy_adam")
        return adam_step(model, params, ADAM.init(params), draw(key), gradient, jnp.float32(RATE), lazy)

    jax.eval_shape(step, jax.random.key(1))


def test_the_learning_rate_grows_to_the_end_of_the_warm_up(world):
    """From the same state, a step of the warm-up is a step with that share of the rate; an epoch is one step here."""
    model = hlr_jax.create_model("cml", embed_dim=2)

    def learner_of(warmup):
        options = hlr_jax.TrainOptions(batch_size=len(world.train), warmup=warmup)
        return lambda rate: create_learner(world, model, options, [Run(0, rate, 0.5, 0.5)])

    warm, constant = learner_of(4.0), learner_of(0.0)
    state = warm(0.1).init()
    for epoch, share in enumerate((0.25, 0.5, 0.75, 1.0, 1.0), 1):
        copy = jax.tree.map(jnp.copy, state)  # an epoch reuses the memory of what it is given
        expected, _ = constant(0.1 * share).run_epoch(copy, epoch)
        state, _ = warm(0.1).run_epoch(state, epoch)
        np.testing.assert_allclose(state.params["user"], expected.params["user"], rtol=1e-5, atol=1e-7)
