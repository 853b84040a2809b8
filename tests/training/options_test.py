import pytest

import hlr_jax
from hlr_jax import EvalOptions, InputError, TrainOptions
from hlr_jax.fitting.fit import check_monitor
from hlr_jax.training.batches import Negatives


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_epochs": -1}, "train.num_epochs must be at least 0, got -1"),
        ({"num_epochs": 0}, "train.num_epochs=0 trains nothing: set 1 or more, or train.start"),
        ({"warmup": -0.5}, "train.warmup must be at least 0"),
        ({"learning_rate": -1.0}, "train.learning_rate must be at least 0"),
        ({"margin": "0.5"}, "train.margin must be a number"),
        ({"learning_rate": float("nan")}, "train.learning_rate must be at least 0"),
        ({"objective": "hinge"}, 'unknown train.objective "hinge" (did you mean "hinge_'),
        ({"negatives": "in-batch"}, 'unknown train.negatives "in-batch" (did you mean "in_batch"?)'),
        ({"temperature": 0.0}, "train.temperature must be at least 1e-06"),
        ({"temperatures": [0.1, 0.1]}, "train.temperatures holds a value twice"),
        ({"temperatures": [0.0]}, "train.temperatures must be at least 1e-06"),
        ({"batch": "user"}, 'unknown train.batch "user" (did you mean "users"?)'),
        ({"prune_after": -1}, "train.prune_after must be at least 0"),
        (
            {"batch": "users", "negatives": "all"},
            "train.negatives=all is for train.objective=sampled_softmax or square, not hinge_hardest",
        ),
        (
            {"batch": "users", "negatives": "per_user", "objective": "square"},
            "train.objective=square is over all items: set train.batch=users and train.negatives=all",
        ),
    ],
)
def test_options_out_of_range_are_refused_by_name(options, message):
    with pytest.raises(InputError) as caught:
        TrainOptions(**options)
    assert message in str(caught.value)


FITTING = {"triplets": ("per_triplet", "in_batch", "shared"), "users": ("per_user", "all")}


@pytest.mark.parametrize("batch", FITTING)
@pytest.mark.parametrize("negatives", [kind for kinds in FITTING.values() for kind in kinds])
def test_negatives_that_do_not_fit_the_batch_are_refused_with_those_that_do(batch, negatives):
    options = {"batch": batch, "negatives": negatives, "objective": "sampled_softmax"}
    if negatives in FITTING[batch]:
        assert Negatives.of(TrainOptions(**options)).own == (1 if negatives.startswith("per_") else 0)
        return
    message = rf"train\.negatives={negatives} is not for train\.batch={batch}; set negatives to {FITTING[batch][0]} or "
    with pytest.raises(InputError, match=message):
        TrainOptions(**options)


def test_temperatures_are_not_chosen_by_a_loss(world):
    several, cml = TrainOptions(temperatures=[0.1, 0.5]), hlr_jax.create_model("cml", embed_dim=2)
    with pytest.raises(InputError, match=r"train\.temperatures needs a metric to select by: set eval\.monitor"):
        hlr_jax.train_model(world, cml, several)
    by_ndcg = EvalOptions(monitor="ndcg", k=5)
    check_monitor(by_ndcg, several, world)
    assert (by_ndcg.monitor_name, by_ndcg.higher_is_better) == ("valid_ndcg@5", True)


def test_runs_are_those_of_each_seed_at_each_temperature():
    options = TrainOptions(temperatures=[0.1, 0.5], learning_rate=0.2, margin=0.3)
    assert [tuple(run) for run in options.runs([7, 8])] == [
        (seed, 0.2, 0.3, temperature) for seed in (7, 8) for temperature in (0.1, 0.5)
    ]
    chosen = options.at(0.5)
    assert (chosen.temperature, chosen.temperatures, chosen.prune_after) == (0.5, (), 0)
    assert [tuple(run) for run in chosen.runs([7])] == [(7, 0.2, 0.3, 0.5)]


def test_model_options_are_refused_by_name():
    for options, message in [
        ({"num_memorys": 3}, "did you mean model.num_memories"),
        ({"num_memories": 0}, "model.num_memories must be at least 1"),
        ({"variant": "papr"}, 'unknown model.variant "papr" (did you mean "paper"?)'),
        ({"history_sampling": "random"}, "unknown model.history_sampling"),
    ]:
        with pytest.raises(InputError) as caught:
            hlr_jax.create_model("hlr", **options)
        assert message in str(caught.value)
    with pytest.raises(InputError, match='unknown model "hrl"'):
        hlr_jax.create_model("hrl")
