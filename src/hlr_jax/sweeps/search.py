"""Points chosen by Optuna, in batches, so that those of a batch can be trained in one program."""

from collections.abc import Callable, Sequence
from typing import Any

from hlr_jax.errors import InputError
from hlr_jax.sweeps.grid import Overrides, Range, Space

Evaluate = Callable[[Sequence[Overrides]], Sequence[float | None]]
"""Points -> their metrics; None for a point that failed."""


def search(
    space: Space, evaluate: Evaluate, *, trials: int, batch: int, higher_is_better: bool, seed: int = 0
) -> list[Overrides]:
    """Evaluate points that a tree-structured Parzen estimator (Bergstra et al. 2011) proposes, and return them.

    The proposals are a function of the seed and of the metrics so far. So a search that was stopped is repeated from
    its start, and ``evaluate`` answers at once for what is known already.

    Args:
      space: lists of values and ranges.
      evaluate: gives the metrics of a batch.
      trials: how many points, at most: a proposal made before is not evaluated again.
      batch: how many are proposed before their metrics are known.
      higher_is_better: whether a larger metric is better.
      seed: of the proposals.

    Raises:
      InputError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise InputError("--sampler=optuna needs Optuna; install the extra: pip install 'hlr_jax[optuna]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize" if higher_is_better else "minimize",
        # All of a first batch is drawn at random: nothing is known. Points of a batch keep away from each other.
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=batch, constant_liar=True),
    )
    points: list[Overrides] = []
    for start in range(0, trials, batch):
        asked = [study.ask() for _ in range(min(batch, trials - start))]
        proposed = [{key: _suggest(trial, key, values) for key, values in space.items()} for trial in asked]
        for point in proposed:
            if point not in points:
                points.append(point)
        for trial, value in zip(asked, evaluate(proposed), strict=True):
            failed = optuna.trial.TrialState.FAIL
            study.tell(trial, value, state=failed if value is None else optuna.trial.TrialState.COMPLETE)
    return points


def _suggest(trial: Any, key: str, values: list[Any] | Range) -> Any:
    if not isinstance(values, Range):
        return trial.suggest_categorical(key, values)
    if type(values.low) is int and type(values.high) is int:
        return trial.suggest_int(key, values.low, values.high, log=values.log)
    return trial.suggest_float(key, values.low, values.high, log=values.log)
