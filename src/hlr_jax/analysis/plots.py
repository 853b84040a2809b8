"""Plots of the frames of this package, by matplotlib, which is an extra. Each function returns a figure."""

import functools
import importlib.util
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hlr_jax.analysis.keys import SIGNIFICANT
from hlr_jax.colors import GRID, MUTED, ON_LIGHT, RULE
from hlr_jax.errors import InputError, missing_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: Any = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GRID,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left",
    "figure.dpi": 110, "legend.frameon": False,
}  # fmt: skip
"""Settings of matplotlib for all plots of the project."""
_MOST = 18  # categories in one plot
_WITH_VALUES = 10  # rows of a matrix up to which its cells have their values
_BINS = 24


def _styled(plot: Callable[..., "Figure"]) -> Callable[..., "Figure"]:
    """Make a plot use this package's style, and raise ``InputError`` where matplotlib is absent."""

    @functools.wraps(plot)
    def drawn(*arguments: Any, **options: Any) -> "Figure":
        if importlib.util.find_spec("matplotlib") is None:
            raise InputError(f"plots need matplotlib; {missing_extra('plots')}")
        from matplotlib import rc_context

        with rc_context(STYLE):
            return plot(*arguments, **options)

    return drawn


def _figure(width: float, height: float, columns: int = 1) -> "tuple[Figure, Any]":
    """Return a figure with axes, without pyplot, so that it needs no closing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns)


@_styled
def key_usage(table: pl.DataFrame) -> "Figure":
    """Draw the deviation of each key's usage from the equal share, and that of its largest weight on one pair.

    ``table`` is ``keys.key_table`` or ``keys.key_usage``.
    """
    number = len(table)
    figure, axes = _figure(6, 0.3 * number + 1.4)
    places = np.arange(number)[::-1]
    usage, largest = (100 * (number * table[name].to_numpy() - 1) for name in ("usage", "largest"))
    axes.barh(places, usage, 0.62, color=ON_LIGHT[0], label="usage")
    axes.plot(largest, places, "|", ms=11, mew=2, color=ON_LIGHT[1], label="largest weight on one pair")
    axes.axvline(0, color=RULE, lw=0.8)
    names = [f"key {key}" + (" (dead)" if dead else "") for key, dead in table.select("key", "dead").iter_rows()]
    axes.set(yticks=places, yticklabels=names, xlabel=f"deviation from the equal share of {1 / number:.1%}, in percent")
    axes.margins(x=0.08)
    axes.grid(axis="y", visible=False)
    axes.set_title("Usage of keys", pad=22)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, fontsize=8)
    return figure


@_styled
def similarity(frame: pl.DataFrame) -> "Figure":
    """Draw the cosines of ``keys.vector_similarity``, with their values for up to ten keys."""
    number = frame["key"].n_unique()
    side = (0.46 if number <= _WITH_VALUES else 0.34) * number + 1.5
    figure, panels = _figure(2 * side + 0.8, side, 2)
    for axes, name in zip(panels, ("keys", "memories"), strict=True):
        values = frame.sort("key", "other")[name].to_numpy().reshape(number, number)
        image = _cells(axes, values, range(number), range(number), vmin=-1, vmax=1)
        if number <= _WITH_VALUES:
            for (y, x), value in np.ndenumerate(values):
                _write(axes, x, y, f"{value:.2f}".replace("-0.00", "0.00"), abs(value) > 0.6, fontsize=7)
        axes.set(title=f"Cosines of {name}", xlabel="key" if name == "keys" else "memory")
    figure.colorbar(image, ax=list(panels), shrink=0.8)
    return figure


@_styled
def category_lifts(frame: pl.DataFrame) -> "Figure":
    """Draw the lifts of ``key_categories`` for the most frequent categories.

    Lifts that chance does not explain are bold, with a star. Cells without a row in the frame are gray.
    """
    common = frame.group_by("category").agg(pl.col("count").sum()).sort("count", "category", descending=[True, False])
    chosen = common["category"].head(_MOST).sort().to_list()
    keys = frame["key"].unique().sort().to_list()
    logs = np.full((len(chosen), len(keys)), np.nan)
    rows = frame.filter(pl.col("category").is_in(chosen)).select("category", "key", "lift", "p_adjusted").rows()
    for category, key, lift, _ in rows:
        logs[chosen.index(category), keys.index(key)] = np.log2(lift)
    bound = max(1.0, float(np.nanmax(np.abs(logs))))
    figure, axes = _figure(0.5 * len(keys) + 2.6, 0.25 * len(chosen) + 1.2)
    _cells(axes, logs, chosen, keys, vmin=-bound, vmax=bound)
    for category, key, lift, p in rows:
        y, x, text = chosen.index(category), keys.index(key), f"{lift:.1f}{'*' if p < SIGNIFICANT else ''}"
        weight = "bold" if p < SIGNIFICANT else "normal"
        _write(axes, x, y, text, abs(logs[y, x]) > 0.6 * bound, fontsize=7, weight=weight)
    axes.set_xlabel(f"key (*: adjusted p < {SIGNIFICANT})")
    absent = bool(np.isnan(logs).any())
    axes.set_title("Lift of categories", pad=22 if absent else None)
    if absent:
        from matplotlib.patches import Patch

        gray = Patch(color=GRID, label="too few items to compare")
        axes.legend(handles=[gray], loc="lower left", bbox_to_anchor=(-0.02, 1.0), fontsize=8, borderaxespad=0.2)
    return figure


def _cells(axes: Any, values: np.ndarray, rows: Iterable[Any], columns: Iterable[Any], **colors: Any) -> Any:
    """Draw a matrix as cells with the names of its rows and columns, and return the image."""
    axes.set_facecolor(GRID)
    image = axes.imshow(values, aspect="auto", **{"cmap": "RdBu_r"} | colors)
    axes.set_yticks(range(len(values)), list(map(str, rows)))
    axes.set_xticks(range(len(values[0])), list(map(str, columns)))
    axes.grid(visible=False)
    axes.tick_params(length=0)
    return image


def _write(axes: Any, x: int, y: int, text: str, on_dark: bool, **options: Any) -> None:
    axes.text(x, y, text, ha="center", va="center", color="white" if on_dark else "black", **options)


@_styled
def along(coordinate: np.ndarray, share: float, labels: list[str], title: str) -> "Figure":
    """Draw the distribution of points [B] along their ``relations.principal_component``, by label.

    The four most frequent labels have a line each, over the histogram of all points.
    """
    figure, axes = _figure(6.4, 3.4)
    names = pl.Series("label", labels).value_counts(sort=True, name="n").sort("n", "label", descending=[True, False])
    bins, groups = np.histogram_bin_edges(coordinate, _BINS), np.array(labels)
    axes.hist(coordinate, bins, density=True, color=MUTED, label=f"all {len(coordinate):,}")
    for name, color in zip(names["label"].head(4), ON_LIGHT, strict=False):
        chosen = coordinate[groups == name]
        axes.hist(chosen, bins, density=True, histtype="step", lw=1.6, color=color, label=f"{name} ({len(chosen):,})")
    axes.set(xlabel=f"place along the first principal component ({share:.2%} of the variance)", ylabel="density")
    axes.set_title(title)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@_styled
def matching(rows: dict[str, pl.DataFrame]) -> "Figure":
    """Draw results of ``relations.matching_probability`` by name, over the band of random partners."""
    figure, axes = _figure(6, 0.5 * len(rows) + 1.3)
    places = np.arange(len(rows))[::-1]
    table = pl.concat(rows.values())
    spread = [table["nearest"] - table["low"], table["high"] - table["nearest"]]
    axes.errorbar(table["nearest"], places, xerr=spread, fmt="o", color=ON_LIGHT[0], capsize=3, label="nearest")
    for place, low, high in zip(places, table["random_low"], table["random_high"], strict=True):
        axes.plot([low, high], [place, place], color=MUTED, lw=8, solid_capstyle="butt", zorder=0)
    axes.plot([], [], color=MUTED, lw=8, label="random partner")
    axes.set(yticks=places, yticklabels=list(rows), ylim=(-0.6, len(rows) - 0.4), xlim=(0, 1))
    axes.set_xlabel("probability of a common category (95% intervals)")
    axes.set_title("Interactions with the most similar vectors", pad=20)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=2, fontsize=8)
    return figure


@_styled
def types_by_key(frame: pl.DataFrame) -> "Figure":
    """Draw ``relations.key_by_type``: for each planted type, the share of its pairs that address each key most."""
    table = frame.with_columns(share=pl.col("pairs") / pl.col("pairs").sum().over("type")).sort("type", "key")
    types, keys = table["type"].unique().sort().to_list(), table["key"].unique().sort().to_list()
    values = table["share"].to_numpy().reshape(len(types), len(keys))
    figure, axes = _figure(0.55 * len(keys) + 2.2, 0.4 * len(types) + 1.2)
    _cells(axes, values, [f"type {kind}" for kind in types], keys, vmin=0, vmax=1, cmap="Blues")
    for (y, x), value in np.ndenumerate(values):
        _write(axes, x, y, f"{value:.0%}", value > 0.6, fontsize=8)
    axes.set(xlabel="key that a pair addresses most", title="Planted types and keys")
    return figure


@_styled
def systems(
    sources: dict[str, pl.DataFrame], metric: str = "NDCG", *, unit: str = "percent", mark_best: bool = True
) -> "Figure":
    """Draw a metric of several systems, one panel a data set, as dots with their standard deviation.

    Each of one or two sources has its own marker: the last is filled, another one before it is hollow. A frame has
    ``dataset``, ``metric``, ``model``, ``mean`` and ``std``, as ``hlr-jax table2`` writes them. With ``mark_best``, the
    best system of each data set and source is orange.
    """
    chosen = {name: frame.filter(pl.col("metric") == metric) for name, frame in sources.items()}
    last = list(chosen.values())[-1]
    datasets, models = (last[name].unique(maintain_order=True).to_list() for name in ("dataset", "model"))
    figure, panels = _figure(2.3 * len(datasets) + 0.8, 0.32 * len(models) + 1.5, len(datasets))
    for number, (axes, dataset) in enumerate(zip(np.atleast_1d(panels), datasets, strict=True)):
        for place, frame in enumerate(chosen.values()):
            hollow = place < len(chosen) - 1
            _dots(axes, frame.filter(pl.col("dataset") == dataset), models, 0.16 * hollow, hollow, mark_best)
        axes.set_yticks(range(len(models)), [] if number else models[::-1])
        axes.set_xlim(left=0)
        axes.set(ylim=(-0.6, len(models) - 0.4), title=dataset, xlabel=f"{metric}, {unit}")
    if len(chosen) > 1:
        for name, face in zip(chosen, ("white", ON_LIGHT[0]), strict=True):
            figure.axes[0].plot([], [], "o", color=ON_LIGHT[0], markerfacecolor=face, ms=5, label=name)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def _dots(axes: Any, rows: pl.DataFrame, models: list[str], up: float, hollow: bool, mark_best: bool) -> None:
    """Draw a metric of the systems on one data set, from top to bottom in the order of ``models``."""
    best = rows["mean"].to_numpy().max()
    for model, mean, std in rows.select("model", "mean", "std").iter_rows():
        color = ON_LIGHT[1] if mark_best and mean == best else ON_LIGHT[0]
        place = len(models) - 1 - models.index(model) + up
        face = "white" if hollow else color
        axes.errorbar(mean, place, xerr=std, fmt="o", color=color, markerfacecolor=face, ms=5, capsize=2)
