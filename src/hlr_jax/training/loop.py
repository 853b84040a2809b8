"""The training loop: epochs, validation, the best epoch, patience, checkpoints. It knows learners, not models."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.data.dataset import Dataset
from hlr_jax.distributed import is_process_zero
from hlr_jax.evaluation.evaluate import evaluate_seeds, selecting_users
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.models.base import Model
from hlr_jax.sharding import split_seeds
from hlr_jax.training.checkpoints import Checkpoints, Progress, RunState
from hlr_jax.training.history import Record, append_records, mean_record, of_run, read_records
from hlr_jax.training.learners import Learned, Learner
from hlr_jax.training.options import Run, TrainOptions
from hlr_jax.training.progress import Display
from hlr_jax.types import Params


class FitResult(NamedTuple):
    """A trained model.

    Attributes:
      params: of the best epoch.
      best_epoch: the epoch they are from; 0, of ``fit_runs`` alone: the loss of the first epoch was not finite.
      history: one record per epoch: this run's lines of ``metrics.jsonl``. Of several processes the first has them
        all; the others lack the epochs before they started.
      seed: that it was trained with.
      stopped: why training ended before the last epoch, in a sentence; empty if it did not.
      failed: whether that is because a loss was not finite.
      best_value: the validation figure of the best epoch; None without one.
      temperature: that it was trained with.
    """

    params: Params
    best_epoch: int
    history: list[Record]
    seed: int
    stopped: str = ""
    failed: bool = False
    best_value: float | None = None
    temperature: float = 0.0


Validation = Callable[[Params, Sequence[bool]], list[dict[str, float]]]


def validation_of(
    learner: Learner, dataset: Dataset, model: Model, evaluation: EvalOptions, runs: Sequence[Run]
) -> Validation:
    """Return the function from parameters [S, ...] to the validation figures of the runs that are wanted [S]."""
    users = selecting_users(dataset, evaluation)

    def validate(params: Params, wanted: Sequence[bool]) -> list[dict[str, float]]:
        figures: list[dict[str, float]] = [{} for _ in runs]
        chosen = [index for index, one in enumerate(wanted) if one]
        if chosen and learner.valid_loss is not None:
            losses = np.asarray(learner.valid_loss(params))
            for index in chosen:
                figures[index]["valid_loss"] = float(losses[index])
        if chosen and evaluation.select_by == "ndcg" and len(dataset.valid):
            name, split = f"ndcg@{evaluation.k}", split_seeds(params)
            seeds = [runs[index].seed for index in chosen]
            found = evaluate_seeds(model, [split[i] for i in chosen], dataset, "valid", evaluation, seeds, users)
            for index, one in zip(chosen, found, strict=True):
                figures[index][f"valid_{name}"] = one.metrics[name]
        return figures

    return validate


def selected_figure(evaluation: EvalOptions) -> str:
    """Return the name in a record of the figure that chooses the best epoch."""
    return f"valid_ndcg@{evaluation.k}" if evaluation.select_by == "ndcg" else "valid_loss"


def train(
    learner: Learner,
    validate: Validation,
    options: TrainOptions,
    evaluation: EvalOptions,
    runs: Sequence[Run],
    label: str,
    folder: Path | None,
    checkpoints: Checkpoints | None,
    needs: Callable[[Learned], str],
) -> list[FitResult]:
    """Train S runs from the checkpoint, or from the start, to their last epochs; without a label show no progress.

    ``needs`` says what memory that will take, before it is taken.

    A run that is out of patience, or whose loss is not finite, ends; the others go on.
    """
    count = len(runs)
    learned = learner.init()
    state = RunState(learned, _copy(learned.result), [0] * count, [None] * count, [""] * count)
    history: list[Record] = []
    if checkpoints and folder:
        if checkpoints.latest() is not None:
            state = checkpoints.restore(learned)
        history = read_records(folder / "metrics.jsonl", state.epoch) if is_process_zero() else []
    selected = selected_figure(evaluation)
    with Display(label, options.num_epochs, state.epoch, quiet=not label or not is_process_zero()) as display:
        if label and state.epoch < options.num_epochs:
            display.say(needs(state.learned))
        while state.epoch < options.num_epochs and not all(stopped := _stopped(state.progress, options.patience)):
            epoch, active = state.epoch + 1, [not reason for reason in stopped]
            start = time.perf_counter()
            learned, losses = learner.run_epoch(state.learned, epoch, active)
            train_losses = np.asarray(losses).tolist()
            trained = time.perf_counter() - start
            sound = [one and math.isfinite(loss) for one, loss in zip(active, train_losses, strict=True)]
            figures = validate(learned.result, sound)
            sound = [one and all(map(math.isfinite, found.values())) for one, found in zip(sound, figures, strict=True)]
            reason = f"the loss of epoch {epoch} is not finite; lower train.learning_rate"
            state = state._replace(
                failed=[
                    reason if on and not well else old
                    for on, well, old in zip(active, sound, state.failed, strict=True)
                ]
            )
            if not any(sound):  # the arrays of `state.learned` are gone; the best epochs have their checkpoint
                break
            better = [
                one and _is_better(found.get(selected), best, evaluation.select_by == "ndcg")
                for one, found, best in zip(sound, figures, state.best_value, strict=True)
            ]
            state = state._replace(learned=learned, epoch=epoch)
            if any(better):
                state = state._replace(
                    best_params=_choose(jnp.asarray(better), learned.result, state.best_params),
                    best_epoch=[epoch if new else old for new, old in zip(better, state.best_epoch, strict=True)],
                    best_value=[
                        found.get(selected) if new else old
                        for new, found, old in zip(better, figures, state.best_value, strict=True)
                    ],
                )
            seconds = time.perf_counter() - start
            speed = {"seconds": seconds, "triplets_per_s": sum(active) * learner.triplets_per_epoch / trained}
            records = [
                {"epoch": epoch, **runs[index]._asdict(), "train_loss": train_losses[index]}
                | figures[index] | {"best_epoch": state.best_epoch[index], **speed}
                for index in range(count) if sound[index]
            ]  # fmt: skip
            history.extend(records)
            if folder and is_process_zero():
                append_records(folder / "metrics.jsonl", records)
            display.epoch(mean_record(records))
            if checkpoints and (any(better) or epoch % options.checkpoint_every == 0 or epoch == options.num_epochs):
                checkpoints.save(state)
        else:
            if checkpoints:
                checkpoints.save(state)
    return [
        FitResult(
            params,
            best,
            of_run(history, run),
            run.seed,
            f"{reason} (the result is epoch {best})" if reason and best else reason,
            bool(failed),
            value,
            run.temperature,
        )
        for params, best, value, run, reason, failed in zip(
            split_seeds(state.best_params),
            state.best_epoch,
            state.best_value,
            runs,
            _stopped(state.progress, options.patience),
            state.failed,
            strict=True,
        )
    ]


def is_done(progress: Progress, options: TrainOptions) -> bool:
    """Return whether runs have ended: at their last epoch, or each before."""
    return progress.epoch >= options.num_epochs or all(_stopped(progress, options.patience))


def _stopped(progress: Progress, patience: int) -> list[str]:
    """Return why each run goes no further; empty for one that does."""
    return [
        failed or _out_of_patience(progress.epoch, best, patience)
        for failed, best in zip(progress.failed, progress.best_epoch, strict=True)
    ]


def kept_runs(
    options: TrainOptions, evaluation: EvalOptions, best_epochs: Sequence[int], best_values: Sequence[float | None]
) -> list[int]:
    """Return which of the runs of ``options.runs`` each seed keeps: the one of its temperatures that validates best.

    The first of equals; a run without an epoch that ended well only where its seed has no other.
    """
    width, best_of = max(1, len(options.temperatures)), max if evaluation.select_by == "ndcg" else min
    kept = []
    for first in range(0, len(best_epochs), width):
        sound = [index for index in range(first, first + width) if best_epochs[index]] or [first]
        rated = [(value, index) for index in sound if (value := best_values[index]) is not None]
        kept.append(best_of(rated, key=lambda one: one[0])[1] if rated else sound[0])
    return kept


def _is_better(value: float | None, best: float | None, higher_is_better: bool) -> bool:
    if value is None or best is None:
        return True
    return value > best if higher_is_better else value < best


def _out_of_patience(epoch: int, best: int, patience: int) -> str:
    if patience and epoch - best >= patience:
        return f"no better epoch than {best} in the last {patience}"
    return ""


@jax.jit
def _choose(better: jax.Array, new: Params, old: Params) -> Params:
    """Return for each seed [S] its new or its old parameters, as copies: an epoch reuses the memory of the new ones."""
    return jax.tree.map(lambda a, b: jnp.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old)


def _copy(params: Params) -> Params:
    """Return a copy: an epoch reuses the memory of the parameters that it is given."""
    return jax.tree.map(jnp.copy, params)
