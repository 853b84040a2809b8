"""Scorers by name, as in ``model.name`` of a config."""

from typing import Any

from hlr_jax.errors import check_options, pick
from hlr_jax.scorers.base import Scorer
from hlr_jax.scorers.ease import Ease
from hlr_jax.scorers.item_knn import ItemKNN
from hlr_jax.scorers.popularity import Popularity

SCORERS: dict[str, type[Scorer]] = {scorer.name: scorer for scorer in (Popularity, ItemKNN, Ease)}


def create_scorer(name: str, **options: Any) -> Scorer:
    """Make a scorer by name; ``options`` are its settings.

    Raises:
      InputError: an unknown scorer or option, or a value out of range.

    Example:
      >>> create_scorer("ease", regularization=(100.0,)).options
      (('regularization', (100.0,)), ('dropout', (0.0,)), ('user_exponent', (0.0,)))
    """
    scorer = SCORERS[pick(name, SCORERS, "scorer")]
    check_options(scorer, options, "model")
    return scorer(**options)
