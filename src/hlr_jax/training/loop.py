"""The training loop: epochs, validation, the best epoch, patience, checkpoints. It knows learners, not models."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from hlr_jax.data.interactions import Dataset
from hlr_jax.errors import UserError, check_seed
from hlr_jax.evaluation.evaluate import evaluate
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.files import atomic_file, sha256_of
from hlr_jax.models.base import Model
from hlr_jax.training.checkpoints import Checkpoints, RunState
from hlr_jax.training.learners import Learner, create_learner
from hlr_jax.training.options import TrainOptions
from hlr_jax.training.progress import Display
from hlr_jax.types import Params


class FitResult(NamedTuple):
    """A trained model.

    Attributes:
      params: of the best epoch.
      best_epoch: the epoch they are from.
      history: one record per epoch: the lines of ``metrics.jsonl``.
      stopped: why training ended before the last epoch, in a sentence; empty if it did not.
    """

    params: Params
    best_epoch: int
    history: list[dict[str, Any]]
    stopped: str = ""


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
      UserError: the data set has no training interactions, or the loss is not finite in the first epoch.
    """
    options, evaluation = options or TrainOptions(), evaluation or EvalOptions()
    check_seed("seed", seed)
    if not len(dataset.train.user):
        raise UserError(f"data set {dataset.name} has no training interactions")
    learner = create_learner(dataset, model, options, seed, mesh)
    validate = _validation(learner, dataset, model, evaluation, seed)
    folder = None if workdir is None else Path(workdir)
    identity = run_identity(dataset, model, options, seed)
    checkpoints = None if folder is None else Checkpoints(folder / "checkpoints", identity)
    try:
        return _run(learner, validate, options, evaluation, model.name, folder, checkpoints, quiet)
    finally:
        if checkpoints:
            checkpoints.close()


Validation = Callable[[Params], dict[str, float]]


def run_identity(dataset: Dataset, model: Model, options: TrainOptions, seed: int) -> str:
    """Return a hash of what a run's epochs depend on; how many there are, or are kept, is not part of it."""
    free = {"num_epochs", "patience", "checkpoint_every", "microbatch"}
    training = {name: value for name, value in asdict(options).items() if name not in free}
    solver = [] if model.solver is None else [model.solver]
    return sha256_of([dataset.fingerprint, model.name, model.history, training, seed, *solver])


def _validation(learner: Learner, dataset: Dataset, model: Model, evaluation: EvalOptions, seed: int) -> Validation:
    """Return the function from parameters to this run's validation figures."""

    def validate(params: Params) -> dict[str, float]:
        figures = {} if learner.valid_loss is None else {"valid_loss": float(learner.valid_loss(params))}
        if evaluation.select_by == "ndcg" and len(dataset.valid.user):
            name = f"ndcg@{evaluation.k}"
            metrics = evaluate(model, params, dataset, split="valid", options=evaluation, seed=seed).metrics
            figures[f"valid_{name}"] = metrics[name]
        return figures

    return validate


def _run(
    learner: Learner,
    validate: Validation,
    options: TrainOptions,
    evaluation: EvalOptions,
    label: str,
    folder: Path | None,
    checkpoints: Checkpoints | None,
    quiet: bool,
) -> FitResult:
    learned = learner.init()
    state = RunState(learned, _copy(learned.params))
    history: list[dict[str, Any]] = []
    if checkpoints and folder:
        if checkpoints.latest() is not None:
            state = checkpoints.restore(learned)
        history = _read_history(folder / "metrics.jsonl", state.epoch)
    higher_is_better = evaluation.select_by == "ndcg"
    selected = f"valid_ndcg@{evaluation.k}" if higher_is_better else "valid_loss"
    stopped, broken = "", False
    with Display(label, options.num_epochs, state.epoch, quiet=quiet) as display:
        while state.epoch < options.num_epochs and not (stopped := _out_of_patience(state, options.patience)):
            epoch = state.epoch + 1
            start = time.perf_counter()
            learned, loss = learner.run_epoch(state.learned, epoch)
            train_loss = float(loss)
            trained = time.perf_counter() - start
            figures = validate(learned.params) if math.isfinite(train_loss) else {}
            if not math.isfinite(train_loss) or not all(map(math.isfinite, figures.values())):
                broken = True
                stopped = f"the loss of epoch {epoch} is not finite; lower train.learning_rate"
                break
            value = figures.get(selected)
            better = (
                value is None
                or state.best_value is None
                or (value > state.best_value if higher_is_better else value < state.best_value)
            )
            state = state._replace(learned=learned, epoch=epoch)
            if better:
                state = state._replace(best_params=_copy(learned.params), best_epoch=epoch, best_value=value)
            record = {
                "epoch": epoch, "train_loss": train_loss, **figures, "best_epoch": state.best_epoch,
                "seconds": time.perf_counter() - start, "triplets_per_s": learner.triplets_per_epoch / trained,
            }  # fmt: skip
            history.append(record)
            if folder:
                with (folder / "metrics.jsonl").open("a") as file:
                    file.write(json.dumps(record) + "\n")
            display.epoch(record)
            if checkpoints and (better or epoch % options.checkpoint_every == 0 or epoch == options.num_epochs):
                checkpoints.save(state)
    if not state.best_epoch:
        raise UserError(stopped)
    stopped = stopped and f"{stopped} (the result is epoch {state.best_epoch})"
    # After a loss that is not finite the arrays of `state.learned` are gone; the best epoch has its checkpoint already.
    if checkpoints and not broken:
        checkpoints.save(state)
    return FitResult(state.best_params, state.best_epoch, history, stopped)


def _out_of_patience(state: RunState, patience: int) -> str:
    if patience and state.epoch - state.best_epoch >= patience:
        return f"no better epoch than {state.best_epoch} in the last {patience}"
    return ""


def _copy(params: Params) -> Params:
    """Return a copy: an epoch reuses the memory of the parameters that it is given."""
    return jax.tree.map(jnp.copy, params)


def _read_history(path: Path, epoch: int) -> list[dict[str, Any]]:
    """Return the records up to ``epoch``, and drop from the file what a killed run wrote after its checkpoint."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            break  # a line cut off by a kill is the last one
        if record["epoch"] <= epoch:
            records.append(record)
    with atomic_file(path) as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in records))
    return records
