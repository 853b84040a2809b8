"""Renders the leaderboard of a sweep: a table on the terminal and a plot (matplotlib is an extra)."""

import importlib.util
from pathlib import Path
from typing import Any

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from hlr_jax import colors, files
from hlr_jax.terminal import as_markup

_AFTER_KEYS = ("std", "best_epoch", "epochs", "status", "reason", "command")


def print_leaderboard(board: pl.DataFrame, metric: str, most: int) -> None:
    """Print the first rows: rank, the varied keys, the metric, its spread, the best epoch."""
    keys = [name for name in board.columns if name not in (*_AFTER_KEYS, "rank", metric)]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    several = board["std"].is_not_null().any()
    titles = [key.split(".")[-1] for key in keys]
    for title in ("rank", *titles, metric.replace("_", " "), *(["std, seeds"] if several else []), "best epoch"):
        table.add_column(title, justify="right")
    for row in board.head(most).iter_rows(named=True):
        values = [row[metric], *([row["std"]] if several else [])]
        table.add_row(
            "failed" if row["rank"] is None else str(row["rank"]),
            *(as_markup(_short(row[key])) for key in keys),
            *("-" if value is None else f"{value:.4f}" for value in values),
            ", ".join(
                f"{'-' if best is None else best}/{epochs}"
                for best, epochs in zip(row["best_epoch"], row["epochs"], strict=True)
            ),
        )
    console = Console(emoji=False)
    console.print(table)
    if len(board) > most:
        console.print(f"... and {len(board) - most} more in leaderboard.parquet", highlight=False)
    for row in board.filter(pl.col("status") == "failed").iter_rows(named=True):
        point = ", ".join(f"{title} {_short(row[key])}" for key, title in zip(keys, titles, strict=True))
        console.print(f"failed: {point}: {row['reason']}", highlight=False, markup=False, soft_wrap=True)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def draw(board: pl.DataFrame, keys: list[str], metric: str, higher_is_better: bool, path: Path) -> bool:
    """Plot the metric of every point against each varied key; return False without matplotlib.

    A line connects the best points of each value.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return False
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    done = board.filter((pl.col("status") == "done") & pl.col(metric).is_not_null())
    width = 0.8 + 2.8 * len(keys)
    figure, axes = plt.subplots(1, len(keys), sharey=True, squeeze=False, layout="constrained", figsize=(width, 3.2))
    for axis, key in zip(axes[0], keys, strict=True):
        best = pl.col(metric).max() if higher_is_better else pl.col(metric).min()
        by_value = done.group_by(key).agg(best).sort(key)
        numeric = done[key].dtype.is_numeric() and len(by_value) > 8  # many numbers: a scale; few: one position each
        places: dict[Any, Any] = {value: value if numeric else place for place, value in enumerate(by_value[key])}
        axis.plot(
            [places[value] for value in done[key]],
            done[metric],
            "o",
            color=colors.ON_LIGHT[0],
            alpha=0.45,
            markersize=5,
        )
        axis.plot(list(places.values()), by_value[metric], "-", color=colors.ON_LIGHT[1], linewidth=1.5)
        if numeric:
            axis.set_xscale("log" if min(places) > 0 and max(places) > 20 * min(places) else "linear")
        else:
            axis.set_xticks(list(places.values()), [_short(value) for value in places])
            axis.margins(x=0.15)
        axis.set_xlabel(key)
        axis.grid(axis="y", color=colors.GRID, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel(metric.replace("_", " "))
    figure.suptitle(
        "Each dot is a point of the sweep; the line connects the best of each value", fontsize=9, x=0.01, ha="left"
    )
    with files.atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=160)
    plt.close(figure)
    return True
