"""The points of a sweep in order, as frames."""

import statistics
from collections.abc import Sequence
from typing import Any

import polars as pl

from hlr_jax.sweeps.sweep import Outcome


def leaderboard(outcomes: Sequence[Outcome], metric: str, *, higher_is_better: bool) -> pl.DataFrame:
    """Return a row per point, the best first and those that failed last.

    Columns: ``rank`` (null for one that failed), each key that is varied, the ``metric`` (mean over seeds of their best
    epochs' figures), ``std`` (over seeds, of a sample), ``best_epoch`` and ``epochs`` (lists over seeds), ``status``
    (``done`` or ``failed``), ``reason``.
    """
    sign = -1 if higher_is_better else 1
    ordered = sorted(outcomes, key=lambda one: (bool(one.reason), one.mean is None, sign * (one.mean or 0.0)))
    rows = [_row(rank, one, metric) for rank, one in enumerate(ordered, 1)]
    return pl.DataFrame(rows, infer_schema_length=None, strict=False)


def _row(rank: int, one: Outcome, metric: str) -> dict[str, Any]:
    return {"rank": None if one.reason else rank, **one.overrides} | {
        metric: one.mean,
        "std": statistics.stdev(one.values) if len(one.values) > 1 else None,
        "best_epoch": [trial["best_epoch"] for trial in one.trials],
        "epochs": [len(trial["history"]) for trial in one.trials],
        "status": "failed" if one.reason else "done",
        "reason": one.reason,
    }


def histories(outcomes: Sequence[Outcome]) -> pl.DataFrame:
    """Return a row per point, seed and epoch: the keys that are varied, then the records of training."""
    rows = [{**one.overrides, **record} for one in outcomes for trial in one.trials for record in trial["history"]]
    return pl.DataFrame(rows, infer_schema_length=None, strict=False)
