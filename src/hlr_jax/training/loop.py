"""The training loop: epochs, validation, the best epoch, patience, checkpoints. It knows learners, not models."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.distributed import is_process_zero
from hlr_jax.training.checkpoints import Checkpoints
from hlr_jax.training.display import Display
from hlr_jax.training.history import Logger, Record, append_records, read_records
from hlr_jax.training.learner import TrainState
from hlr_jax.training.many_runs import Learner
from hlr_jax.training.options import TrainOptions
from hlr_jax.training.run_progress import Monitor, RunProgress, prune
from hlr_jax.types import Params


class Validation(NamedTuple):
    """What one run shows on validation: metrics by name, and the monitored one for each user where it has users."""

    metrics: dict[str, float]
    per_user: np.ndarray | None = None


Validate = Callable[[Params, Sequence[bool]], list[Validation]]
"""(parameters [S, ...], which runs are wanted [S]) -> theirs; those of the others are empty."""


class LoopState(NamedTuple):
    """S runs that are trained at once, after some epoch.

    Attributes:
      state: parameters and the optimizer's state [S, ...] after ``epoch``.
      best_params: the parameters [S, ...] of each run's best epoch, the result so far.
      progress: of each run.
      epoch: epochs done.
    """

    state: TrainState
    best_params: Params
    progress: list[RunProgress]
    epoch: int = 0


@dataclass(frozen=True)
class Loop:
    """What a training is made of.

    Attributes:
      learner: learns an epoch of S runs.
      validate: measures them.
      options: of training.
      monitor: the metric that chooses epochs and temperatures.
      display: shows a person how far it is.
      folder: for ``metrics.jsonl``; None: nothing is written.
      checkpoints: of the folder.
      loggers: are called with each record; with those of a continued training first.
    """

    learner: Learner
    validate: Validate
    options: TrainOptions
    monitor: Monitor
    display: Display
    folder: Path | None = None
    checkpoints: Checkpoints | None = None
    loggers: Sequence[Logger] = ()

    def start(self, progress: list[RunProgress]) -> tuple[LoopState, list[Record]]:
        """Return the state from the checkpoint, or before the first epoch, and the records so far."""
        state = self.learner.init()
        start = LoopState(state, _copy(state.result), progress)
        if self.checkpoints is None or self.folder is None:
            return start, []
        if self.checkpoints.latest() is not None:
            arrays, record = self.checkpoints.restore({"state": state, "best_params": state.result})
            there = [RunProgress.from_json(fields) for fields in record["runs"]]
            start = LoopState(arrays["state"], arrays["best_params"], there, record["epoch"])
        history = read_records(self.folder / "metrics.jsonl", start.epoch) if is_process_zero() else []
        self._log(history)
        return start, history

    def run(self, loop: LoopState, history: list[Record]) -> LoopState:
        """Train from a state to the last epochs of all runs, and add to the records.

        A run that is out of patience, whose loss is not finite or that a better temperature ends is left as it is; the
        others go on.
        """
        options = self.options
        with self.display as display:
            while loop.epoch < options.num_epochs and any(self.active(loop)):
                after, records = self._epoch(loop)
                for before, now in zip(loop.progress, after.progress, strict=True):
                    reason = now.ended(loop.epoch + 1, options.patience)
                    if reason and not before.ended(loop.epoch, options.patience) and len(loop.progress) > 1:
                        display.say(f"{_name(now, loop.progress)} ends: {reason}")
                if not records:  # no run is sound; the arrays are gone, and the best epochs have their checkpoint
                    return after
                improved = any(state.best_epoch == after.epoch for state in after.progress)
                loop = after
                history.extend(records)
                self._log(records)
                if self.folder and is_process_zero():
                    append_records(self.folder / "metrics.jsonl", records)
                display.epoch(self._best(records))
                if improved or loop.epoch % options.checkpoint_every == 0 or loop.epoch == options.num_epochs:
                    self._save(loop)
            self._save(loop)
        return loop

    def active(self, loop: LoopState) -> list[bool]:
        """Return which runs go on."""
        return [not state.ended(loop.epoch, self.options.patience) for state in loop.progress]

    def _epoch(self, loop: LoopState) -> tuple[LoopState, list[Record]]:
        """Return the state after one more epoch, and the records of the runs that ended it well."""
        epoch, active, start = loop.epoch + 1, self.active(loop), time.perf_counter()
        state, losses = self.learner.run_epoch(loop.state, epoch, active)
        train_losses = np.asarray(losses).tolist()
        trained = time.perf_counter() - start
        finite = [on and bool(np.isfinite(loss)) for on, loss in zip(active, train_losses, strict=True)]
        results = self.validate(state.result, finite)
        progress = list(loop.progress)
        for index in np.flatnonzero(active):
            metrics = results[index].metrics
            losses_here = [train_losses[index], *metrics.values()]
            progress[index] = progress[index].after(epoch, losses_here, metrics.get(self.monitor.name), self.monitor)
        good = [on and not run.failed for on, run in zip(active, progress, strict=True)]
        if not any(good):
            return loop._replace(progress=progress), []
        if epoch == self.options.prune_after:
            per_user = [result.per_user if ok else None for result, ok in zip(results, good, strict=True)]
            progress = prune(progress, per_user, epoch, self.monitor)
        better = [ok and run.best_epoch == epoch for ok, run in zip(good, progress, strict=True)]
        best_params = loop.best_params
        if any(better):
            best_params = _choose(jnp.asarray(better), state.result, best_params)
        seconds = time.perf_counter() - start
        speed = {"seconds": seconds, "positives_per_s": sum(active) * self.learner.positives_per_epoch / trained}
        records = [
            {"epoch": epoch, **run.run._asdict(), "train_loss": train_losses[index], **results[index].metrics,
             "best_epoch": run.best_epoch, **speed}
            for index, run in enumerate(progress) if good[index]
        ]  # fmt: skip
        return LoopState(state, best_params, progress, epoch), records

    def _best(self, records: list[Record]) -> Record:
        """Return the record of the run that is the best in this epoch."""
        name, best = self.monitor.name, records[0]
        for record in records[1:]:
            if name in record and self.monitor.is_better(record[name], best.get(name)):
                best = record
        return best

    def _log(self, records: Sequence[Record]) -> None:
        for logger in self.loggers if is_process_zero() else ():
            for record in records:
                logger(record)

    def _save(self, loop: LoopState) -> None:
        if self.checkpoints is not None:
            record = {"epoch": loop.epoch, "runs": [run.to_json() for run in loop.progress]}
            self.checkpoints.save(loop.epoch, {"state": loop.state, "best_params": loop.best_params}, record)


def _name(run: RunProgress, others: Sequence[RunProgress]) -> str:
    """Return what tells a run from the others, in words."""
    fields = run.run._asdict()
    differing = [name for name in fields if len({state.run._asdict()[name] for state in others}) > 1]
    return ", ".join(f"{name.replace('_', ' ')} {fields[name]:g}" for name in differing)


@jax.jit
def _choose(better: jax.Array, new: Params, old: Params) -> Params:
    """Return for each run [S] its new or its old parameters, as copies: an epoch reuses the memory of the new ones."""
    return jax.tree.map(lambda a, b: jnp.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old)


def _copy(params: Params) -> Params:
    """Return a copy: an epoch reuses the memory of the parameters that it is given."""
    return jax.tree.map(jnp.copy, params)
