"""Training as one call: a model and a data set in, the best epoch's parameters out, for one run or several at once."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import InputError, check_seed
from hlr_jax.evaluation.evaluate import memory_to_rank
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.files import sha256_of
from hlr_jax.models.base import Model
from hlr_jax.sharding import split_seeds
from hlr_jax.training.checkpoints import Checkpoints
from hlr_jax.training.learners import Learned, create_learner
from hlr_jax.training.loop import FitResult, kept_runs, train, validation_of
from hlr_jax.training.options import Run, TrainOptions


def fit(
    dataset: Dataset,
    model: Model,
    options: TrainOptions | None = None,
    evaluation: EvalOptions | None = None,
    *,
    seed: int = 0,
    workdir: str | Path | None = None,
    mesh: Mesh | None = None,
    quiet: bool = False,
) -> FitResult:
    """Train a model and return the parameters of its best epoch on validation.

    Args:
      dataset: prepared interactions. Without validation interactions, the last epoch is the result.
      model: from ``create_model``.
      options: of training.
      evaluation: ``select_by`` chooses the best epoch.
      seed: of parameters and draws.
      workdir: where checkpoints and ``metrics.jsonl`` go; a run found there is continued, and ends with the same bits
        as one that was never stopped. None: nothing is written.
      mesh: from ``sharding.create_mesh``; None: one device.
      quiet: show no progress.

    Raises:
      InputError: the data set has no training interactions, the loss is not finite in the first epoch, or
        ``options.num_seeds`` is not 1.
    """
    if options and options.num_seeds != 1:
        raise InputError(f"train.num_seeds is {options.num_seeds}: call fit_seeds, which returns a result for each")
    results = fit_seeds(dataset, model, options, evaluation, seed=seed, workdir=workdir, mesh=mesh, quiet=quiet)
    return results[0]


def fit_seeds(
    dataset: Dataset,
    model: Model,
    options: TrainOptions | None = None,
    evaluation: EvalOptions | None = None,
    *,
    seed: int = 0,
    workdir: str | Path | None = None,
    mesh: Mesh | None = None,
    quiet: bool = False,
) -> list[FitResult]:
    """Train ``options.num_seeds`` models at once, with the seeds from ``seed`` on, an epoch of all in one call.

    Each has its own best epoch and patience, and ends as ``fit`` with its seed alone would end, but for rounding; one
    that is out of patience, or whose loss is not finite, waits until the last one is done. The arguments and errors are
    those of ``fit``.
    """
    options, evaluation = options or TrainOptions(), evaluation or EvalOptions()
    check_seed("seed", seed)
    check_seed("seed", seed + options.num_seeds - 1)
    runs = options.runs(range(seed, seed + options.num_seeds))
    identity = run_identity(dataset, model, options, seed)
    several = {"seeds": options.num_seeds, "temperatures": len(options.temperatures)}
    shown = [f" {count} {what}," for what, count in several.items() if count > 1]
    label = f"{model.name}{',' * bool(shown)}{''.join(shown)}"
    found = _fit(dataset, model, options, evaluation, runs, identity, workdir, mesh, "" if quiet else label)
    kept = kept_runs(options, evaluation, [one.best_epoch for one in found], [one.best_value for one in found])
    results = [found[index] for index in kept]
    for result in results:
        if not result.best_epoch:
            raise InputError(result.stopped if len(results) == 1 else f"seed {result.seed}: {result.stopped}")
    return results


def fit_runs(
    dataset: Dataset,
    model: Model,
    options: TrainOptions | None = None,
    evaluation: EvalOptions | None = None,
    *,
    runs: Sequence[Run],
    workdir: str | Path | None = None,
    mesh: Mesh | None = None,
    quiet: bool = False,
) -> list[FitResult]:
    """Train several models at once whose seeds, learning rates and scales are those of ``runs``, not of ``options``.

    Each ends as ``fit`` with its settings alone would end, but for rounding. One whose loss is not finite ends, as its
    result says, and the others go on.

    Raises:
      InputError: see ``fit``; no run, one that stands twice in ``runs``, or a value out of range.
    """
    options, evaluation = options or TrainOptions(), evaluation or EvalOptions()
    if not runs or len(set(runs)) < len(runs):
        raise InputError("runs must be one or more, and differ in seed, learning rate, margin or temperature")
    for run in runs:
        check_seed("seed", run.seed)
        replace(options, **_settings(run))  # checks the ranges
    unset: dict[str, Any] = dict.fromkeys(_settings(runs[0]), 1.0) | {"temperatures": ()}
    shared = replace(options, **unset, num_seeds=1)
    identity = sha256_of([run_identity(dataset, model, shared, 0), [run._asdict() for run in runs]])
    label = f"{model.name}, {len(runs)} run{'s' * (len(runs) > 1)},"
    return _fit(dataset, model, options, evaluation, runs, identity, workdir, mesh, "" if quiet else label)


def _settings(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run._asdict().items() if name != "seed"}


def _fit(
    dataset: Dataset,
    model: Model,
    options: TrainOptions,
    evaluation: EvalOptions,
    runs: Sequence[Run],
    identity: str,
    workdir: str | Path | None,
    mesh: Mesh | None,
    label: str,
) -> list[FitResult]:
    if not len(dataset.train):
        raise InputError(f"data set {dataset.name} has no training interactions")
    learner = create_learner(dataset, model, options, runs, mesh)
    validate = validation_of(learner, dataset, model, evaluation, runs)

    def needs(learned: Learned) -> str:
        one = split_seeds(learned.params)[0]
        ranking = f"{memory_to_rank(model, one, dataset, evaluation) / 2**20:,.0f} MiB to rank all users"
        if learner.memory is None:
            return f"memory of each device: {ranking}"
        plan = learner.memory(learned)
        held = f"parameters, moments and interactions {plan.arguments / 2**20:,.0f}"
        return f"memory of each device: {sum(plan) / 2**20:,.0f} MiB to train ({held}), {ranking}"

    folder = None if workdir is None else Path(workdir)
    checkpoints = None if folder is None else Checkpoints(folder / "checkpoints", identity)
    try:
        return train(learner, validate, options, evaluation, runs, label, folder, checkpoints, needs)
    finally:
        if checkpoints:
            checkpoints.close()


def run_identity(dataset: Dataset, model: Model, options: TrainOptions, seed: int) -> str:
    """Return a hash of what a run's epochs depend on.

    How many there are or are kept, and what computes them, is not part of it.
    """
    free = {"num_epochs", "patience", "checkpoint_every", "microbatch"}
    training = {name: value for name, value in asdict(options).items() if name not in free}
    options_of_model = [option for option in model.options if option[0] != "kernel"]
    return sha256_of([dataset.fingerprint, model.name, options_of_model, training, seed])
