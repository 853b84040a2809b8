"""A blend's scores and lists by hand and in float64, and the same from all that takes a model and its parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax import EvalOptions, InputError, TrainOptions
from hlr_jax.blended_systems import Blend, Part
from hlr_jax.evaluation.evaluate import interactions_at
from hlr_jax.ranking import scores
from hlr_jax.ranking.population import trained_population
from hlr_jax.ranking.whole import is_product
from hlr_jax.scorers.ease import Ease
from hlr_jax.scorers.popularity import Popularity

TRAINING = TrainOptions(objective="sampled_softmax", temperature=0.4)


def systems(world):
    """EASE, MF-ALS, CML and HLR with parameters that nobody has trained, each with its parameters."""
    users, items, key = world.num_users, world.num_items, jax.random.key(1)
    fitted = next(Ease((10.0,)).fits(world))
    made = {"ease": (fitted.scorer, fitted.state)}
    options = {"hlr": {"num_memories": 3, "max_history": 4}}
    options["history"] = {"user": "history"}
    for name in ("mf_als", "cml", "hlr", "history"):
        model = hlr_jax.create_model("cml" if name == "history" else name, embed_dim=6, **options.get(name, {}))
        made[name] = model, model.init(key, users, items)
    return made


@pytest.fixture(scope="module")
def made(world):
    return systems(world)


def blended(made, weights, seeds=None):
    parts = {}
    for label, weight in weights.items():
        training = TRAINING if label in ("cml", "hlr") else None
        parts[label] = Part(made[label][0], weight, (seeds or {}).get(label, 0), training)
    return Blend(parts), {label: made[label][1] for label in weights}


def test_scores_are_standardized_and_weighted_as_by_hand():
    """1, 2, 3 have mean 2 and deviation sqrt(2/3); 0, 0, 6 have mean 2 and deviation sqrt(8); equal ones are 0."""
    values = np.array([[1, 2, 3], [0, 0, 6], [0.1, 0.1, 0.1]], np.float32)
    a, b = 1 / np.sqrt(2 / 3), 1 / np.sqrt(8)
    expected = np.array([[-a, 0, a], [-2 * b, -2 * b, 4 * b], [0, 0, 0]])
    np.testing.assert_allclose(scores.standardized(values)[0], expected, rtol=1e-6)
    data = hlr_jax.Dataset.from_arrays(
        [0, 0, 1, 1, 2, 2], ["x", "y", "y", "z", "z", "x"], splits=["train"] * 6, split="given", log=id
    )
    mf = hlr_jax.create_model("mf_als", embed_dim=2)
    params = {"user": jnp.eye(3)[:, :2], "item": jnp.array([[1.0, 0.0], [2.0, 0.0], [3.0, 6.0]])}
    blend = Blend({"mf": Part(mf, 0.25), "popularity": Part(Popularity(), 0.75)})
    states = {"mf": params, "popularity": {"counts": np.array([0, 0, 6], np.float32)}}
    population = trained_population(blend, states, data)
    made = scores.scores(blend, population, np.array([1, 0, 2]), 3)
    # User 0 scores (1, 2, 3), user 1 (0, 0, 6), and user 2 nothing.
    popular = 0.75 * expected[1]
    np.testing.assert_allclose(made, [0.25 * expected[1] + popular, 0.25 * expected[0] + popular, popular], rtol=1e-5)
    lists = hlr_jax.recommend(blend, states, data, k=3, include_seen=True)
    assert lists.filter(user=0)["item"].to_list() == ["z", "y", "x"]
    assert lists.filter(user=0)["score"].to_list() == pytest.approx([0.25 * a + 3 * b, -1.5 * b, -0.25 * a - 1.5 * b])


def in_float64(name, params, world, met):
    """Return the scores [U, I] of a part, from its equations."""
    if name == "ease":
        x = np.zeros((world.num_users, world.num_items))
        x[met.user, met.item] = 1
        return x @ params["weights"].astype(np.float64)
    user, item = (np.asarray(params[axis], np.float64) for axis in ("user", "item"))
    return user @ item.T if name == "mf_als" else -((user[:, None] - item) ** 2).sum(axis=-1)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_lists_are_those_of_float64(made, world, split, monkeypatch):
    weights = {"ease": 0.5, "mf_als": 0.3, "cml": 0.2}
    blend, params = blended(made, weights)
    near = interactions_at(world, split, world.protocol.test_neighbors)
    expected = np.zeros((world.num_users, world.num_items))
    for name, weight in weights.items():
        raw = in_float64(name, made[name][1], world, near)
        expected += weight * (raw - raw.mean(axis=1, keepdims=True)) / raw.std(axis=1, keepdims=True)
    seen = interactions_at(world, split)
    expected[seen.user, seen.item] = -np.inf
    monkeypatch.setattr(scores, "_TILE", 16)  # several tiles
    users = np.unique(getattr(world, split).user)
    ranking = hlr_jax.evaluate(blend, params, world, split=split, options=EvalOptions(k=12)).ranking
    best = np.argsort(-expected[users], axis=1, kind="stable")[:, :12]
    np.testing.assert_array_equal(ranking.items, best)
    np.testing.assert_allclose(ranking.scores, np.take_along_axis(expected[users], best, axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ease", "mf_als", "cml", "hlr", "history"])
def test_a_blend_of_one_part_has_its_lists_to_the_last_rank(made, world, name):
    weights = {name: 1.0, "ease" if name == "cml" else "cml": 0.0}
    blend, params = blended(made, weights, seeds={name: 5})
    alone = hlr_jax.recommend(*made[name], world, k=50, seed=5)
    assert hlr_jax.recommend(blend, params, world, k=50).drop("score").equals(alone.drop("score"))
    people = {"ann": world.item_ids[:5].to_list(), "bob": world.item_ids[9:20].to_list()}
    training = None if blend.parts[name].training is None else TRAINING
    folded = hlr_jax.fold_in(*made[name], world, people, training=training, seed=5)
    alone = hlr_jax.recommend(*made[name], world, k=50, among=folded, seed=5)
    both = hlr_jax.recommend(blend, params, world, k=50, among=hlr_jax.fold_in(blend, params, world, people))
    assert both.drop("score").equals(alone.drop("score"))


def test_new_users_with_the_history_of_a_trained_user_get_the_list_of_that_user(world):
    """Of parts that know a user by the history alone."""
    fits = [next(Ease((strength,)).fits(world)) for strength in (3.0, 300.0)]
    blend = Blend.equal({f"ease-{place}": Part(fit.scorer, 1.0) for place, fit in enumerate(fits)})
    params = {f"ease-{place}": fit.state for place, fit in enumerate(fits)}
    known = world.known
    people = {"ann": world.item_ids.gather(known.item[known.user == 3]).to_list()}
    folded = hlr_jax.recommend(blend, params, world, among=hlr_jax.fold_in(blend, params, world, people))
    trained = hlr_jax.recommend(blend, params, world, world.user_ids[3])
    assert folded.drop("user").equals(trained.drop("user"))


def test_candidates_and_exclusions_hold_for_a_blend(made, world):
    blend, params = blended(made, {"ease": 0.5, "cml": 0.5})
    items = world.item_ids.to_list()
    whole = hlr_jax.recommend(blend, params, world, [3, 7], k=50, include_seen=True)
    some = hlr_jax.recommend(
        blend, params, world, [3, 7, 99], k=4, include_seen=True, candidates=items[:9], exclude={3: items[:4]},
        on_unknown="popular", log=id,
    )  # fmt: skip
    for user, allowed in ((3, items[4:9]), (7, items[:9])):
        kept = whole.filter(pl.col("user") == user, pl.col("item").is_in(allowed))["item"].to_list()[:4]
        assert some.filter(user=user)["item"].to_list() == kept
    assert some.filter(user=99).height == 4


def test_cml_and_mf_als_are_matrix_products_and_hlr_is_none(made):
    assert {name: is_product(*made[name]) for name in ("mf_als", "cml", "history", "hlr")} == {
        "mf_als": True,
        "cml": True,
        "history": True,
        "hlr": False,
    }


def test_each_part_says_how_much_it_has_of_a_score_and_contributions_add_up_over_parts(made, world):
    blend, params = blended(made, {"ease": 0.5, "mf_als": 0.3, "hlr": 0.2})
    lists = hlr_jax.recommend(blend, params, world, [3, 7], k=3, num_reasons=2)
    row = lists.filter(user=7).row(1, named=True)
    item = world.item_ids.to_list().index(row["item"])
    population = trained_population(blend, params, world)
    each = {
        label: part.weight * scores.part_scores(blend, label, population, np.array([7]), 50)[0][0, item]
        for label, part in blend.parts.items()
    }
    assert sum(each.values()) == pytest.approx(row["score"], rel=1e-5)
    raised = {label: value / sum(max(v, 0) for v in each.values()) for label, value in each.items() if value > 0}
    assert dict(zip(row["parts"], row["part_shares"], strict=True)) == pytest.approx(raised, rel=1e-5)
    assert row["part_shares"] == sorted(row["part_shares"], reverse=True)
    why = hlr_jax.explain(blend, params, world, 7, [row["item"]])
    expected = {}
    for name, part in blend.parts.items():
        spread = scores.scores(part.system, population.parts[name], np.array([7]), 50).std()
        alone = hlr_jax.explain(*made[name], world, 7, [row["item"]])
        for neighbor, added in alone.select("neighbor", "neighbor_contribution").iter_rows():
            expected[neighbor] = expected.get(neighbor, 0) + part.weight / spread * added
    found = dict(why.select("neighbor", "neighbor_contribution").iter_rows())
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert why["neighbor_contribution"].is_sorted(descending=True)
    assert row["reason_items"] == why.filter("stands_out")["neighbor"].to_list()[:2]
    by = ", ".join(f"{part} ({share:.0%})" for part, share in zip(row["parts"], row["part_shares"], strict=True))
    assert row["reason"].endswith(f"; by {by}.")
    assert "alpha" not in why.columns


def test_contributions_of_exact_parts_add_up_to_the_blended_score(made, world):
    blend, params = blended(made, {"ease": 0.6, "mf_als": 0.4})
    people = hlr_jax.fold_in(blend, params, world, {"ann": [3, 7, 12, 30]})  # MF-ALS is solved to the end
    why = hlr_jax.explain(blend, params, world, "ann", world.item_ids.to_list(), among=people)
    sums = why.group_by("item", maintain_order=True).agg(pl.col("neighbor_contribution").sum())
    score = scores.scores(blend, people, np.array([0]), 50)[0]
    np.testing.assert_allclose(sums["neighbor_contribution"], score, rtol=1e-3, atol=1e-4)


def test_parts_without_a_history_have_shares(made, world):
    blend, params = blended(made, {"cml": 1.0})
    best = hlr_jax.recommend(blend, params, world, 3, k=1, num_reasons=2)
    assert best["reason"][0] == "No single item of the history stands out; by cml (100%)."
    why = hlr_jax.explain(blend, params, world, 3, best["item"])
    assert why["neighbor"].to_list() == [None]
    assert why["part_shares"].explode().to_list() == [1]


def test_mistakes_are_one_line(made, world):
    ease = Part(Ease(), 0.5)
    for parts, line in (
        ({}, "at least one part"),
        ({"a/b": ease}, '"a/b": a label of'),
        ({"a": ease}, "sum to 0.5; they must sum to 1"),
        ({"a": ease._replace(weight=-0.5), "b": ease._replace(weight=1.5)}, "weight of part a is -0.5"),
        ({"a": Part(Blend({"b": ease._replace(weight=1.0)}), 1.0)}, "part a is a blend"),
    ):
        with pytest.raises(InputError, match=line):
            Blend(parts)
    blend, params = blended(made, {"ease": 0.5, "cml": 0.5})
    with pytest.raises(InputError, match='part "cml" has no weight; pass a weight for each of ease, cml'):
        blend.weighted({"ease": 1.0})
    with pytest.raises(InputError, match="parameters of another blend: its parts are ease, cml"):
        hlr_jax.evaluate(blend, {"ease": params["ease"]}, world)
    with pytest.raises(InputError, match="users of another blend"):
        hlr_jax.recommend(blend, params, world, among=trained_population(*made["cml"], world))
    broken = params | {"cml": params["cml"] | {"item": params["cml"]["item"].at[3].set(jnp.nan)}}
    with pytest.raises(InputError, match="part cml of the blend has scores that are not finite"):
        hlr_jax.evaluate(blend, broken, world)
    with pytest.raises(InputError, match="a blend is not trained"):
        hlr_jax.fit(world, blend, quiet=True)
