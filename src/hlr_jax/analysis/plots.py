"""Plots of the frames of this package; matplotlib is an extra. Each function returns a figure, and shows nothing."""

import functools
import importlib.util
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hlr_jax.analysis.keys import SIGNIFICANT
from hlr_jax.colors import COLORS, GRID, MUTED, RULE
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


def _styled(plot: Callable[..., "Figure"]) -> Callable[..., "Figure"]:
    """Make a plot draw in this package's style, or fail in one line where matplotlib is absent."""

    @functools.wraps(plot)
    def drawn(*arguments: Any, **options: Any) -> "Figure":
        if importlib.util.find_spec("matplotlib") is None:
            raise InputError(f"plots need matplotlib; {missing_extra('plots')}")
        from matplotlib import rc_context

        with rc_context(STYLE):
            return plot(*arguments, **options)

    return drawn


def _figure(width: float, height: float, columns: int = 1) -> "tuple[Figure, Any]":
    """Return a figure with axes, apart from pyplot, so that nobody has to close it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns)


@_styled
def key_usage(table: pl.DataFrame) -> "Figure":
    """Draw usage, and the range from the mean to the largest weight on one pair, of ``keys.key_table`` or
    ``keys.key_usage``.
    """
    figure, axes = _figure(6, 0.3 * len(table) + 1.4)
    places = np.arange(len(table))[::-1]
    axes.barh(places, table["usage"], 0.62, color=COLORS[0], label="usage")
    axes.plot(table["largest"], places, "|", ms=11, mew=2, color=COLORS[1], label="largest weight on one pair")
    axes.axvline(1 / len(table), color=RULE, lw=0.8, ls=":", label="equal share")
    names = [f"key {key}" + (" (dead)" if dead else "") for key, dead in table.select("key", "dead").iter_rows()]
    axes.set(yticks=places, yticklabels=names, xlim=(0, 1.1 * table["largest"].to_numpy().max()), xlabel="weight")
    axes.grid(axis="y", visible=False)
    axes.set_title("How much each key is used", pad=22)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, fontsize=8)
    return figure


@_styled
def similarity(frame: pl.DataFrame) -> "Figure":
    """Draw the cosines of ``keys.vector_similarity``."""
    number = frame["key"].n_unique()
    side = 0.34 * number + 1.5
    figure, panels = _figure(2 * side + 0.8, side, 2)
    for axes, name in zip(panels, ("keys", "memories"), strict=True):
        values = frame.sort("key", "other")[name].to_numpy().reshape(number, number)
        image = _cells(axes, values, range(number), range(number), vmin=-1, vmax=1)
        axes.set_title(f"Cosines of {name}")
    figure.colorbar(image, ax=list(panels), shrink=0.8)
    return figure


@_styled
def category_lifts(frame: pl.DataFrame) -> "Figure":
    """Draw the lifts of ``key_categories`` for the categories that stand in most pairs; those that chance does not
    explain have their value in bold, with a star. Cells without a row in the frame are grey.
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
    axes.set(xlabel=f"key (*: adjusted p < {SIGNIFICANT})", title="Lift of categories")
    return figure


def _cells(axes: Any, values: np.ndarray, rows: Iterable[Any], columns: Iterable[Any], **colors: Any) -> Any:
    """Draw a matrix as cells with names of its rows and columns, and return the image."""
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
def scatter(coordinates: np.ndarray, shares: np.ndarray, labels: list[str], title: str) -> "Figure":
    """Draw points [B, 2] of ``relations.principal_components``, colored by label; the six commonest, and the rest."""
    figure, axes = _figure(6.4, 4.2)
    names = pl.Series("label", labels).value_counts(sort=True, name="n")["label"].head(len(COLORS) - 1).to_list()
    groups = np.array(labels)
    rest = ~np.isin(groups, names)
    if rest.any():
        axes.plot(*coordinates[rest].T, ".", color=MUTED, ms=4, label="other")
    for name, color in zip(names, COLORS, strict=False):
        axes.plot(*coordinates[groups == name].T, ".", color=color, ms=5, alpha=0.8, label=name)
    xlabel = f"first component ({shares[0]:.2%} of the variance)"
    axes.set(xlabel=xlabel, ylabel=f"second ({shares[1]:.2%})", title=title)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@_styled
def matching(rows: dict[str, pl.DataFrame]) -> "Figure":
    """Draw results of ``relations.matching_probability`` by name, with the band of random partners."""
    figure, axes = _figure(6, 0.5 * len(rows) + 1.3)
    places = np.arange(len(rows))[::-1]
    table = pl.concat(rows.values())
    spread = [table["nearest"] - table["low"], table["high"] - table["nearest"]]
    axes.errorbar(table["nearest"], places, xerr=spread, fmt="o", color=COLORS[0], capsize=3, label="nearest")
    for place, low, high in zip(places, table["random_low"], table["random_high"], strict=True):
        axes.plot([low, high], [place, place], color=MUTED, lw=8, solid_capstyle="butt", zorder=0)
    axes.plot([], [], color=MUTED, lw=8, label="random partner")
    axes.set(yticks=places, yticklabels=list(rows), ylim=(-0.6, len(rows) - 0.4), xlim=(0, 1))
    axes.set_xlabel("probability that the two share a category (95 % intervals)")
    axes.set_title("Interactions with the most similar vectors", pad=20)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=2, fontsize=8)
    return figure


@_styled
def types_by_key(frame: pl.DataFrame) -> "Figure":
    """Draw ``relations.key_by_type``: the share of each planted type's pairs that address each key most."""
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
def systems(frame: pl.DataFrame, metric: str = "NDCG", *, unit: str = "per cent", mark_best: bool = True) -> "Figure":
    """Draw a metric of several systems on several data sets, one panel each, as dots with their standard deviation.

    ``frame`` has ``dataset``, ``metric``, ``model``, ``mean`` and ``std``, as ``hlr-jax table2`` writes them.
    With ``mark_best``, the highest of a data set stands out.
    """
    chosen = frame.filter(pl.col("metric") == metric)
    datasets, models = (chosen[name].unique(maintain_order=True).to_list() for name in ("dataset", "model"))
    figure, panels = _figure(2.3 * len(datasets) + 0.8, 0.27 * len(models) + 1.2, len(datasets))
    for number, (axes, dataset) in enumerate(zip(np.atleast_1d(panels), datasets, strict=True)):
        rows = chosen.filter(pl.col("dataset") == dataset)
        best = rows["mean"].to_numpy().max()
        for model, mean, std in rows.select("model", "mean", "std").iter_rows():
            color = COLORS[1] if mark_best and mean == best else COLORS[0]
            place = len(models) - 1 - models.index(model)
            axes.errorbar(mean, place, xerr=std, fmt="o", color=color, ms=5, capsize=2)
        axes.set_yticks(range(len(models)), [] if number else models[::-1])
        axes.set(xlim=(0, 1.15 * best), ylim=(-0.6, len(models) - 0.4), title=dataset, xlabel=f"{metric}, {unit}")
    return figure
