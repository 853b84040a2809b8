from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hlr_jax
from hlr_jax import Model, Neighbors, Params, TrainOptions
from hlr_jax.data.neighbor_sampling import neighbor_tables
from hlr_jax.data.sampling import shuffled
from hlr_jax.losses import OBJECTIVES, LossParams
from hlr_jax.training.batch_sampling import draw_batch, training_triplets, validation_triplets
from hlr_jax.training.batches import Batch, Negatives, Triplets
from hlr_jax.training.gradients import batch_gradient, batch_loss
from hlr_jax.training.learners import _positions
from hlr_jax.types import Padded

MARGIN = 0.7
SCALES = LossParams(jnp.float32(MARGIN), jnp.float32(0.5))


MODELS = {
    "hlr": ("hlr", {"num_memories": 3, "max_history": 4}),
    "shared": ("hlr", {"num_memories": 3, "max_history": 4, "share_relation": True}),
    "both sides": ("hlrpp", {"num_memories": 3, "max_history": 4, "max_item_users": 3}),
    "means": ("transcf", {"neighborhood_weight": 0.3, "distance_weight": 0.2}),
}


class Setting(NamedTuple):
    model: Model
    params: Params
    source: Triplets
    batch: Batch


@pytest.fixture(scope="module")
def settings(world):
    def make(name, options):
        model = hlr_jax.create_model(name, embed_dim=6, **options)
        params = model.init(jax.random.key(1), world.num_users, world.num_items)
        source = training_triplets(world.train, world.num_users, world.num_items, model, Negatives())
        weight = jnp.ones(12).at[4:].set(0.0)
        return Setting(
            model,
            params,
            source,
            draw_batch(jax.random.key(2), source, jnp.arange(12) * 14, weight, Negatives(number=3)),
        )

    return {case: make(*options) for case, options in MODELS.items()}


def means(table, owners, others, count):
    rows = [others[owners == owner] for owner in range(count)]
    return jnp.stack([table[row].mean(axis=0) if len(row) else jnp.zeros(6) for row in rows])


@pytest.mark.parametrize(
    ("case", "objective", "microbatch"),
    [
        ("hlr", "hinge_hardest", 1),
        ("hlr", "hinge_mean", 12),
        ("shared", "hinge_hardest", 6),
        ("both sides", "hinge_hardest", 4),
        ("means", "hinge_mean", 6),
    ],
)
def test_gradient_is_that_of_the_plain_loss_for_every_microbatch(settings, world, case, objective, microbatch):
    model, params, source, batch = settings[case]
    user_means = means(params["item"], world.train.user, world.train.item, world.num_users)
    item_means = means(params["user"], world.train.item, world.train.user, world.num_items)

    def neighbors(params, b, i):
        if case == "means":
            mean, other = user_means[batch.user[b]], item_means[batch.items[b, i]]
            return Neighbors(Padded(mean[None], jnp.ones(1, bool)), Padded(other[None], jnp.ones(1, bool)))
        items, users = batch.history.ids[b], batch.item_users.ids[b, i]
        return Neighbors(
            Padded(params["item"][items], batch.history.mask[b]),
            Padded(params["user"][users], batch.item_users.mask[b, i]),
        )

    def plain(params):
        """The loss one pair at a time, as a reader of eq. 8 would write it."""
        total = 0.0
        for b in range(4):  # the other triplets have weight 0
            p, distances = params["user"][batch.user[b]], []
            for i, item in enumerate(batch.items[b]):
                q, near = params["item"][item], neighbors(params, b, i)
                if case == "shared":
                    q_positive = params["item"][batch.items[b, 0]]
                    relation = model.pair(params, p, q_positive, neighbors(params, b, 0)).relation
                    distances.append(jnp.sum((p + relation - q) ** 2))
                else:
                    distances.append(-model.pair(params, p, q, near).score)
                if case == "means":
                    total += 0.3 * jnp.sum((q - item_means[item]) ** 2)
            hinges = [jax.nn.relu(MARGIN + distances[0] - negative) for negative in distances[1:]]
            total += jnp.stack(hinges).max() if objective == "hinge_hardest" else sum(hinges) / 3
            if case == "means":
                total += 0.3 * jnp.sum((p - user_means[batch.user[b]]) ** 2) + 0.2 * distances[0]
        return total

    tables = neighbor_tables(params, source.near)
    gradient_of = jax.jit(
        lambda params: batch_gradient(model, OBJECTIVES[objective], params, tables, batch, SCALES, microbatch)
    )
    loss, gradient = gradient_of(params)
    expected_loss, expected = jax.jit(jax.value_and_grad(plain))(params)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(
        batch_loss(model, OBJECTIVES[objective], params, tables, batch, SCALES, microbatch), loss, rtol=1e-5
    )
    for name in params:
        np.testing.assert_allclose(gradient[name], expected[name], rtol=1e-4, atol=2e-6, err_msg=name)


@pytest.mark.parametrize(
    ("name", "options", "negatives", "pairs"),
    [
        ("cml", {}, Negatives("shared", 5), False),
        ("hlr", {"num_memories": 3, "max_history": 4}, Negatives("shared", 5), False),
        ("hlr", {"num_memories": 3, "max_history": 10}, Negatives("shared", 5, 0.5), True),
        ("hlr", {"num_memories": 3, "max_history": 4, "share_relation": True}, Negatives("in_batch"), False),
        ("hlrpp", {"num_memories": 3, "max_history": 10, "max_item_users": 3}, Negatives("in_batch"), True),
        ("hlr", {"num_memories": 3, "max_history": 4}, Negatives("own", 5, 1.0), False),
    ],
)
def test_gradient_with_other_negatives_is_that_of_the_plain_loss(world, name, options, negatives, pairs):
    """Negatives that stand in the batch, whatever form computes them, against one pair at a time."""
    model = hlr_jax.create_model(name, embed_dim=6, **options)
    params = model.init(jax.random.key(1), world.num_users, world.num_items)
    source = training_triplets(world.train, world.num_users, world.num_items, model, negatives)
    weight = jnp.asarray([1.0] * 4 + [0.0] * 8)
    draw = jax.jit(lambda source: draw_batch(jax.random.key(2), source, jnp.arange(12) * 14, weight, negatives))
    batch = jax.tree.map(np.asarray, draw(source))
    # The form by pairs serves where histories have at least twice as many places as there are items.
    assert pairs == (batch.common is not None and 12 * model.history.size >= 2 * world.num_items)
    assert np.asarray(batch.known).any() == (negatives != Negatives("own", 5))
    seen = set(zip(world.train.user.tolist(), world.train.item.tolist(), strict=True))

    def plain(params):
        total = 0.0
        for b in range(4):
            p, positive = params["user"][batch.user[b]], batch.items[b, 0]
            history = Padded(params["item"][batch.history.ids[b]], batch.history.mask[b])

            def distance(item, users, p=p, history=history, positive=positive, b=b):
                near = Neighbors(history, Padded(params["user"][users.ids], users.mask))
                if model.share_relation:
                    p = p + model.pair(params, p, params["item"][positive], near).relation
                    return jnp.sum((p - params["item"][item]) ** 2)
                return -model.pair(params, p, params["item"][item], near).score

            own = jax.tree.map(lambda array, b=b: array[b], batch.item_users)
            candidates = [
                (item, jax.tree.map(lambda array, i=i: array[i], own)) for i, item in enumerate(batch.items[b])
            ]
            if batch.common is not None:
                for s, item in enumerate(batch.common.items):
                    candidates.append((item, jax.tree.map(lambda array, s=s: array[s], batch.common.item_users)))
            counts = negatives.kind == "own" or np.asarray(batch.weight)[: len(candidates) - 1] > 0
            logits = [
                -distance(item, users) / 0.5
                for index, (item, users) in enumerate(candidates)
                if index == 0
                or ((int(batch.user[b]), int(item)) not in seen and (negatives.kind != "in_batch" or counts[index - 1]))
            ]
            total += jax.nn.logsumexp(jnp.stack(logits)) - logits[0]
        return total

    tables = neighbor_tables(params, source.near)
    gradient_of = jax.jit(
        lambda params: batch_gradient(model, OBJECTIVES["info_nce"], params, tables, batch, SCALES, 4)
    )
    loss, gradient = gradient_of(params)
    expected_loss, expected = jax.jit(jax.value_and_grad(plain))(params)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(
        batch_loss(model, OBJECTIVES["info_nce"], params, tables, batch, SCALES, 6), loss, rtol=1e-5
    )
    for key in params:
        np.testing.assert_allclose(gradient[key], expected[key], rtol=2e-4, atol=4e-6, err_msg=key)


@pytest.mark.parametrize(
    ("name", "options", "users"),
    [
        ("cml", {}, 12),
        ("hlr", {"num_memories": 3, "max_history": 4}, 4),
        ("hlr", {"num_memories": 3, "max_history": 10}, 12),  # by pairs of items
        ("hlrpp", {"num_memories": 3, "max_history": 3, "max_item_users": 3}, 4),
    ],
)
def test_gradient_of_users_with_all_items_is_that_of_the_plain_loss(world, name, options, users):
    """Every positive that is not in the history, one pair at a time, against every item that the user lacks."""
    negatives, model = Negatives("all"), hlr_jax.create_model(name, embed_dim=6, **options)
    params = model.init(jax.random.key(1), world.num_users, world.num_items)
    source = training_triplets(world.train, world.num_users, world.num_items, model, negatives)
    rows, weight = jnp.arange(users), jnp.ones(users).at[-1].set(0.0)
    draw = jax.jit(lambda source: draw_batch(jax.random.key(2), source, rows, weight, negatives))
    batch = jax.tree.map(np.asarray, draw(source))
    met = {user: world.train.item[world.train.user == user].tolist() for user in range(world.num_users)}

    def plain(params):
        total = 0.0
        for b in range(users - 1):
            user = int(batch.user[b])
            shown = batch.history.ids[b][batch.history.mask[b]]
            left = [item for item in met[user] if item not in shown]
            history = Padded(params["item"][batch.history.ids[b]], batch.history.mask[b])

            def logit(item, user=user, history=history):
                users = jnp.asarray(batch.common.item_users.ids)[item]
                mask = jnp.asarray(batch.common.item_users.mask)[item] & (users != user)
                near = Neighbors(history, Padded(params["user"][users], mask))
                return model.pair(params, params["user"][user], params["item"][item], near).score / 0.5

            logits = jax.vmap(logit)(jnp.arange(world.num_items))
            unknown = np.setdiff1d(np.arange(world.num_items), met[user])
            one = sum(jax.nn.logsumexp(logits[np.append(unknown, item)]) - logits[item] for item in left)
            total += one * len(met[user]) / len(left)
        return total

    tables = neighbor_tables(params, source.near)
    objective = OBJECTIVES["sampled_softmax"]
    gradient_of = jax.jit(lambda params: batch_gradient(model, objective, params, tables, batch, SCALES, 2))
    loss, gradient = gradient_of(params)
    expected_loss, expected = jax.jit(jax.value_and_grad(plain))(params)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(batch_loss(model, objective, params, tables, batch, SCALES, users), loss, rtol=1e-5)
    for key in params:
        np.testing.assert_allclose(gradient[key], expected[key], rtol=2e-4, atol=1e-5, err_msg=key)


def test_a_visit_shows_half_of_a_users_items_at_most_and_measures_the_others(world):
    model = hlr_jax.create_model("hlr", embed_dim=2, num_memories=2, max_history=8)
    sizes = world.num_users, world.num_items
    train = training_triplets(world.train, *sizes, model, Negatives("all"))
    valid = validation_triplets(world.train, world.valid, *sizes, model, Negatives("all"))
    for source, pairs in ((train, world.train), (valid, world.valid)):
        assert source.positives == len(pairs)
        np.testing.assert_array_equal(source.user, np.unique(pairs.user))
        rows = jnp.arange(source.count)
        batch = draw_batch(jax.random.key(0), source, rows, jnp.ones(source.count), Negatives("all"))
        batch = jax.tree.map(np.asarray, batch)
        # Whatever is shown, the positives that are left count for all.
        np.testing.assert_allclose((batch.weight * batch.targets.sum(axis=1)).sum(), len(pairs), rtol=1e-6)
        for b, user in enumerate(batch.user):
            shown = set(batch.history.ids[b][batch.history.mask[b]].tolist())
            met, wanted = (set(of.item[of.user == user].tolist()) for of in (world.train, pairs))
            assert shown <= met
            assert len(shown) == min(8, len(met) // 2)
            assert set(np.flatnonzero(batch.targets[b]).tolist()) == wanted - shown
            assert set(np.flatnonzero(batch.known[b]).tolist()) == met | wanted


@pytest.mark.parametrize("negatives", [Negatives("own", 4, 0.5), Negatives("shared", 9), Negatives("shared", 9, 1.0)])
def test_expected_counts_are_those_of_the_draws(world, negatives):
    """A count of what many batches draw, against the expected counts that the objectives are told."""
    model, batches = hlr_jax.create_model("cml", embed_dim=2), 4000
    source = training_triplets(world.train, world.num_users, world.num_items, model, negatives)

    def drawn(key):
        batch = draw_batch(key, source, jnp.arange(1), jnp.ones(1), negatives)
        if batch.common is None:
            return batch.items[0, 1:], batch.log_expected[0]
        return batch.common.items, batch.common.log_expected

    items, log_expected = map(np.asarray, jax.vmap(drawn)(jax.random.split(jax.random.key(0), batches)))
    frequency = np.bincount(items.reshape(-1), minlength=world.num_items) / batches
    told = np.zeros(world.num_items)
    told[items.reshape(-1)] = np.exp(log_expected.reshape(-1))
    met = np.bincount(world.train.item, minlength=world.num_items) > 0
    assert (frequency[~met] == 0).all() or negatives.popularity == 0
    np.testing.assert_allclose(frequency, told, atol=5 * np.sqrt(told.max() / batches))


def test_a_shared_draw_of_the_whole_catalogue_has_every_item_once(world):
    negatives = Negatives("shared", 10 * world.num_items)
    model = hlr_jax.create_model("cml", embed_dim=2)
    source = training_triplets(world.train, world.num_users, world.num_items, model, negatives)
    batch = draw_batch(jax.random.key(0), source, jnp.arange(3), jnp.ones(3), negatives)
    assert sorted(np.asarray(batch.common.items).tolist()) == list(range(world.num_items))
    np.testing.assert_allclose(batch.common.log_expected, 0)


def test_training_batches_hold_what_they_should(settings, world):
    batch = settings["both sides"].batch
    known = {user: set(world.train.item[world.train.user == user]) for user in range(world.num_users)}
    item_users = {item: set(world.train.user[world.train.item == item]) for item in range(world.num_items)}
    for b in range(12):
        user, (positive, *negatives) = int(batch.user[b]), map(int, batch.items[b])
        history = {int(item) for item, real in zip(batch.history.ids[b], batch.history.mask[b], strict=True) if real}
        assert (user, positive) == (world.train.user[b * 14], world.train.item[b * 14])
        assert not known[user] & set(negatives)
        assert history <= known[user] - {positive}
        assert len(history) == min(4, len(known[user]) - 1)
        for i, item in enumerate([positive, *negatives]):
            ids, mask = batch.item_users.ids[b, i], batch.item_users.mask[b, i]
            users = {int(other) for other, real in zip(ids, mask, strict=True) if real}
            assert users <= item_users[item] - {user}
            assert len(users) == min(3, len(item_users[item] - {user}))


def test_validation_batches_avoid_train_and_valid_items(settings, world):
    model = settings["hlr"].model
    source = validation_triplets(world.train, world.valid, world.num_users, world.num_items, model, Negatives())
    count = len(world.valid)
    batch = draw_batch(jax.random.key(3), source, jnp.arange(count), jnp.ones(count), Negatives(number=8))
    train = set(zip(world.train.user.tolist(), world.train.item.tolist(), strict=True))
    known = train | set(zip(world.valid.user.tolist(), world.valid.item.tolist(), strict=True))
    for b in range(count):
        user = int(batch.user[b])
        assert not known & {(user, int(item)) for item in batch.items[b, 1:]}
        assert {
            (user, int(j)) for j, real in zip(batch.history.ids[b], batch.history.mask[b], strict=True) if real
        } <= train


def test_an_epoch_visits_every_interaction_once():
    batches = [_positions(jnp.int32(index), 5, 23) for index in range(5)]
    rows = [shuffled(jax.random.key(0), positions, 23)[weight == 1] for positions, weight in batches]
    assert sorted(np.concatenate(rows).tolist()) == list(range(23))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_epochs": 0}, "train.num_epochs must be at least 1, got 0"),
        ({"learning_rate": -1.0}, "train.learning_rate must be at least 0"),
        ({"margin": "0.5"}, "train.margin must be a number"),
        ({"learning_rate": float("nan")}, "train.learning_rate must be at least 0"),
        ({"objective": "hinge"}, 'unknown train.objective "hinge" (did you mean "hinge_'),
        ({"negatives": "in-batch"}, 'unknown train.negatives "in-batch" (did you mean "in_batch"?)'),
        ({"temperature": 0.0}, "train.temperature must be at least 1e-06"),
        ({"negatives": "all"}, "train.negatives=all is for train.objective=sampled_softmax, not hinge_hardest"),
        ({"batch_size": 10, "microbatch": 3}, "train.microbatch (3) must divide train.batch_size (10)"),
    ],
)
def test_options_out_of_range_are_refused_by_name(options, message):
    with pytest.raises(hlr_jax.InputError) as caught:
        TrainOptions(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [("hlr", {"share_relation": True}, "share_relation"), ("transcf", {}, "a penalty on each triplet")],
)
def test_models_that_need_triplets_refuse_all_negatives(world, name, options, reason):
    model = hlr_jax.create_model(name, embed_dim=2, **options)
    with pytest.raises(hlr_jax.InputError, match=f"train.negatives=all has no triplets, but model {name} has {reason}"):
        training_triplets(world.train, world.num_users, world.num_items, model, Negatives("all"))


def test_model_options_are_refused_by_name():
    for options, message in [
        ({"num_memorys": 3}, 'did you mean "num_memories"'),
        ({"num_memories": 0}, "model.num_memories must be at least 1"),
        ({"variant": "papr"}, 'unknown model.variant "papr" (did you mean "paper"?)'),
        ({"history_sampling": "random"}, "unknown model.history_sampling"),
    ]:
        with pytest.raises(hlr_jax.InputError) as caught:
            hlr_jax.create_model("hlr", **options)
        assert message in str(caught.value)
    with pytest.raises(hlr_jax.InputError, match='unknown model "hrl"'):
        hlr_jax.create_model("hrl")
