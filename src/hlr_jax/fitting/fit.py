"""Training as one call: a model and a data set in, the best epoch's parameters out, for one run or several at once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from hlr_jax import folders
from hlr_jax.data.dataset import Dataset
from hlr_jax.distributed import is_process_zero
from hlr_jax.errors import InputError, check_seed
from hlr_jax.evaluation.evaluate import evaluate_seeds, memory_to_rank, validation_users
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.files import sha256_of
from hlr_jax.fitting.start import start_of
from hlr_jax.models.base import Model
from hlr_jax.sharding import split_seeds
from hlr_jax.training.checkpoints import Checkpoints
from hlr_jax.training.display import Display
from hlr_jax.training.history import History, Logger, Record
from hlr_jax.training.loop import Loop, Validate, Validation
from hlr_jax.training.many_runs import Learner, create_learner
from hlr_jax.training.options import Run, TrainOptions
from hlr_jax.training.result import RESULT, run_identity
from hlr_jax.training.run_progress import chosen_runs, equal_temperatures
from hlr_jax.types import Params
from hlr_jax.workdir import held_by_all


class FitResult(NamedTuple):
    """A trained model.

    Attributes:
      params: of the best epoch.
      run: what it was trained with; of several temperatures, the chosen one.
      best_epoch: the epoch they are from; 0: what training started from (``train.start``), and no epoch was better.
        None, of ``fit_runs`` alone: there is no result, since the loss of the first epoch was not finite.
      best_value: the validation metric of the best epoch; None without one.
      history: one record per epoch: this run's lines of ``metrics.jsonl``. Of several processes the first has them
        all; the others lack the epochs before they started.
      stopped: why training ended before the last epoch, in a sentence; empty if it did not.
      failed: whether that is because a loss was not finite.
      equals: other temperatures that validated as well; of equals the first is kept.

    Example:
      >>> fitted = hlr_jax.train_model(data, model, options, quiet=True)
      >>> fitted.best_epoch, [record["epoch"] for record in fitted.history]
      (1, [1])
    """

    params: Params
    run: Run
    best_epoch: int | None
    best_value: float | None
    history: list[Record]
    stopped: str = ""
    failed: bool = False
    equals: tuple[float, ...] = ()

    @property
    def seed(self) -> int:
        """That the model was trained with."""
        return self.run.seed


def train_model(
    dataset: Dataset,
    model: Model,
    options: TrainOptions | None = None,
    evaluation: EvalOptions | None = None,
    *,
    seed: int = 0,
    **others: Any,
) -> FitResult:
    """Train a model and return the parameters of its best epoch on validation.

    Args:
      dataset: prepared interactions. Without validation interactions, the last epoch is the result.
      model: from ``create_model``.
      options: of training.
      evaluation: ``monitor`` chooses the best epoch.
      seed: of parameters and draws.
      others: see ``train_seeds``.

    Raises:
      InputError: the data set has no training interactions, the loss is not finite in the first epoch, or
        ``options.num_seeds`` is not 1.

    Example:
      >>> fitted = hlr_jax.train_model(data, model, options, quiet=True)
      >>> fitted.best_epoch, fitted.params["item"].shape
      (1, (50, 4))
    """
    if options and options.num_seeds != 1:
        raise InputError(f"train.num_seeds is {options.num_seeds}: call train_seeds, which returns a result for each")
    return train_seeds(dataset, model, options, evaluation, seed=seed, **others)[0]


def train_seeds(
    dataset: Dataset,
    model: Model,
    options: TrainOptions | None = None,
    evaluation: EvalOptions | None = None,
    *,
    seed: int = 0,
    workdir: str | Path | None = None,
    mesh: Mesh | None = None,
    loggers: Sequence[Logger] = (),
    quiet: bool = False,
) -> list[FitResult]:
    """Train ``options.num_seeds`` models at once, with the seeds from ``seed`` on, an epoch of all in one call.

    Each has its own best epoch and patience, and ends as ``train_model`` with its seed alone would end, but for
    rounding; one that is out of patience, or whose loss is not finite, waits until the last one is done. Of several
    temperatures each seed keeps the one that validates best.

    Args:
      dataset: prepared interactions.
      model: from ``create_model``.
      options: of training.
      evaluation: ``monitor`` chooses the best epoch.
      seed: the first one.
      workdir: where checkpoints, ``metrics.jsonl`` and the result go; a run found there is continued, and ends with the
        same bits as one that was never stopped. Settings and data are not kept: ``hlr_jax.fit`` does that. None:
        nothing is written.
      mesh: from ``sharding.create_mesh``; None: one device.
      loggers: are called with each record of an epoch, with those of a continued run first.
      quiet: show no progress.

    Raises:
      InputError: see ``train_model``.

    Example:
      >>> fits = hlr_jax.train_seeds(data, model, options, seed=3, quiet=True)
      >>> [fitted.seed for fitted in fits]
      [3]
    """
    options, evaluation = options or TrainOptions(), evaluation or EvalOptions()
    check_seed("seed", seed)
    check_seed("seed", seed + options.num_seeds - 1)
    check_monitor(evaluation, options, dataset)
    runs = options.runs(range(seed, seed + options.num_seeds))
    label = "" if quiet else model.name if len(runs) == 1 else f"{model.name}, {len(runs)} runs,"
    identity = run_identity(dataset, model, options, seed)
    loop, identity = _train((dataset, model, options, evaluation), runs, identity, label, workdir, mesh, loggers)
    chosen = chosen_runs(loop.progress, evaluation)
    results = _results(loop, chosen, options.patience)
    for result in results:
        if result.best_epoch is None:
            raise InputError(result.stopped if len(results) == 1 else f"seed {result.seed}: {result.stopped}")
    if workdir is not None:
        folder = folders.as_folder(workdir)
        params = jax.tree.map(lambda array: array[np.asarray(chosen)], loop.best_params)
        record = {"epoch": loop.step, "runs": [loop.progress[index].to_json() for index in chosen]}
        with held_by_all(folder):
            Checkpoints(folder / RESULT, identity).save(loop.step, {"params": params}, record)
    return results


def fit_runs(
    dataset: Dataset,
    model: Model,
    options: TrainOptions | None = None,
    evaluation: EvalOptions | None = None,
    *,
    runs: Sequence[Run],
    quiet: bool = False,
    **others: Any,
) -> list[FitResult]:
    """Train several models at once whose seeds, learning rates and losses are those of ``runs``, not of ``options``.

    Each ends as ``train_model`` with its settings alone would end, but for rounding. One whose loss is not finite ends,
    as its result says, and the others go on. ``others`` are ``workdir``, ``mesh`` and ``loggers`` of ``train_seeds``.

    Raises:
      InputError: see ``train_model``; no run, one that stands twice in ``runs``, or a value out of range.
    """
    options, evaluation = options or TrainOptions(), evaluation or EvalOptions()
    if not runs or len(set(runs)) < len(runs):
        raise InputError("runs must be one or more, and differ in seed, learning rate, margin or temperature")
    for run in runs:
        check_seed("seed", run.seed)
        replace(options, **{name: value for name, value in run._asdict().items() if name != "seed"})  # checks them
    shared = options.of_every_run()
    identity = run_identity(dataset, model, shared, 0)
    identity["run"] = sha256_of([identity["run"], [run._asdict() for run in runs]])
    label = "" if quiet else f"{model.name}, {len(runs)} run{'s' * (len(runs) > 1)},"
    loop, _ = _train((dataset, model, shared, evaluation), runs, identity, label, **others)
    return _results(loop, range(len(runs)), shared.patience)


def _train(
    parts: tuple[Dataset, Model, TrainOptions, EvalOptions], runs: Sequence[Run], identity: dict[str, Any], label: str,
    workdir: str | Path | None = None, mesh: Mesh | None = None, loggers: Sequence[Logger] = (),
) -> tuple[Loop, dict[str, Any]]:  # fmt: skip
    """Train from the checkpoint in the workdir, or from the start, to the end; without a label nothing is shown.

    Returns:
      The training, and its identity with what it started from.
    """
    dataset, model, options, evaluation = parts
    start, started_from = start_of(options, model, workdir)
    identity = identity | started_from
    folder = None if workdir is None else folders.as_folder(workdir)
    if not len(dataset.train):
        raise InputError(f"data set {dataset.name} has no training interactions")
    learner = create_learner(dataset, model, options, runs, mesh)
    validate = validation_of(learner, dataset, model, evaluation, runs)
    display = Display(label, options.num_epochs, quiet=not label or not is_process_zero())
    history = History(folder and folder / "metrics.jsonl", loggers)
    checkpoints = None if folder is None else Checkpoints(folder / "checkpoints", identity)
    with held_by_all(folder):
        loop = Loop(learner, validate, options, evaluation, display, history, checkpoints)
        loop.start(runs, start and (lambda: start(dataset, runs, display.say)))
        if loop.goes_on():
            if label:
                ranking = memory_to_rank(model, split_seeds(loop.state.params)[0], dataset, evaluation)
                display.begin(
                    max(run.epoch for run in loop.progress),
                    _needs(ranking, learner.memory and learner.memory(loop.state)),
                )
            if folder is not None and is_process_zero():
                folders.clear(folder, [RESULT])  # it has ended, and goes on
        loop.run()
    return loop, identity


def _needs(ranking: int, plan: tuple[int, int, int] | None) -> str:
    """Return what memory of each device the training will take, in words: to rank, and the plan of an epoch."""
    needs = [f"{ranking / 2**20:,.0f} MiB to rank"]
    if plan is not None:
        held = f"{plan[0] / 2**20:,.0f} parameters, moments, data"
        needs.insert(0, f"{sum(plan) / 2**20:,.0f} MiB to train ({held})")
    return f"memory per device: {', '.join(needs)}"


def _results(loop: Loop, chosen: Sequence[int], patience: int) -> list[FitResult]:
    """Return the results of the chosen runs."""
    params, results = split_seeds(loop.best_params), []
    for index in chosen:
        progress = loop.progress[index]
        run, best, why = progress.run, progress.best_epoch, progress.ended(patience)
        if why and best is not None:
            why = f"{why} (the result is {f'epoch {best}' if best else 'what training started from'})"
        history, failed = loop.history.of_run(run), bool(progress.failed)
        equals = equal_temperatures(loop.progress, index)
        results.append(FitResult(params[index], run, best, progress.best_value, history, why, failed, equals))
    return results


def check_monitor(evaluation: EvalOptions, options: TrainOptions, dataset: Dataset) -> None:
    """Check that what is monitored can choose among the temperatures, if there are several.

    Raises:
      InputError: it is a loss, whose values at two temperatures can't be compared, or nothing to validate on.
    """
    if len(options.temperatures) < 2:
        return
    if not len(dataset.valid):
        raise InputError(
            f"data set {dataset.name} has no validation interactions to choose one of several temperatures by: pass "
            f"one, such as train.temperatures=({options.temperatures[0]:g},), or a split that has some"
        )
    if evaluation.monitor == "loss":
        raise InputError("train.temperatures needs a metric to choose by: set eval.monitor, to ndcg for example")


def validation_of(
    learner: Learner, dataset: Dataset, model: Model, evaluation: EvalOptions, runs: Sequence[Run]
) -> Validate:
    """Return the function from parameters [S, ...] to what the runs that are wanted [S] show on validation."""
    users, (name, k) = validation_users(dataset, evaluation), evaluation.monitored
    at_k = replace(evaluation, k=k)
    ranks = evaluation.monitor != "loss" and len(dataset.valid) > 0

    def validate(params: Params, wanted: Sequence[bool]) -> list[Validation]:
        results: list[Validation] = [({}, None) for _ in runs]
        chosen = [index for index, is_wanted in enumerate(wanted) if is_wanted]
        if chosen and learner.valid_loss is not None:
            losses = np.asarray(learner.valid_loss(params))
            for index in chosen:
                results[index] = {"valid_loss": float(losses[index])}, None
        if chosen and learner.attention is not None:
            figures = {name: np.asarray(values) for name, values in learner.attention(params).items()}
            for index in chosen:
                seen = {name: float(values[index]) for name, values in figures.items() if np.isfinite(values[index])}
                results[index] = results[index][0] | seen, None
        if chosen and ranks:
            split, seeds = split_seeds(params), [runs[index].seed for index in chosen]
            measured = evaluate_seeds(model, [split[i] for i in chosen], dataset, "valid", at_k, seeds, users)
            for index, result in zip(chosen, measured, strict=True):
                metrics = results[index][0] | {evaluation.monitor_name: result.metrics.value(name)}
                results[index] = metrics, result.per_user[name].to_numpy()
        return results

    return validate
