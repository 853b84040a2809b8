"""Recipes by name, for ``--config=NAME:DATA`` and ``hlr_jax.fit(dataset, NAME)``."""

from typing import NamedTuple

from ml_collections import ConfigDict

from hlr_jax.auto_options import NAME as AUTO
from hlr_jax.configs import authors, auto, baselines, default, paper, tuned
from hlr_jax.errors import InputError, pick


class Recipe(NamedTuple):
    """A recipe to list: its name, what may follow the colon, and its description in a sentence."""

    name: str
    data: str
    meaning: str


_DATA = "a data set, split, file or planted"
_MEANINGS = {
    "": "the default: for data without tuned settings",
    "-paper": "the paper's loss, with settings selected on ml-100k",
    "-tuned": "the default, with settings selected on the data set's validation split",
    AUTO: "searches settings for the data, and blends several systems",
    "baseline": "fitted on the host; validation selects its settings",
    "-authors": "the settings of the authors' code for a data set of the paper",
}


def recipes() -> list[Recipe]:
    """Return all recipes. Models without a default of their own take the paper's loss."""
    found = [Recipe(AUTO, _DATA, _MEANINGS[AUTO])]
    found += [Recipe(scorer, _DATA, _MEANINGS["baseline"]) for scorer in baselines.MODELS]
    for model in paper.MODELS:
        found.append(Recipe(model, _DATA, _MEANINGS["" if model in default.MODELS else "-paper"]))
        found.append(Recipe(f"{model}-paper", _DATA, _MEANINGS["-paper"]))
        for family, kind in (("-tuned", tuned), ("-authors", authors)):
            if model in kind.MODELS:
                found.append(Recipe(model + family, ", ".join(kind.DATA_SETS), _MEANINGS[family]))
    return found


def get_config(choice: str = "hlr:ml-100k") -> ConfigDict:
    """Return the settings of ``NAME:DATA``; without data, those for ml-100k.

    After the data set of a tuned recipe, or of one of the authors', you can name other data to use it for, such as
    ``,split`` for a file of fixed splits. See ``base.base_config``.

    Raises:
      InputError: no recipe has the name, or the recipe does not have the data set.

    Example:
      >>> get_config("hlr-tuned:lastfm").train.temperature
      0.12
    """
    name, _, data = choice.partition(":")
    pick(name, [recipe.name for recipe in recipes()], "recipe")
    if name == AUTO:
        return auto.get_config(data or "ml-100k")
    if name in baselines.MODELS:
        return baselines.get_config(name, data or "ml-100k")
    model, _, family = name.partition("-")
    if family in ("tuned", "authors"):
        kind = tuned if family == "tuned" else authors
        tuned_for, _, data = data.partition(",")
        if not tuned_for:
            raise InputError(f"--config={name}:DATA needs one of the data sets {', '.join(kind.DATA_SETS)}")
        return kind.get_config(model, pick(tuned_for, kind.DATA_SETS, f"data set of the recipe {name}:"), data)
    source = default if not family and model in default.MODELS else paper
    return source.get_config(model, data or "ml-100k")
