import jax
import jax.numpy as jnp
import numpy as np

import hlr_jax
from hlr_jax import TrainOptions
from hlr_jax.storage import round_stochastically, widened
from hlr_jax.training.learners import triplet_learner

OPTIONS = {"batch_size": 128, "learning_rate": 0.01, "storage": "bfloat16", "optimizer": "lazy_adam"}


def test_rounding_goes_to_a_neighbor_and_is_right_on_average():
    # bfloat16 has 7 bits behind the point: from 1 the next number is 1 + 1/128, and 1 + 1/512 lies a quarter up.
    for sign in (1, -1):
        rounded = round_stochastically(jax.random.key(0), jnp.full(20_000, sign * (1 + 1 / 512), jnp.float32))
        values = sign * np.asarray(rounded, np.float64)
        assert set(values) == {1.0, 1 + 1 / 128}
        np.testing.assert_allclose(np.mean(values > 1), 0.25, atol=0.015)
    exact = jnp.array([0.0, 1.0, -0.5, 1 + 1 / 128], jnp.float32)
    np.testing.assert_array_equal(round_stochastically(jax.random.key(1), exact).astype(jnp.float32), exact)


def test_tables_are_bfloat16_and_the_rest_is_float32(world):
    model = hlr_jax.create_model("hlr", embed_dim=6, num_memories=2, max_history=3)
    learner = triplet_learner(world, model, TrainOptions(**OPTIONS), TrainOptions(**OPTIONS).runs([5]))
    learned = learner.init()
    types = {name: array.dtype.name for name, array in learned.params.items()}
    assert types == {"user": "bfloat16", "item": "bfloat16", "keys": "float32", "memories": "float32"}
    again, first = learner.run_epoch(learned, 1)
    for epoch in range(2, 6):
        again, last = learner.run_epoch(again, epoch)
    assert last[0] < first[0]
    assert {name: array.dtype.name for name, array in again.params.items()} == types
    assert {array.dtype.name for array in jax.tree.leaves((again.optimizer.mu, again.optimizer.nu))} == {"float32"}


def test_runs_resume_with_the_same_bits_and_rank_in_float32(world, tmp_path):
    model = hlr_jax.create_model("cml", embed_dim=6)

    def fit(epochs, workdir=None):
        options = TrainOptions(num_epochs=epochs, **OPTIONS)
        return hlr_jax.fit(world, model, options, seed=3, workdir=workdir, quiet=True)

    whole = fit(2)
    fit(1, tmp_path)
    continued = fit(2, tmp_path)
    for one, two in zip(*(jax.tree.leaves(result.params) for result in (whole, continued)), strict=True):
        np.testing.assert_array_equal(np.asarray(one, np.float32), np.asarray(two, np.float32))
    wide = widened(whole.params)
    found = [hlr_jax.evaluate(model, params, world).metrics["ndcg@10"] for params in (whole.params, wide)]
    assert found[0] == found[1]
