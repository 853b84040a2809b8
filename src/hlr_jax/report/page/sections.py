"""The sections of a group of comparable runs."""

from collections.abc import Sequence

import numpy as np

from hlr_jax.evaluation.intervals import LEVEL, RESAMPLES
from hlr_jax.report.facts.exposure import Exposure, lorenz
from hlr_jax.report.facts.figures import (
    PairedTest,
    curves,
    environment_rows,
    figures_of,
    num_cohorts,
    selected_by,
)
from hlr_jax.report.facts.runs import RunFacts, differing_settings
from hlr_jax.report.page.axes import Axis, spanning
from hlr_jax.report.page.charts import Identifiers, Line, chart, dots, legend, lines
from hlr_jax.report.page.elements import Child, Markup, element
from hlr_jax.report.page.tables import amount, plain_value, table

Runs = Sequence[RunFacts]

_PROTOCOL = {
    "test_neighbors": "neighbors at test are from",
    "solver_mask": "left out of MF-ALS's lists",
    "mrr": "MRR is",
    "map": "MAP is",
    "popularity": "Popularity is",
    "spread": "± is over",
    "hash": "hash",
}
_SPLIT_NAMES = {"test": "test", "valid": "validation"}
_SHORT = {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "map over k": "MAP over K", "rr sum": "RR sum"}
_LOG_FROM = 20  # a loss whose largest value is so many times its smallest needs a log scale


def data_and_protocol(runs: Runs) -> list[Child]:
    """Return what was measured on, and how."""
    parts = runs[0].loaded.parts
    dataset, protocol = parts.dataset, parts.dataset.protocol
    sizes = [len(getattr(dataset, split).user) for split in ("train", "valid", "test")]
    degrees = np.bincount(np.concatenate([p.user for p in (dataset.train, dataset.valid, dataset.test)]))
    data = {
        "users": f"{dataset.num_users:,}",
        "items": f"{dataset.num_items:,}",
        "interactions": f"{sum(sizes):,}",
        "train / validation / test": " / ".join(f"{size:,}" for size in sizes),
        "density": f"{sum(sizes) / dataset.num_users / dataset.num_items:.2%}",
        "median interactions of a user": f"{np.median(degrees):g}",
        "hash": dataset.fingerprint[:16],
    }
    measured = {"name": protocol.name, "split": protocol.split, "K, the length of lists": str(parts.eval.k)}
    measured |= {words: str(getattr(protocol, name)) for name, words in _PROTOCOL.items()}
    both = [
        element("div", table(f"Data set {dataset.name}", (), {name: [cell] for name, cell in data.items()})),
        element("div", table("Protocol", (), {name: [cell] for name, cell in measured.items()})),
    ]
    return [element("div", both, class_="grid-of")]


def run_table(runs: Runs) -> list[Child]:
    """Return what the runs are and in which settings they differ."""
    labels = [run.label for run in runs]
    rows: dict[str, list[Child]] = {
        "model": [run.model for run in runs],
        "seeds": [_seeds(run) for run in runs],
        "best epoch": [", ".join(map(str, run.loaded.best_epochs)) for run in runs],
        "epochs": [str(run.epochs["epoch"].max()) for run in runs],
        "parameters": [f"{sum(array.size for array in run.loaded.params[0].values()):,}" for run in runs],
        "training, seconds": [f"{run.epochs.unique('epoch')['seconds'].sum():,.0f}" for run in runs],
    }
    differing = {name: list(map(plain_value, values)) for name, values in differing_settings(runs).items()}
    names = dict.fromkeys(name for run in runs for name in run.settings)
    settings = {name: [plain_value(run.settings.get(name)) for run in runs] for name in names}
    content: list[Child] = [table("The runs", labels, rows)]
    if differing:
        content.append(_folded("Settings in which they differ", table("Settings that differ", labels, differing)))
    content.append(_folded("All settings", table("Settings", labels, settings)))
    content.append(_folded("Versions and devices", table("Made with", labels, environment_rows(runs))))
    return content


def _seeds(run: RunFacts) -> str:
    count = len(run.loaded.params)
    return str(run.first_seed) if count == 1 else f"{run.first_seed} to {run.first_seed + count - 1}"


def _folded(summary: str, *content: Child) -> Markup:
    return element("details", element("summary", summary), *content)


def learning_curves(runs: Runs, ids: Identifiers) -> list[Child]:
    """Return a chart for each recorded quantity, all runs in it, the best epoch of each seed marked."""
    figures = []
    for name, found in curves(runs).items():
        drawable = [curve for curve in found if curve[2]]
        if not drawable:
            continue
        values = [value for _, _, points, _ in drawable for _, value in points]
        log = min(values) > 0 and max(values) > _LOG_FROM * min(values)
        x = spanning("epoch", [epoch for _, _, points, _ in drawable for epoch, _ in points])
        y = spanning(_quantity(name) + (" (log scale)" if log else ""), values, log=log)
        several = [sum(place == other[0] for other in drawable) > 1 for place, *_ in drawable]
        shown = [
            Line(place, points, [point for point in points if point[0] == best], thin)
            for (place, _, points, best), thin in zip(drawable, several, strict=True)
        ]
        words = "; ".join(_curve_words(runs[place], seed, points, best) for place, seed, points, best in drawable)
        deciding = [run.label for run in runs if selected_by(run) == name]
        note = f"Chooses the best epoch of {', '.join(deciding)}." if deciding else None
        drawing = chart(ids, f"{_quantity(name)} by epoch", words, x, y, lines(x, y, shown))
        caption = element("figcaption", element("strong", f"{_quantity(name)} by epoch"), note)
        figures.append(element("figure", caption, drawing))
    lead = (
        "A mark shows the best epoch, whose parameters all figures are of. A run of several seeds has a line for each."
    )
    return [element("p", lead, class_="soft"), legend([run.label for run in runs]), _grid(figures)]


def _grid(children: Sequence[Child]) -> Markup:
    return element("div", list(children), class_="grid-of")


def _quantity(name: str) -> str:
    kind, _, metric = name.partition("_")
    return f"{'training' if kind == 'train' else 'validation'} {metric.upper() if '@' in metric else metric}"


def _curve_words(run: RunFacts, seed: int, points: Sequence[tuple[float, float]], best: int) -> str:
    at_best = next((f"{value:.4g}" for epoch, value in points if epoch == best), "none")
    return f"{run.label}, seed {seed}: from {points[0][1]:.4g} to {points[-1][1]:.4g}, {at_best} at best epoch {best}"


def metric_tables(runs: Runs, test: PairedTest | None) -> list[Child]:
    """Return every figure of the runs, of test first, with intervals; then each seed's own."""
    content: list[Child] = []
    for split in ("test", "valid"):
        chosen = [run for run in runs if split in run.figures]
        if not chosen:
            continue
        drawn = [_metric_table(chosen, split), _seed_table(chosen, split)]
        content += [_folded("Figures on validation, which chose the epochs", *drawn)] if content else [*drawn]
        if split == "test":
            content = [_meaning(chosen), *content, _test_sentence(chosen, test)]
    return content or [element("p", "The data has neither validation nor test interactions, so there are no figures.")]


def _metric_table(runs: Runs, split: str) -> Markup:
    figures = [figures_of(run, split) for run in runs]
    rows: dict[str, Sequence[Child]] = {}
    for name in dict.fromkeys(name for found in figures for name in found):
        top = max(round(found[name].mean, 4) for found in figures if name in found)
        judged = len(runs) > 1 and _higher_is_better(name)
        cells: list[Child] = []
        for run, found in zip(runs, figures, strict=True):
            if name not in found:
                cells.append("–")
                continue
            figure, more = found[name], []
            if figure.interval:
                more.append(f"{amount(figure.interval[0], name)} to {amount(figure.interval[1], name)}")
            if figure.cohorts is not None:
                more.append(f"± {amount(figure.cohorts, name)} groups")
            if figure.seeds is not None:
                more.append(f"± {amount(figure.seeds, name)} seeds")
            best = judged and round(figure.mean, 4) == top
            cells.append(
                [
                    element("span", amount(figure.mean, name), class_="best" if best else None),
                    [element("span", line, class_="more") for line in more],
                ]
            )
        rows[_words(name)] = cells
    users, k = runs[0].figures[split]["users"], runs[0].loaded.parts.eval.k
    caption = f"At K = {k} on {_SPLIT_NAMES[split]}, {users:,} users"
    return table(caption, [run.label for run in runs], rows, "figures")


def _meaning(runs: Runs) -> Markup:
    """Return what stands below the figures of test."""
    groups = " or ".join(str(count) for count in sorted({num_cohorts(run) for run in runs}))
    text = (
        "All items are ranked but those known before. Below a figure stands what it could have been: "
        f"{LEVEL:.0%} bootstrap interval over users ({RESAMPLES:,} draws); ± standard deviation over {groups} random "
        "groups of users, of the first seed"
    )
    several = [f"{len(run.loaded.params)} of {run.label}" for run in runs if len(run.loaded.params) > 1]
    text += f"; ± standard deviation over seeds ({', '.join(several)})" if several else ""
    return element("p", f"{text}.{' Bold: the best of a row.' if len(runs) > 1 else ''}", class_="soft")


def _words(name: str) -> str:
    words = name.partition("@")[0].replace("_", " ")
    return _SHORT.get(words, words.capitalize())


def _higher_is_better(name: str) -> bool:
    return not name.startswith(("median_popularity", "shown_popularity", "gini"))


def _seed_table(runs: Runs, split: str) -> Child:
    several = [run for run in runs if len(run.figures[split]["seeds"]) > 1]
    tables = []
    for run in several:
        seeds = run.figures[split]["seeds"]
        rows: dict[str, Sequence[Child]] = {
            _words(name): [amount(seed[name], name) for seed in seeds] for name in seeds[0] if "@" in name
        }
        heads = [f"seed {seed['seed']}, epoch {seed['best_epoch']}" for seed in seeds]
        tables.append(table(f"{run.label} on {_SPLIT_NAMES[split]}", heads, rows, "figures"))
    return _folded("Each seed", *tables) if tables else None


def _test_sentence(runs: Runs, test: PairedTest | None) -> Child:
    if test is None:
        return None
    others = "; ".join(f"{label}: {p:.2g}" for label, p in test.p_values.items())
    k = runs[0].loaded.parts.eval.k
    return element(
        "p", f"Best in {test.metric.upper()}@{k}: ", element("strong", test.best),
        f". Paired t-test over users, Holm-adjusted p of its difference from {others}.",
    )  # fmt: skip


def popularity_and_exposure(runs: Runs, exposures: Sequence[Exposure | None], ids: Identifiers) -> list[Child]:
    """Return how often items are recommended against how popular they are, and the Lorenz curves of both."""
    known = [(place, found) for place, found in enumerate(exposures) if found is not None]
    if not known:
        return [element("p", "There are no lists to look at: the data has neither validation nor test interactions.")]
    figures = [_scatter(runs[place], place, found, ids) for place, found in known]
    figures.append(_lorenz(runs, known, ids))
    split = _SPLIT_NAMES[runs[0].split or "test"]
    lead = (
        f"The lists behind the figures on {split}, of the first seed of each run. "
        "An item's popularity is its number of training users."
    )
    rows: dict[str, Sequence[Child]] = {"lists": [f"{found.lists:,}" for _, found in known]}
    rows["items in no list"] = [f"{found.never:,} ({found.never / len(found.shown):.0%})" for _, found in known]
    rows["training interactions that go to the 10 % most popular items"] = [
        f"{found.head()[0]:.0%}" for _, found in known
    ]
    rows["places of lists that go to these"] = [f"{found.head()[1]:.0%}" for _, found in known]
    return [
        element("p", lead, class_="soft"),
        legend([run.label for run in runs], "reference"),
        _grid(figures),
        table("Who gets the places of the lists", [runs[place].label for place, _ in known], rows),
    ]


def _scatter(run: RunFacts, place: int, found: Exposure, ids: Identifiers) -> Markup:
    # A log scale has no 0: items without a training user lie at 1/2, those in no list on the bottom line, likewise.
    points = [(max(p, 0.5), max(s, 0.5)) for p, s in zip(found.popularity, found.shown, strict=True)]
    x = spanning("training users (log scale)", [p for p, _ in points] + [1.0], log=True)
    y = Axis("lists that have it (log scale)", 0.4, max(2.0, 1.3 * float(found.shown.max())), log=True)
    middle = float(found.shown.sum() / max(1, found.popularity.sum()))
    ends = [(v, v * middle) for v in np.geomspace(x.low, x.high, 60) if y.low <= v * middle <= y.high]
    words = (
        f"{len(found.shown):,} items; {found.never:,} are in no list; the most shown is in {found.shown.max():,} of "
        f"{found.lists:,} lists."
    )
    title = f"{run.label}: exposure by popularity"
    drawing = chart(ids, title, words, x, y, [*lines(x, y, [Line(None, ends)]), dots(x, y, place, points)])
    note = "Dotted: shown in proportion to popularity. The bottom row: in no list."
    return element("figure", element("figcaption", element("strong", title), note), drawing)


def _lorenz(runs: Runs, known: Sequence[tuple[int, Exposure]], ids: Identifiers) -> Markup:
    x, y = Axis("share of items, the least shown first", 0, 1), Axis("their share of all places", 0, 1)
    popularity = known[0][1].popularity
    shown = [Line(None, [(0, 0), (1, 1)]), Line(None, lorenz(popularity))]
    shown += [Line(place, lorenz(found.shown)) for place, found in known]
    ginis = "; ".join(f"{runs[place].label} {_gini(runs[place]):.3f}" for place, _ in known)
    note = f"Gini of the first seed: {ginis}. Dotted: equal shares (straight), and the items' shares of training users."
    drawing = chart(ids, "Lorenz curves of exposure", note, x, y, lines(x, y, shown))
    return element("figure", element("figcaption", element("strong", "Lorenz curves of exposure"), note), drawing)


def _gini(run: RunFacts) -> float:
    assert run.split is not None
    return float(run.figures[run.split]["seeds"][0][f"gini@{run.loaded.parts.eval.k}"])
