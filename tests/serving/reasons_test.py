"""Reasons: what each item of a history adds to a score, by hand from the equations, and what lists say of it."""

import jax
import numpy as np
import oracles
import pytest
from own_model import own_model

import hlr_jax
from hlr_jax import InputError
from hlr_jax.models.mf_als import mf_als
from hlr_jax.ranking.inputs import ranking_neighbors
from hlr_jax.ranking.population import trained_population
from hlr_jax.ranking.scores import scores
from hlr_jax.scorers.ease import Ease
from hlr_jax.serving.contributions import Contributions, contributions
from hlr_jax.training.als import factorize


def lost(score, history, num_items):
    """What scores over the mean of the catalogue lose when an item is taken out of the history: [H, I]."""

    def centered(read):
        values = np.array([score(item, read) for item in range(num_items)])
        return values - values.mean()

    return np.array([centered(history) - centered([i for i in history if i != j]) for j in history])


@pytest.mark.parametrize("name", ["hlr", "adacml", "hlrpp"])
def test_an_attending_model_is_explained_by_what_the_score_loses_without_an_item(world, name):
    options = {"adacml": {}, "hlr": {"num_memories": 3}, "hlrpp": {"num_memories": 3, "variant": "reference"}}
    model = hlr_jax.create_model(name, embed_dim=6, max_history=4, **options[name])
    params = jax.tree.map(lambda x: 1.5 * x, model.init(jax.random.key(2), world.num_users, world.num_items))
    exact, population = oracles.float64(params), trained_population(model, params, world)
    drawn = ranking_neighbors(jax.random.key(0), population.sources.history, 8)
    history = np.asarray(drawn.ids)[np.asarray(drawn.mask)].tolist()
    oracle = {"hlr": oracles.hlr, "adacml": oracles.adacml, "hlrpp": oracles.hlrpp_reference}[name]
    expected = lost(lambda item, read: oracle(exact, 8, item, read, [])[0], history, world.num_items)
    why = hlr_jax.explain(model, params, world, 8, [3, 40, 11])
    for item in (3, 40, 11):
        rows, values = why.filter(item=item), expected[:, item]  # a planted world's ids are its codes
        order = np.argsort(-values)
        assert rows["neighbor"].to_list() == [history[place] for place in order]
        np.testing.assert_allclose(rows["neighbor_contribution"], values[order], rtol=1e-3, atol=1e-5)
        raised = np.maximum(values, 0).sum()
        np.testing.assert_allclose(rows["neighbor_weight"], values[order] / raised, rtol=1e-3, atol=1e-4)
    assert set(why["neighbor_contribution"] < 0) == {True, False}
    assert why["memory"].null_count() == (why.height if name == "adacml" else 0)


def test_alpha_and_keys_stand_beside_and_are_those_of_the_attention(world):
    model = hlr_jax.create_model("hlr", embed_dim=6, num_memories=3, max_history=4)
    params = jax.tree.map(lambda x: 1.5 * x, model.init(jax.random.key(2), world.num_users, world.num_items))
    exact, p, q = (oracles.float64(params), *(np.float64(params[name][8]) for name in ("user", "item")))
    why = hlr_jax.explain(model, params, world, 8, 8)
    memory = np.array([oracles.softmax(exact["keys"] @ (q * exact["item"][j])) for j in why["neighbor"]])
    alpha = oracles.softmax(memory @ exact["memories"] @ p)
    np.testing.assert_allclose(why["alpha"], alpha, rtol=1e-4)
    assert why["memory"].to_list() == memory.argmax(axis=1).tolist()
    np.testing.assert_allclose(why["memory_weight"], memory.max(axis=1), rtol=1e-4)
    w = alpha @ memory
    assert set(why["key"]) == {w.argmax()}
    np.testing.assert_allclose(why["key_weight"], w.max(), rtol=1e-4)
    np.testing.assert_allclose(why["distance_before"], np.sum((p - q) ** 2), rtol=1e-4)
    np.testing.assert_allclose(why["distance_after"], np.sum((p + w @ exact["memories"] - q) ** 2), rtol=1e-4)


def test_what_is_derived_of_a_user_is_derived_again_without_an_item(world):
    model = hlr_jax.create_model("transcf", embed_dim=4)
    params = model.init(jax.random.key(2), world.num_users, world.num_items)
    exact, known = oracles.float64(params), world.known
    users_of = [known.user[known.item == item].tolist() for item in range(world.num_items)]
    history = known.item[known.user == 5].tolist()
    expected = lost(lambda item, read: oracles.transcf(exact, 5, item, read, users_of[item])[0], history, 50)
    why = hlr_jax.explain(model, params, world, 5, 9).sort("neighbor")
    assert why["neighbor"].to_list() == history
    np.testing.assert_allclose(why["neighbor_contribution"], expected[:, 9], rtol=1e-3, atol=1e-5)
    assert "alpha" not in why.columns  # it attends to nothing


def test_a_model_of_ones_own_is_explained_too(world):
    model = own_model()
    params = model.init(jax.random.key(0), world.num_users, world.num_items)
    assert hlr_jax.explain(model, params, world, 5, 9)["neighbor_contribution"].abs().min() > 1e-6


def test_contributions_add_up_to_the_score_of_solved_factors(world):
    """Hu et al. 2008, section 5, with a regularization that is scaled by frequency."""
    model = mf_als(embed_dim=4, confidence=6.0, regularization=3.0, frequency_exponent=0.7)
    params = factorize(model, world.train, world.num_users, world.num_items, num_iterations=3)
    people = hlr_jax.fold_in(model, params, world, {"ann": [3, 7, 12], "bob": [20, 4]})  # solved to the end
    whole = scores(model, people, np.arange(2), world.num_items)
    targets = np.tile(np.arange(world.num_items), (2, 1))
    for each, values, history in zip(
        contributions(model, people, world, np.arange(2), targets), whole, ([3, 7, 12], [4, 20]), strict=True
    ):
        assert each.items.tolist() == history
        np.testing.assert_allclose(each.values.sum(axis=0), values - values.mean(), rtol=1e-3, atol=1e-5)
        assert each.spread == pytest.approx(values.std(), rel=1e-5)
    # A trained user's reasons are the items that the factors were solved from: none of validation.
    trained = hlr_jax.explain(model, params, world, 5, 9)["neighbor"]
    assert sorted(trained) == world.train.item[world.train.user == 5].tolist()


def test_an_item_stands_out_by_the_spread_and_by_the_others():
    values = np.array([[0.5, 0.5, 0.009], [0.2, -0.3, 0.0], [0.1, 0.0, 0.0]])
    found = Contributions(np.arange(3), values, spread=1.0)
    # 0.5 is 3.3 times the mean of 0.2 and 0.1, and 3.3 times that of 0.3 and 0; 0.009 is below 0.01 of the spread.
    assert found.stands_out.tolist() == [[True, True, False], [False] * 3, [False] * 3]
    np.testing.assert_allclose(found.weights[:, 1], [1, -0.6, 0])
    even = Contributions(np.arange(2), np.full((2, 1), 0.5), spread=1.0)
    assert not even.stands_out.any()
    alone = Contributions(np.arange(1), np.full((1, 1), 0.5), spread=1.0)
    assert alone.stands_out.all()


def test_a_list_names_what_stands_out_and_nothing_where_nothing_does(world):
    weights = np.zeros((50, 50), np.float32)
    met = world.known.item[world.known.user == 3]
    free = np.setdiff1d(np.arange(50), met)[:3]
    weights[met, free[0]] = 1.0  # of all items of the history alike
    weights[met[0], free[1]], weights[met[1], free[1]] = 4.0, 1.0
    ease, state = Ease(), {"weights": weights}
    lists = hlr_jax.recommend(ease, state, world, 3, k=2, num_reasons=2, candidates=free[:2].tolist())
    even, one = (lists.filter(item=int(item)).row(0, named=True) for item in free[:2])
    assert even["reason"] == "No single item of the history stands out."
    assert even["reason_items"] is even["reason_weights"] is None
    assert one["reason"] == f"Because of {met[0]} ({one['reason_weights'][0]:.0%}), {met[1]} (20%)."
    assert one["reason_items"] == met[:2].tolist()
    nobody = hlr_jax.recommend(ease, state, world, ["none"], num_reasons=2, on_unknown="skip", log=id)
    assert (nobody.height, nobody.schema) == (0, lists.schema)
    why = hlr_jax.explain(ease, state, world, 3, int(free[0]))
    assert len(why) == len(met)  # the numbers stand there all the same
    assert not why["stands_out"].any()


def test_a_user_of_popular_items_is_given_no_reason(world):
    model = hlr_jax.create_model("hlr", embed_dim=6, num_memories=3, max_history=4)
    params = model.init(jax.random.key(2), world.num_users, world.num_items)
    said = []
    lists = hlr_jax.recommend(
        model, params, world, [3, "who"], k=3, num_reasons=2, on_unknown="popular", log=said.append
    )
    assert said == ['1 of 2 users are unknown, such as "who": given the most popular items']
    assert lists["user"].to_list() == ["3"] * 3 + ["who"] * 3
    met = world.train + world.valid
    popular = np.argsort(-np.bincount(met.item, minlength=50), kind="stable")[:3]
    unknown = lists.filter(user="who")
    assert unknown["item"].to_list() == popular.tolist()
    assert unknown["score"].null_count() == unknown["reason"].null_count() == unknown["reason_items"].null_count() == 3
    assert lists.filter(user="3")["reason"].null_count() == 0


def test_models_without_a_history_give_no_reasons(world):
    for name in ("cml", "lrml"):
        model = hlr_jax.create_model(name, embed_dim=4)
        params = model.init(jax.random.key(0), world.num_users, world.num_items)
        with pytest.raises(InputError, match=f"model {name} reads no history, so it gives no reasons"):
            hlr_jax.explain(model, params, world, 3, [])
