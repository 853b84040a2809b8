"""Plots of the frames of this package; matplotlib is an extra. Each function returns a figure, and shows nothing."""

import functools
import importlib
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hlr_jax.analysis.cards import SIGNIFICANT
from hlr_jax.colors import COLORS, GRID, MUTED, RULE
from hlr_jax.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: Any = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GRID,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left",
    "figure.dpi": 110, "legend.frameon": False,
}  # fmt: skip
"""Settings of matplotlib for all plots of the project."""


def _styled(plot: Callable[..., "Figure"]) -> Callable[..., "Figure"]:
    """Make a plot draw in this package's style, or fail in one line where matplotlib is absent."""

    @functools.wraps(plot)
    def drawn(*arguments: Any, **options: Any) -> "Figure":
        if importlib.util.find_spec("matplotlib") is None:
            raise InputError("plots need matplotlib; install the extra: pip install 'hlr_jax[notebooks]'")
        with importlib.import_module("matplotlib").rc_context(STYLE):
            return plot(*arguments, **options)

    return drawn


def _figure(width: float, height: float, columns: int = 1) -> "tuple[Figure, Any]":
    """Return a figure with axes, apart from pyplot, so that nobody has to close it."""
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
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
    axes.set_yticks(places, names)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, 1.1 * table["largest"].to_numpy().max())
    axes.set_xlabel("weight")
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
        image = _cells(axes, values, [str(key) for key in range(number)], [str(key) for key in range(number)], -1, 1)
        axes.set_title(f"Cosines of {name}")
    figure.colorbar(image, ax=list(panels), shrink=0.8)
    return figure


@_styled
def category_lifts(frame: pl.DataFrame, most: int = 18) -> "Figure":
    """Draw the lifts of ``key_categories`` for the categories that stand in most pairs; those that chance does not
    explain have their value in bold, with a star. Cells without a row in the frame are grey.
    """
    common = frame.group_by("category").agg(pl.col("count").sum()).sort("count", "category", descending=[True, False])
    chosen = common["category"].head(most).sort().to_list()
    keys = frame["key"].unique().sort().to_list()
    logs, texts = np.full((len(chosen), len(keys)), np.nan), {}
    for row in frame.filter(pl.col("category").is_in(chosen)).iter_rows(named=True):
        place = chosen.index(row["category"]), keys.index(row["key"])
        logs[place] = np.log2(row["lift"])
        texts[place] = (f"{row['lift']:.1f}", row["p_adjusted"] < SIGNIFICANT)
    figure, axes = _figure(0.5 * len(keys) + 2.6, 0.25 * len(chosen) + 1.2)
    bound = max(1.0, float(np.nanmax(np.abs(logs))))
    _cells(axes, logs, chosen, [str(key) for key in keys], -bound, bound)
    for (y, x), (text, sure) in texts.items():
        dark = abs(logs[y, x]) > 0.6 * bound
        axes.text(
            x, y, text + ("*" if sure else ""), ha="center", va="center", fontsize=7,
            weight="bold" if sure else "normal", color="white" if dark else "black",
        )  # fmt: skip
    axes.set_xlabel(f"key (*: adjusted p < {SIGNIFICANT})")
    axes.set_title("Lift of categories")
    return figure


def _cells(axes: Any, values: np.ndarray, rows: list[str], columns: list[str], low: float, high: float) -> Any:
    axes.set_facecolor(GRID)
    image = axes.imshow(values, cmap="RdBu_r", vmin=low, vmax=high, aspect="auto")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    return image


@_styled
def scatter(coordinates: np.ndarray, shares: np.ndarray, labels: list[str], title: str) -> "Figure":
    """Draw points [B, 2] of ``relations.principal_components``, colored by label; the six commonest, and the rest."""
    figure, axes = _figure(6.4, 4.2)
    counted = pl.Series(labels).value_counts(sort=True, name="n")
    names = counted[counted.columns[0]].head(len(COLORS) - 1).to_list()
    groups = np.array(labels)
    rest = ~np.isin(groups, names)
    if rest.any():
        axes.plot(*coordinates[rest].T, ".", color=MUTED, ms=4, label="other")
    for name, color in zip(names, COLORS, strict=False):
        axes.plot(*coordinates[groups == name].T, ".", color=color, ms=5, alpha=0.8, label=name)
    axes.set_xlabel(f"first component ({shares[0]:.2%} of the variance)")
    axes.set_ylabel(f"second ({shares[1]:.2%})")
    axes.set_title(title)
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
    axes.set_yticks(places, list(rows))
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(0, 1)
    axes.set_xlabel("probability that the two share a category (95 % intervals)")
    axes.set_title("Interactions with the most similar vectors", pad=20)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=2, fontsize=8)
    return figure


@_styled
def types_by_key(frame: pl.DataFrame) -> "Figure":
    """Draw ``recovery.key_by_type``: the share of each planted type's pairs that address each key most."""
    table = frame.with_columns(share=pl.col("pairs") / pl.col("pairs").sum().over("type")).sort("type", "key")
    types, keys = table["type"].unique().sort().to_list(), table["key"].unique().sort().to_list()
    values = table["share"].to_numpy().reshape(len(types), len(keys))
    figure, axes = _figure(0.55 * len(keys) + 2.2, 0.4 * len(types) + 1.2)
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        axes.text(x, y, f"{value:.0%}", ha="center", va="center", fontsize=8, color="white" if value > 0.6 else "black")
    axes.set_yticks(range(len(types)), [f"type {kind}" for kind in types])
    axes.set_xticks(range(len(keys)), [str(key) for key in keys])
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.set_xlabel("key that a pair addresses most")
    axes.set_title("Planted types and keys")
    return figure


@_styled
def systems(frame: pl.DataFrame, metric: str = "NDCG", *, unit: str = "per cent", mark_best: bool = True) -> "Figure":
    """Draw a metric of several systems on several data sets, one panel each, as dots with their standard deviation.

    Args:
      frame: ``dataset``, ``metric``, ``model``, ``mean``, ``std``, as ``experiments/table2.py`` writes them.
      metric: one of its metrics.
      unit: of the metric.
      mark_best: whether the highest of a data set stands out.
    """
    chosen = frame.filter(pl.col("metric") == metric)
    datasets = chosen["dataset"].unique(maintain_order=True).to_list()
    models = chosen["model"].unique(maintain_order=True).to_list()
    figure, panels = _figure(2.3 * len(datasets) + 0.8, 0.27 * len(models) + 1.2, len(datasets))
    for axes, dataset in zip(np.atleast_1d(panels), datasets, strict=True):
        rows = chosen.filter(pl.col("dataset") == dataset)
        best = rows["mean"].to_numpy().max()
        for place, model in enumerate(reversed(models)):
            row = rows.filter(pl.col("model") == model)
            if row.is_empty():
                continue
            color = COLORS[1] if mark_best and row["mean"][0] == best else COLORS[0]
            axes.errorbar(row["mean"], [place], xerr=row["std"], fmt="o", color=color, ms=5, capsize=2)
        axes.set_yticks(range(len(models)), list(reversed(models)) if axes is np.atleast_1d(panels)[0] else [])
        axes.set_xlim(0, 1.15 * best)
        axes.set_ylim(-0.6, len(models) - 0.4)
        axes.set_title(dataset)
        axes.set_xlabel(f"{metric}, {unit}")
    return figure
