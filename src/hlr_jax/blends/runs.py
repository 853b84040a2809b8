"""Blends of runs, in memory."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from hlr_jax.blended_systems import Blend, Part
from hlr_jax.blends.description import described
from hlr_jax.blends.weights import BlendWeights, fit_weights
from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import InputError
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.experiment import RunParts
from hlr_jax.loading import LoadedRun
from hlr_jax.models.base import Model
from hlr_jax.training.options import Run, TrainOptions
from hlr_jax.training.run_progress import RunProgress
from hlr_jax.types import Params

PARTS = "parts"  # of the settings of a blend, and the folder of its workdir
EPOCH = 1  # of its one line in metrics.jsonl

Log = Callable[[str], None]


def is_blend(config: Mapping[str, Any]) -> bool:
    """Return whether settings are those of a blend."""
    return config.get("model", {}).get("name") == Blend.name


def blend_of(members: Mapping[str, tuple[LoadedRun, int]], evaluation: EvalOptions | None = None) -> LoadedRun:
    """Return runs of one data set as a blend with equal weights.

    Args:
      members: by label, a run and the place of one of its seeds.
      evaluation: settings of evaluation; None: those of the first run.

    Raises:
      InputError: no run, other data sets, a run of a blend, or parameters on a mesh.
    """
    parts: dict[str, Part] = {}
    params: dict[str, Any] = {}
    for label, (loaded, place) in members.items():
        system, training = loaded.parts.model, None
        if isinstance(system, Blend):
            raise InputError(f"part {label} is a blend: blend its parts instead")
        if isinstance(system, Model):
            training = loaded.training_of(place).without_run()
        parts[label] = Part(system, 1.0, loaded.seeds[place], training)
        params[label] = loaded.params[place]
        if loaded.parts.mesh is not None:
            raise InputError(f"part {label} lies on a mesh, and a blend is ranked on the host: load it without")
    blend = Blend.equal(parts) if parts else Blend(parts)
    check_same_data({label: loaded for label, (loaded, _) in members.items()})
    first = next(iter(members.values()))[0].parts
    return loaded_blend(first.dataset, blend, params, evaluation or first.eval, first.seed)


def check_same_data(runs: Mapping[str, LoadedRun]) -> None:
    """Check that the runs of parts, by label, have the same data.

    Raises:
      InputError: two differ.
    """
    (first, one), *others = ((label, loaded.parts.dataset) for label, loaded in runs.items())
    for label, dataset in others:
        if dataset.fingerprint != one.fingerprint:
            raise InputError(
                f"part {label} has other data than part {first}: {dataset.summary()}; {one.summary()}; a blend needs "
                "runs of the same data set and split"
            )


def loaded_blend(
    dataset: Dataset, blend: Blend, params: Params, evaluation: EvalOptions, seed: int, value: float | None = None
) -> LoadedRun:
    """Return a blend as a run that is done; ``params`` are those of its parts by label."""
    training = TrainOptions()
    run: Run = training.runs([seed])[0]
    parts = RunParts(dataset, blend, training, evaluation, None, seed)
    return LoadedRun(parts, [params], [RunProgress(run, EPOCH, value, epoch=EPOCH)])


def blend_of_seeds(loaded: LoadedRun) -> LoadedRun:
    """Return all seeds of a run as a blend with equal weights; its parts are ``seed-0``, ``seed-1``, ...

    Raises:
      InputError: see ``blend_of``.
    """
    return blend_of({f"seed-{seed}": (loaded, place) for place, seed in enumerate(loaded.seeds)})


def weighted(
    equal: LoadedRun, weights: Mapping[str, float] | None = None, log: Log = print
) -> tuple[LoadedRun, BlendWeights | None]:
    """Return a blend with weights that are given, or that validation chooses, without parts that weigh 0.

    Args:
      equal: from ``blend_of``.
      weights: by label; None: validation chooses.
      log: takes lines for people.

    Raises:
      InputError: see ``Blend.weighted`` and ``fit_weights``.
    """
    dataset, blend, _, evaluation, _, seed = equal.parts
    assert isinstance(blend, Blend)
    chosen, params = None, equal.params[0]
    if weights is None:
        if not len(dataset.valid):
            raise InputError(f"data set {dataset.name} has no valid interactions to choose weights on: pass weights")
        chosen = fit_weights(blend, params, dataset, evaluation)
        weights = chosen.weights
        log(told(chosen))
    kept = blend.weighted(weights)
    given = {label: params[label] for label in kept.parts}
    value = None if chosen is None else chosen.value
    return loaded_blend(dataset, kept, given, evaluation, seed, value), chosen


def told(chosen: BlendWeights) -> str:
    """Return weights that validation has chosen, in lines for people that fit in 80 columns."""
    if len(chosen.weights) == 1:
        return f"{chosen.best_part}: {chosen.metric} {chosen.value:.4f}"
    weights = ", ".join(f"{label} {weight:g}" for label, weight in chosen.weights.items() if weight)
    return (
        f"{chosen.metric} {chosen.value:.4f} ({chosen.held_out:.4f} on held-out users)\n"
        f"  weights: {weights}\n"
        f"  {chosen.lead:+.4f} (standard error {chosen.lead_error:.4f}) over {chosen.best_part} alone, "
        f"{chosen.alone[chosen.best_part]:.4f}"
    )


def settings_of_blend(loaded: LoadedRun, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a blend, from which it is made again; ``settings`` are those of one of its parts.

    Raises:
      InputError: a part's model was made by hand.
    """
    blend = loaded.parts.model
    assert isinstance(blend, Blend)
    evaluation = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(loaded.parts.eval).items()}
    return {
        "dataset": dict(settings.get("dataset", {})),
        "model": {"name": Blend.name, PARTS: described(blend)},
        "eval": evaluation,
        "seed": loaded.parts.seed,
    }


def runs_of_parts(loaded: LoadedRun, settings: Mapping[str, Any]) -> dict[str, tuple[LoadedRun, dict[str, Any]]]:
    """Return each part of a blend as a run of its own, with its settings, by label; none of any other system."""
    blend, runs = loaded.parts.model, {}
    if isinstance(blend, Blend):
        of_parts: dict[str, Any] = dict(loaded.params[0])
        for label, part in blend.parts.items():
            training = part.training or TrainOptions()
            parts = loaded.parts._replace(model=part.system, train=training, seed=part.seed)
            own = LoadedRun(parts, [of_parts[label]], [RunProgress(training.runs([part.seed])[0])])
            model = {"name": part.system.name, **dict(part.system.options)}
            train = {} if part.training is None else asdict(part.training)
            runs[label] = own, {**settings, "model": model, "train": train, "seed": part.seed}
    return runs
