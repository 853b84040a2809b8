"""Whole runs from plain settings: what the command lines call, and notebooks can."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jax.sharding import Mesh

from hlr_jax import folders
from hlr_jax.blended_systems import Blend
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.options import DataOptions
from hlr_jax.data.prepare import load_dataset
from hlr_jax.data.serialization import read_stored, store_dataset
from hlr_jax.distributed import is_process_zero, log_on_process_zero, on_all_processes
from hlr_jax.errors import InputError, check_options, check_seed, pick
from hlr_jax.evaluation.evaluate import Evaluation, evaluate_seeds, validation_users
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.evaluation.results import Metrics, over_seeds, write_metrics
from hlr_jax.fitting.fit import FitResult, train_seeds
from hlr_jax.fitting.scorers import fit_scorer
from hlr_jax.fitting.start import check_start
from hlr_jax.mesh import MeshOptions
from hlr_jax.models.base import Model
from hlr_jax.provenance import maker_of
from hlr_jax.settings import SECTIONS, plain
from hlr_jax.sharding import create_mesh
from hlr_jax.systems import System, create_system
from hlr_jax.training.history import Logger
from hlr_jax.training.options import TrainOptions
from hlr_jax.types import Params
from hlr_jax.workdir import DATASET, begin, held_by_all, record_environment


class RunParts(NamedTuple):
    """The objects that settings stand for. ``model`` may be a scorer, which reads nothing of ``train``."""

    dataset: Dataset
    model: System
    train: TrainOptions
    eval: EvalOptions
    mesh: Mesh | None
    seed: int


class RunResult(NamedTuple):
    """A run that is done.

    Attributes:
      parts: what it was made of.
      fits: the training of each seed; of a scorer, its one fit.
      evaluations: of each split that isn't empty, each seed's.
      metrics: of each split that isn't empty, of all seeds: what ``eval/SPLIT.json`` holds.

    Example:
      >>> config = {"model": {"name": "ease"}, "train": {}, "eval": {}, "seed": 0}
      >>> done = hlr_jax.run(config, None, dataset=data, quiet=True)
      >>> sorted(done.metrics), len(done.fits)
      (['test', 'valid'], 1)
    """

    parts: RunParts
    fits: list[FitResult]
    evaluations: dict[str, list[Evaluation]]
    metrics: dict[str, Metrics]


def settings_of(config: dict[str, Any], model: System | None = None) -> tuple[System, TrainOptions, EvalOptions]:
    """Make the model and its options, which need neither data nor devices, and check the names of all settings.

    A ``model`` that is given stands for the section of that name.

    Raises:
      InputError: an unknown section or key, a value out of range, or a setting that a scorer does not read.
    """
    for section, values in config.items():
        pick(section, (*SECTIONS, "seed"), "section of the config:")
        if section in SECTIONS and not isinstance(values, Mapping):
            raise InputError(f"{section} is a section of settings, not {type(values).__name__}")
    system = model
    if system is None:
        model_options = dict(config.get("model", {}))
        if "name" not in model_options:
            raise InputError("model.name is missing")
        if not isinstance(name := model_options.pop("name"), str):
            raise InputError(f"model.name must be text, not {type(name).__name__}")
        system = create_system(name, **model_options)
    check_seed("seed", config.get("seed", 0))
    makers: dict[str, Callable[..., Any]] = {
        "train": TrainOptions,
        "eval": EvalOptions,
        "mesh": MeshOptions,
        "dataset": DataOptions,
    }
    for section, maker in makers.items():
        check_options(maker, config.get(section, {}), section)
    if not isinstance(system, Model):
        _check_unread(system.title, config)
    return system, TrainOptions(**config.get("train", {})), EvalOptions(**config.get("eval", {}))


def _check_unread(title: str, config: dict[str, Any]) -> None:
    """Check that the settings of a scorer have nothing that only models read."""
    for name in config.get("train", {}):
        raise InputError(f"train.{name} is set, and {title} reads no settings of training: leave it out")
    if any(count != 1 for count in config.get("mesh", {}).values()):
        raise InputError(f"{title} is fitted on the host: leave the settings of mesh out")


def build(
    config: dict[str, Any], log: Callable[[str], None] = print, dataset: Dataset | None = None,
    model: System | None = None,
) -> RunParts:  # fmt: skip
    """Make the parts that five sections of keyword arguments and a ``seed`` describe; values are checked first.

    A ``dataset`` or ``model`` that is given stands for the section of that name.

    Raises:
      InputError: an unknown section, key or value, or anything wrong with the data.
    """
    config = plain(config)
    system, train, evaluation = settings_of(config, model)
    mesh = create_mesh(**config.get("mesh", {}))
    if dataset is None:
        dataset = load_dataset(**config.get("dataset", {}), log=log)
    return RunParts(dataset, system, train, evaluation, mesh, config.get("seed", 0))


def run(
    config: dict[str, Any],
    workdir: str | Path | None,
    *,
    dataset: Dataset | None = None,
    model: System | None = None,
    loggers: Sequence[Logger] = (),
    quiet: bool = False,
    log: Callable[[str], None] = print,
) -> RunResult:
    """Train, or continue, the run that ``config`` describes in ``workdir``, and evaluate its best epoch.

    Sections of ``config`` may be dicts or options such as ``TrainOptions``, and values those of NumPy, or paths.
    Without a ``workdir`` nothing is written. A ``dataset`` or ``model`` that is given stands for the section of that
    name; a run in a workdir is loaded by its section ``model``. ``loggers`` are called with each epoch's record.

    Raises:
      InputError: see ``build``; a workdir of another run.

    Example:
      >>> config = {"model": {"name": "ease"}, "train": {}, "eval": {"k": 5}, "seed": 0}
      >>> hlr_jax.run(config, None, dataset=data, quiet=True).metrics["test"].k
      (5,)
    """
    config, folder = plain(config), None if workdir is None else folders.as_folder(workdir)
    log = log_on_process_zero(log)
    # They meet before one of them reads the source: that may take longer than processes wait when they first meet.
    on_all_processes(lambda: _check_settings(config, model, folder))
    if folder is None:
        return _trained(on_all_processes(lambda: build(config, log, dataset, model)), None, loggers, quiet, log)
    source = on_all_processes(lambda: build(config, log, dataset, model).dataset if is_process_zero() else None)
    with held_by_all(folder):
        on_all_processes(partial(_begin, folder, config, source, log))
        del source  # all go on with the copy in the workdir, of which each reads its share
        kept = on_all_processes(lambda: read_stored(folder / DATASET, check=is_process_zero()))
        parts = on_all_processes(lambda: build(config, log, kept, model))
        return _trained(parts, folder, loggers, quiet, log)


def _trained(
    parts: RunParts, folder: Path | None, loggers: Sequence[Logger], quiet: bool, log: Callable[[str], None]
) -> RunResult:
    """Train and evaluate what settings stand for, in a workdir that has begun, if there is one."""
    parts, fits = _fit(parts, folder, loggers, quiet)
    for fit in fits:
        if fit.stopped:
            log(f"training stopped: {fit.stopped}" if len(fits) == 1 else f"seed {fit.seed} stopped: {fit.stopped}")
    params, best_epochs, seeds = ([getattr(fit, name) for fit in fits] for name in ("params", "best_epoch", "seed"))
    evaluations, metrics = evaluate_run(parts, params, best_epochs, seeds, folder)
    return RunResult(parts, fits, evaluations, metrics)


def _check_settings(config: dict[str, Any], given: System | None, folder: Path | None) -> None:
    model, train, _ = settings_of(config, given)
    if isinstance(model, Blend):
        raise InputError("a blend is not trained: train its parts, and call hlr_jax.blend")
    if isinstance(model, Model):
        check_start(train, model, folder)
    if folder is not None and is_process_zero():
        folders.check(folder, "run")


def _fit(
    parts: RunParts, folder: Path | None, loggers: Sequence[Logger], quiet: bool
) -> tuple[RunParts, list[FitResult]]:
    """Return what was trained, with the settings that a scorer has chosen, and the fit of each seed."""
    dataset, model = parts.dataset, parts.model
    if isinstance(model, Model):
        others: dict[str, Any] = {"workdir": folder, "mesh": parts.mesh, "loggers": loggers, "quiet": quiet}
        return parts, train_seeds(dataset, model, parts.train, parts.eval, seed=parts.seed, **others)
    assert not isinstance(model, Blend)  # _check_settings has said so
    scorer, fit = fit_scorer(dataset, model, parts.eval, seed=parts.seed, workdir=folder, loggers=loggers)
    return parts._replace(model=scorer), [fit]


def _begin(folder: Path, config: dict[str, Any], dataset: Dataset | None, log: Callable[[str], None]) -> None:
    """Write what a workdir holds before training, or check that it does; the process that has the data does that."""
    if dataset is None:
        return
    settings_of(config)  # the run can be loaded by them, also where a model is given
    begin(folder, config)
    record_environment(folder, dataset, log)
    store_dataset(folder / DATASET, dataset)


def evaluate_run(
    parts: RunParts, params: list[Params], best_epochs: list[int | None], seeds: list[int], folder: Path | None,
    config: dict[str, Any] | None = None,
) -> tuple[dict[str, list[Evaluation]], dict[str, Metrics]]:  # fmt: skip
    """Evaluate each seed's parameters on the splits that have interactions, and write ``eval/`` in ``folder`` if given.

    ``seeds`` are those that neighbors are drawn with. ``config`` are the settings of the run in the folder; None: those
    that it holds.

    Returns:
      The evaluations and the metrics of ``RunResult``.
    """
    evaluations, metrics = {}, {}
    written = folder if is_process_zero() else None
    maker = "" if written is None else maker_of(written, config)
    for split in ("valid", "test"):
        if not len(getattr(parts.dataset, split)):
            continue
        # Validation metrics are of the users that chose the epoch.
        users = validation_users(parts.dataset, parts.eval) if split == "valid" else None
        of_seeds = evaluate_seeds(parts.model, params, parts.dataset, split, parts.eval, seeds, users)
        evaluations[split] = of_seeds
        metrics[split] = over_seeds([evaluation.metrics for evaluation in of_seeds], best_epochs)
        if written is not None:
            write_metrics(written, metrics[split], [evaluation.per_user for evaluation in of_seeds], maker)
    return evaluations, metrics
