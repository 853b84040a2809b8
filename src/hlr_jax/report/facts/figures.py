"""Metrics of runs with what they could have been otherwise, and the paired test between runs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hlr_jax.evaluation.comparison import NUM_COHORTS, paired_values
from hlr_jax.evaluation.intervals import bootstrap_interval
from hlr_jax.evaluation.metrics import cohort_statistics
from hlr_jax.evaluation.significance import best_against_rest
from hlr_jax.report.facts.runs import RunFacts

TESTED = "NDCG"


class Figure(NamedTuple):
    """A metric of a run at one split.

    Attributes:
      mean: over users and seeds; for what lists do to the catalogue (coverage, ...), over seeds.
      interval: bounds of the bootstrap interval over users, of each user's mean over seeds; None where no single user's
        values are known.
      cohorts: standard deviation of the first seed over disjoint groups of users; None likewise.
      seeds: standard deviation over seeds; None for one seed.
    """

    mean: float
    interval: tuple[float, float] | None
    cohorts: float | None
    seeds: float | None


def figures_of(run: RunFacts, split: str) -> dict[str, Figure]:
    """Return every metric of a run at a split, as ``ndcg@10`` and so on."""
    summary = run.figures[split]
    names = [name for name in summary if "@" in name]
    intervals, cohorts = _over_users(run) if split == "test" else ({}, {})
    std = summary.get("std", {})
    return {name: Figure(summary[name], intervals.get(name), cohorts.get(name), std.get(name)) for name in names}


def _over_users(run: RunFacts) -> tuple[dict[str, tuple[float, float]], dict[str, float]]:
    """Return the intervals, and the standard deviations over cohorts, of the metrics that each user has."""
    assert run.result is not None
    k, frame = run.result.k, run.result.per_user
    metrics = [name for name in frame.columns if f"{name}@{k}" in run.result.summary]
    means = frame.group_by("user", maintain_order=True).mean().select(metrics).to_numpy()
    low, high = bootstrap_interval(means)
    intervals = {f"{name}@{k}": (float(low[m]), float(high[m])) for m, name in enumerate(metrics)}
    first = run.result.summary["seeds"][0]
    values = frame.filter(frame["seed"] == first["seed"])
    # What the run itself measured comes first: its own number of cohorts.
    found = first.get("cohorts") or {
        f"{name}@{k}": one
        for name, one in cohort_statistics(
            {name: values[name].to_numpy() for name in metrics}, NUM_COHORTS, first["seed"]
        ).items()
    }
    return intervals, {name: one["std"] for name, one in found.items()}


def num_cohorts(run: RunFacts) -> int:
    """Return over how many groups of users ``Figure.cohorts`` of a run is."""
    return run.loaded.parts.eval.num_cohorts if run.loaded.parts.eval.num_cohorts > 1 else NUM_COHORTS


class PairedTest(NamedTuple):
    """The run that is best in a metric, and the Holm-adjusted p of its difference from each other run, over users."""

    metric: str
    best: str
    p_values: dict[str, float]


def paired_test(runs: Sequence[RunFacts]) -> PairedTest | None:
    """Return the test in NDCG between comparable runs; None where fewer than two have test figures.

    Raises:
      InputError: the runs are of other users.
    """
    results = {run.label: run.result for run in runs if run.result is not None}
    if len(results) < 2:
        return None
    best, p_values = best_against_rest(paired_values(results, TESTED, "seeds"))
    return PairedTest(next(iter(results.values())).metric(TESTED), best, p_values)


def selected_by(run: RunFacts) -> str:
    """Return the column of ``metrics.jsonl`` that chose the best epoch."""
    options = run.loaded.parts.eval
    return f"valid_ndcg@{options.k}" if options.select_by == "ndcg" else "valid_loss"


def curves(runs: Sequence[RunFacts]) -> dict[str, list[tuple[int, int, list[tuple[float, float]], int]]]:
    """Return, by recorded quantity, a curve per run and seed: place of the run, seed, (epoch, value), best epoch."""
    names = dict.fromkeys(
        name for run in runs for name in run.epochs.columns if name == "train_loss" or name.startswith("valid_")
    )
    found: dict[str, list[tuple[int, int, list[tuple[float, float]], int]]] = {}
    for name in names:
        for place, run in enumerate(runs):
            if name not in run.epochs.columns:
                continue
            for index, best in enumerate(run.loaded.best_epochs):
                seed = run.first_seed + index
                rows = run.epochs.filter(run.epochs["seed"] == seed).select("epoch", name).drop_nulls().sort("epoch")
                points = [(float(x), float(y)) for x, y in rows.iter_rows() if np.isfinite(y)]
                found.setdefault(name, []).append((place, seed, points, best))
    return found


def environment_rows(runs: Sequence[RunFacts]) -> dict[str, list[Any]]:
    """Return what each run was made with and on, by word: Python, devices, versions."""
    rows: dict[str, list[Any]] = {
        "Python": [run.environment.get("python", "") for run in runs],
        "devices": [", ".join(run.environment.get("devices", [])) for run in runs],
    }
    packages = dict.fromkeys(name for run in runs for name in run.environment.get("packages", {}))
    return rows | {name: [run.environment.get("packages", {}).get(name, "") for run in runs] for name in packages}
