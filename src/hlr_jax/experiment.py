"""Whole runs from plain settings: what the command lines call, and notebooks can."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean, mode
from typing import Any, NamedTuple

from jax.sharding import Mesh

from hlr_jax.data.interactions import TRAIN_ON, Dataset
from hlr_jax.data.prepare import load_dataset
from hlr_jax.data.stored import read_stored, store_dataset
from hlr_jax.distributed import is_first, spoken_by_first, together
from hlr_jax.ensembles import ensemble_of, joined
from hlr_jax.errors import UserError, check_options, check_seed, pick
from hlr_jax.evaluation.evaluate import Evaluation, evaluate_seeds, over_runs, selecting_users
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.models.base import Model, create_model
from hlr_jax.sharding import create_mesh, split_seeds
from hlr_jax.training.checkpoints import Checkpoints
from hlr_jax.training.fit import fit_seeds, run_identity
from hlr_jax.training.loop import FitResult, kept_runs
from hlr_jax.training.options import Run, TrainOptions
from hlr_jax.types import Params
from hlr_jax.workdir import DATASET, claim, read_config, record_environment, write_evaluation

SECTIONS = ("dataset", "model", "train", "eval", "mesh")


class Settings(NamedTuple):
    """The objects that settings stand for, but for the data and the devices."""

    model: Model
    train: TrainOptions
    eval: EvalOptions
    seed: int


class Parts(NamedTuple):
    """The objects that settings stand for."""

    dataset: Dataset
    model: Model
    train: TrainOptions
    eval: EvalOptions
    mesh: Mesh | None
    seed: int


class Trained(NamedTuple):
    """A run that is done.

    Attributes:
      parts: what it was made of.
      fits: the training of each seed.
      evaluations: of each split that isn't empty, each seed's.
      figures: of each split that isn't empty, over seeds: what ``eval/SPLIT.json`` holds.
    """

    parts: Parts
    fits: list[FitResult]
    evaluations: dict[str, list[Evaluation]]
    figures: dict[str, dict[str, Any]]


def settings_of(config: dict[str, Any]) -> Settings:
    """Make what needs neither data nor devices, and check the names of all settings.

    Raises:
      UserError: an unknown section or key, or a value out of range.
    """
    for section in config:
        pick(section, (*SECTIONS, "seed"), "section of the config:")
    model_options = dict(config.get("model", {}))
    if "name" not in model_options:
        raise UserError("model.name is missing")
    model = create_model(model_options.pop("name"), **model_options)
    seed = config.get("seed", 0)
    check_seed("seed", seed)
    makers: dict[str, Callable[..., Any]] = {
        "train": TrainOptions,
        "eval": EvalOptions,
        "mesh": create_mesh,
        "dataset": load_dataset,
    }
    for section, maker in makers.items():
        check_options(maker, config.get(section, {}), section)
    return Settings(model, TrainOptions(**config.get("train", {})), EvalOptions(**config.get("eval", {})), seed)


def build(config: dict[str, Any], log: Callable[[str], None] = print, dataset: Dataset | None = None) -> Parts:
    """Make the parts that five sections of keyword arguments and a ``seed`` describe; values are checked first.

    A ``dataset`` that is given stands for the section of that name.

    Raises:
      UserError: an unknown section, key or value, or anything wrong with the data.
    """
    model, train, evaluation, seed = settings_of(config)
    mesh = create_mesh(**config.get("mesh", {}))
    if dataset is None:
        dataset = load_dataset(**config.get("dataset", {}), log=log)
    return Parts(dataset, model, train, evaluation, mesh, seed)


def run(
    config: dict[str, Any],
    workdir: str | Path,
    *,
    dataset: Dataset | None = None,
    quiet: bool = False,
    log: Callable[[str], None] = print,
) -> Trained:
    """Train, or continue, the run that ``config`` describes in ``workdir``, and evaluate its best epoch.

    A ``dataset`` that is given stands for the section of that name.

    Raises:
      UserError: see ``build``; a workdir of another run.
    """
    folder = Path(workdir)
    log = spoken_by_first(log)
    # They meet before one of them reads the source: that may take longer than processes wait when they first meet.
    together(lambda: settings_of(config))
    together(lambda: _start(folder, config, build(config, log, dataset).dataset) if is_first() else None)
    # All go on with the copy in the workdir, of which each reads its share.
    parts = together(lambda: build(config, log, read_stored(folder / DATASET, check=is_first())))
    fits = fit_seeds(
        parts.dataset,
        parts.model,
        parts.train,
        parts.eval,
        seed=parts.seed,
        workdir=folder,
        mesh=parts.mesh,
        quiet=quiet,
    )
    for fit in fits:
        if fit.stopped:
            log(f"training stopped: {fit.stopped}" if len(fits) == 1 else f"seed {fit.seed} stopped: {fit.stopped}")
    evaluations, figures = evaluate_run(parts, [fit.params for fit in fits], [fit.best_epoch for fit in fits], folder)
    return Trained(parts, fits, evaluations, figures)


def _start(folder: Path, config: dict[str, Any], dataset: Dataset) -> None:
    claim(folder, config)
    record_environment(folder, dataset)
    store_dataset(folder / DATASET, dataset)


def evaluate_run(
    parts: Parts, params: list[Params], best_epochs: list[int], folder: Path | None
) -> tuple[dict[str, list[Evaluation]], dict[str, dict[str, Any]]]:
    """Evaluate each seed's parameters on the splits that have interactions, and write ``eval/`` in ``folder`` if given.

    Returns:
      The evaluations and the figures of ``Trained``.
    """
    seeds = range(parts.seed, parts.seed + len(params))
    evaluations, figures = {}, {}
    for split in ("valid", "test"):
        if not len(getattr(parts.dataset, split)):
            continue
        # Validation figures are of the users that chose the epoch.
        users = selecting_users(parts.dataset, parts.eval) if split == "valid" else None
        found = evaluate_seeds(parts.model, params, parts.dataset, split, parts.eval, seeds, users)
        evaluations[split], figures[split] = found, over_runs(found, list(seeds), best_epochs)
        if folder is not None and is_first():
            write_evaluation(folder, found, figures[split])
    return evaluations, figures


def _stored_dataset(folder: Path, log: Callable[[str], None]) -> Dataset | None:
    if not (folder / DATASET).exists():
        return None
    dataset = read_stored(folder / DATASET, check=is_first())
    log(dataset.summary())
    return dataset


class Loaded(NamedTuple):
    """A trained run from its workdir: its parts, and for each seed the parameters of its best epoch.

    ``runs`` has what each seed was trained with, of several temperatures the one that is kept.
    """

    parts: Parts
    params: list[Params]
    best_epochs: list[int]
    runs: list[Run]


def load_run(
    workdir: str | Path,
    *,
    eval_options: dict[str, Any] | None = None,
    mesh: dict[str, int] | None = None,
    ensemble: int = 1,
    log: Callable[[str], None] = print,
) -> Loaded:
    """Return a trained run from its workdir.

    Its data is the workdir's own copy; only of a workdir without one, the source is read.

    Args:
      workdir: of a run with a checkpoint.
      eval_options: replace settings of the section ``eval``.
      mesh: the section ``mesh``, whatever the run was trained on; None: one device.
      ensemble: how many seeds are one model together (``ensembles.ensemble_of``); the result has as many sets of
        parameters as the run has seeds, divided by this, each with the settings of its first seed.
      log: takes lines for people.

    Raises:
      UserError: no run there, or its data is damaged or that of another run; an ensemble that does not divide the
        seeds, or on a mesh.
    """
    folder, log = Path(workdir), spoken_by_first(log)
    config = read_config(folder)
    config["eval"] = {**config.get("eval", {}), **(eval_options or {})}
    config["mesh"] = mesh or {}  # one device may read what many wrote, and the other way round,
    config.get("model", {}).pop("kernel", None)  # and a CPU what a GPU wrote
    if not (folder / "checkpoints").is_dir():
        raise UserError(f"{folder} has no checkpoint; train first")
    parts = together(lambda: build(config, log, _stored_dataset(folder, log)))
    together(lambda: record_environment(folder, parts.dataset) if is_first() else None)
    checkpoints = Checkpoints(folder / "checkpoints", run_identity(parts.dataset, parts.model, parts.train, parts.seed))
    try:
        params, best_epochs, best_values = checkpoints.restore_best(parts.mesh)
    finally:
        checkpoints.close()
    every, runs = split_seeds(params), parts.train.runs(range(parts.seed, parts.seed + parts.train.num_seeds))
    kept = kept_runs(parts.train, parts.eval, best_epochs, best_values)
    loaded = Loaded(parts, [every[i] for i in kept], [best_epochs[i] for i in kept], [runs[i] for i in kept])
    return loaded if ensemble == 1 else _together(loaded, ensemble)


def _together(loaded: Loaded, count: int) -> Loaded:
    parts, seeds = loaded.parts, len(loaded.params)
    if count < 1 or seeds % count:
        raise UserError(f"an ensemble of {count}: it must divide the run's seeds, of which there are {seeds}")
    if parts.mesh is not None:
        raise UserError("an ensemble runs on one device: load the run without a mesh")
    # A margin or temperature of one member goes with a distance of one.
    scale, train = float(count), parts.train
    parts = parts._replace(model=ensemble_of(parts.model, count), train=replace(train, margin=scale * train.margin))
    firsts = range(0, seeds, count)
    return Loaded(
        parts,
        [joined(loaded.params[first : first + count]) for first in firsts],
        [loaded.best_epochs[first] for first in firsts],
        [run._replace(temperature=scale * run.temperature) for run in loaded.runs[::count]],
    )


def refit(
    workdir: str | Path,
    output: str | Path,
    *,
    train_on: str = "train+valid",
    quiet: bool = False,
    log: Callable[[str], None] = print,
) -> Trained:
    """Train the settings that a run has chosen once more, on more than its training interactions, in ``output``.

    Validation has said which of several temperatures and which epoch are best, so its interactions can be learned from
    too: the temperature that most seeds have kept, for as many epochs as they needed in the mean, from the start. With
    ``train+valid`` the result is measured on test, once; with ``train+valid+test`` it is a model to serve, and
    not measured. The same call continues it. Data is the run's own copy.

    Args:
      workdir: of a run that is done.
      output: workdir of the new run.
      train_on: the splits that are trained on, a name of ``interactions.TRAIN_ON``.
      quiet: show no progress.
      log: takes lines for people.

    Raises:
      UserError: no run there, one that has chosen nothing on validation, or ``output`` holds another run.
    """
    pick(train_on, TRAIN_ON[1:], "train_on")
    done = load_run(workdir, log=lambda _: None)
    temperature = mode(one.temperature for one in done.runs)
    needed = [best for best, one in zip(done.best_epochs, done.runs, strict=True) if one.temperature == temperature]
    config = read_config(Path(workdir))
    config["dataset"] = config.get("dataset", {}) | {"train_on": train_on}
    config["train"] = config.get("train", {}) | {
        "temperatures": [], "temperature": temperature, "num_epochs": max(1, round(mean(needed))), "patience": 0,
    }  # fmt: skip
    return run(config, output, dataset=done.parts.dataset.trained_on(train_on), quiet=quiet, log=log)
