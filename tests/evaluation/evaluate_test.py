"""What an evaluation holds."""

import jax
import numpy as np
import polars as pl
import pytest
from compilations import compilations
from fabricated import train_anew

import hlr_jax
from hlr_jax import EvalOptions
from hlr_jax.evaluation.evaluate import evaluate, evaluate_seeds, memory_to_rank, validation_users
from hlr_jax.evaluation.results import over_seeds, read_metrics, read_per_user, write_metrics
from hlr_jax.json_files import write_json
from hlr_jax.provenance import maker_of


@pytest.fixture(scope="module")
def trained(world):
    model = hlr_jax.create_model("cml", embed_dim=8)
    return model, model.init(jax.random.key(0), world.num_users, world.num_items)


def test_evaluation_reports_every_user_once_with_original_ids(trained, world):
    result = evaluate(*trained, world, split="test", options=EvalOptions(k=5, num_cohorts=3))
    assert result.metrics.users == len(np.unique(world.test.user)) == result.per_user["user"].n_unique()
    np.testing.assert_allclose(result.metrics.value("ndcg"), result.per_user["ndcg"].mean())
    assert result.metrics.cohorts["ndcg", 5][0][1] > 0
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


def test_validation_and_test_share_a_program(trained, world):
    """Though the longest masked row has 32 items at validation and 35 at test."""
    for split in ("valid", "test"):
        with compilations() as made:
            evaluate(*trained, world, split=split, users=np.unique(getattr(world, split).user)[:32])
        assert bool(made) == (split == "valid")


def test_metrics_over_seeds_are_means_and_deviations_of_a_sample(trained, world):
    model, params = trained
    members = [params, params | {"item": -params["item"]}]
    results = evaluate_seeds(model, members, world, "test", EvalOptions(k=5), [4, 5])
    metrics = over_seeds([result.metrics for result in results], [7, 9])
    first, second = (result.metrics.value("ndcg") for result in results)
    assert first != second
    assert metrics.value("ndcg", 5) == pytest.approx((first + second) / 2)
    assert metrics.std("ndcg") == pytest.approx(abs(first - second) / 2**0.5)
    assert (metrics.seeds, metrics.best_epochs, metrics.by_seed("ndcg")) == ((4, 5), (7, 9), (first, second))
    assert results[0].metrics.std("ndcg") is None
    with pytest.raises(hlr_jax.InputError, match="ndcg@10 was not measured on test"):
        metrics.value("ndcg", 10)


def test_each_k_has_the_metrics_that_it_has_alone(trained, world, tmp_path):
    several = evaluate(*trained, world, options=EvalOptions(k=(5, 2, 10), num_cohorts=3))
    for k in (2, 5, 10):
        alone = evaluate(*trained, world, options=EvalOptions(k=k, num_cohorts=3))
        assert several.per_user.filter(pl.col("k") == k).equals(alone.per_user)
        for name in alone.metrics.measured:
            assert several.metrics.value(name, k) == alone.metrics.value(name)
        assert several.metrics.cohorts["ndcg", k] == alone.metrics.cohorts["ndcg", k]
    assert several.metrics.value("recall") == several.metrics.value("recall", 5)
    assert several.ranking.items.shape[1] == 10
    # What is written is what is read.
    write_json(tmp_path / "config.json", {})
    train_anew(tmp_path, "of a run")
    write_metrics(tmp_path, several.metrics, [several.per_user], maker_of(tmp_path))
    assert read_metrics(tmp_path, "test") == several.metrics
    assert read_per_user(tmp_path)[1].drop("seed").equals(several.per_user)
    for k in ((), (5, 5), (0,), 1001):
        with pytest.raises(hlr_jax.InputError, match=r"eval\.k (must be|is .* must be)"):
            EvalOptions(k=k)


def test_a_split_without_interactions_is_named(trained, world):
    with pytest.raises(hlr_jax.InputError, match="has no valid interactions to evaluate on"):
        evaluate(*trained, world.trained_on("train+valid"), split="valid")
    with pytest.raises(hlr_jax.InputError, match='unknown split to evaluate "tset"'):
        evaluate(*trained, world, split="tset")
