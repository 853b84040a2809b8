"""Losses and gradients of batches against one pair at a time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from own_model import own_model
from pairs import LOSS_PARAMS, Measured, Pair, plain_loss

import hlr_jax
from hlr_jax.losses import OBJECTIVES
from hlr_jax.sharding import create_mesh
from hlr_jax.training.batches import Negatives, batch_source, derive_rows, examples_of_step
from hlr_jax.training.examples import sample_triplets, sample_users, triplet_loss, user_loss
from hlr_jax.training.gradients import batch_gradient, batch_loss, microbatch_size

HLR = partial(hlr_jax.create_model, "hlr", embed_dim=6, num_memories=3)
HLRPP = partial(hlr_jax.create_model, "hlrpp", embed_dim=6, num_memories=3)
LEARNED = {"learned_scales": True, "key_scale": 3.0, "attention_scale": 2.0}
CML, TRANSCF = (partial(hlr_jax.create_model, name, embed_dim=6) for name in ("cml", "transcf"))


def pairs_of(interactions):
    return set(zip(interactions.user.tolist(), interactions.item.tolist(), strict=True))


def real(drawn, *place):
    """The neighbors that stand in a place of what was drawn."""
    return tuple(np.asarray(drawn.ids)[place][np.asarray(drawn.mask)[place]].tolist())


def others_of(batch, user):
    """The negatives that a batch shares, and the users of each, of whom nobody is its own neighbor."""
    items = [] if batch.shared is None else batch.shared.items.tolist()
    return [(item, tuple(set(real(batch.shared.item_users, place)) - {user})) for place, item in enumerate(items)]


def listed_triplets(batch, negatives, known):
    """What each triplet of weight 1 is measured against, as a reader of eq. 8 would list it."""
    examples = []
    for b in np.flatnonzero(batch.weight):
        user, history = int(batch.user[b]), real(batch.history, b)
        positive, *own = (
            Pair(user, item, history, real(batch.item_users, b, i)) for i, item in enumerate(batch.items[b].tolist())
        )
        others = [Pair(user, item, history, users) for item, users in others_of(batch, user)]
        if negatives.kind == "in_batch":  # what fills up the batch was not drawn
            others = [pair for pair, weight in zip(others, batch.weight, strict=True) if weight]
        examples.append(Measured(positive, [pair for pair in own + others if (user, pair.item) not in known]))
    return examples


def drawn_and_measured(draw, loss, model, objective, microbatch, source, params):
    """A batch, its loss and gradient, and its loss in one piece, in one compilation."""
    loss_of_example = partial(loss, model, OBJECTIVES[objective], LOSS_PARAMS)

    @jax.jit
    def measure(source, params):
        batch = draw(source, params)
        value, gradient = batch_gradient(model, loss_of_example, params, batch, microbatch)
        return batch, value, gradient, batch_loss(model, loss_of_example, params, batch, len(batch.user))

    batch, *measured = measure(source, params)
    return jax.tree.map(np.asarray, batch), *measured


def assert_equal_gradients(params, plain, value, gradient, other):
    expected, slope = jax.jit(jax.value_and_grad(plain))(params)
    np.testing.assert_allclose([value, other], [expected] * 2, rtol=1e-5)
    assert gradient.keys() == params.keys()
    for name in params:
        np.testing.assert_allclose(gradient[name], slope[name], rtol=2e-4, atol=1e-5, err_msg=name)


TRIPLETS = {
    # case: model, negatives, objective, microbatch
    "each alone": (partial(HLR, max_history=4), Negatives("per_triplet", 3), "hinge_hardest", 1),
    "all at once": (partial(HLR, max_history=4), Negatives("per_triplet", 3), "hinge_mean", 12),
    "one relation": (
        partial(HLR, max_history=4, share_relation=True), Negatives("per_triplet", 3), "hinge_hardest", 6,
    ),
    "both sides": (
        partial(HLRPP, max_history=4, max_item_users=3, **LEARNED), Negatives("per_triplet", 3), "hinge_hardest", 4,
    ),
    "means": (
        partial(TRANSCF, neighborhood_weight=0.3, distance_weight=0.2), Negatives("per_triplet", 3), "hinge_mean", 6,
    ),
    "shared": (CML, Negatives("shared", 5), "info_nce", 4),
    "shared by neighbors": (partial(HLR, max_history=4), Negatives("shared", 5), "info_nce", 4),
    "shared by pairs of items": (partial(HLR, max_history=10, **LEARNED), Negatives("shared", 5, 0.5), "info_nce", 4),
    "shared and one relation": (
        partial(HLR, max_history=4, share_relation=True), Negatives("in_batch"), "info_nce", 4,
    ),
    "in batch": (partial(HLRPP, max_history=10, max_item_users=3), Negatives("in_batch"), "info_nce", 4),
    "popular": (partial(HLR, max_history=4), Negatives("per_triplet", 5, 1.0), "info_nce", 4),
    "own": (own_model, Negatives("per_triplet", 3), "info_nce", 4),
    "own, shared": (own_model, Negatives("shared", 5), "info_nce", 6),
}  # fmt: skip


@pytest.mark.parametrize("case", TRIPLETS)
def test_gradient_of_triplets_is_that_of_the_plain_loss(world, case):
    make, negatives, objective, microbatch = TRIPLETS[case]
    model, sizes = make(), (world.num_users, world.num_items)
    params = model.init(jax.random.key(1), *sizes)
    source = batch_source(world.train, world.train, world.train, sizes, model, negatives)
    weight = jnp.ones(12).at[4:].set(0.0)

    def draw(source, params):
        batch = sample_triplets(jax.random.key(2), source, jnp.arange(12) * 14, weight, negatives)
        return derive_rows(model, params, source.neighbors, batch)

    batch, *measured = drawn_and_measured(
        draw, triplet_loss, model, objective, microbatch, source, params
    )  # fmt: skip
    # The form by pairs serves where histories have at least twice as many places as there are items.
    by_pairs = negatives.own == 0 and 12 * model.history.size >= 2 * world.num_items
    assert by_pairs == (case in ("shared by pairs of items", "in batch"))
    assert batch.known.any() == (negatives != Negatives("per_triplet", 3))
    examples = listed_triplets(batch, negatives, pairs_of(world.train))
    means = {}
    if case == "means":
        for name, owner, other in (("user_mean", "user", "item"), ("item_mean", "item", "user")):
            owners, others = (getattr(world.train, side) for side in (owner, other))
            rows = [np.asarray(params[other])[others[owners == place]] for place in range(len(params[owner]))]
            means[name] = jnp.stack([row.mean(axis=0) if len(row) else jnp.zeros(6) for row in rows])

    def plain(params):
        total, distances = plain_loss(model, params | means, objective, examples)
        if case == "means":
            total += 0.2 * distances.sum()
            for positive, negatives, _ in examples:
                user, items = positive.user, [pair.item for pair in (positive, *negatives)]
                total += 0.3 * jnp.sum((params["user"][user] - means["user_mean"][user]) ** 2)
                total += 0.3 * sum(jnp.sum((params["item"][item] - means["item_mean"][item]) ** 2) for item in items)
        return total

    assert_equal_gradients(params, plain, *measured)


USERS = {
    # case: model, negatives, objective, number of users
    "no neighbors": (CML, Negatives("per_user", 4), "sampled_softmax", 4),
    "history shorter than the items": (partial(HLR, max_history=4), Negatives("per_user", 4), "hinge_hardest", 4),
    "history longer than the items": (partial(HLR, max_history=40), Negatives("per_user", 4), "hinge_mean", 4),
    "popular": (partial(HLR, max_history=4), Negatives("per_user", 4, 1.0), "info_nce", 4),
    "both sides": (partial(HLRPP, max_history=3, max_item_users=3), Negatives("per_user", 2), "hinge_mean", 4),
    "both sides, all": (partial(HLRPP, max_history=3, max_item_users=3), Negatives("all"), "sampled_softmax", 4),
    "all by pairs of items": (partial(HLR, max_history=10), Negatives("all"), "sampled_softmax", 12),
    "own": (own_model, Negatives("per_user", 4), "info_nce", 4),
}  # fmt: skip


def listed_users(batch, negatives, met, num_items):
    """What each positive of each user of weight 1 is measured against; no positive is a neighbor of itself."""
    width, examples = batch.is_positive.shape[1], []
    for b in np.flatnonzero(batch.weight):
        user, history = int(batch.user[b]), real(batch.history, b)
        items = [(item, real(batch.item_users, b, i)) for i, item in enumerate(batch.items[b].tolist())]
        positives = [pair for pair, is_real in zip(items[:width], batch.is_positive[b], strict=True) if is_real]
        assert [item for item, _ in positives] == met[user]
        log_expected = 0.0 if negatives.kind == "all" else np.log(negatives.number / (num_items - len(met[user])))
        against = [
            Pair(user, item, history, users)
            for item, users in items[width:] + others_of(batch, user)
            if item not in met[user]
        ]
        for item, users in positives:
            positive = Pair(user, item, tuple(other for other in history if other != item), users)
            examples.append(Measured(positive, against, [log_expected] * len(against)))
    return examples


@pytest.mark.parametrize("case", USERS)
def test_gradient_of_users_is_that_of_the_plain_loss(world, case):
    make, negatives, objective, size = USERS[case]
    model, sizes = make(), (world.num_users, world.num_items)
    params = model.init(jax.random.key(1), *sizes)
    source = batch_source(world.train, world.train, world.train, sizes, model, negatives)
    partly = [group for group, users in enumerate(source.groups) if len(users) % size]
    group = partly[-1] if partly else len(source.groups) - 1
    last = (len(source.groups[group]) - 1) // size  # the step that is filled up with users of weight 0

    def draw(source, params):
        users, weight = examples_of_step(None, source, group, jnp.int32(last), size)
        return sample_users(jax.random.key(2), source, users, weight, source.widths[group], negatives)

    batch, *measured = drawn_and_measured(draw, user_loss, model, objective, 2, source, params)
    assert batch.weight.sum() == (len(source.groups[group]) % size or size)
    met = [world.train.item[world.train.user == user].tolist() for user in range(world.num_users)]
    for b, user in enumerate(batch.user):
        history = real(batch.history, b)
        assert len({*history} & {*met[user]}) == len(history) == min(model.history.size, len(met[user]))
    by_pairs = negatives.own == 0 and size * model.history.size >= 2 * world.num_items
    assert by_pairs == (case == "all by pairs of items")
    assert batch.known.any() == (negatives.kind == "all" or negatives.popularity > 0)
    examples = listed_users(batch, negatives, met, world.num_items)
    assert len(examples) == sum(len(met[user]) for user in batch.user[batch.weight > 0])

    def plain(params):
        return plain_loss(model, params, objective, examples)[0]

    assert_equal_gradients(params, plain, *measured)


def test_a_microbatch_takes_at_most_a_gibibyte_of_a_device(monkeypatch):
    """A user with 5,000 positives and 64 negatives: 2 (1 + 5,064 + 50) 100 + 4 * 5,064 (1 + 50 * 20) floats, 85 MB."""
    monkeypatch.setattr("jax.default_backend", lambda: "tpu")
    model = hlr_jax.create_model("hlr", embed_dim=100, num_memories=20, max_history=50)
    params = {
        "item": jax.ShapeDtypeStruct((10, 100), jnp.float32),
        "keys": jax.ShapeDtypeStruct((20, 100), jnp.float32),
    }
    users = partial(microbatch_size, 128, 5064, 50, model, params, Negatives("per_user", 64))
    assert users() == 8  # twelve fit, and eight divide the batch
    assert users(create_mesh(2, 4)) == 16  # eight on each of two
    assert microbatch_size(8192, 2, 50, model, params, Negatives()) == 8192
