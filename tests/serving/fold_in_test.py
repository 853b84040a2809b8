import jax
import numpy as np
import oracles
import polars as pl
import pytest

import hlr_jax
from hlr_jax import FoldInOptions, InputError, TrainOptions
from hlr_jax.data.interactions import Interactions
from hlr_jax.ranking.inputs import ranking_item_users, ranking_neighbors
from hlr_jax.scoring import with_derived
from hlr_jax.serving.new_examples import sources_with
from hlr_jax.strong_generalization import hold_out_items, hold_out_users

OPTIONS = {
    "hlr": {"num_memories": 3, "max_history": 4},
    "hlrpp": {"num_memories": 3, "max_history": 4, "max_item_users": 3},
    "adacml": {"max_history": 4},
    "lrml": {"num_memories": 3},
    "mf_als": {"regularization": 2.0, "confidence": 3.0, "frequency_exponent": 0.5},
}
QUICK = FoldInOptions(num_steps=10, positives=3, others=16)
HINGE = TrainOptions()


def quiet(_):
    pass


def made(name, world):
    model = hlr_jax.create_model(name, embed_dim=5, **OPTIONS.get(name, {}))
    return model, model.init(jax.random.key(1), world.num_users, world.num_items)


def histories(world, users=("ann", "bob")):
    rng = np.random.default_rng(2)
    chosen = {user: rng.choice(world.num_items, 6, replace=False) for user in users}
    return {user: [world.item_ids[int(item)] for item in items] for user, items in chosen.items()}


@pytest.mark.parametrize("name", hlr_jax.model_names())
def test_everything_trained_stays_and_new_users_get_unseen_items(name, world):
    model, params = made(name, world)
    given = histories(world)
    people = hlr_jax.fold_in(model, params, world, given, training=HINGE, options=QUICK, log=quiet)
    for table, before in params.items():
        np.testing.assert_array_equal(people.params[table][: len(before)], before)
    vectors = np.asarray(people.params["user"])[people.rows]
    assert np.isfinite(vectors).all()
    assert (np.abs(vectors[0] - vectors[1]) > 1e-4).any()
    if model.solver is None:
        assert (np.linalg.norm(vectors, axis=1) <= 1 + 1e-5).all()
    lists = hlr_jax.recommend(model, params, world, k=5, among=people)
    assert lists["user"].to_list() == ["ann"] * 5 + ["bob"] * 5
    for user, items in given.items():
        assert not set(items) & set(lists.filter(pl.col("user") == user)["item"])


def test_steps_lower_the_loss_of_a_metric_model(world):
    """Folded in, a user's items are nearer than others by more than they are from the mean of the items."""
    model, params = made("cml", world)
    given = histories(world)
    gaps = {}
    for steps in (0, 60):
        options = FoldInOptions(num_steps=steps, positives=4)
        people = hlr_jax.fold_in(model, params, world, given, training=TrainOptions(margin=1.0), options=options)
        user = np.asarray(people.params["user"], np.float64)[people.rows[0]]
        distances = np.sum((user - np.asarray(params["item"], np.float64)) ** 2, axis=1)
        mine = np.isin(world.item_ids.to_list(), given["ann"])
        gaps[steps] = np.maximum(0, 1.0 + distances[mine][:, None] - distances[~mine]).mean()
    assert gaps[60] < 0.95 * gaps[0]


def test_a_model_trained_on_all_negatives_folds_in_by_the_same_softmax(world):
    """After many steps p_u is where -log of the softmax over the positives and the unknown items has no slope."""
    model, params = made("cml", world)
    given = histories(world, ["ann"])
    training = TrainOptions(batch="users", objective="sampled_softmax", negatives="all", temperature=0.5)
    options = FoldInOptions(num_steps=300, positives=64, learning_rate=0.02)
    people = hlr_jax.fold_in(model, params, world, given, training=training, options=options)
    vector = np.asarray(people.params["user"], np.float64)[people.rows[0]]
    items = np.asarray(params["item"], np.float64)
    mine = np.isin(world.item_ids.to_list(), given["ann"])

    def loss(user):
        logits = -np.sum((user - items) ** 2, axis=1) / 0.5
        return np.mean([np.log(np.exp(logits[~mine]).sum() + np.exp(own)) - own for own in logits[mine]])

    around = [vector + 0.05 * step for step in np.random.default_rng(0).normal(size=(100, len(vector)))]
    inside = [user for user in around if np.linalg.norm(user) <= 1]
    assert len(inside) > 5
    assert all(loss(user) > loss(vector) - 1e-4 for user in inside)


def test_without_steps_p_u_is_the_mean_of_the_items(world):
    model, params = made("cml", world)
    given = histories(world)
    people = hlr_jax.fold_in(model, params, world, given, training=HINGE, options=FoldInOptions(num_steps=0))
    for row, items in zip(people.rows, given.values(), strict=True):
        codes = [world.item_ids.to_list().index(item) for item in items]
        mean = np.asarray(params["item"], np.float64)[codes].mean(axis=0)
        np.testing.assert_allclose(people.params["user"][row], mean, rtol=1e-4, atol=1e-6)


def test_factors_solve_the_normal_equations(world):
    """Hu et al. 2008, eq. 4 in float64, regularised as the users of training are (Rendle et al. 2022)."""
    model, params = made("mf_als", world)
    given = histories(world)
    people = hlr_jax.fold_in(model, params, world, given, training=HINGE)
    solver, items = model.solver, np.asarray(params["item"], np.float64)
    degrees = np.bincount(world.train.user, minlength=world.num_users)
    weights = world.num_items + (solver.confidence - 1) * degrees
    for row, user in zip(people.rows, given, strict=True):
        x = np.isin(world.item_ids.to_list(), given[user]).astype(float)
        own = world.num_items + (solver.confidence - 1) * x.sum()
        strength = solver.regularization * (own / weights.mean()) ** solver.frequency_exponent
        c = np.diag(np.where(x > 0, solver.confidence, 1.0))
        expected = np.linalg.solve(items.T @ c @ items + strength * np.eye(5), items.T @ c @ x)
        np.testing.assert_allclose(people.params["user"][row], expected, rtol=2e-3, atol=1e-5)


def known_of(world):
    met = world.train + world.valid
    return {item: met.user[met.item == item] for item in range(world.num_items)}


def best_of_ann(model, params, world, people):
    """The first item of a new user's list, its score, and the user's row."""
    best = hlr_jax.recommend(model, params, world, k=5, among=people).row(0, named=True)
    assert best["user"] == "ann"
    return world.item_ids.to_list().index(best["item"]), best["score"], int(people.rows[0])


def test_means_of_item_users_are_those_of_training(world):
    """Lists of one new user do not depend on who else is folded in: means of an item's users leave them out."""
    model, params = made("transcf", world)
    people = hlr_jax.fold_in(model, params, world, histories(world), training=HINGE, options=QUICK)
    everything = jax.jit(with_derived, static_argnums=0)(model, people.params, people.sources)
    users, known = np.asarray(params["user"], np.float64), known_of(world)
    expected = [users[known[item]].mean(axis=0) for item in range(world.num_items)]
    np.testing.assert_allclose(everything["item_mean"], expected, atol=1e-5)
    # And the score that a list shows is the oracle's, with the given items as history.
    item, shown, row = best_of_ann(model, params, world, people)
    history = people.met.item[people.met.user == row].tolist()
    assert len(history) == 6
    score, _ = oracles.transcf(oracles.float64(people.params), row, item, history, known[item].tolist())
    assert shown == pytest.approx(score, rel=1e-4)


@pytest.mark.parametrize("axis", ["user", "item"])
def test_neighbors_by_inverse_popularity_go_by_the_popularity_of_training(world, axis):
    """1 / (interactions of the neighbor), whatever the newcomers have met."""
    options = {"history_sampling": "inverse_popularity", "item_users_sampling": "inverse_popularity"}
    model, known = hlr_jax.create_model("hlrpp", **options), world.train
    met = Interactions(np.array([60, 60, 61], np.int32), np.array([3, 4, 3], np.int32))
    sources = sources_with(model, axis, met, known, 68, (world.num_users, world.num_items))
    near, part, count = (sources.history, known.item, 50) if axis == "user" else (sources.item_users, known.user, 60)
    expected = 1 / np.maximum(np.bincount(part, minlength=count), 1)
    np.testing.assert_allclose(near.weights, expected, rtol=1e-6)


def test_item_users_that_an_attention_samples_are_those_of_training(world):
    model, params = made("hlrpp", world)
    people = hlr_jax.fold_in(model, params, world, histories(world), training=HINGE, options=QUICK)
    key, known = jax.random.key(0), known_of(world)
    drawn = jax.jit(ranking_item_users)(key, people.sources.item_users, np.arange(world.num_items))
    for item, (ids, mask) in enumerate(zip(np.asarray(drawn.ids), np.asarray(drawn.mask), strict=True)):
        assert mask.sum() == min(3, len(known[item]))
        assert set(ids[mask].tolist()) <= set(known[item].tolist())
    item, shown, row = best_of_ann(model, params, world, people)
    near = jax.jit(ranking_neighbors)(key, people.sources.history, row)
    history, users = (
        np.asarray(ids)[np.asarray(mask)].tolist()
        for ids, mask in ((near.ids, near.mask), (drawn.ids[item], drawn.mask[item]))
    )
    assert set(history) <= set(people.met.item[people.met.user == row].tolist())
    score, _ = oracles.hlrpp_paper(oracles.float64(people.params), row, item, history, users)
    assert shown == pytest.approx(score, rel=1e-4)


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    """A data set whose users have 6 items each, so that batches of users have one width."""
    path, rng = tmp_path_factory.mktemp("own") / "own.csv", np.random.default_rng(4)
    rows = [{"user": user, "item": int(item)} for user in range(20) for item in rng.choice(15, 6, replace=False)]
    pl.DataFrame(rows).write_csv(path)
    return hlr_jax.load_dataset(path=str(path), cache=False, log=quiet)


@pytest.mark.parametrize(("name", "negatives"), [("cml", "per_user"), ("hlr", "all")])
def test_after_training_with_batches_of_users_new_users_get_lists(alike, name, negatives):
    """Folding in has triplets, each with what the negatives of a user, or all items, become there."""
    (model, params), given = made(name, alike), histories(alike)
    training = TrainOptions(
        num_epochs=1, batch="users", negatives=negatives, num_negatives=3, objective="sampled_softmax"
    )
    if name == "cml":  # folding in reads nothing else of a training than its parameters and settings
        params = hlr_jax.train_model(alike, model, training, quiet=True).params
    people = hlr_jax.fold_in(model, params, alike, given, training=training, options=QUICK)
    items = np.asarray(params["item"])
    for row in people.rows:  # each has left the mean of their items
        start = items[people.met.item[people.met.user == row]].mean(axis=0)
        assert np.abs(np.asarray(people.params["user"])[row] - start).max() > 1e-3
    lists = hlr_jax.recommend(model, params, alike, k=5, among=people)
    assert lists["user"].to_list() == ["ann"] * 5 + ["bob"] * 5
    for user, items in given.items():
        assert not set(items) & set(lists.filter(user=user)["item"])


def test_unknown_items_are_named_and_counted(world):
    model, params = made("cml", world)
    frame = pl.DataFrame({"user": ["ann", "ann", "eve"], "item": [str(world.item_ids[3]), "x9", "x8"]})
    with pytest.raises(InputError, match=r'2 items \(2 rows\) are unknown, such as "x9"'):
        hlr_jax.fold_in(model, params, world, frame, training=HINGE)
    said = []
    settings = {"training": HINGE, "options": QUICK}
    people = hlr_jax.fold_in(model, params, world, frame, **settings, on_unknown="skip", log=said.append)
    assert people.ids.to_list() == ["ann"]
    assert said == [
        'histories: 2 items (2 rows) are unknown, such as "x9", "x8": left out',
        "histories: 1 users have no known item: left out",
    ]
    with pytest.raises(InputError, match="no user has an item"):
        hlr_jax.fold_in(model, params, world, frame.filter(user="eve"), training=HINGE, on_unknown="skip", log=quiet)
    with pytest.raises(InputError, match="user ann has all 50 items"):
        hlr_jax.fold_in(model, params, world, {"ann": world.item_ids.to_list()}, training=HINGE)
    with pytest.raises(InputError, match=r"fold_in\.positives must be at least 1"):
        FoldInOptions(positives=0)


def test_users_are_held_out_whole(world):
    without, trained_in, known = hold_out_users(world, held_out=0.2, given=0.8)
    held = set(known.user.tolist())
    assert len(held) == 12
    assert not held & set(without.train.user.tolist())
    assert not held & set(without.valid.user.tolist())
    everything = world.train + world.valid + world.test
    for user in held:
        given = set(known.item[known.user == user].tolist())
        hidden = set(without.test.item[without.test.user == user].tolist())
        assert given | hidden == set(everything.item[everything.user == user].tolist())
        assert not given & hidden
        assert len(given) == np.clip(np.rint(0.8 * (len(given) + len(hidden))), 1, len(given) + len(hidden) - 1)
        assert given == set(trained_in.train.item[trained_in.train.user == user].tolist())
    assert set(without.test.user.tolist()) == held
    assert len({without.fingerprint, trained_in.fingerprint, world.fingerprint}) == 3
    with pytest.raises(InputError, match=r"strong_generalization\.held_out must be at most"):
        hold_out_users(world, held_out=2.0)


NEW, NEWER = 1000, 1001  # items that no run knows


def users_of(world, items=(NEW, NEWER), count=8):
    rng = np.random.default_rng(3)
    chosen = {item: rng.choice(world.num_users, count, replace=False) for item in items}
    return {item: [world.user_ids[int(user)] for user in users] for item, users in chosen.items()}


@pytest.mark.parametrize("name", ["hlrpp", "transcf", "mf_als"])
def test_new_items_join_the_catalogue_and_everything_trained_stays(name, world):
    model, params = made(name, world)
    given = users_of(world)
    new = hlr_jax.fold_in_items(model, params, world, given, training=HINGE, options=QUICK, log=quiet)
    for table, before in params.items():
        np.testing.assert_array_equal(new.params[table][: len(before)], before)
    vectors = np.asarray(new.params["item"])[world.num_items :]
    assert vectors.shape == (2, 5)
    assert (np.abs(vectors[0] - vectors[1]) > 1e-4).any()
    if model.solver is None:
        assert (np.linalg.norm(vectors, axis=1) <= 1 + 1e-5).all()
        means = [np.mean([np.asarray(params["user"])[int(u)] for u in users], axis=0) for users in given.values()]
        assert (np.abs(vectors - means).max(axis=1) > 1e-3).all()  # they have left where they began
    # Ids become text, since the new ones are; places of the old ones stay.
    assert new.dataset.item_ids.to_list() == [*world.item_ids, NEW, NEWER]
    assert new.dataset.fingerprint != world.fingerprint
    lists = hlr_jax.recommend(model, *new, k=2, candidates=[NEW, NEWER])
    shown = set(zip(lists["user"].to_list(), lists["item"].to_list(), strict=True))
    met = {(user, item) for item, users in given.items() for user in users}
    assert shown == {(user, item) for user in world.user_ids for item in given} - met


def test_a_new_item_is_at_the_optimum_of_the_frozen_objective(world):
    """In float64: its users' losses, and those of all other triplets of training, in which it is a negative."""
    model, params = made("cml", world)
    given = users_of(world, [NEW])
    training = TrainOptions(batch="users", objective="sampled_softmax", negatives="all", temperature=0.5)
    options = FoldInOptions(num_steps=150, positives=32, others=256, learning_rate=0.05)
    new = hlr_jax.fold_in_items(model, params, world, given, training=training, options=options)
    vector = np.asarray(new.params["item"], np.float64)[-1]
    users, items = (np.asarray(params[name], np.float64) for name in ("user", "item"))
    known = world.train + world.valid
    unknown = np.ones((world.num_users, world.num_items), bool)
    unknown[known.user, known.item] = False
    logits = -np.sum((users[:, None] - items[None]) ** 2, axis=2) / 0.5
    rest = (np.exp(logits) * unknown).sum(axis=1)  # of each user, over the items that are not met
    mine = np.isin(world.user_ids.to_list(), given[NEW])
    others = known.where(~mine[known.user])

    def loss(item):
        own = -np.sum((users - item) ** 2, axis=1) / 0.5
        as_positive = np.log(rest + np.exp(own)) - own
        met = logits[others.user, others.item]
        as_negative = np.log(np.exp(met) + rest[others.user] + np.exp(own[others.user])) - met
        return (as_positive[mine].sum() + as_negative.sum()) / mine.sum()

    around = [vector + 0.1 * step for step in np.random.default_rng(0).normal(size=(100, len(vector)))]
    inside = [item for item in around if np.linalg.norm(item) <= 1]
    assert len(inside) > 5
    assert all(loss(item) > loss(vector) - 1e-3 for item in inside)
    assert loss(users[mine].mean(axis=0)) > loss(vector) + 0.05  # where it began


@pytest.mark.parametrize("kind", [
    {"num_negatives": 20}, {"num_negatives": 20, "negative_popularity": 0.5}, {"negatives": "in_batch"},
])  # fmt: skip
def test_however_negatives_are_sampled_the_softmax_places_a_new_item_alike(world, kind):
    """Sampled negatives, corrected for their frequency, estimate the softmax over all items."""
    model, params = made("cml", world)
    given, options = users_of(world, [NEW]), FoldInOptions(num_steps=60, positives=16, others=64)
    training = TrainOptions(batch="users", objective="sampled_softmax", negatives="all", temperature=0.5)

    def placed(training):
        new = hlr_jax.fold_in_items(model, params, world, given, training=training, options=options)
        return np.asarray(new.params["item"])[-1]

    exact, sampled = placed(training), placed(TrainOptions(objective="sampled_softmax", temperature=0.5, **kind))
    start = np.mean([np.asarray(params["user"])[int(user)] for user in given[NEW]], axis=0)
    assert np.linalg.norm(sampled - exact) < 0.25 * np.linalg.norm(start - exact)


def test_factors_of_items_solve_the_normal_equations(world):
    """Hu et al. 2008, eq. 5 in float64, regularized as the items of training are."""
    model, params = made("mf_als", world)
    given = users_of(world)
    new = hlr_jax.fold_in_items(model, params, world, given, training=HINGE)
    solver, users = model.solver, np.asarray(params["user"], np.float64)
    weights = world.num_users + (solver.confidence - 1) * np.bincount(world.train.item, minlength=world.num_items)
    for row, met in enumerate(given.values(), world.num_items):
        x = np.isin(world.user_ids.to_list(), met).astype(float)
        own = world.num_users + (solver.confidence - 1) * x.sum()
        strength = solver.regularization * (own / weights.mean()) ** solver.frequency_exponent
        c = np.diag(np.where(x > 0, solver.confidence, 1.0))
        expected = np.linalg.solve(users.T @ c @ users + strength * np.eye(5), users.T @ c @ x)
        np.testing.assert_allclose(new.params["item"][row], expected, rtol=2e-3, atol=1e-5)


def test_mistakes_of_new_items_are_one_line(world):
    model, params = made("cml", world)
    several = TrainOptions(objective="sampled_softmax", temperatures=(0.1, 0.2))
    for message, given, training in (
        ("the data set already has item 7", {7: [1, 2]}, HINGE),
        (
            r'users_of_items: 1 users \(1 rows\) are unknown, such as "eve"; ids of users are whole numbers; remove',
            {NEW: [1, "eve"]},
            HINGE,
        ),
        ("training has several train.temperatures; pass training.at", {NEW: [1]}, several),
        ("pass training=, the settings that CML was trained with", {NEW: [1]}, None),
    ):
        with pytest.raises(InputError, match=message):
            hlr_jax.fold_in_items(model, params, world, given, training=training)
    with pytest.raises(InputError, match="pass training="):
        hlr_jax.fold_in(model, params, world, histories(world))
    model, params = made("mf_als", world)
    said = []
    new = hlr_jax.fold_in_items(
        model, params, world, {NEW: ["eve"], NEWER: [1]}, training=HINGE, on_unknown="skip", log=said.append
    )
    assert new.dataset.item_ids.to_list()[-1] == NEWER
    assert len(said) == 2


def test_items_are_held_out_whole(world):
    without, trained_in, known = hold_out_items(world, held_out=0.2, given=0.5)
    everything, kept = world.train + world.valid + world.test, without.num_items
    assert (kept, trained_in.num_items) == (40, 50)
    assert without.item_ids.to_list() == trained_in.item_ids.to_list()[:kept]
    assert without.train.item.max() < kept

    def pairs(dataset, part):
        return {(int(u), dataset.item_ids[int(i)]) for u, i in zip(part.user, part.item, strict=True)}

    new = set(trained_in.item_ids.to_list()[kept:])
    before = pairs(world, everything)
    given = pairs(trained_in, known)
    assert given == pairs(trained_in, trained_in.train) - pairs(without, without.train)
    assert given | pairs(trained_in, trained_in.test) >= {pair for pair in before if pair[1] in new}
    assert not given & pairs(trained_in, trained_in.test)
    assert pairs(without, without.test) == {pair for pair in pairs(world, world.test) if pair[1] not in new}
    assert len({without.fingerprint, trained_in.fingerprint, world.fingerprint}) == 3
    order = trained_in.train.user.astype(int) * 50 + trained_in.train.item
    assert (np.diff(order) > 0).all()
