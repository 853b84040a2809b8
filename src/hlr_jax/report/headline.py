"""The answer of a page: which run is best, by how much, and the metric of every system as bars with intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from hlr_jax.evaluation.comparison import SIGNIFICANT, one_seed_note, paired_values, with_one_seed
from hlr_jax.evaluation.names import TEST
from hlr_jax.evaluation.results import Metrics
from hlr_jax.evaluation.significance import LEVEL, best_against_rest, bootstrap_interval
from hlr_jax.report.baselines import Baseline
from hlr_jax.report.drawing import Child, Markup, element, legend_mark, run_style, soft
from hlr_jax.report.runs import SPLIT_NAMES, TrainedRun
from hlr_jax.scorers.popularity import Popularity

_METRIC, _NAME = "ndcg", "NDCG"


class Bar(NamedTuple):
    """A system's metric. ``run`` is its place among the runs of the page, None for a baseline."""

    label: str
    note: str
    run: int | None
    value: float
    interval: tuple[float, float] | None


def user_intervals(per_user: pl.DataFrame, k: int, names: Sequence[str]) -> list[tuple[float, float]]:
    """Return the bootstrap interval over users of the mean of each metric, from a row per user, seed and K."""
    means = per_user.filter(pl.col("k") == k).group_by("user", maintain_order=True).mean().select(names)
    low, high = bootstrap_interval(means.to_numpy())
    return list(zip(low.tolist(), high.tolist(), strict=True))


def headline(runs: Sequence[TrainedRun], baselines: Sequence[Baseline]) -> list[Child]:
    """Return the answer in a sentence, the bars of runs and baselines, and the paired test of the runs.

    Raises:
      InputError: the runs have metrics of different users.
    """
    split, k = runs[0].split, runs[0].parts.eval.ks[0]
    if split is None:
        return [element("p", "The data has neither validation nor test interactions, so there are no metrics.")]
    with_interval = split == "test"  # only test has a record of each user
    bars = [
        _bar(run.label, "", place, run.metrics[split], run.result and run.result.per_user)
        for place, run in enumerate(runs)
    ]
    bars += [_bar(o.label, o.note, None, o.metrics, o.per_user if with_interval else None) for o in baselines]
    bars.sort(key=lambda bar: bar.value, reverse=True)
    best, users = next(bar for bar in bars if bar.run is not None), runs[0].metrics[split].users
    words = f"{'Best in ' if len(runs) > 1 else ''}{_NAME}@{k} on {SPLIT_NAMES[split]}: "
    value = element("strong", f"{best.label}, {best.value:.4f}")
    facts = [f"{LEVEL:.0%} interval {_range(best.interval)}"] if best.interval else []
    answer = element("p", words, value, f" ({', '.join([*facts, f'{users:,} users'])}).", _beside(bars, best))
    return [element("div", answer, class_="answer"), _bar_table(bars, k, users), *_paired_test(runs)]


def _bar(label: str, note: str, run: int | None, metrics: Metrics, per_user: pl.DataFrame | None) -> Bar:
    interval = None if per_user is None else user_intervals(per_user, metrics.k[0], [_METRIC])[0]
    return Bar(label, note, run, metrics.value(_METRIC), interval)


def _range(interval: tuple[float, float]) -> str:
    return "{:.4f} to {:.4f}".format(*interval)


def _beside(bars: Sequence[Bar], best: Bar) -> str:
    """Return how the best run compares with Popularity, and with the best system if that is a baseline."""
    words = ""
    value = next((bar.value for bar in bars if bar.label == Popularity.title and bar is not best), 0.0)
    if value:
        words += f" That is {best.value / value:.1f} times Popularity."
    if bars[0].value > best.value:
        words += f" The baseline {bars[0].label} reaches {bars[0].value:.4f}."
    return words


def _bar_table(bars: Sequence[Bar], k: int, users: int) -> Markup:
    """Return a table of systems, the best first: bars that start at 0, with the interval as a line."""
    full = max(bar.interval[1] if bar.interval else bar.value for bar in bars) or 1.0
    rows = []
    for bar in bars:
        fill = element("span", class_=f"fill {run_style(bar.run)}", style=f"width:{100 * bar.value / full:.2f}%")
        whisker = None
        if bar.interval:
            low, high = (100 * bound / full for bound in bar.interval)
            whisker = element("span", class_="whisker", style=f"left:{low:.2f}%;width:{high - low:.2f}%")
        swatch = None if bar.run is None else [legend_mark(bar.run), " "]
        name = element("th", swatch, bar.label, _more(bar.note), scope="row")
        interval = _more(_range(bar.interval)) if bar.interval else None
        drawn = element("td", element("div", fill, whisker, aria_hidden="true"), class_="bar")
        rows.append(element("tr", name, drawn, element("td", f"{bar.value:.4f}", interval)))
    names = element("th", "system", scope="col"), element("td"), element("th", f"{_NAME}@{k}", scope="col")
    caption = f"{_NAME}@{k} of {users:,} users; line: {LEVEL:.0%} interval over users; gray: baselines"
    return element(
        "table", element("caption", caption), element("thead", element("tr", names)), element("tbody", rows),
        class_="numbers bars",
    )  # fmt: skip


def _more(text: str) -> Child:
    return element("span", text, class_="more") if text else None


def _paired_test(runs: Sequence[TrainedRun]) -> list[Child]:
    """Return by how much the best run leads each other one, and whether chance explains that."""
    results = {run.label: run.result for run in runs if run.result is not None}
    if len(results) < 2:
        return []
    best, differences = best_against_rest(paired_values(results, _NAME, "seeds"))
    level = [label for label, difference in differences.items() if not difference.p_value < SIGNIFICANT]
    verdict = f"{best} is significantly better than every other run."
    if level:
        verdict = f"{best} is not significantly better than {', '.join(level)}."
    leads = [
        element("li", f"over {label}: {d.mean:.4f} ({d.low:.4f} to {d.high:.4f}), p = {d.p_value:.2g}")
        for label, d in differences.items()
    ]
    method = (
        f"Lead in {_NAME} with its {LEVEL:.0%} interval, and the Holm-adjusted p of a {TEST}. "
        f"{one_seed_note(with_one_seed(results, 'seeds'))}"
    )
    return [element("p", verdict), element("ul", leads, class_="leads"), soft(method)]
