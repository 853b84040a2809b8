"""Tables of all metrics of runs, with intervals and standard deviations."""

import math
from collections import defaultdict
from collections.abc import Sequence

import polars as pl

from hlr_jax.evaluation.comparison import NUM_COHORTS
from hlr_jax.evaluation.metrics import LOWER_IS_BETTER, cohort_statistics
from hlr_jax.evaluation.results import Metrics
from hlr_jax.evaluation.significance import INTERVAL_RESAMPLES, LEVEL
from hlr_jax.report.drawing import Child, Markup, element, folded, soft, table
from hlr_jax.report.headline import user_intervals
from hlr_jax.report.runs import SPLIT_NAMES, TrainedRun

_DISPLAY_NAMES = {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "map over k": "MAP over K", "rr sum": "RR sum"}


def metric_tables(runs: Sequence[TrainedRun]) -> list[Child]:
    """Return every metric of runs on the same data, test first, with intervals; then the metrics of each seed."""
    content: list[Child] = []
    for split in SPLIT_NAMES:
        if split not in runs[0].metrics:
            continue
        tables: list[Child] = [_metric_table(runs, split, k) for k in runs[0].parts.eval.ks]
        tables.append(_seed_tables(runs, split))
        content += [folded("Metrics on validation, which chose the epochs", *tables)] if content else tables
        if split == "test":
            content = [_how_to_read(runs), *content]
    return content


def _metric_table(runs: Sequence[TrainedRun], split: str, k: int) -> Child:
    measured, spreads = [run.metrics[split] for run in runs], [_spreads(run, split, k) for run in runs]
    rows: dict[str, Sequence[Child]] = {}
    for name in dict.fromkeys(name for metrics in measured for name in metrics.measured):
        found = [metrics.value(name, k) if name in metrics.measured else math.nan for metrics in measured]
        values = [None if math.isnan(value) else value for value in found]
        shown = [round(value, 4) for value in values if value is not None]
        has_best = len(runs) > 1 and name not in LOWER_IS_BETTER
        cells: list[Child] = []
        for value, spread in zip(values, spreads, strict=True):
            if value is None:
                cells.append("–")
                continue
            is_best = has_best and round(value, 4) == max(shown)
            mean = element("span", _amount(value, name), class_="best" if is_best else None)
            cells.append([mean, [element("span", line, class_="more") for line in spread[name]]])
        rows[_row_name(name, measured[0])] = cells
    caption = f"K = {k} on {SPLIT_NAMES[split]}, {measured[0].users:,} users, {measured[0].items:,} items"
    return table(caption, [run.label for run in runs], rows, "numbers")


def _spreads(run: TrainedRun, split: str, k: int) -> defaultdict[str, list[str]]:
    """Return by metric its interval over users and its standard deviations over groups of users and over seeds.

    Metrics of the catalog, such as coverage, have no value of a single user, so they have the last one only.
    """
    spreads: defaultdict[str, list[str]] = defaultdict(list)
    metrics = run.metrics[split]
    if split == "test":
        assert run.result is not None
        frame, first = run.result.per_user.filter(pl.col("k") == k), metrics.seeds[0]
        names = [name for name in frame.columns if name in metrics.measured]
        intervals = user_intervals(frame, k, names)
        of_seed = frame.filter(pl.col("seed") == first)
        groups = cohort_statistics({name: of_seed[name].to_numpy() for name in names}, NUM_COHORTS, first)
        # A run that measured groups itself may have another number of them.
        groups |= {name: spread[0] for (name, at), spread in metrics.cohorts.items() if at == k}
        for name, (low, high) in zip(names, intervals, strict=True):
            spreads[name].append(f"{_amount(low, name)} to {_amount(high, name)}")
            spreads[name].append(f"± {_amount(groups[name][1], name)} groups")
    for name in metrics.measured:
        if (std := metrics.std(name, k)) is not None:
            spreads[name].append(f"± {_amount(std, name)} seeds")
    return spreads


def _how_to_read(runs: Sequence[TrainedRun]) -> Child:
    options = [run.parts.eval for run in runs]
    groups = {option.num_cohorts if option.num_cohorts > 1 else NUM_COHORTS for option in options}
    text = (
        "Each list ranks all items that the user had no interaction with before. Below each value: "
        f"the {LEVEL:.0%} bootstrap interval over users ({INTERVAL_RESAMPLES:,} resamples); "
        f"± the standard deviation over {' or '.join(map(str, sorted(groups)))} random groups of users (first seed)"
    )
    several = [f"{len(run.loaded.seeds)} of {run.label}" for run in runs if len(run.loaded.seeds) > 1]
    text += f"; ± the standard deviation over seeds ({', '.join(several)})" if several else ""
    return soft(f"{text}.{' Bold: the best value of a row.' if len(runs) > 1 else ''}")


def _seed_tables(runs: Sequence[TrainedRun], split: str) -> Child:
    tables = []
    for run in runs:
        metrics = run.metrics[split]
        if len(metrics.seeds) == 1:
            continue
        columns = [f"seed {seed}, epoch {best}" for seed, best in zip(metrics.seeds, metrics.best_epochs, strict=True)]
        rows: dict[str, Sequence[Child]] = {
            _display_name(name): [_amount(value, name) for value in metrics.by_seed(name)] for name in metrics.measured
        }
        tables.append(table(f"{run.label} on {SPLIT_NAMES[split]}", columns, rows, "numbers"))
    return folded("Each seed", *tables) if tables else None


def _row_name(name: str, metrics: Metrics) -> Markup:
    """Return the name of a metric's row, with its unit, and with what the protocol calls it where names differ."""
    called = [row for row, metric in metrics.names.items() if metric == name and row.lower() != name]
    unit = "training users of an item" if "popularity" in name else None
    notes = [f"the protocol's {row}" for row in called] + ([unit] if unit else [])
    return element("span", _display_name(name), [element("span", note, class_="more") for note in notes])


def _display_name(name: str) -> str:
    words = name.replace("_", " ")
    return _DISPLAY_NAMES.get(words, words.capitalize())


def _amount(value: float, name: str) -> str:
    """Return a metric's value: four decimals, or one for counts of users; a dash where there is no value."""
    if math.isnan(value):
        return "–"
    return f"{value:,.1f}" if "popularity" in name else f"{value:.4f}"
