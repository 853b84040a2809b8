"""What an evaluation holds."""

import jax
import numpy as np
import pytest

import hlr_jax
from hlr_jax import EvalOptions
from hlr_jax.evaluation.evaluate import evaluate, evaluate_seeds, memory_to_rank, over_runs, validation_users


@pytest.fixture(scope="module")
def trained(world):
    model = hlr_jax.create_model("cml", embed_dim=8)
    return model, model.init(jax.random.key(0), world.num_users, world.num_items)


def test_evaluation_reports_every_user_once_with_original_ids(trained, world):
    result = evaluate(*trained, world, split="test", options=EvalOptions(k=5, num_cohorts=3))
    assert result.metrics["users"] == len(np.unique(world.test.user)) == result.per_user["user"].n_unique()
    np.testing.assert_allclose(result.metrics["ndcg@5"], result.per_user["ndcg"].mean())
    assert result.metrics["cohorts"]["ndcg@5"]["std"] > 0
    assert result.per_user["relevant"].sum() == len(world.test)


def test_a_sample_of_validation_users_has_the_lists_that_all_have(trained, world):
    options = EvalOptions(num_valid_users=20)
    users = validation_users(world, options)
    everyone = np.unique(world.valid.user)
    assert len(users) == 20 < len(everyone)
    some, whole = (evaluate(*trained, world, split="valid", options=options, users=each) for each in (users, everyone))
    places = np.searchsorted(everyone, users)
    np.testing.assert_array_equal(some.ranking.items, whole.ranking.items[places])
    assert some.per_user.equals(whole.per_user[places])
    assert memory_to_rank(*trained, world, options) > 0


def test_figures_over_seeds_are_means_and_deviations_of_a_sample(trained, world):
    model, params = trained
    members = [params, params | {"item": -params["item"]}]
    results = evaluate_seeds(model, members, world, "test", EvalOptions(k=5), [4, 5])
    figures = over_runs(results, [4, 5], [7, 9])
    first, second = (result.metrics["ndcg@5"] for result in results)
    assert first != second
    assert figures["ndcg@5"] == pytest.approx((first + second) / 2)
    assert figures["std"]["ndcg@5"] == pytest.approx(abs(first - second) / 2**0.5)
    assert [(row["seed"], row["best_epoch"], row["ndcg@5"]) for row in figures["seeds"]] == [
        (4, 7, first), (5, 9, second)
    ]  # fmt: skip


def test_a_split_without_interactions_is_named(trained, world):
    with pytest.raises(hlr_jax.InputError, match="has no valid interactions to evaluate on"):
        evaluate(*trained, world.trained_on("train+valid"), split="valid")
    with pytest.raises(hlr_jax.InputError, match='unknown split to evaluate "tset"'):
        evaluate(*trained, world, split="tset")
