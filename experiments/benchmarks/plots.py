"""Plots of records, PNG and SVG; matplotlib is an extra."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hlr_jax import InputError

Records = Sequence[dict[str, Any]]

_NAMES = {
    "adacml": "AdaCML", "cml": "CML", "hlr": "HLR", "hlrpp": "HLR++", "lrml": "LRML", "mf_als": "MF-ALS",
    "transcf": "TransCF",
}  # fmt: skip
_AXES = {
    "H": "H, items of the history", "N": "N, memories", "D": "D, dimensions", "B": "B, triplets in a batch",
    "U": "U, rows of the user table", "I": "I, items",
}  # fmt: skip
# Blue, orange, green, ... of Okabe and Ito, which stay apart for colour-blind readers.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLE: Any = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#dddddd",
    "grid.linewidth": 0.6, "axes.axisbelow": True, "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left",
    "figure.dpi": 110, "savefig.dpi": 160, "svg.hashsalt": "hlr_jax", "legend.frameon": False,
}  # fmt: skip


def require_matplotlib() -> None:
    """Check that plots can be drawn.

    Raises:
      InputError: names the extra to install.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("--plots needs matplotlib; install the extra: pip install 'hlr_jax[plots]'")


def draw(records: Records, folder: Path) -> list[Path]:
    """Draw every plot that the records have figures for, and return the files."""
    require_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    with plt.rc_context(_STYLE):
        for part, (name, plot) in _PLOTS.items():
            if not (chosen := [record for record in records if record["what"] == part and _drawable(record)]):
                continue
            figure = plot(plt, chosen)
            figure.text(0.995, 0.005, _where(chosen[0]), ha="right", va="bottom", fontsize=6.5, color="#666666")
            paths += [folder / f"{name}.png", folder / f"{name}.svg"]
            figure.savefig(paths[-2])
            figure.savefig(paths[-1], metadata={"Date": None})  # the same records give the same file
            plt.close(figure)
    return paths


def _drawable(record: dict[str, Any]) -> bool:
    return record["what"] != "train" or "triplets_per_s" in record


def _where(record: dict[str, Any]) -> str:
    return f"{record.get('cpu', '')}, {record['device']}, {record['cores']} core(s), jax {record['jax']}"


def _dots(axes: Any, labels: Sequence[str], values: Sequence[float], title: str, unit: str) -> None:
    """Draw a row for each label, the first on top, with a dot at its value and the value behind it.

    Dots, since bars on a log scale have no length that means anything.
    """
    places = list(range(len(labels)))[::-1]
    axes.plot(values, places, "o", color=_COLORS[0], ms=6)
    behind = {"xytext": (7, 0), "textcoords": "offset points", "va": "center_baseline", "fontsize": 8}
    clear = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # of the row's line
    for place, value in zip(places, values, strict=True):
        axes.annotate(f"{value:,.0f}", (value, place), bbox=clear, **behind)
    _rows(axes, labels, values)
    axes.set_title(title)
    axes.set_xlabel(unit)


def _rows(axes: Any, labels: Sequence[str], values: Sequence[float]) -> None:
    axes.set_yticks(list(range(len(labels)))[::-1], labels)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 2, max(values) * 5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _name(record: dict[str, Any]) -> str:
    model: str = record["model"]
    return _NAMES.get(model, model)


def _by_model(records: Records, field: str) -> tuple[list[str], list[float]]:
    ranked = sorted(records, key=lambda record: -record[field])
    return [_name(record) for record in ranked], [record[field] for record in ranked]


def _training(plt: Any, records: Records) -> Any:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 0.42 * len(records) + 1.6), layout="constrained")
    _dots(left, *_by_model(records, "triplets_per_s"), "Training, sampling included", "triplets/s")
    _dots(right, *_by_model(records, "draws_per_s"), "Draws of negatives and neighbors alone", "triplets/s")
    return _room_below(figure)


def _ranking(plt: Any, records: Records) -> Any:
    figure, axes = plt.subplots(figsize=(6, 0.42 * len(records) + 1.6), layout="constrained")
    title = f"Ranking all {records[0]['items']:,} items of a user"
    _dots(axes, *_by_model(records, "users_per_s"), title, "users/s")
    return _room_below(figure)


def _kernels(plt: Any, records: Records) -> Any:
    def label(record: dict[str, Any]) -> str:
        at_once = record["triplets_at_once"]
        return record["direction"] + (f", {at_once:,} triplets at once" if at_once else "")

    labels = list(dict.fromkeys(map(label, records)))
    figure, axes = plt.subplots(figsize=(7, 0.46 * len(labels) + 1.6), layout="constrained")
    for form, color in zip(dict.fromkeys(record["form"] for record in records), _COLORS, strict=False):
        chosen = [record for record in records if record["form"] == form]
        places = [len(labels) - 1 - labels.index(label(record)) for record in chosen]
        axes.plot([record["pairs_per_s"] for record in chosen], places, "o", color=color, ms=7, label=form, alpha=0.85)
    _rows(axes, labels, [record["pairs_per_s"] for record in records])
    sizes = next(({k: record[k] for k in "HND"} for record in records if "H" in record), {})
    where = ", ".join(f"{letter} = {size}" for letter, size in sizes.items())
    axes.set_title(f"HLR's relation in its forms, {where}")
    axes.set_xlabel("pairs/s")
    axes.legend(loc="center right")
    return _room_below(figure)


def _growth(plt: Any, records: Records) -> Any:
    letters = [letter for letter in _AXES if any(record["axis"] == letter for record in records)]
    models = list(dict.fromkeys(record["model"] for record in records))
    size = (2.5 * len(letters) + 0.6, 5.4)
    figure, grid = plt.subplots(2, len(letters), figsize=size, sharey="row", squeeze=False, layout="constrained")
    rows = (("us_per_triplet", "training, µs/triplet"), ("us_per_user", "ranking, µs/user"))
    for panels, (field, unit) in zip(grid, rows, strict=True):
        for axes, letter in zip(panels, letters, strict=True):
            across: set[int] = set()
            for model, color in zip(models, _COLORS, strict=False):
                chosen = [r for r in records if (r["model"], r["axis"]) == (model, letter) and field in r]
                values, times = [r["value"] for r in chosen], [r[field] for r in chosen]
                if chosen:
                    axes.plot(values, times, "o-", color=color, ms=4, label=_NAMES.get(model, model))
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
    """Return the sizes at which the axes stand: what each letter is where another one is the axis."""
    sizes = {letter: r[letter] for r in records for letter in _AXES if letter in r and r["axis"] != letter}
    return ", ".join(f"{letter} = {sizes[letter]:,}" for letter in _AXES if letter in sizes)


def _devices(plt: Any, records: Records) -> Any:
    models = list(dict.fromkeys(record["model"] for record in records))
    meshes = list(dict.fromkeys(record["mesh"] for record in records))
    figure, axes = plt.subplots(figsize=(1.0 * len(meshes) + 1.5, 3.6), layout="constrained")
    width = 0.8 / len(models)
    for index, (model, color) in enumerate(zip(models, _COLORS, strict=False)):
        ratios = {record["mesh"]: record["time_ratio_over_one"] for record in records if record["model"] == model}
        places = [place + (index - (len(models) - 1) / 2) * width for place in range(len(meshes))]
        heights = [ratios.get(mesh, 0.0) for mesh in meshes]
        bars = axes.bar(places, heights, 0.9 * width, color=color, label=_NAMES.get(model, model))
        axes.bar_label(bars, fmt="{:.2f}", fontsize=8, padding=2)
    axes.axhline(1, color="#444444", lw=0.8)
    axes.set_xticks(range(len(meshes)), meshes)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("mesh, data x model devices")
    axes.set_ylabel("time of an epoch / that on one device")
    axes.set_title("An epoch on a mesh")
    if records[0]["caveat"]:
        axes.set_title(f"An epoch on a mesh\n{records[0]['caveat']}", fontsize=9)
    axes.legend()
    return _room_below(figure)


def _seeds(plt: Any, records: Records) -> Any:
    figure, axes = plt.subplots(figsize=(6, 0.42 * len(records) + 1.6), layout="constrained")
    places = list(range(len(records)))[::-1]
    values = [record["ratio"] for record in records]
    spread = [[r["ratio"] - r["ratio_low"] for r in records], [r["ratio_high"] - r["ratio"] for r in records]]
    axes.barh(places, values, xerr=spread, color=_COLORS[0], height=0.62, error_kw={"lw": 1, "capsize": 3})
    axes.set_yticks(places, [_name(record) for record in records])
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("time of an epoch of all / of one (median; least and most)")
    axes.set_title(f"{records[0]['num_seeds']} seeds at once against one")
    return _room_below(figure)


def _room_below(figure: Any) -> Any:
    """Leave a line at the bottom for where the figures were measured."""
    figure.get_layout_engine().set(rect=(0, 0.16 / figure.get_figheight(), 1, 1 - 0.16 / figure.get_figheight()))
    return figure


_PLOTS: dict[str, tuple[str, Callable[[Any, Records], Any]]] = {
    "train": ("training", _training),
    "rank": ("ranking", _ranking),
    "seeds": ("seeds", _seeds),
    "kernels": ("kernels", _kernels),
    "growth": ("growth", _growth),
    "devices": ("devices", _devices),
}
