"""Popularity against exposure: dots of items, Lorenz curves, and who gets the places of the lists."""

from collections.abc import Sequence

import numpy as np

from hlr_jax.report.facts.exposure import Exposure, lorenz
from hlr_jax.report.facts.runs import RunFacts
from hlr_jax.report.page.axes import Axis, spanning
from hlr_jax.report.page.charts import Identifiers, Line, chart, dots, legend, lines
from hlr_jax.report.page.elements import Child, Markup, element
from hlr_jax.report.page.tables import SPLIT_NAMES, table

Runs = Sequence[RunFacts]


def popularity_and_exposure(runs: Runs, exposures: Sequence[Exposure | None], ids: Identifiers) -> list[Child]:
    """Return how often items are recommended against how popular they are, and the Lorenz curves of both."""
    known = [(place, found) for place, found in enumerate(exposures) if found is not None]
    if not known:
        return [element("p", "There are no lists to look at: the data has neither validation nor test interactions.")]
    figures = [_scatter(runs[place], place, found, ids) for place, found in known]
    figures.append(_lorenz(runs, known, ids))
    split = SPLIT_NAMES[runs[0].split or "test"]
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
        element("div", figures, class_="grid-of"),
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
