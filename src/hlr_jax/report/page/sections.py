"""What a group of comparable runs is: data, protocol, settings, learning curves."""

from collections.abc import Sequence

import numpy as np

from hlr_jax.report.facts.figures import (
    curves,
    environment_rows,
    selected_by,
)
from hlr_jax.report.facts.runs import RunFacts, differing_settings
from hlr_jax.report.page.axes import spanning
from hlr_jax.report.page.charts import Identifiers, Line, chart, legend, lines
from hlr_jax.report.page.elements import Child, Markup, element
from hlr_jax.report.page.tables import folded, plain_value, table

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
_LOG_FROM = 20  # a loss whose largest value is so many times its smallest needs a log scale


def data_and_protocol(runs: Runs) -> list[Child]:
    """Return what was measured on, and how."""
    parts = runs[0].loaded.parts
    dataset, protocol = parts.dataset, parts.dataset.protocol
    sizes = [len(getattr(dataset, split)) for split in ("train", "valid", "test")]
    degrees = (dataset.train + dataset.valid + dataset.test).degrees()
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
        content.append(folded("Settings in which they differ", table("Settings that differ", labels, differing)))
    content.append(folded("All settings", table("Settings", labels, settings)))
    content.append(folded("Versions and devices", table("Made with", labels, environment_rows(runs))))
    return content


def _seeds(run: RunFacts) -> str:
    count = len(run.loaded.params)
    return str(run.first_seed) if count == 1 else f"{run.first_seed} to {run.first_seed + count - 1}"


def learning_curves(runs: Runs, ids: Identifiers) -> list[Child]:
    """Return a chart for each recorded quantity, all runs in it, the best epoch of each seed marked."""
    figures = []
    for name, found in curves(runs).items():
        drawable = [curve for curve in found if curve[2]]
        if not drawable:
            continue
        values = [value for _, _, points, _ in drawable for _, value in points]
        log = min(values) > 0 and max(values) > _LOG_FROM * min(values)
        x = spanning("epoch", [epoch for _, _, points, _ in drawable for epoch, _ in points], whole=True)
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
        "A mark shows the best epoch, whose parameters all figures are of. A run of several seeds has a line for each. "
        "Losses of different objectives have different scales."
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
