"""Every recipe stands for settings that can be made, and says what command trains it."""

import re
import runpy
from pathlib import Path

import pytest

from hlr_jax.experiment import settings_of

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
RECIPES = sorted((EXPERIMENTS / "configs" / "recipes").glob("*.py"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
@pytest.mark.parametrize("model", ["hlr", "hlrpp", "cml"])
def test_a_recipe_is_made_of_settings(path, model, monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    names = runpy.run_path(str(path))
    made, train, evaluation = settings_of(names["get_config"](model).to_dict())
    assert made.name == model
    assert evaluation.monitor == "ndcg"
    assert bool(train.temperatures) == (path.stem == "default")
    assert f"experiments/configs/recipes/{path.name}:hlr" in re.sub(r"\\\n\s*", "", names["__doc__"])


def test_models_have_the_same_objective_negatives_and_budget(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    for path in RECIPES:
        get_config = runpy.run_path(str(path))["get_config"]
        for model in ("hlr", "hlrpp"):
            assert get_config(model).train.to_dict() == get_config("cml").train.to_dict()
