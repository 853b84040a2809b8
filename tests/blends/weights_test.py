"""Weights chosen on validation: the best mixture where it is known, from lists that are exact."""

import numpy as np
import pytest

import hlr_jax
from hlr_jax import Dataset, EvalOptions, InputError
from hlr_jax.blended_systems import Blend, Part
from hlr_jax.blends import weights
from hlr_jax.blends.candidates import Candidates
from hlr_jax.blends.weights import fit_weights
from hlr_jax.ranking.population import trained_population
from hlr_jax.ranking.scores import ranked
from hlr_jax.scorers.base import Scorer, histories_of
from hlr_jax.scorers.ease import Ease
from hlr_jax.scorers.popularity import Popularity

USERS, ITEMS, OWN = 300, 60, 300


class Given(Scorer):
    """A scorer whose scores [U, I] are its state: a user is known by an item that nobody else has met."""

    name, title, explains, options = "given", "Given", False, ()

    def scores(self, state, histories):
        return state["scores"][histories[:, :OWN].argmax(axis=1)].astype(np.float32)


@pytest.fixture(scope="module")
def made():
    """Users who choose what they like most of 60 items; item u < 300 is met by user u alone, and scored lowest."""
    rng = np.random.default_rng(3)
    liked = rng.normal(size=(USERS, ITEMS))
    chosen = np.argsort(-liked, axis=1)[:, :4] + OWN
    user = np.concatenate([np.arange(USERS), np.repeat(np.arange(USERS), 4)])
    item = np.concatenate([np.arange(OWN), chosen.ravel()])
    data = Dataset.from_arrays(
        [f"{u:03}" for u in user], [f"{i:03}" for i in item], split="given", log=id,
        splits=["train"] * USERS + (["valid"] * 2 + ["test"] * 2) * USERS,
    )  # fmt: skip

    def scores(noise):
        seen = liked + noise * rng.normal(size=liked.shape)
        return {"scores": np.concatenate([np.full((USERS, data.num_items - ITEMS), -9.0), seen], axis=1)}

    assert data.num_items == OWN + ITEMS
    return data, scores


def of(states):
    return Blend.equal({label: Part(Given(), 1.0) for label in states}), states


def test_two_equally_good_parts_weigh_half_and_noise_is_left_out(made):
    data, scores = made
    blend, params = of({"a": scores(1.0), "b": scores(1.0), "noise": scores(50.0)})
    chosen = fit_weights(blend, params, data)
    assert chosen.weights["noise"] == 0
    assert chosen.weights["a"] == pytest.approx(0.5, abs=0.11)
    assert chosen.value > max(chosen.alone.values()) + 0.05
    assert chosen.leads
    assert chosen.held_out == pytest.approx(chosen.value, abs=0.01)
    # The figures are those of `evaluate`, and of a test over its users.
    alone = hlr_jax.evaluate(blend.parts["a"].system, params["a"], data, split="valid")
    assert chosen.alone["a"] == pytest.approx(alone.metrics.value("ndcg"), rel=1e-9)
    kept = blend.weighted(chosen.weights)
    assert list(kept.parts) == ["a", "b"]
    both = hlr_jax.evaluate(kept, {label: params[label] for label in kept.parts}, data, split="valid")
    assert chosen.value == pytest.approx(both.metrics.value("ndcg"), rel=1e-9)
    best = hlr_jax.evaluate(Given(), params[chosen.best_part], data, split="valid")
    difference = (both.per_user["ndcg"] - best.per_user["ndcg"]).to_numpy()
    assert chosen.lead == pytest.approx(difference.mean())
    assert chosen.lead_error == pytest.approx(difference.std(ddof=1) / np.sqrt(USERS))
    assert chosen.to_json()["leads"] is True


def test_a_part_that_is_twice_as_sure_weighs_more(made):
    data, scores = made
    chosen = fit_weights(*of({"sure": scores(0.7), "unsure": scores(1.4)}), data)
    # What is unlikest, -9 of the other items, gives both the same deviation; then weights are as 1 / noise^2: 4 to 1.
    assert chosen.weights["sure"] == pytest.approx(0.8, abs=0.11)


def test_a_part_that_adds_nothing_is_left_out(made):
    """Twice the same part: every mixture has the same lists, and one part is enough."""
    data, scores = made
    same = scores(1.0)
    chosen = fit_weights(*of({"a": same, "b": same}), data)
    assert sorted(chosen.weights.values()) == [0, 1]
    assert (chosen.lead, chosen.lead_error, chosen.leads) == (0, 0, False)


def test_what_is_held_out_is_measured_with_the_weights_of_the_other_half(made):
    """All of it again from the metrics of ``evaluate``, with two parts."""
    data, scores = made
    blend, params = of({"a": scores(1.0), "b": scores(1.5)})
    points = [(tenths, 10 - tenths) for tenths in range(10, -1, -1)]
    values = []
    for point in points:
        kept = blend.weighted(dict(zip("ab", np.array(point) / 10, strict=True)))
        theirs = {label: params[label] for label in kept.parts}
        values.append(hlr_jax.evaluate(kept, theirs, data, split="valid").per_user["ndcg"].to_numpy())
    values, rng, expected = np.stack(values), np.random.default_rng(0), 0.0
    for _ in range(5):
        half = rng.permutation(USERS) % 2 == 0
        for some in (half, ~half):
            best = int(np.argmax(values[:, some].mean(axis=1)))
            expected += values[best, ~some].sum() / USERS / 5
    chosen = fit_weights(blend, params, data)
    assert chosen.held_out == pytest.approx(expected)
    assert tuple(round(10 * weight) for weight in chosen.weights.values()) == points[int(values.mean(axis=1).argmax())]
    assert chosen.held_out <= chosen.value


def test_more_than_three_parts_are_searched_by_moving_weight(made, monkeypatch):
    data, scores = made
    blend, params = of({"a": scores(1.0), "b": scores(1.0), "c": scores(1.0), "noise": scores(50.0)})
    moved = fit_weights(blend, params, data)
    monkeypatch.setattr(weights, "_FEW", 4)
    whole = fit_weights(blend, params, data)
    assert moved.tried < 200 < whole.tried == 286
    assert moved.weights["noise"] == whole.weights["noise"] == 0
    assert moved.value == pytest.approx(whole.value, abs=0.003)


def test_other_monitors_choose_too(made):
    data, scores = made
    blend, params = of({"a": scores(1.0), "b": scores(1.0)})
    chosen = fit_weights(blend, params, data, EvalOptions(k=(10, 3), monitor="recall@3"))
    assert chosen.metric == "valid_recall@3"
    alone = hlr_jax.evaluate(Given(), params["b"], data, split="valid", options=EvalOptions(k=3))
    assert chosen.alone["b"] == pytest.approx(alone.metrics.value("recall"))
    few = fit_weights(blend, params, data, EvalOptions(num_valid_users=50))
    assert few.users == 50


@pytest.mark.parametrize("best", [6, 12, 50])
def test_lists_from_candidates_are_exact_whatever_their_number(world, best):
    """With few candidates, most lists are made from all items; with 50, none is."""
    fits = [next(own.fits(world)) for own in (Ease((3.0,)), Ease((1000.0,)), Popularity())]
    blend = Blend.equal({str(place): Part(fit.scorer, 1.0) for place, fit in enumerate(fits)})
    params = {str(place): fit.state for place, fit in enumerate(fits)}
    population = trained_population(blend, params, world, world.train)
    seen, places = histories_of(world.train, 60, 50), np.arange(5, 60)
    made = Candidates.of(blend, population, places, seen, best)
    for point in ((0, 0, 1), (0.5, 0.5, 0), (0.1, 0.2, 0.7), (1, 0, 0)):
        chosen = dict(zip("012", point, strict=True))
        expected = ranked(blend.weighted(chosen), population, places, 50, 5, seen=seen)
        np.testing.assert_array_equal(made.lists(chosen, 5), expected.items)


def test_without_validation_nothing_is_chosen(made):
    data, scores = made
    blend, params = of({"a": scores(1.0), "b": scores(1.0)})
    with pytest.raises(InputError, match="has no valid interactions"):
        fit_weights(blend, params, data.trained_on("train+valid"))
