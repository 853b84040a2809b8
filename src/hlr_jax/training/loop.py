"""The training loop: epochs, validation, the best epoch, patience, checkpoints. It depends on learners, not models."""

import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.training.attention import CollapseWatch
from hlr_jax.training.checkpoints import Checkpoints
from hlr_jax.training.display import Display
from hlr_jax.training.history import History, Record
from hlr_jax.training.many_runs import Learner
from hlr_jax.training.options import Run, TrainOptions, run_names
from hlr_jax.training.run_progress import RunProgress, prune
from hlr_jax.types import Params

Validation = tuple[dict[str, float], np.ndarray | None]
"""A run's result on validation: metrics by name, and the monitored one for each user if it is a mean over users."""

Validate = Callable[[Params, Sequence[bool]], list[Validation]]
"""(parameters [S, ...], the wanted runs [S]) -> their validation; those of the others are empty."""


class Loop:
    """S runs trained at once: each epoch trains all of them.

    Attributes:
      state: parameters and the optimizer's state [S, ...] after ``epoch``.
      best_params: the parameters [S, ...] of each run's best epoch, the result so far.
      progress: of each run.
      step: the number of epochs trained for some runs, and so the number of the checkpoint. It is the epoch if all runs
        continued from the first epoch to the last one. A run that was out of patience, and continues because patience
        was raised, catches up first.
      history: the records of all epochs.
    """

    def __init__(
        self, learner: Learner, validate: Validate, options: TrainOptions, evaluation: EvalOptions, display: Display,
        history: History, checkpoints: Checkpoints | None,
    ):  # fmt: skip
        """Take the parts of a training; without checkpoints, only the history is written."""
        self._learner, self._validate, self._options, self._evaluation = learner, validate, options, evaluation
        self._display, self.history, self._checkpoints = display, history, checkpoints

    def start(self, runs: Sequence[Run], params: Callable[[], Params] | None = None) -> None:
        """Begin at the last checkpoint, or before the first epoch: with ``params()`` [S, ...], or at random.

        Given parameters are the first candidate: measured as epoch 0, and the result until an epoch is better.
        """
        began = time.perf_counter()
        is_new = self._checkpoints is None or self._checkpoints.latest() is None
        given = params() if is_new and params is not None else None
        self.state = self._learner.init(given)
        # A copy: an epoch reuses the memory of its parameters.
        self.best_params: Params = jax.tree.map(jnp.copy, self.state.result)
        self.progress, self.step, self._names = [RunProgress(run) for run in runs], 0, run_names(runs)
        if self._checkpoints is not None and not is_new:
            like = {"state": self.state, "best_params": self.state.result}
            arrays, record = self._checkpoints.restore(like)
            self.state, self.best_params = arrays["state"], arrays["best_params"]
            self.progress, self.step = list(map(RunProgress.from_json, record["runs"])), record["epoch"]
        self.history.resume([] if is_new else self.progress, self._display.say)
        self._collapses = CollapseWatch(several=len(runs) > 1)
        self._collapses.lines(self.history.records)  # earlier epochs are already reported
        if given is not None:
            self._measure_start(began)

    def goes_on(self) -> bool:
        """Return whether an epoch is left and a run continues."""
        return any(self._active())

    def run(self) -> None:
        """Train to the last epochs of all runs.

        A run stays as it is once it is out of patience, its loss is not finite, or a better temperature ends it. The
        others continue.
        """
        with self._display as display:
            while self.goes_on():
                before, patience = self.progress, self._options.patience
                epoch, records = self._run_epoch()
                for old, new in zip(before, self.progress, strict=True):
                    reason = new.ended(patience)
                    if reason and not old.ended(patience) and len(before) > 1:
                        display.say(f"{_name(new, before)} ends: {reason}")
                if all(run.failed for run in self.progress):  # the arrays are gone; best epochs have their checkpoint
                    return
                if records:
                    self._keep(records)
                improved = any(run.best_epoch == epoch for run in self.progress)
                if improved or epoch % self._options.checkpoint_every == 0 or epoch == self._options.num_epochs:
                    self._save()
            self._save()

    def _measure_start(self, began: float) -> None:
        """Measure the start of training as epoch 0 of all runs; ``began`` is when making it began."""
        everyone = [True] * len(self.progress)
        results = self._validate(self.state.result, everyone)
        self.progress = self._after(0, everyone, [[]] * len(everyone), results)
        self._keep(self._records(0, everyone, results, [{}] * len(everyone), {"seconds": time.perf_counter() - began}))
        self._save()

    def _keep(self, records: list[Record]) -> None:
        """Add the records of an epoch to the history, show the best, and report collapsed attentions."""
        self.history.add(records)
        self._display.epoch(max(records, key=self._merit))
        for line in self._collapses.lines(records):
            self._display.say(line)

    def _merit(self, record: Record) -> float:
        return self._evaluation.merit(record.get(self._evaluation.monitor_name))

    def _active(self) -> list[bool]:
        """Return which runs are trained next: of those that continue, the ones with the fewest epochs."""
        limit, patience = self._options.num_epochs, self._options.patience
        goes_on = [run.epoch < limit and not run.ended(patience) for run in self.progress]
        least = min((run.epoch for run, on in zip(self.progress, goes_on, strict=True) if on), default=0)
        return [on and run.epoch == least for run, on in zip(self.progress, goes_on, strict=True)]

    def _run_epoch(self) -> tuple[int, list[Record]]:
        """Train one more epoch; return its number, and the records of the runs with finite losses.

        If no run has a finite loss, nothing is kept.
        """
        active, start = self._active(), time.perf_counter()
        epoch = self.progress[active.index(True)].epoch + 1
        state, losses = self._learner.run_epoch(self.state, epoch, active)
        train_losses = np.asarray(losses).tolist()
        trained = time.perf_counter() - start
        finite = [on and bool(np.isfinite(loss)) for on, loss in zip(active, train_losses, strict=True)]
        results = self._validate(state.result, finite)
        progress = self._after(epoch, active, [[loss] for loss in train_losses], results)
        good = [on and not run.failed for on, run in zip(active, progress, strict=True)]
        self.progress = progress
        if all(run.failed for run in progress):
            return epoch, []
        if epoch == self._options.prune_after:
            per_user = [values if ok else None for (_, values), ok in zip(results, good, strict=True)]
            self.progress = prune(progress, per_user, epoch, self._evaluation)
        better = [ok and run.best_epoch == epoch for ok, run in zip(good, self.progress, strict=True)]
        if any(better):
            self.best_params = _choose(jnp.asarray(better), state.result, self.best_params)
        self.state, self.step = state, self.step + 1
        seconds = time.perf_counter() - start
        speed = {"seconds": seconds, "positives_per_s": sum(active) * self._learner.positives_per_epoch / trained}
        return epoch, self._records(epoch, good, results, [{"train_loss": loss} for loss in train_losses], speed)

    def _after(
        self, epoch: int, active: Sequence[bool], losses: Sequence[list[float]], results: Sequence[Validation]
    ) -> list[RunProgress]:
        """Return the progress of all runs [S] after an epoch of the active ones with these losses."""
        name, progress = self._evaluation.monitor_name, list(self.progress)
        for index in np.flatnonzero(active).tolist():
            metrics, _ = results[index]
            measured = [*losses[index], *metrics.values()]
            progress[index] = progress[index].after(epoch, measured, metrics.get(name), self._evaluation)
        return progress

    def _records(
        self, epoch: int, good: Sequence[bool], results: Sequence[Validation], losses: Sequence[dict[str, float]],
        speed: dict[str, float],
    ) -> list[Record]:  # fmt: skip
        """Return the records of an epoch, of the runs [S] with finite losses."""
        return [
            {"epoch": epoch, "run": self._names[run.run], **run.run._asdict(), **losses[index], **results[index][0],
             "best_epoch": run.best_epoch, **speed}
            for index, run in enumerate(self.progress) if good[index]
        ]  # fmt: skip

    def _save(self) -> None:
        if self._checkpoints is not None:
            record = {"epoch": self.step, "runs": [run.to_json() for run in self.progress]}
            self._checkpoints.save(self.step, {"state": self.state, "best_params": self.best_params}, record)


def _name(run: RunProgress, others: Sequence[RunProgress]) -> str:
    """Return how a run differs from the others, in words."""
    fields = run.run._asdict()
    differing = [name for name in fields if len({state.run._asdict()[name] for state in others}) > 1]
    return ", ".join(f"{name.replace('_', ' ')} {fields[name]:g}" for name in differing)


@jax.jit
def _choose(better: jax.Array, new: Params, old: Params) -> Params:
    """Return for each run [S] its new or its old parameters, as copies: an epoch reuses the memory of the new ones."""
    return jax.tree.map(lambda a, b: jnp.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old)
