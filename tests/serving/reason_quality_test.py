"""Whether reasons are true: drops by hand, and the figures that are made of them."""

import jax
import numpy as np
import pytest
from command_line import command

import hlr_jax
from hlr_jax import InputError
from hlr_jax.blended_systems import Blend, Part
from hlr_jax.models.mf_als import mf_als
from hlr_jax.ranking.population import trained_population
from hlr_jax.scorers.ease import Ease
from hlr_jax.serving.contributions import contributions
from hlr_jax.serving.deletion import drops_of
from hlr_jax.serving.reason_quality import measure_reasons, quality_of
from hlr_jax.training.als import factorize

USERS, TARGETS = np.array([3, 8]), np.array([[4, 40], [11, 30]])


def found_and_drops(system, params, world):
    population = trained_population(system, params, world)
    found = list(contributions(system, population, world, USERS, TARGETS))
    return found, list(drops_of(system, population, world, USERS, TARGETS, found))


def test_values_are_those_of_the_definition():
    """Two users with lists of two items, and histories of four and of two."""
    values = np.array([[5.0, 0.0], [1.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    drops = np.array([[2.0, 0.1], [0.0, 0.0], [-1.0, 0.2], [0.0, 0.3]])  # the second top reason has the fourth drop
    other = np.array([[3.0, 3.0], [0.0, -1.0]])
    found = quality_of([(values, drops, values > 3), (other, other / 2, other > 0)])
    assert (found.users, found.k) == (2, 2)
    assert found.top_drop == pytest.approx((1 + 1.5) / 2)
    assert found.largest_drop == pytest.approx((1.15 + 1.5) / 2)
    assert found.random_drop == pytest.approx((0.2 + 0.625) / 2)
    assert found.random_size == pytest.approx((0.45 + 0.875) / 2)
    assert found.ratio == pytest.approx(1.25 / 0.4125)
    assert found.ratio_low == pytest.approx(1.5 / 0.625)  # both draws are the second user
    assert found.ratio_high == pytest.approx(1 / 0.2)
    assert found.size_ratio == pytest.approx(1.25 / 0.6625)
    assert found.among_three == pytest.approx((0.5 + 1) / 2)
    assert found.same_top == pytest.approx((0 + 1) / 2)
    assert found.nothing == pytest.approx((0.5 + 0) / 2)


def test_there_is_no_ratio_to_a_random_drop_of_nothing():
    values = np.array([[1.0], [-1.0]])
    found = quality_of([(values, values, values > 0)] * 3)
    assert found.ratio is found.ratio_low is None
    assert found.size_ratio == 1


def test_a_blend_scores_again_with_all_its_parts(world):
    """EASE's sum, and factors solved for anew in float64, each standardized anew."""
    model = mf_als(embed_dim=4, confidence=6.0, regularization=3.0, frequency_exponent=0.5)
    factors = factorize(model, world.train, world.num_users, world.num_items, num_iterations=3)
    ease = next(Ease((10.0,)).fits(world))
    blend = Blend({"ease": Part(ease.scorer, 0.7), "mf_als": Part(model, 0.3)})
    found, drops = found_and_drops(blend, {"ease": ease.state, "mf_als": factors}, world)
    y, b = np.asarray(factors["item"], np.float64), ease.state["weights"].astype(np.float64)
    mean_weight = 50 + 5 * len(world.train) / 60

    def standard(scores):
        return (scores - scores.mean()) / scores.std()

    def score(met, learned):
        strength = 3 * ((50 + 5 * len(learned)) / mean_weight) ** 0.5
        matrix = y.T @ y + 5 * y[learned].T @ y[learned] + strength * np.eye(4)
        p = np.linalg.solve(matrix, 6 * y[learned].sum(axis=0))
        return 0.7 * standard(b[met].sum(axis=0)) + 0.3 * standard(y @ p)

    for user, targets, each, drop in zip(USERS, TARGETS, found, drops, strict=True):
        met, learned = (data.item[data.user == user] for data in (world.known, world.train))
        assert each.items.tolist() == met.tolist()
        whole = score(met, learned)
        expected = [(whole - score(met[met != j], learned[learned != j]))[targets] for j in met]
        np.testing.assert_allclose(drop, np.array(expected) / whole.std(), rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hlrpp", {"num_memories": 3, "max_history": 4, "max_item_users": 3}),
        ("transcf", {}),
        ("cml", {"user": "history"}),
    ],
)
def test_a_person_without_the_item_has_lost_what_the_reason_says(world, name, options):
    """Scored by the whole system, where contributions come from one masked pass or from vectors."""
    model = hlr_jax.create_model(name, embed_dim=6, **options)
    params = jax.tree.map(lambda x: 1.5 * x, model.init(jax.random.key(2), world.num_users, world.num_items))
    for each, drop in zip(*found_and_drops(model, params, world), strict=True):
        lost = each.values
        if name == "cml":  # of a mean: the others count for more when one is gone
            lost = (each.values - each.values.mean(axis=0)) * len(each.items) / (len(each.items) - 1)
        np.testing.assert_allclose(drop * each.spread, lost, rtol=1e-2, atol=1e-4)


def test_what_cannot_be_measured_is_an_error(world, tmp_path):
    popularity = hlr_jax.fit(world, "popularity", workdir=tmp_path / "run", quiet=True, log=id)
    ended = command("evaluate", f"--workdir={tmp_path / 'run'}", "--reasons")
    assert ended.returncode == 2
    assert ended.stderr == "error: model popularity reads no history, so it gives no reasons\n"
    blend = Blend({"popularity": Part(popularity.model, 1.0)})
    with pytest.raises(InputError, match="Popularity reads no history, so it gives no reasons to measure"):
        measure_reasons(blend, {"popularity": popularity.params}, world)
    ease = next(Ease((10.0,)).fits(world))
    with pytest.raises(InputError, match="no user has 50 items left to recommend; pass a smaller k"):
        measure_reasons(ease.scorer, ease.state, world, k=50)
