"""The points of a sweep in order, as frames."""

import statistics
from collections.abc import Sequence
from typing import Any

import polars as pl

from hlr_jax.sweeps.sweep import Outcome


def leaderboard(outcomes: Sequence[Outcome], metric: str, *, higher_is_better: bool) -> pl.DataFrame:
    """Return a row per point, the best first and those that failed last.

    Columns: ``rank`` (null for one that failed), each key that is varied, the ``metric`` (mean over seeds, each at
    its best epoch), ``std`` (over seeds, of a sample), ``best_epoch`` and ``epochs`` (lists over seeds), ``status``
    (``done`` or ``failed``), ``reason``.
    """
    sign = -1 if higher_is_better else 1
    ordered = sorted(
        outcomes, key=lambda outcome: (bool(outcome.reason), outcome.mean is None, sign * (outcome.mean or 0.0))
    )
    rows = [_row(rank, outcome, metric) for rank, outcome in enumerate(ordered, 1)]
    return pl.DataFrame(rows, infer_schema_length=None, strict=False)


def _row(rank: int, outcome: Outcome, metric: str) -> dict[str, Any]:
    return {"rank": None if outcome.reason else rank, **outcome.overrides} | {
        metric: outcome.mean,
        "std": statistics.stdev(outcome.values) if len(outcome.values) > 1 else None,
        "best_epoch": [trial["best_epoch"] for trial in outcome.trials],
        "epochs": [len(trial["history"]) for trial in outcome.trials],
        "status": "failed" if outcome.reason else "done",
        "reason": outcome.reason,
    }


def histories(outcomes: Sequence[Outcome]) -> pl.DataFrame:
    """Return a row per point, seed and epoch: the keys that are varied, then the records of training."""
    rows = [
        {**outcome.overrides, **record}
        for outcome in outcomes
        for trial in outcome.trials
        for record in trial["history"]
    ]
    return pl.DataFrame(rows, infer_schema_length=None, strict=False)
