"""Whole runs from plain settings: what the command lines call, and notebooks can."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jax.sharding import Mesh

from hlr_jax.data.interactions import Dataset
from hlr_jax.data.prepare import load_dataset
from hlr_jax.errors import UserError, check_options, check_seed, pick
from hlr_jax.evaluation.evaluate import Evaluation, evaluate
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.models.base import Model, create_model
from hlr_jax.sharding import create_mesh
from hlr_jax.training.checkpoints import Checkpoints
from hlr_jax.training.loop import FitResult, fit, run_identity
from hlr_jax.training.options import TrainOptions
from hlr_jax.types import Params
from hlr_jax.workdir import claim, read_config, record_environment, write_evaluation

SECTIONS = ("dataset", "model", "train", "eval", "mesh")


class Parts(NamedTuple):
    """The objects that settings stand for."""

    dataset: Dataset
    model: Model
    train: TrainOptions
    eval: EvalOptions
    mesh: Mesh | None
    seed: int


class Trained(NamedTuple):
    """A run that is done: its parts, its training and its figures (without those of a split that is empty)."""

    parts: Parts
    fit: FitResult
    evaluations: dict[str, Evaluation]


def build(config: dict[str, Any], log: Callable[[str], None] = print) -> Parts:
    """Make the parts that five sections of keyword arguments and a ``seed`` describe; values are checked first.

    Raises:
      UserError: an unknown section, key or value, or anything wrong with the data.
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
    train, evaluation = TrainOptions(**config.get("train", {})), EvalOptions(**config.get("eval", {}))
    mesh = create_mesh(**config.get("mesh", {}))
    return Parts(load_dataset(**config.get("dataset", {}), log=log), model, train, evaluation, mesh, seed)


def run(
    config: dict[str, Any], workdir: str | Path, *, quiet: bool = False, log: Callable[[str], None] = print
) -> Trained:
    """Train, or continue, the run that ``config`` describes in ``workdir``, and evaluate its best epoch.

    Raises:
      UserError: see ``build``; a workdir of another run.
    """
    folder = Path(workdir)
    parts = build(config, log)
    claim(folder, config)
    record_environment(folder, parts.dataset)
    result = fit(
        parts.dataset,
        parts.model,
        parts.train,
        parts.eval,
        seed=parts.seed,
        workdir=folder,
        mesh=parts.mesh,
        quiet=quiet,
    )
    if result.stopped:
        log(f"training stopped: {result.stopped}")
    return Trained(parts, result, evaluate_run(parts, result.params, folder))


def evaluate_run(parts: Parts, params: Params, folder: Path | None) -> dict[str, Evaluation]:
    """Evaluate on the splits that have interactions, and write ``eval/`` in ``folder``, if one is given."""
    evaluations = {}
    for split in ("valid", "test"):
        if len(getattr(parts.dataset, split).user):
            found = evaluate(parts.model, params, parts.dataset, split=split, options=parts.eval, seed=parts.seed)
            if folder is not None:
                write_evaluation(folder, found)
            evaluations[split] = found
    return evaluations


def load_run(
    workdir: str | Path, *, eval_options: dict[str, Any] | None = None, log: Callable[[str], None] = print
) -> tuple[Parts, Params]:
    """Return the parts of a trained run and its best parameters, from its workdir.

    Args:
      workdir: of a run with a checkpoint.
      eval_options: replace settings of the section ``eval``.
      log: takes lines for people.

    Raises:
      UserError: no run there, or its data has gone or changed.
    """
    folder = Path(workdir)
    config = read_config(folder)
    config["eval"] = {**config.get("eval", {}), **(eval_options or {})}
    config.pop("mesh", None)  # one device reads what many wrote
    if not (folder / "checkpoints").is_dir():
        raise UserError(f"{folder} has no checkpoint; train first")
    parts = build(config, log)
    record_environment(folder, parts.dataset)
    checkpoints = Checkpoints(folder / "checkpoints", run_identity(parts.dataset, parts.model, parts.train, parts.seed))
    try:
        return parts, checkpoints.restore_best()
    finally:
        checkpoints.close()
