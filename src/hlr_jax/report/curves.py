"""Curves of runs by epoch: losses, the validation metric, and what attentions do."""

from collections.abc import Iterator, Sequence

import polars as pl

from hlr_jax.report.drawing import Child, chart, element, gallery, line, mark, place, spanning
from hlr_jax.report.runs import TrainedRun
from hlr_jax.training.history import ATTENTION

_LOG_FROM = 20  # a loss whose largest value is so many times its smallest needs a log scale


def learning_curves(runs: Sequence[TrainedRun], ids: Iterator[int]) -> list[Child]:
    """Return a chart for each recorded quantity, all runs in it, the best epoch of each seed marked."""
    names = dict.fromkeys(
        name for run in runs for name in run.epochs.columns if name == "train_loss" or name.startswith("valid_")
    )
    lead = (
        "A mark shows the epoch whose parameters all figures are of: the best on validation, or without any the last. "
        "A run of several seeds has a line for each. "
        "An epoch of EASE or ItemKNN is a value of its settings. "
        "Losses of different objectives have different scales. "
    )
    for run in runs:
        if run.lost:
            shown = ", ".join(map(str, run.lost))
            lead += f"{run.label}: metrics.jsonl lacks epochs, or they are damaged there: {shown}. "
    return gallery(lead, [run.label for run in runs], [_curve_chart(runs, name, ids) for name in names])


def attention_curves(runs: Sequence[TrainedRun], ids: Iterator[int]) -> list[Child]:
    """Return a chart for each figure of the attentions, of all runs that have it, and which runs have none."""
    without = [run.label for run in runs if "memory_distance" not in run.epochs.columns]
    content: list[Child] = []
    if len(without) < len(runs):
        lead = (
            "On training interactions that are the same at every epoch. An entropy is over that of uniform weights: at "
            "1 all memories, or all items of a history, weigh the same. Where the mean distance of two memories is "
            "near 0, they are one point, and the relation is the same for all pairs."
        )
        charts = [_curve_chart(runs, name, ids) for name in ATTENTION]
        content += gallery(lead, [run.label for run in runs], charts)
    if without:
        content.append(element("p", f"No memories to attend over: {', '.join(without)}."))
    return content


def _curve_chart(runs: Sequence[TrainedRun], name: str, ids: Iterator[int]) -> Child:
    curves, marked, descriptions = [], [], []
    for number, run in enumerate(runs):
        if name not in run.epochs.columns:
            continue
        finite = run.epochs.filter(pl.col(name).cast(pl.Float64).is_finite()).sort("epoch")
        for seed, best in zip(run.loaded.seeds, run.loaded.best_epochs, strict=True):
            points = finite.filter(pl.col("seed") == seed).select("epoch", name).rows()
            if not points:
                continue
            at_best = [point for point in points if point[0] == best]
            curves.append((number, points, finite["seed"].n_unique() > 1))
            marked += [(number, point) for point in (at_best if len(points) > 1 else points)]
            ends = f"from {points[0][1]:.4g} to {points[-1][1]:.4g}"
            value = f"{at_best[0][1]:.4g}" if at_best else "none"
            descriptions.append(f"{run.label}, seed {seed}: {ends}, {value} at epoch {best}")
    if not curves:
        return None
    epochs, values = zip(*(point for _, points, _ in curves for point in points), strict=True)
    log = min(values) > 0 and max(values) > _LOG_FROM * min(values)
    quantity, x = _in_words(name), spanning("epoch", epochs, whole=True)
    y = spanning(quantity + (" (log scale)" if log else ""), values, log=log)
    if name.endswith("_entropy"):  # from 0 to 1, so that what is uniform lies at the top
        y = spanning(quantity, (0, 1))
    deciding = [run.label for run in runs if run.parts.eval.monitor_name == name]
    note = f"Chooses the best epoch of {', '.join(deciding)}." if deciding else None
    drawings = [line(x, y, *curve) for curve in curves], [mark(run, *place(x, y, point)) for run, point in marked]
    return chart(ids, f"{quantity} by epoch", note, "; ".join(descriptions), x, y, drawings)


def _in_words(name: str) -> str:
    """Return what a key of a record is called on an axis."""
    kind, _, metric = name.partition("_")
    if name in ATTENTION:
        return f"{kind} {metric}"
    return f"{'training' if kind == 'train' else 'validation'} {metric.upper() if '@' in metric else metric}"
