"""Plots of growth, meshes and time to quality as PNG; matplotlib is an extra."""

import importlib.util
import math
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
_MOST_TICKS = 5
_HALO = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.3}
_NOTE = 8.0  # points from a note to the next
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
    shades = dict(zip(models, colors.ON_LIGHT, strict=False))
    size = (2.9 * len(letters) + 0.6, 6.4)
    figure, grid = plt.subplots(2, len(letters), figsize=size, sharey="row", squeeze=False, layout="constrained")
    rows = (("us_per_step", "slope", "training, µs/step"), ("us_per_user", "rank_slope", "ranking, µs/user"))
    panel_notes = []
    for panels, (times, slope, unit) in zip(grid, rows, strict=True):
        for axes, letter in zip(panels, letters, strict=True):
            chosen = [record for record in records if record["axis"] == letter and times in record]
            notes = []
            for key in dict.fromkeys(_line_of(record) for record in chosen):
                line = [record for record in chosen if _line_of(record) == key]
                line.sort(key=lambda record: record["value"])
                notes.append(_draw_line(axes, line, times, slope, shades[key[0]]))
            axes.set(xscale="log", yscale="log", xlabel=_AXES[letter])
            axes.margins(x=0.2)
            _set_ticks(axes, sorted({record["value"] for record in chosen if not record.get("ends")}))
            axes.set_visible(bool(chosen))
            panel_notes.append(notes)
        panels[0].set_ylabel(unit)
    lines = {line.get_label(): line for axes in grid[0] for line in axes.lines if line.get_label()[0] != "_"}
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=min(_COLUMNS, len(lines)))
    title = f"Growth along one axis, the others at {_standing(records)}"
    legend = "numbers: exponent of the growth between the last two measured values; hollow: predicted"
    figure.suptitle(f"{title}\n{legend}", x=0.01, ha="left", fontsize=10)
    _room_below(figure)
    figure.draw_without_rendering()  # sets the sizes of the panels
    for notes in panel_notes:
        _spread(notes, figure.dpi / 72)
    return figure


def _line_of(record: dict[str, Any]) -> tuple[Any, ...]:
    """Return what all points of a line share."""
    return record["model"], record["step_of"], record.get("at", "")


def _draw_line(axes: Any, line: Records, times: str, slope: str, color: str) -> Any:
    """Draw the points of a line, the predicted ones hollow, and where memory ends it; return the note of its slope."""
    model, step_of, at = _line_of(line[0])
    points = [record for record in line if not record.get("ends")]
    measured = [record for record in points if not record.get("predicted")]
    style = {"color": color, "ls": "--" if step_of == "users" else "-", "label": _label(model, step_of)}
    axes.plot([r["value"] for r in points], [r[times] for r in points], **style)
    for part, face in ((measured, color), (points[len(measured) :], "white")):
        axes.plot([r["value"] for r in part], [r[times] for r in part], "o", color=color, mfc=face, ms=4)
    last = measured[-1]
    texts = [f"{last[slope]:.2f}"] if slope in last else []
    place = {"xy": (last["value"], last[times]), "xytext": (4, 0)}
    note = {"textcoords": "offset points", "fontsize": 7, "color": color, "va": "center"}
    slopes = axes.annotate(", ".join([*texts, at] if at else texts), **place, **note)
    for end in line[len(points) :]:
        axes.axvline(end["value"], color=color, ls=":", lw=1)
        text = f"{system_title(model)} fills the memory at {_short(end['value'])}"
        place = {"xy": (end["value"], 0.02), "xycoords": axes.get_xaxis_transform(), "xytext": (3, 0)}
        axes.annotate(text, **place, **(note | {"va": "bottom", "rotation": 90, "bbox": _HALO}))
    return slopes


def _spread(notes: Sequence[Any], point: float) -> None:
    """Move notes of a drawn panel that begin at one place apart, the lowest first; ``point``: pixels of a point."""
    placed = [(*note.axes.transData.transform(note.xy), note) for note in notes]
    tops: dict[float, float] = {}
    for at, height, note in sorted(placed, key=lambda each: each[1]):
        place = max(height / point, tops.get(at, -math.inf) + _NOTE)
        tops[at] = place
        note.set_position((4, place - height / point))


def _label(model: str, step_of: str) -> str:
    """Return what a line is called: the model, and what a step of it is."""
    step = {"triplets": "a batch of triplets", "users": "a batch of users", "iteration": "an iteration", "fit": "a fit"}
    return f"{system_title(model)}, {step[step_of]}"


def _set_ticks(axes: Any, values: Sequence[int]) -> None:
    """Mark the values; of many, the powers of ten among them."""
    tens = [value for value in values if math.log10(value).is_integer()]
    shown = values if len(values) <= _MOST_TICKS else tens
    axes.minorticks_off()
    axes.set_xticks(shown, [_short(value) for value in shown])


def _short(value: int) -> str:
    for size, letter in ((10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return str(value)


def _standing(records: Records) -> str:
    """Return the fixed sizes: the value of each letter while another one is the axis."""
    usual = [record for record in records if not record.get("at")]
    sizes = {letter: [r[letter] for r in usual if letter in r and letter != r["axis"]] for letter in _AXES}
    each = {letter: " or ".join(f"{size:,}" for size in dict.fromkeys(found)) for letter, found in sizes.items()}
    return ", ".join(f"{letter} = {size}" for letter, size in each.items() if size)


def _devices(plt: Any, records: Records) -> Any:
    models = list(dict.fromkeys(record["model"] for record in records))
    meshes = list(dict.fromkeys(record["mesh"] for record in records))
    figure, axes = plt.subplots(figsize=(1.0 * len(meshes) + 1.5, 3.6), layout="constrained")
    width = 0.8 / len(models)
    for index, (model, color) in enumerate(zip(models, colors.ON_LIGHT, strict=False)):
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
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    size = (4.4 * columns + 0.6, 3.6 * rows + 0.4 + 0.18 * len(systems) / _COLUMNS)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    lines = {}
    for axes, (panel, of_system) in zip(grid.flat, panels.items(), strict=False):
        for system, points in of_system.items():
            index, shades = systems.index(system), len(colors.ON_LIGHT)
            seconds, values = ([point[field] for point in points] for field in ("seconds", "valid"))
            style = {"color": colors.ON_LIGHT[index % shades], "ls": ("-", "--", ":")[index // shades % 3]}
            (lines[system],) = axes.plot(seconds, values, marker=_MARKERS[index % len(_MARKERS)], ms=4, **style)
        best = [max(point["valid"] for point in points) for points in of_system.values()]
        axes.set(xscale="log", xlabel="seconds since the process was started", title=_title(panel))
        axes.set_ylim(bottom=min(0.6 * max(best), 0.95 * min(best)))  # leaves out the first steep rise
        axes.xaxis.set_major_formatter("{x:g}")
    for row in grid:
        row[0].set_ylabel("NDCG@10 on validation")
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=min(_COLUMNS * columns, len(lines)))
    return _room_below(figure)


def _title(panel: Panel) -> str:
    return f"{panel.data}, {panel.cores} core{'s' if panel.cores > 1 else ''}"


def _room_below(figure: Any) -> Any:
    """Add a line at the bottom with the machine of the records."""
    figure.get_layout_engine().set(rect=(0, 0.16 / figure.get_figheight(), 1, 1 - 0.16 / figure.get_figheight()))
    return figure


_PLOTS: dict[str, Callable[[Any, Records], Any]] = {"growth": _growth, "devices": _devices, "quality": _quality}
