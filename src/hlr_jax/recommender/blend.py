"""From recommenders to one that blends them, in one call."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from hlr_jax.blends.runs import blend_of, settings_of_blend, weighted
from hlr_jax.errors import InputError
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.experiment import evaluate_run
from hlr_jax.recommender.recommender import Recommender


def blend(
    recommenders: Sequence[Recommender] | Mapping[str, Recommender],
    weights: Mapping[str, float] | None = None,
    *,
    eval: Mapping[str, Any] | None = None,
    log: Callable[[str], None] = print,
) -> Recommender:
    """Return several recommenders of one data set as one, which ranks by their weighted standardized scores.

    ``hlr_jax.blended_systems.Blend`` says what a score is, ``hlr_jax.blends.weights.fit_weights`` how validation
    chooses.

    Args:
      recommenders: by label; or in a row, each then called after its model: ``ease``, ``cml``, and ``cml-2`` where two
        have one name. Each takes part with the seed that it serves.
      weights: by label, with a sum of 1; None: validation chooses, and parts that weigh 0 are left out.
      eval: settings of evaluation that differ from those of the first recommender, such as ``{"k": (5, 10)}``.
      log: takes a line about the weights.

    Raises:
      InputError: no recommender, other data sets, a blend among them, weights that are none, or no validation
        interactions to choose them by.

    Example:
      >>> parts = {name: hlr_jax.fit(data, name, quiet=True) for name in ("ease", "popularity")}
      >>> both = hlr_jax.blend(parts, weights={"ease": 0.8, "popularity": 0.2})
      >>> both.model.title, both.metrics["test"].users
      ('EASE + Popularity', 52)
    """
    several = recommenders.values() if isinstance(recommenders, Mapping) else recommenders
    if not isinstance(several, Collection) or not all(isinstance(each, Recommender) for each in several):
        raise InputError("blend: pass Recommender objects, in a list, or in a dict by label")
    given = recommenders if isinstance(recommenders, Mapping) else _labelled(recommenders)
    if not given:
        raise InputError("blend: pass one recommender or more")
    settings = next(iter(given.values())).settings
    evaluation = EvalOptions(**{**settings.get("eval", {}), **(eval or {})})
    members = {label: recommender.served for label, recommender in given.items()}
    loaded, _ = weighted(blend_of(members, evaluation), weights, log)
    _, metrics = evaluate_run(loaded.parts, loaded.params, loaded.best_epochs, loaded.seeds, None)
    return Recommender(loaded, settings_of_blend(loaded, settings), metrics)


def _labelled(recommenders: Sequence[Recommender]) -> dict[str, Recommender]:
    """Return recommenders by the names of their models, numbered from the second of a name on."""
    seen: Counter[str] = Counter()
    labelled = {}
    for recommender in recommenders:
        name = recommender.model.name
        seen[name] += 1
        labelled[name if seen[name] == 1 else f"{name}-{seen[name]}"] = recommender
    return labelled
