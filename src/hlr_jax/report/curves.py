"""Curves of runs by epoch: losses, validation metrics, and the entropies of attentions."""

from collections.abc import Iterator, Sequence

import polars as pl

from hlr_jax.report.drawing import Child, chart, element, gallery, line, mark, place, spanning
from hlr_jax.report.runs import TrainedRun
from hlr_jax.training.history import ATTENTION

_LOG_FROM = 20  # the ratio of the largest loss to the smallest from which the scale is logarithmic


def learning_curves(runs: Sequence[TrainedRun], ids: Iterator[int]) -> list[Child]:
    """Return a chart of all runs for each recorded quantity, with the best epoch of each seed marked."""
    names = dict.fromkeys(
        name for run in runs for name in run.epochs.columns if name == "train_loss" or name.startswith("valid_")
    )
    lead = (
        "A mark shows the epoch whose parameters give all metrics: the best on validation, or the last where there is "
        "no validation. A run of several seeds has a line for each. An epoch of EASE or ItemKNN is a value of its "
        "settings. Losses of different objectives are not comparable. "
    )
    for run in runs:
        if run.lost:
            shown = ", ".join(map(str, run.lost))
            lead += f"{run.label}: metrics.jsonl has missing or damaged epochs: {shown}. "
    labels = {number: run.label for number, run in enumerate(runs)}
    return gallery(lead, labels, [_curve_chart(runs, name, ids) for name in names])


def attention_curves(runs: Sequence[TrainedRun], ids: Iterator[int]) -> list[Child]:
    """Return a chart for each quantity of the attentions, and which runs have none; nothing where no run has any."""
    without = [run.label for run in runs if "memory_distance" not in run.epochs.columns]
    if len(without) == len(runs):
        return []
    lead = (
        "On the same training interactions at every epoch. Entropies are relative to uniform weights: at 1, all "
        "memories, or all items of a history, have the same weight. If the mean distance of two memories is near 0, "
        "all memories are one point, and the relation is the same for all pairs."
    )
    labels = {number: run.label for number, run in enumerate(runs) if run.label not in without}
    content = gallery(lead, labels, [_curve_chart(runs, name, ids) for name in ATTENTION])
    if without:
        content.append(element("p", f"Without memories: {', '.join(without)}."))
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
    if name.endswith("_entropy"):  # from 0 to 1, so that uniform weights are at the top
        y = spanning(quantity, (0, 1))
    deciding = [run.label for run in runs if run.parts.eval.monitor_name == name]
    note = f"Chooses the best epoch of {', '.join(deciding)}." if deciding else None
    drawings = [line(x, y, *curve) for curve in curves], [mark(run, *place(x, y, point)) for run, point in marked]
    return chart(ids, f"{quantity} by epoch", note, "; ".join(descriptions), x, y, drawings)


def _in_words(name: str) -> str:
    """Return the axis label of a key of a record."""
    kind, _, metric = name.partition("_")
    if name in ATTENTION:
        return f"{kind} {metric}"
    return f"{'training' if kind == 'train' else 'validation'} {metric.upper() if '@' in metric else metric}"
