"""Recommendations: the exposure of items against their popularity, and the top-K lists of sample users."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from hlr_jax.evaluation.evaluate import evaluate, validation_users
from hlr_jax.report import drawing
from hlr_jax.report.drawing import Axis, Child, Markup, element, folded, side_by_side, soft
from hlr_jax.report.runs import SPLIT_NAMES, TrainedRun
from hlr_jax.serving.explain import gives_reasons
from hlr_jax.serving.lists import recommend

_CURVE_POINTS = 120
_HISTORY = 8
_LENGTH = 10
_REASONS = 2


class Exposure(NamedTuple):
    """Training users of each item [I], in how many lists of a run and seed it is [I], and the number of lists."""

    popularity: np.ndarray
    shown: np.ndarray
    lists: int

    @property
    def never(self) -> int:
        """Items in no list."""
        return int((self.shown == 0).sum())

    def head(self, share: float = 0.1) -> tuple[float, float]:
        """Return the shares of training interactions and of list places of the most popular items, ``share`` of all."""
        top = np.argsort(-self.popularity, kind="stable")[: max(1, round(share * len(self.popularity)))]
        popularity, shown = (float(v[top].sum()) / max(1.0, float(v.sum())) for v in (self.popularity, self.shown))
        return popularity, shown


def exposure_of(run: TrainedRun, split: str) -> Exposure:
    """Return the exposure in the lists behind the metrics of a split, of the first seed of a run."""
    model, params, dataset, options = run.parts.model, run.loaded.params[0], run.parts.dataset, run.parts.eval
    users = validation_users(dataset, options) if split == "valid" else None
    evaluation = evaluate(model, params, dataset, split=split, options=options, seed=run.parts.seed, users=users)
    items = evaluation.ranking.items[:, : options.ks[0]]
    shown = np.bincount(items[items >= 0], minlength=dataset.num_items)
    return Exposure(dataset.train.item_degrees(dataset.num_items), shown, len(items))


def lorenz(values: np.ndarray) -> list[tuple[float, float]]:
    """Return points of the Lorenz curve of values [I]: (share of items, smallest first; share of the sum)."""
    sums = np.concatenate([[0.0], np.cumsum(np.sort(values).astype(np.float64))])
    places = np.unique(np.linspace(0, len(values), min(len(values), _CURVE_POINTS) + 1).round().astype(int))
    total = sums[-1] or 1.0
    return [(float(place / len(values)), float(sums[place] / total)) for place in places]


def exposure_charts(runs: Sequence[TrainedRun], exposures: Sequence[Exposure], ids: Iterator[int]) -> list[Child]:
    """Return charts of recommendations against popularity, the Lorenz curves of both, and a table."""
    if runs[0].split is None:
        return []
    lead = (
        f"The lists behind the metrics on {SPLIT_NAMES[runs[0].split]}, of the first seed of each run. "
        "An item's popularity is its number of training users."
    )
    labels, heads = [run.label for run in runs], [exposure.head() for exposure in exposures]
    rows: dict[str, list[Child]] = {
        "lists": [f"{exposure.lists:,}" for exposure in exposures],
        "items in no list": [f"{e.never:,} ({e.never / len(e.shown):.0%})" for e in exposures],
        "training interactions of the 10% most popular items": [f"{popular:.0%}" for popular, _ in heads],
        "list places of these items": [f"{places:.0%}" for _, places in heads],
    }
    charts = [_scatter(labels[place], place, exposure, ids) for place, exposure in enumerate(exposures)]
    charts.append(_lorenz_chart(runs, exposures, ids))
    places = drawing.table("Exposure", labels, rows, "numbers")
    return [*drawing.gallery(lead, dict(enumerate(labels)), charts, "reference"), places]


def _scatter(label: str, place: int, exposure: Exposure, ids: Iterator[int]) -> Markup:
    popularity, shown = exposure.popularity, exposure.shown
    # A log scale has no 0, so 1/2 replaces it: items without a training user, and items in no list.
    points = list(zip(np.maximum(popularity, 0.5).tolist(), np.maximum(shown, 0.5).tolist(), strict=True))
    x = drawing.spanning("training users of the item (log scale)", [across for across, _ in points] + [1.0], log=True)
    y = Axis("lists with the item (log scale)", 0.4, max(2.0, 1.3 * float(shown.max())), log=True)
    middle = float(shown.sum()) / max(1.0, float(popularity.sum()))
    ends = [(v, v * middle) for v in np.geomspace(x.low, x.high, 60) if y.low <= v * middle <= y.high]
    description = (
        f"{len(shown):,} items; {exposure.never:,} are in no list; the most frequent is in {shown.max():,} of "
        f"{exposure.lists:,} lists."
    )
    note = "Dotted: in proportion to popularity. Bottom row: in no list."
    drawings = [drawing.line(x, y, None, ends), drawing.dots(x, y, place, points)]
    return drawing.chart(ids, f"{label}: exposure by popularity", note, description, x, y, drawings)


def _lorenz_chart(runs: Sequence[TrainedRun], exposures: Sequence[Exposure], ids: Iterator[int]) -> Markup:
    x, y = Axis("share of items, least frequent first", 0, 1), Axis("share of list places", 0, 1)
    references: list[drawing.Points] = [[(0, 0), (1, 1)], lorenz(exposures[0].popularity)]
    ginis = "; ".join(f"{run.label} {_gini(run):.3f}" for run in runs)
    note = f"Gini of the first seed: {ginis}. Dotted: equal shares (straight) and shares of training users (curved)."
    drawings = [drawing.line(x, y, None, points) for points in references]
    drawings += [drawing.line(x, y, place, lorenz(exposure.shown)) for place, exposure in enumerate(exposures)]
    return drawing.chart(ids, "Lorenz curves of exposure", note, note, x, y, drawings)


def _gini(run: TrainedRun) -> float:
    assert run.split is not None
    return float(run.metrics[run.split].by_seed("gini")[0])


def lists_for(run: TrainedRun, users: np.ndarray) -> pl.DataFrame:
    """Return the recommendations of users by a run's first seed, with reasons if the model gives them."""
    model, dataset, options = run.parts.model, run.parts.dataset, run.parts.eval
    return recommend(
        model, run.loaded.params[0], dataset, dataset.user_ids.gather(users).to_list(), k=min(_LENGTH, options.ks[0]),
        num_reasons=_REASONS if gives_reasons(model) else 0,
        memory_limit_mib=options.memory_limit_mib, seed=run.parts.seed,
    )  # fmt: skip


def sample_lists(runs: Sequence[TrainedRun], users: np.ndarray, lists: Sequence[pl.DataFrame]) -> list[Child]:
    """Return the sample users, each with the lists of all runs side by side."""
    text = (
        "Users with few, the median number of, and many known items (train and validation): the 10th, 50th and 90th "
        "percentile. Lists are those of a run's first seed; “found” marks an item of the test split."
    )
    if any("reason" in frame.columns for frame in lists):
        text += (
            " A reason names the items of the history that add most to the score, compared with the average item of "
            "the catalog. The percentage is the share of all contributions that raise the score. “No single reason” "
            "means that no item of the history stands out. Systems that read no history give no reasons."
        )
    dataset, blocks = runs[0].parts.dataset, []
    known = dataset.known
    popularity = known.item_degrees(dataset.num_items)
    for code in users:
        user = dataset.user_ids[int(code)]
        to_find = set(dataset.item_ids.gather(dataset.test.item[dataset.test.user == code]))
        rows = [frame.filter(pl.col("user") == user).to_dicts() for frame in lists]
        cards = [_list_card(run.label, items, to_find) for run, items in zip(runs, rows, strict=True)]
        items = known.item[known.user == code]
        rarest_first = dataset.item_titles.gather(items[np.argsort(popularity[items], kind="stable")]).to_list()
        blocks += [element("h4", f"User {user}"), _history(rarest_first, len(to_find)), side_by_side(cards)]
    return [soft(text), element("div", blocks)]


def _history(titles: list[str], num_to_find: int) -> Markup:
    """Return the titles of a user's known items, the rarest first, as these are the most specific."""
    shown, rest = "; ".join(titles[:_HISTORY]), titles[_HISTORY:]
    count = f"{len(titles)} known {'item' if len(titles) == 1 else 'items'}"
    to_find = f", {num_to_find} to find in test" if num_to_find else ""
    text = f"{count}{to_find}. Rarest first: {shown}{';' if rest else '.'}"
    more = folded(f"{len(rest)} more", element("p", "; ".join(rest))) if rest else None
    return element("div", element("p", text), more)


def _list_card(label: str, rows: Sequence[dict[str, Any]], to_find: set[object]) -> Markup:
    hits = [row["item"] in to_find for row in rows]
    has_reasons = any(row.get("reason_items") for row in rows)
    entries = [
        element(
            "li", row["title"], " ", element("span", "found", class_="hit") if hit else None,
            _reason(row) if has_reasons else None,
        )
        for row, hit in zip(rows, hits, strict=True)
    ]  # fmt: skip
    title = element("h5", f"{label}: {sum(hits)} of {len(hits)} found in test" if to_find else label)
    nothing = any("reason" in row for row in rows) and not has_reasons
    note = soft("No item of the history stands out as a reason.") if nothing else None
    return element("div", title, note, element("ol", entries, class_="list"), class_="card")


def _reason(row: dict[str, Any]) -> Markup:
    return element("span", row["reason"] if row["reason_items"] else "No single reason", class_="more")
