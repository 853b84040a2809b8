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
from hlr_jax.serving.fold_in import newcomer_sources
from hlr_jax.serving.strong_generalization import hold_out_users

OPTIONS = {
    "hlr": {"num_memories": 3, "max_history": 4},
    "hlrpp": {"num_memories": 3, "max_history": 4, "max_item_users": 3},
    "adacml": {"max_history": 4},
    "lrml": {"num_memories": 3},
    "mf_als": {"regularization": 2.0, "confidence": 3.0, "frequency_exponent": 0.5},
}
QUICK = FoldInOptions(num_steps=10, positives=3)


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
    people = hlr_jax.fold_in(model, params, world, given, options=QUICK, log=quiet)
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
    people = hlr_jax.fold_in(model, params, world, given, options=FoldInOptions(num_steps=0, positives=4))
    for row, items in zip(people.rows, given.values(), strict=True):
        codes = [world.item_ids.to_list().index(item) for item in items]
        mean = np.asarray(params["item"], np.float64)[codes].mean(axis=0)
        np.testing.assert_allclose(people.params["user"][row], mean, rtol=1e-4, atol=1e-6)


def test_factors_solve_the_normal_equations(world):
    """Hu et al. 2008, eq. 4 in float64, regularised as the users of training are (Rendle et al. 2022)."""
    model, params = made("mf_als", world)
    given = histories(world)
    people = hlr_jax.fold_in(model, params, world, given)
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
    people = hlr_jax.fold_in(model, params, world, histories(world), options=QUICK)
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


def test_histories_by_inverse_popularity_go_by_the_popularity_of_training(world):
    """1 / (users of the item), whatever the people who are folded in have met."""
    model = hlr_jax.create_model("adacml", history_sampling="inverse_popularity")
    met = Interactions(np.array([60, 60, 61], np.int32), np.array([3, 4, 3], np.int32))
    sources = newcomer_sources(model, met, world.train, 68, world.num_items)
    counts = np.bincount(world.train.item, minlength=world.num_items)
    np.testing.assert_allclose(sources.history.weights, 1 / np.maximum(counts, 1), rtol=1e-6)


def test_item_users_that_an_attention_draws_are_those_of_training(world):
    model, params = made("hlrpp", world)
    people = hlr_jax.fold_in(model, params, world, histories(world), options=QUICK)
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
        hlr_jax.fold_in(model, params, world, frame)
    said = []
    people = hlr_jax.fold_in(model, params, world, frame, on_unknown="skip", options=QUICK, log=said.append)
    assert people.ids.to_list() == ["ann"]
    assert said == [
        'histories: 2 items (2 rows) are unknown, such as "x9": left out', "histories: 1 users have no known item"
    ]  # fmt: skip
    with pytest.raises(InputError, match="no user has an item"):
        hlr_jax.fold_in(model, params, world, frame.filter(user="eve"), on_unknown="skip", log=quiet)
    with pytest.raises(InputError, match="user ann has all 50 items"):
        hlr_jax.fold_in(model, params, world, {"ann": world.item_ids.to_list()})
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
