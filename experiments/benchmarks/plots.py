"""Plots of growth, meshes and time to quality as PNG; matplotlib is an extra."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality import Panel, curves

from hlr_jax import InputError, colors
from hlr_jax.analysis.plots import STYLE
from hlr_jax.errors import missing_extra
from hlr_jax.systems import system_title

Records = Sequence[dict[str, Any]]

_AXES = {
    "H": "H, items of the history", "N": "N, memories", "D": "D, dimensions", "B": "B, triplets or users in a batch",
    "U": "U, rows of the user table", "I": "I, items",
}  # fmt: skip
_MARKERS = "osD^v"  # of systems, which are more than there are colors
_COLUMNS = 3  # of a legend, for each panel
_STYLE: Any = STYLE | {"savefig.dpi": 160}


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises:
      InputError: names the extra to install.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(f"--plots needs matplotlib; {missing_extra('plots')}")


def draw(records: Records, folder: Path) -> list[Path]:
    """Write a plot of each part of ``_PLOTS`` that has records, and return the files."""
    require_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    with plt.rc_context(_STYLE):
        for part, plot in _PLOTS.items():
            if not (chosen := [record for record in records if record["what"] == part]):
                continue
            figure = plot(plt, chosen)
            figure.text(0.995, 0.005, _where(chosen), ha="right", va="bottom", fontsize=6.5, color=colors.NOTE)
            paths.append(folder / f"{part}.png")
            figure.savefig(paths[-1])
            plt.close(figure)
    return paths


def _where(records: Records) -> str:
    record, cores = records[0], " and ".join(str(count) for count in sorted({r["cores"] for r in records}))
    return f"{record.get('cpu', '')}, {record['device']}, {cores} core(s), jax {record['jax']}"


def _growth(plt: Any, records: Records) -> Any:
    letters = [letter for letter in _AXES if any(record["axis"] == letter for record in records)]
    models = list(dict.fromkeys(record["model"] for record in records))
    size = (2.5 * len(letters) + 0.6, 5.4)
    figure, grid = plt.subplots(2, len(letters), figsize=size, sharey="row", squeeze=False, layout="constrained")
    rows = (("us_per_positive", "training, µs/positive"), ("us_per_user", "ranking, µs/user"))
    for panels, (field, unit) in zip(grid, rows, strict=True):
        for axes, letter in zip(panels, letters, strict=True):
            across: set[int] = set()
            for model, color in zip(models, colors.COLORS, strict=False):
                chosen = [r for r in records if (r["model"], r["axis"]) == (model, letter) and field in r]
                values, times = [r["value"] for r in chosen], [r[field] for r in chosen]
                if chosen:
                    axes.plot(values, times, "o-", color=color, ms=4, label=system_title(model))
                across |= set(values)
            axes.set(xscale="log", yscale="log", xlabel=_AXES[letter])
            axes.minorticks_off()
            axes.set_xticks(sorted(across), [_short(value) for value in sorted(across)])
            axes.set_visible(bool(across))
        panels[0].set_ylabel(unit)
    lines = {line.get_label(): line for axes in grid[0] for line in axes.lines}
    figure.legend(lines.values(), lines, loc="upper right", ncols=len(lines))
    figure.suptitle(f"Growth along one axis, the others at {_standing(records)}", x=0.01, ha="left", fontsize=10)
    return _room_below(figure)


def _short(value: int) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else str(value)


def _standing(records: Records) -> str:
    """Return the fixed sizes: the value of each letter while another one is the axis."""
    sizes = {letter: r[letter] for r in records for letter in _AXES if letter in r and r["axis"] != letter}
    return ", ".join(f"{letter} = {sizes[letter]:,}" for letter in _AXES if letter in sizes)


def _devices(plt: Any, records: Records) -> Any:
    models = list(dict.fromkeys(record["model"] for record in records))
    meshes = list(dict.fromkeys(record["mesh"] for record in records))
    figure, axes = plt.subplots(figsize=(1.0 * len(meshes) + 1.5, 3.6), layout="constrained")
    width = 0.8 / len(models)
    for index, (model, color) in enumerate(zip(models, colors.COLORS, strict=False)):
        ratios = {record["mesh"]: record["time_ratio_over_one"] for record in records if record["model"] == model}
        places = [place + (index - (len(models) - 1) / 2) * width for place in range(len(meshes))]
        heights = [ratios.get(mesh, 0.0) for mesh in meshes]
        bars = axes.bar(places, heights, 0.9 * width, color=color, label=system_title(model))
        axes.bar_label(bars, fmt="{:.2f}", fontsize=8, padding=2)
    axes.axhline(1, color=colors.RULE, lw=0.8)
    axes.set_xticks(range(len(meshes)), meshes)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("mesh, data x model devices")
    axes.set_ylabel("time of an epoch / that on one device")
    axes.set_title("An epoch on a mesh")
    if records[0]["caveat"]:
        axes.set_title(f"An epoch on a mesh\n{records[0]['caveat']}", fontsize=9)
    axes.legend()
    return _room_below(figure)


def _quality(plt: Any, records: Records) -> Any:
    panels = curves(records)
    systems = list(dict.fromkeys(system for panel in panels.values() for system in panel))
    size = (4.4 * len(panels) + 0.6, 4.2 + 0.18 * len(systems) / _COLUMNS)
    figure, grid = plt.subplots(1, len(panels), figsize=size, squeeze=False, layout="constrained")
    lines = {}
    for axes, (panel, of_system) in zip(grid[0], panels.items(), strict=True):
        for system, points in of_system.items():
            index, shades = systems.index(system), len(colors.COLORS)
            seconds, values = ([point[field] for point in points] for field in ("seconds", "valid"))
            style = {"color": colors.COLORS[index % shades], "ls": ("-", "--", ":")[index // shades % 3]}
            (lines[system],) = axes.plot(seconds, values, marker=_MARKERS[index % len(_MARKERS)], ms=4, **style)
        best = [max(point["valid"] for point in points) for points in of_system.values()]
        axes.set(xscale="log", xlabel="seconds since the process was started", title=_title(panel))
        axes.set_ylim(bottom=min(0.6 * max(best), 0.95 * min(best)))  # leaves out the first steep rise
        axes.xaxis.set_major_formatter("{x:g}")
    grid[0][0].set_ylabel("NDCG@10 on validation")
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=min(_COLUMNS * len(panels), len(lines)))
    return _room_below(figure)


def _title(panel: Panel) -> str:
    return f"{panel.data}, {panel.cores} core{'s' if panel.cores > 1 else ''}"


def _room_below(figure: Any) -> Any:
    """Add a line at the bottom with the machine of the records."""
    figure.get_layout_engine().set(rect=(0, 0.16 / figure.get_figheight(), 1, 1 - 0.16 / figure.get_figheight()))
    return figure


_PLOTS: dict[str, Callable[[Any, Records], Any]] = {"growth": _growth, "devices": _devices, "quality": _quality}
