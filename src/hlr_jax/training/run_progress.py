"""The progress of each of several runs: its epochs, its best epoch, and why it ended."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hlr_jax.evaluation.metrics import standard_error
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.training.options import Run

PROGRESS = {
    "run": {"seed": int, "learning_rate": float, "margin": float, "temperature": float},
    "best_epoch": int | None, "best_value": float | None, "failed": str, "pruned": str, "epoch": int,
}  # fmt: skip
"""The schema of a progress's JSON; see ``json_files.Schema``."""

_SIGNIFICANT = 2.0  # standard errors; a temperature that is worse by more ends early


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run.

    Attributes:
      run: the settings that it is trained with.
      best_epoch: the epoch that is the result so far; 0: the start of training, unless that is random; None: no result
        yet.
      best_value: the validation metric of the best epoch; None without one.
      failed: why it ended with a loss that is not finite; empty if it did not.
      pruned: why it ended in favor of a better temperature; empty if it did not.
      epoch: the number of epochs trained with a finite loss.
    """

    run: Run
    best_epoch: int | None = None
    best_value: float | None = None
    failed: str = ""
    pruned: str = ""
    epoch: int = 0

    def ended(self, patience: int) -> str:
        """Return why the run ended; empty if it continues."""
        if self.failed or self.pruned:
            return self.failed or self.pruned
        if patience and self.best_epoch is not None and self.epoch - self.best_epoch >= patience:
            return f"no better epoch than {self.best_epoch} in the last {patience}"
        return ""

    def after(self, epoch: int, losses: Sequence[float], value: float | None, evaluation: EvalOptions) -> "RunProgress":
        """Return the progress after an epoch with these losses and this validation metric; epoch 0 is the start."""
        if not all(map(math.isfinite, [*losses, *([] if value is None else [value])])):
            return replace(self, failed=f"the loss of epoch {epoch} is not finite; lower train.learning_rate")
        has_result = self.best_epoch is not None
        if has_result and value is not None and evaluation.merit(value) <= evaluation.merit(self.best_value):
            return replace(self, epoch=epoch)  # without a value, a later epoch is better
        return replace(self, epoch=epoch, best_epoch=epoch, best_value=value)

    def to_json(self) -> dict[str, Any]:
        """Return the progress as a JSON-like dict."""
        return {**vars(self), "run": self.run._asdict()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "RunProgress":
        """Return the progress from the dict of ``to_json``, which has the schema ``PROGRESS``."""
        values = {name: fields[name] for name in PROGRESS}
        return cls(**values | {"run": Run(**{name: fields["run"][name] for name in Run._fields})})


def by_seed(progress: Sequence[RunProgress]) -> list[list[int]]:
    """Return the indices of the runs of each seed, in the order of the seeds."""
    groups: dict[int, list[int]] = {}
    for index, state in enumerate(progress):
        groups.setdefault(state.run.seed, []).append(index)
    return list(groups.values())


def chosen_runs(progress: Sequence[RunProgress], evaluation: EvalOptions) -> list[int]:
    """Return for each seed the index of the run with the best validation: its temperature.

    Ties choose the first run. A run without a result is chosen only if its seed has no other.
    """

    def merit(index: int) -> tuple[bool, float]:
        return progress[index].best_epoch is not None, evaluation.merit(progress[index].best_value)

    return [max(indices, key=merit) for indices in by_seed(progress)]


def equal_temperatures(progress: Sequence[RunProgress], chosen: int) -> tuple[float, ...]:
    """Return the other temperatures of a run's seed that validated exactly as well as its own."""
    run, value = progress[chosen].run, progress[chosen].best_value
    if value is None:
        return ()
    return tuple(
        other.run.temperature
        for other in progress
        if other.best_value == value and other.run == run._replace(temperature=other.run.temperature) != run
    )


def prune(
    progress: Sequence[RunProgress], per_user: Sequence[np.ndarray | None], epoch: int, evaluation: EvalOptions
) -> list[RunProgress]:
    """End the temperatures of each seed that are significantly worse than its best one.

    The same users validate all temperatures, so the difference of two is a mean over users of paired differences. A
    temperature continues while that mean is at most two of its standard errors: the two are within noise.

    Args:
      progress: of all runs.
      per_user: for each run trained in this epoch, the monitored metric of each validation user; None for others.
      epoch: the epoch that ended.
      evaluation: defines the metric.
    """
    pruned = list(progress)
    for indices in by_seed(progress):
        alive = [index for index in indices if per_user[index] is not None and not progress[index].failed]
        if len(alive) < 2:
            continue
        values = {index: np.asarray(per_user[index]) for index in alive}
        best = max(alive, key=lambda index: evaluation.merit(float(values[index].mean())))
        for index in alive:
            worse = values[best] - values[index] if evaluation.higher_is_better else values[index] - values[best]
            error = standard_error(worse)
            if index != best and len(worse) > 1 and worse.mean() > _SIGNIFICANT * error:
                reason = (
                    f"temperature {progress[index].run.temperature:g} is worse than "
                    f"{progress[best].run.temperature:g} by {worse.mean():.4f} +- {error:.4f} at epoch {epoch}"
                )
                pruned[index] = replace(progress[index], pruned=reason)
    return pruned
