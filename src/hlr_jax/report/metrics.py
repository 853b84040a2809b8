"""Metrics of runs: tables with what they could have been otherwise, and the paired test."""

import math
from collections import defaultdict
from collections.abc import Sequence

import polars as pl

from hlr_jax.evaluation.comparison import NUM_COHORTS, one_seed_note, paired_values, with_one_seed
from hlr_jax.evaluation.metrics import LOWER_IS_BETTER, cohort_statistics
from hlr_jax.evaluation.names import TEST
from hlr_jax.evaluation.significance import INTERVAL_RESAMPLES, LEVEL, best_against_rest, bootstrap_interval
from hlr_jax.report.drawing import Child, element, folded, soft, table
from hlr_jax.report.runs import SPLIT_NAMES, TrainedRun

_TESTED = "NDCG"
_DISPLAY_NAMES = {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "map over k": "MAP over K", "rr sum": "RR sum"}


def metric_tables(runs: Sequence[TrainedRun]) -> list[Child]:
    """Return every metric of runs on the same data, of test first, with intervals; then each seed's own.

    Raises:
      InputError: the runs are of other users.
    """
    content: list[Child] = []
    for split in SPLIT_NAMES:
        if split not in runs[0].metrics:
            continue
        tables: list[Child] = [_metric_table(runs, split, k) for k in runs[0].parts.eval.ks]
        tables.append(_seed_tables(runs, split))
        content += [folded("Figures on validation, which chose the epochs", *tables)] if content else tables
        if split == "test":
            content = [_how_to_read(runs), *content, _paired_test(runs)]
    return content or [element("p", "The data has neither validation nor test interactions, so there are no figures.")]


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
        rows[_display_name(name)] = cells
    caption = f"At K = {k} on {SPLIT_NAMES[split]}, {measured[0].users} users"
    return table(caption, [run.label for run in runs], rows, "figures")


def _spreads(run: TrainedRun, split: str, k: int) -> defaultdict[str, list[str]]:
    """Return by metric what its mean could have been: over users, over groups of users, over seeds.

    The first two only where each user has a value: what lists do to the catalogue (coverage, ...) is no single user's.
    """
    spreads: defaultdict[str, list[str]] = defaultdict(list)
    metrics = run.metrics[split]
    if split == "test":
        assert run.result is not None
        frame, first = run.result.per_user.filter(pl.col("k") == k), metrics.seeds[0]
        names = [name for name in frame.columns if name in metrics.measured]
        low, high = bootstrap_interval(frame.group_by("user", maintain_order=True).mean().select(names).to_numpy())
        of_seed = frame.filter(pl.col("seed") == first)
        groups = cohort_statistics({name: of_seed[name].to_numpy() for name in names}, NUM_COHORTS, first)
        # A run that has measured groups itself has a number of its own of them.
        groups |= {name: spread[0] for (name, at), spread in metrics.cohorts.items() if at == k}
        for place, name in enumerate(names):
            spreads[name].append(f"{_amount(low[place], name)} to {_amount(high[place], name)}")
            spreads[name].append(f"± {_amount(groups[name][1], name)} groups")
    for name in metrics.measured:
        if (std := metrics.std(name, k)) is not None:
            spreads[name].append(f"± {_amount(std, name)} seeds")
    return spreads


def _how_to_read(runs: Sequence[TrainedRun]) -> Child:
    options = [run.parts.eval for run in runs]
    groups = {option.num_cohorts if option.num_cohorts > 1 else NUM_COHORTS for option in options}
    text = (
        "All items are ranked but those known before. Below a figure stands what it could have been: "
        f"{LEVEL:.0%} bootstrap interval over users ({INTERVAL_RESAMPLES:,} draws); ± standard deviation over "
        f"{' or '.join(map(str, sorted(groups)))} random groups of users, of the first seed"
    )
    several = [f"{len(run.loaded.seeds)} of {run.label}" for run in runs if len(run.loaded.seeds) > 1]
    text += f"; ± standard deviation over seeds ({', '.join(several)})" if several else ""
    return soft(f"{text}.{' Bold: the best of a row.' if len(runs) > 1 else ''}")


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
        tables.append(table(f"{run.label} on {SPLIT_NAMES[split]}", columns, rows, "figures"))
    return folded("Each seed", *tables) if tables else None


def _paired_test(runs: Sequence[TrainedRun]) -> Child:
    results = {run.label: run.result for run in runs if run.result is not None}
    if len(results) < 2:
        return None
    best, differences = best_against_rest(paired_values(results, _TESTED, "seeds"))
    metric = next(iter(results.values())).metric(_TESTED).upper()
    others = "; ".join(
        f"{label}: {d.mean:.4f} ({d.low:.4f} to {d.high:.4f}), p = {d.p_value:.2g}" for label, d in differences.items()
    )
    end = (
        f". By how much, with the interval of each difference at 95 % and the Holm-adjusted p of a {TEST}: {others}. "
        f"{one_seed_note(with_one_seed(results, 'seeds'))}"
    )
    return element("p", f"Best in {metric}@{runs[0].parts.eval.ks[0]}: ", element("strong", best), end)


def _display_name(name: str) -> str:
    words = name.replace("_", " ")
    return _DISPLAY_NAMES.get(words, words.capitalize())


def _amount(value: float, name: str) -> str:
    """Return a metric's value: four decimals, or one for counts of users; a dash for none."""
    if math.isnan(value):
        return "–"
    return f"{value:,.1f}" if "popularity" in name else f"{value:.4f}"
