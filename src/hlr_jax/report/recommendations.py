"""Lists of recommendations: how often items are in them beside how popular they are, and those of a few users."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.evaluation.evaluate import evaluate, validation_users
from hlr_jax.report.drawing import (
    Axis,
    Child,
    Line,
    Markup,
    chart,
    dots,
    element,
    folded,
    legend,
    lines,
    side_by_side,
    spanning,
    table,
)
from hlr_jax.report.runs import SPLIT_NAMES, TrainedRun
from hlr_jax.serving.lists import known_interactions, recommend

_CURVE_POINTS = 120
_QUANTILES = (0.1, 0.5, 0.9)
_HISTORY = 8
_LENGTH = 10
_REASONS = 2


class Exposure(NamedTuple):
    """The lists of one run and seed.

    Attributes:
      popularity: [I] training users of each item.
      shown: [I] lists that each item stands in.
      lists: how many lists there are.
    """

    popularity: np.ndarray
    shown: np.ndarray
    lists: int

    @property
    def never(self) -> int:
        """Items in no list."""
        return int((self.shown == 0).sum())

    def head(self, share: float = 0.1) -> tuple[float, float]:
        """Return what the most popular items, that ``share`` of all, have of training interactions and of places."""
        top = np.argsort(-self.popularity, kind="stable")[: max(1, round(share * len(self.popularity)))]
        popularity, shown = (float(v[top].sum() / max(1, v.sum())) for v in (self.popularity, self.shown))
        return popularity, shown


def exposure_of(run: TrainedRun) -> Exposure | None:
    """Return the exposure in the lists that the metrics of ``run.split`` are of, by its first seed."""
    if run.split is None:
        return None
    dataset, options = run.parts.dataset, run.parts.eval
    users = validation_users(dataset, options) if run.split == "valid" else None
    evaluation = evaluate(
        run.parts.model, run.params[0], dataset, split=run.split, options=options, seed=run.first_seed, users=users
    )
    items = evaluation.ranking.items
    shown = np.bincount(items[items >= 0], minlength=dataset.num_items)
    return Exposure(dataset.train.item_degrees(dataset.num_items), shown, len(items))


def lorenz(values: np.ndarray) -> list[tuple[float, float]]:
    """Return the Lorenz curve of values [I]: (share of items, the least first; their share of the sum).

    At most some hundred points of it.
    """
    sums = np.concatenate([[0.0], np.cumsum(np.sort(values).astype(np.float64))])
    places = np.unique(np.linspace(0, len(values), min(len(values), _CURVE_POINTS) + 1).round().astype(int))
    total = sums[-1] or 1.0
    return [(float(place / len(values)), float(sums[place] / total)) for place in places]


def exposure_charts(
    runs: Sequence[TrainedRun], exposures: Sequence[Exposure | None], ids: Iterator[int]
) -> list[Child]:
    """Return how often items are recommended against how popular they are, and the Lorenz curves of both."""
    known = {place: exposure for place, exposure in enumerate(exposures) if exposure is not None}
    if not known:
        return [element("p", "There are no lists to look at: the data has neither validation nor test interactions.")]
    lead = (
        f"The lists behind the figures on {SPLIT_NAMES[runs[0].split or 'test']}, of the first seed of each run. "
        "An item's popularity is its number of training users."
    )
    heads = [exposure.head() for exposure in known.values()]
    rows: dict[str, list[Child]] = {
        "lists": [f"{exposure.lists:,}" for exposure in known.values()],
        "items in no list": [
            f"{exposure.never:,} ({exposure.never / len(exposure.shown):.0%})" for exposure in known.values()
        ],
        "training interactions that go to the 10 % most popular items": [f"{popular:.0%}" for popular, _ in heads],
        "places of lists that go to these": [f"{places:.0%}" for _, places in heads],
    }
    charts = [_scatter(runs[place].label, place, exposure, ids) for place, exposure in known.items()]
    return [
        element("p", lead, class_="soft"),
        legend([run.label for run in runs], "reference"),
        side_by_side([*charts, _lorenz_chart(runs, known, ids)]),
        table("Who gets the places of the lists", [runs[place].label for place in known], rows),
    ]


def _scatter(label: str, place: int, exposure: Exposure, ids: Iterator[int]) -> Markup:
    popularity, shown = exposure.popularity, exposure.shown
    # A log scale has no 0: items without a training user lie at 1/2, those in no list on the bottom line, likewise.
    points = list(zip(np.maximum(popularity, 0.5).tolist(), np.maximum(shown, 0.5).tolist(), strict=True))
    x = spanning("training users (log scale)", [across for across, _ in points] + [1.0], log=True)
    y = Axis("lists that have it (log scale)", 0.4, max(2.0, 1.3 * float(shown.max())), log=True)
    middle = float(shown.sum() / max(1, popularity.sum()))
    ends = [(v, v * middle) for v in np.geomspace(x.low, x.high, 60) if y.low <= v * middle <= y.high]
    description = (
        f"{len(shown):,} items; {exposure.never:,} are in no list; the most shown is in {shown.max():,} of "
        f"{exposure.lists:,} lists."
    )
    note = "Dotted: shown in proportion to popularity. The bottom row: in no list."
    drawings = [*lines(x, y, [Line(None, ends)]), dots(x, y, place, points)]
    return chart(ids, f"{label}: exposure by popularity", note, description, x, y, drawings)


def _lorenz_chart(runs: Sequence[TrainedRun], known: Mapping[int, Exposure], ids: Iterator[int]) -> Markup:
    x, y = Axis("share of items, the least shown first", 0, 1), Axis("their share of all places", 0, 1)
    curves = [Line(None, [(0, 0), (1, 1)]), Line(None, lorenz(next(iter(known.values())).popularity))]
    curves += [Line(place, lorenz(exposure.shown)) for place, exposure in known.items()]
    ginis = "; ".join(f"{runs[place].label} {_gini(runs[place]):.3f}" for place in known)
    note = f"Gini of the first seed: {ginis}. Dotted: equal shares (straight), and the items' shares of training users."
    return chart(ids, "Lorenz curves of exposure", note, note, x, y, lines(x, y, curves))


def _gini(run: TrainedRun) -> float:
    assert run.split is not None
    return float(run.metrics[run.split].by_seed("gini")[0])


class SampleUser(NamedTuple):
    """A user of a data set.

    Attributes:
      user: the original id.
      history: titles of the known items (train and validation), the rarest first: those tell most of a taste.
      to_find: original ids of the test items.
    """

    user: object
    history: list[str]
    to_find: set[object]


def sample_users(dataset: Dataset) -> list[SampleUser]:
    """Return users with few, the median number of, and many known items, and with test items where there are any."""
    known, test = known_interactions(dataset), dataset.test
    degrees = known.degrees(dataset.num_users)
    eligible = np.flatnonzero((degrees > 0) & ((test.degrees(dataset.num_users) > 0) | (len(test) == 0)))
    ordered = eligible[np.argsort(degrees[eligible], kind="stable")]
    places = dict.fromkeys(round(quantile * (len(ordered) - 1)) for quantile in _QUANTILES if len(ordered))
    popularity = known.item_degrees(dataset.num_items)
    users = []
    for code in ordered[list(places)]:
        items = known.item[known.user == code]
        history = [dataset.title(int(item)) for item in items[np.argsort(popularity[items], kind="stable")]]
        to_find = set(dataset.item_ids.gather(test.item[test.user == code]))
        users.append(SampleUser(dataset.user_ids[int(code)], history, to_find))
    return users


def lists_for(run: TrainedRun, users: Sequence[SampleUser]) -> pl.DataFrame:
    """Return the recommendations of a run's first seed, with all items of the history as reasons if the model has such.

    See ``serving.lists.recommend``.
    """
    model, options = run.parts.model, run.parts.eval
    return recommend(
        model, run.params[0], run.parts.dataset, [sample.user for sample in users], k=min(_LENGTH, options.ks[0]),
        num_reasons=model.history.size if users and model.history.size else 0,
        memory_limit_mib=options.memory_limit_mib, seed=run.first_seed,
    )  # fmt: skip


def sample_lists(runs: Sequence[TrainedRun], users: Sequence[SampleUser], lists: Sequence[pl.DataFrame]) -> list[Child]:
    """Return the sample users, each with the lists that the runs make for all of them side by side."""
    text = (
        "Users with few, the median number of, and many known items (train and validation), drawn by rule: the 10th, "
        "50th and 90th percentile. Lists are those of a run's first seed; “found” marks an item of the test split."
    )
    if any("reason_titles" in frame.columns for frame in lists):
        text += (
            " The reasons are the attention's own weights: near an even share they say little. Models that read no "
            "history give none."
        )
    blocks: list[Child] = []
    for sample in users:
        rows = [frame.filter(pl.col("user") == sample.user).to_dicts() for frame in lists]
        cards = [_list_card(run.label, items, sample.to_find) for run, items in zip(runs, rows, strict=True)]
        blocks += [element("h4", f"User {sample.user}"), _history(sample), side_by_side(cards)]
    return [element("p", text, class_="soft"), element("div", blocks)]


def _history(sample: SampleUser) -> Markup:
    shown, rest = "; ".join(sample.history[:_HISTORY]), sample.history[_HISTORY:]
    count = f"{len(sample.history)} known {'item' if len(sample.history) == 1 else 'items'}"
    to_find = f", {len(sample.to_find)} to find in test" if sample.to_find else ""
    text = f"{count}{to_find}, the rarest first: {shown}{';' if rest else '.'}"
    more = folded(f"{len(rest)} more", element("p", "; ".join(rest))) if rest else None
    return element("div", element("p", text), more)


def _list_card(label: str, rows: Sequence[dict[str, Any]], to_find: set[object]) -> Markup:
    hits = [row["item"] in to_find for row in rows]
    entries = [
        element("li", row["title"], " ", element("span", "found", class_="hit") if hit else None, _because_of(row))
        for row, hit in zip(rows, hits, strict=True)
    ]
    count = len(rows[0].get("reason_titles") or ()) if rows else 0
    text = f"{count} items share the weight: {1 / count:.1%} each would be even." if count else None
    title = element("h5", f"{label}: {sum(hits)} of {len(hits)} found in test" if to_find else label)
    even = element("p", text, class_="soft") if text else None
    return element("div", title, even, element("ol", entries, class_="list"), class_="card")


def _because_of(row: dict[str, Any]) -> Child:
    if not row.get("reason_titles"):
        return None
    columns = [row[name][:_REASONS] for name in ("reason_titles", "reason_weights", "reason_keys")]
    reasons = [
        f"{title} ({weight:.1%}{'' if key is None else f', key {key}'})"
        for title, weight, key in zip(*columns, strict=True)
    ]
    return element("span", f"because of {'; '.join(reasons)}", class_="more")
