"""Every recipe stands for settings that can be made."""

import pytest

import hlr_jax
from hlr_jax.auto.run import auto_options
from hlr_jax.auto_options import AutoOptions
from hlr_jax.configs import authors, base, baselines, default, paper, recipes, table2, tuned
from hlr_jax.errors import InputError
from hlr_jax.experiment import settings_of

CHOICES = [
    *baselines.MODELS,
    *(f"{model}{family}" for model in paper.MODELS for family in ("", "-paper")),
    *(f"{model}-tuned:{data}" for model in tuned.MODELS for data in tuned.DATA_SETS),
    *(f"{model}-authors:{data}" for model in authors.MODELS for data in authors.DATA_SETS),
]


@pytest.mark.parametrize("choice", CHOICES)
def test_a_recipe_is_made_of_settings(choice):
    made, train, evaluation = settings_of(recipes.get_config(choice).to_dict())
    assert made.name == choice.partition(":")[0].partition("-")[0]
    if "-authors" not in choice:
        assert evaluation.monitor == "ndcg"
    assert bool(train.temperatures) == (choice in default.MODELS)


def test_every_recipe_is_listed():
    assert {recipe.name for recipe in recipes.recipes()} == {choice.partition(":")[0] for choice in CHOICES} | {"auto"}


def test_the_recipe_auto_is_made_of_settings():
    options, evaluation = auto_options(recipes.get_config("auto:planted").to_dict())
    assert (options, evaluation.monitor) == (AutoOptions(), "ndcg")


def test_settings_of_table_2_can_be_made():
    for choice in table2.CHOICES:
        settings_of(table2.get_config(choice).to_dict())


@pytest.mark.parametrize("family", ["", "-tuned:lastfm"])
def test_models_have_the_same_objective_negatives_and_budget(family):
    for model in ("hlr", "hlrpp"):
        assert recipes.get_config(model + family).train == recipes.get_config("cml" + family).train


@pytest.mark.parametrize(
    ("choice", "name", "split"),
    [
        ("hlr:ml-1m", "ml-1m", "random"),
        ("hlr:file", "", "random"),
        ("hlr:split", "", "given"),
        ("hlr-tuned:ml-100k", "ml-100k", "random"),
        ("hlr-tuned:ml-100k,split", "", "given"),
        ("hlr-tuned:lastfm", "", "given"),
        ("hlr-authors:yelp", "yelp", "random"),
        ("hlr-authors:yelp,file", "", "random"),
    ],
)
def test_what_follows_the_colon_says_which_data(choice, name, split):
    dataset = recipes.get_config(choice).dataset
    assert (dataset.name, dataset.split) == (name, split)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("hrl", 'unknown recipe "hrl" \\(did you mean "hlr'),
        ("hlr-tuned", "needs one of the data sets ml-100k"),
        ("hlr-tuned:lastm", 'data set of the recipe hlr-tuned: "lastm" \\(did you mean "lastfm'),
    ],
)
def test_an_unknown_recipe_is_one_line(choice, message):
    with pytest.raises(InputError, match=message):
        recipes.get_config(choice)


def test_defaults_are_those_of_the_options():
    defaults = base.base_config("file")
    assert hlr_jax.TrainOptions(**defaults.train.to_dict()) == hlr_jax.TrainOptions()
    assert hlr_jax.EvalOptions(**defaults.eval.to_dict()) == hlr_jax.EvalOptions()
    assert defaults.mesh.to_dict() == {"data": 1, "model": 1}
    assert {"cache", "log"}.isdisjoint(defaults.dataset)
    defaults.dataset.k_core = 5  # None stands for a value of the option's type
    with pytest.raises(TypeError):
        defaults.dataset.threshold = "high"
