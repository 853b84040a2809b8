"""What batches of triplets hold, and how often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hlr_jax
from hlr_jax import TrainOptions
from hlr_jax.training.batches import Negatives, batch_source, derive_rows
from hlr_jax.training.examples import sample_triplets
from hlr_jax.training.learner import GradientLearner


def sizes_of(world):
    return world.num_users, world.num_items


def source_of(world, model, negatives, split="train"):
    known = world.train if split == "train" else world.train + world.valid
    return batch_source(getattr(world, split), world.train, known, sizes_of(world), model, negatives)


def draw(source, rows, negatives, key=2):
    @jax.jit
    def sampled(source):
        return sample_triplets(jax.random.key(key), source, rows, jnp.ones(len(rows)), negatives)

    return jax.tree.map(np.asarray, sampled(source))


def items_of(interactions, count):
    return [set(interactions.item[interactions.user == user].tolist()) for user in range(count)]


@pytest.mark.parametrize(
    "negatives", [Negatives("per_triplet", 4, 0.5), Negatives("shared", 9), Negatives("shared", 9, 1.0)]
)
def test_expected_counts_are_those_of_the_draws(world, negatives):
    """A count of what many batches draw, against the expected counts that the objectives are given."""
    model, batches = hlr_jax.create_model("cml", embed_dim=2), 4000
    source = source_of(world, model, negatives)

    def drawn(key):
        batch = sample_triplets(key, source, jnp.arange(1), jnp.ones(1), negatives)
        if batch.shared is None:
            return batch.items[0, 1:], batch.log_expected[0]
        return batch.shared.items, batch.shared.log_expected

    items, log_expected = map(np.asarray, jax.jit(jax.vmap(drawn))(jax.random.split(jax.random.key(0), batches)))
    frequency = np.bincount(items.reshape(-1), minlength=world.num_items) / batches
    given = np.zeros(world.num_items)
    given[items.reshape(-1)] = np.exp(log_expected.reshape(-1))
    met = np.bincount(world.train.item, minlength=world.num_items) > 0
    assert (frequency[~met] == 0).all() or negatives.popularity == 0
    np.testing.assert_allclose(frequency, given, atol=5 * np.sqrt(given.max() / batches))


def test_a_shared_draw_of_the_whole_catalogue_has_every_item_once(world):
    negatives = Negatives("shared", 10 * world.num_items)
    source = source_of(world, hlr_jax.create_model("cml", embed_dim=2), negatives)
    batch = draw(source, jnp.arange(3), negatives)
    assert sorted(batch.shared.items.tolist()) == list(range(world.num_items))
    np.testing.assert_allclose(batch.shared.log_expected, 0)


def test_training_batches_hold_what_they_should(world):
    model = hlr_jax.create_model("hlrpp", embed_dim=6, num_memories=3, max_history=4, max_item_users=3)
    negatives = Negatives(number=3)
    batch = draw(source_of(world, model, negatives), jnp.arange(12) * 14, negatives)
    known = items_of(world.train, world.num_users)
    item_users = items_of(world.train.transposed(), world.num_items)
    for b in range(12):
        user, (positive, *others) = int(batch.user[b]), batch.items[b].tolist()
        history = batch.history.ids[b][batch.history.mask[b]].tolist()
        assert (user, positive) == (world.train.user[b * 14], world.train.item[b * 14])
        assert not known[user] & set(others)
        assert set(history) <= known[user] - {positive}
        assert len(set(history)) == len(history) == min(4, len(known[user]) - 1)
        for i, item in enumerate([positive, *others]):
            users = batch.item_users.ids[b, i][batch.item_users.mask[b, i]].tolist()
            assert set(users) <= item_users[item] - {user}
            assert len(set(users)) == len(users) == min(3, len(item_users[item] - {user}))


def test_validation_batches_avoid_train_and_valid_items(world):
    model, negatives = hlr_jax.create_model("hlr", embed_dim=6, num_memories=3, max_history=4), Negatives(number=8)
    batch = draw(source_of(world, model, negatives, "valid"), jnp.arange(len(world.valid)), negatives)
    train, known = (items_of(split, world.num_users) for split in (world.train, world.train + world.valid))
    for b, user in enumerate(batch.user.tolist()):
        assert not known[user] & set(batch.items[b, 1:].tolist())
        assert set(batch.history.ids[b][batch.history.mask[b]].tolist()) <= train[user]


def test_an_epoch_visits_every_interaction_once(world):
    model, sizes = hlr_jax.create_model("cml", embed_dim=2), sizes_of(world)
    learner = GradientLearner(model, TrainOptions(batch_size=50), sizes)  # 648 interactions
    source = learner.source(world.train, world.train, world.train)

    @jax.jit
    def visits(epoch):
        def step(carry, batch):
            visits, first = carry
            first = jnp.where(visits.any(), first, batch.user)
            return visits.at[batch.user, batch.items[:, 0]].add(batch.weight), first

        start = jnp.zeros(sizes), jnp.zeros(50, jnp.int32)
        return learner.scan_batches(source, epoch, jax.random.key(0), step, start)

    expected = np.zeros(sizes)
    expected[world.train.user, world.train.item] = 1
    (first, users), (second, others) = visits(1), visits(2)
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(second, expected)
    assert (users != others).any()  # in another order


@pytest.mark.parametrize("negatives", [Negatives("per_triplet", 2), Negatives("shared", 30)])
def test_what_a_model_derives_is_of_all_interactions(world, negatives):
    model = hlr_jax.create_model("transcf", embed_dim=3)
    source, sizes = source_of(world, model, negatives), sizes_of(world)
    params = model.init(jax.random.key(1), *sizes)

    @jax.jit
    def derive(source, params):
        batch = sample_triplets(jax.random.key(2), source, jnp.arange(5) * 9, jnp.ones(5), negatives)
        return derive_rows(model, params, source.neighbors, batch)

    batch = jax.tree.map(np.asarray, derive(source, params))
    user, item = (np.asarray(params[side], np.float64) for side in ("user", "item"))
    of_users = [item[sorted(met)].mean(axis=0) for met in items_of(world.train, sizes[0])]
    of_items = [
        user[sorted(met)].mean(axis=0) if met else np.zeros(3) for met in items_of(world.train.transposed(), sizes[1])
    ]
    expected = {
        "user_mean": (batch.user_derived, batch.user, of_users),
        "item_mean": (batch.items_derived, batch.items, of_items),
    }  # fmt: skip
    for name, (rows, ids, means) in expected.items():
        np.testing.assert_allclose(rows[name], np.array(means)[ids], rtol=1e-5, atol=1e-6)
    if negatives.kind == "shared":
        means = np.array(of_items)[batch.shared.items]
        np.testing.assert_allclose(batch.shared.derived["item_mean"], means, rtol=1e-5, atol=1e-6)
    else:
        assert batch.shared is None
