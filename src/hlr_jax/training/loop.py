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
import numpy as np
from jax.sharding import Mesh

from hlr_jax.data.interactions import Dataset
from hlr_jax.distributed import is_first
from hlr_jax.errors import UserError, check_seed
from hlr_jax.evaluation.evaluate import evaluate_seeds, selecting_users
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.files import atomic_file, sha256_of
from hlr_jax.models.base import Model
from hlr_jax.sharding import split_seeds
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
      history: one record per epoch: this seed's lines of ``metrics.jsonl``. Of several processes the first has them
        all; the others lack the epochs before they started.
      seed: that it was trained with.
      stopped: why training ended before the last epoch, in a sentence; empty if it did not.
    """

    params: Params
    best_epoch: int
    history: list[dict[str, Any]]
    seed: int
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
      UserError: the data set has no training interactions, the loss is not finite in the first epoch, or
        ``options.num_seeds`` is not 1.
    """
    if options and options.num_seeds != 1:
        raise UserError(f"train.num_seeds is {options.num_seeds}: call fit_seeds, which returns a result for each")
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
    that is out of patience idles until the last one is. A loss that is not finite ends all. The arguments and errors
    are those of ``fit``.
    """
    options, evaluation = options or TrainOptions(), evaluation or EvalOptions()
    check_seed("seed", seed)
    check_seed("seed", seed + options.num_seeds - 1)
    if not len(dataset.train.user):
        raise UserError(f"data set {dataset.name} has no training interactions")
    seeds = list(range(seed, seed + options.num_seeds))
    learner = create_learner(dataset, model, options, seeds, mesh)
    validate = _validation(learner, dataset, model, evaluation, seeds)
    folder = None if workdir is None else Path(workdir)
    identity = run_identity(dataset, model, options, seed)
    checkpoints = None if folder is None else Checkpoints(folder / "checkpoints", identity)
    try:
        return _run(learner, validate, options, evaluation, seeds, model.name, folder, checkpoints, quiet)
    finally:
        if checkpoints:
            checkpoints.close()


Validation = Callable[[Params], list[dict[str, float]]]


def run_identity(dataset: Dataset, model: Model, options: TrainOptions, seed: int) -> str:
    """Return a hash of what a run's epochs depend on.

    How many there are or are kept, and what computes them, is not part of it.
    """
    free = {"num_epochs", "patience", "checkpoint_every", "microbatch"}
    training = {name: value for name, value in asdict(options).items() if name not in free}
    options_of_model = [option for option in model.options if option[0] != "kernel"]
    return sha256_of([dataset.fingerprint, model.name, options_of_model, training, seed])


def _validation(
    learner: Learner, dataset: Dataset, model: Model, evaluation: EvalOptions, seeds: list[int]
) -> Validation:
    """Return the function from parameters [S, ...] to each seed's validation figures."""
    users = selecting_users(dataset, evaluation)

    def validate(params: Params) -> list[dict[str, float]]:
        figures: list[dict[str, float]] = [{} for _ in seeds]
        if learner.valid_loss is not None:
            for index, loss in enumerate(np.asarray(learner.valid_loss(params))):
                figures[index]["valid_loss"] = float(loss)
        if evaluation.select_by == "ndcg" and len(dataset.valid.user):
            name = f"ndcg@{evaluation.k}"
            found = evaluate_seeds(model, split_seeds(params), dataset, "valid", evaluation, seeds[0], users)
            for index, one in enumerate(found):
                figures[index][f"valid_{name}"] = one.metrics[name]
        return figures

    return validate


def _run(
    learner: Learner,
    validate: Validation,
    options: TrainOptions,
    evaluation: EvalOptions,
    seeds: list[int],
    label: str,
    folder: Path | None,
    checkpoints: Checkpoints | None,
    quiet: bool,
) -> list[FitResult]:
    count = len(seeds)
    learned = learner.init()
    state = RunState(learned, _copy(learned.params), [0] * count, [None] * count)
    history: list[dict[str, Any]] = []
    if checkpoints and folder:
        if checkpoints.latest() is not None:
            state = checkpoints.restore(learned)
        history = _read_history(folder / "metrics.jsonl", state.epoch) if is_first() else []
    higher_is_better = evaluation.select_by == "ndcg"
    selected = f"valid_ndcg@{evaluation.k}" if higher_is_better else "valid_loss"
    broken = False
    stopped = [_out_of_patience(state, index, options.patience) for index in range(count)]
    label = label if count == 1 else f"{label}, {count} seeds,"
    with Display(label, options.num_epochs, state.epoch, quiet=quiet or not is_first()) as display:
        while state.epoch < options.num_epochs and not all(stopped):
            epoch = state.epoch + 1
            start = time.perf_counter()
            learned, losses = learner.run_epoch(state.learned, epoch)
            train_losses = np.asarray(losses).tolist()
            trained = time.perf_counter() - start
            figures = validate(learned.params) if all(map(math.isfinite, train_losses)) else [{} for _ in seeds]
            records, better = [], [False] * count
            for index, found in enumerate(figures):
                record = {"epoch": epoch, "seed": seeds[index], "train_loss": train_losses[index], **found}
                if stopped[index]:
                    continue
                if not all(map(math.isfinite, (train_losses[index], *found.values()))):
                    broken = True
                    continue
                better[index] = _is_better(found.get(selected), state.best_value[index], higher_is_better)
                records.append(record)
            if broken:  # one seed's settings are all seeds' settings: none goes on
                reason = f"the loss of epoch {epoch} is not finite; lower train.learning_rate"
                stopped = [other or reason for other in stopped]
                break
            state = state._replace(learned=learned, epoch=epoch)
            if any(better):
                state = state._replace(
                    best_params=_choose(jnp.asarray(better), learned.params, state.best_params),
                    best_epoch=[epoch if new else old for new, old in zip(better, state.best_epoch, strict=True)],
                    best_value=[
                        found.get(selected) if new else old
                        for new, found, old in zip(better, figures, state.best_value, strict=True)
                    ],
                )
            speed = {"seconds": time.perf_counter() - start, "triplets_per_s": learner.triplets_per_epoch / trained}
            records = [
                record | {"best_epoch": state.best_epoch[record["seed"] - seeds[0]], **speed} for record in records
            ]
            history.extend(records)
            if folder and is_first():
                with (folder / "metrics.jsonl").open("a") as file:
                    file.writelines(json.dumps(record) + "\n" for record in records)
            if records:
                display.epoch(_mean_record(records))
            if checkpoints and (any(better) or epoch % options.checkpoint_every == 0 or epoch == options.num_epochs):
                checkpoints.save(state)
            stopped = [
                reason or _out_of_patience(state, index, options.patience) for index, reason in enumerate(stopped)
            ]
    for index, best in enumerate(state.best_epoch):
        if not best:
            raise UserError(stopped[index] if count == 1 else f"seed {seeds[index]}: {stopped[index]}")
    # After a loss that is not finite the arrays of `state.learned` are gone; the best epochs have their checkpoint.
    if checkpoints and not broken:
        checkpoints.save(state)
    return [
        FitResult(
            params,
            state.best_epoch[index],
            [record for record in history if record["seed"] == seed],
            seed,
            stopped[index] and f"{stopped[index]} (the result is epoch {state.best_epoch[index]})",
        )
        for index, (seed, params) in enumerate(zip(seeds, split_seeds(state.best_params), strict=True))
    ]


def _is_better(value: float | None, best: float | None, higher_is_better: bool) -> bool:
    if value is None or best is None:
        return True
    return value > best if higher_is_better else value < best


def _out_of_patience(state: RunState, index: int, patience: int) -> str:
    if patience and state.epoch - state.best_epoch[index] >= patience:
        return f"no better epoch than {state.best_epoch[index]} in the last {patience}"
    return ""


def _mean_record(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of several seeds' records of one epoch."""
    numbers = {name: float(np.mean([record[name] for record in records])) for name in records[0] if name != "epoch"}
    return {"epoch": records[0]["epoch"], **numbers}


@jax.jit
def _choose(better: jax.Array, new: Params, old: Params) -> Params:
    """Return for each seed [S] its new or its old parameters, as copies: an epoch reuses the memory of the new ones."""
    return jax.tree.map(lambda a, b: jnp.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old)


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
