"""Time to quality: runs commands as cold processes and summarizes the points of their curves.

A point is ``{"seconds": s, "valid": NDCG@10, "test": NDCG@10 or null}``, a line of JSON on stdout; ``curve.py`` prints
such lines. Other lines are ignored.
"""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.beside import done_by, labeled
from benchmarks.settings import Settings
from quality.stopwatch import STARTED

from hlr_jax import InputError

Point = dict[str, Any]
Records = Sequence[dict[str, Any]]

SPLIT_FILE = "SPLIT_FILE"
"""The environment variable with the file that the commands read."""
_SHARES = (95, 99, 100)  # percent of a system's own best


class Panel(NamedTuple):
    """A setting in which curves are compared: the name of the data, and the number of cores."""

    data: str
    cores: int


def check_quality(settings: Settings) -> None:
    """Check that there is something to measure.

    Raises:
      InputError: no command, or no file.
    """
    if not settings.beside or not settings.split_file:
        raise InputError(
            "--what=quality needs --split_file, and for each system a --beside='LABEL: COMMAND' that reads $SPLIT_FILE"
        )


def bench_quality(settings: Settings) -> Iterator[dict[str, Any]]:
    """Run the commands of the settings one after another, and yield a record for each.

    Raises:
      InputError: a command fails, or prints no point.
    """
    for given in settings.beside:
        label, command = labeled(given)
        done = done_by(command, {SPLIT_FILE: settings.split_file, STARTED: str(time.time())})
        points = _points(command, done.stdout)
        yield {
            "what": "quality", "system": label, "data": settings.split_file, "command": command, "points": points,
        }  # fmt: skip


def _points(command: str, printed: str) -> list[Point]:
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    try:
        points = [json.loads(line) for line in lines]
        points = [{name: point[name] for name in ("seconds", "valid", "test")} for point in points]
    except (ValueError, KeyError) as problem:
        raise InputError(f"--beside: {command}: not a point of a curve among its lines: {problem}") from None
    if not points:
        raise InputError(f'--beside: {command}: prints no line such as {{"seconds": 1.4, "valid": 0.17, "test": 0.33}}')
    return points


def curves(records: Records) -> dict[Panel, dict[str, list[Point]]]:
    """Return the points of each system in the order of time, by panel; the runs of a label make one curve."""
    panels: dict[Panel, dict[str, list[Point]]] = {}
    for record in records:
        panel = panels.setdefault(Panel(Path(record["data"]).stem, record["cores"]), {})
        panel.setdefault(record["system"], []).extend(record["points"])
    for panel in panels.values():
        for points in panel.values():
            points.sort(key=lambda point: point["seconds"])
    return panels


def summaries(records: Records) -> list[dict[str, Any]]:
    """Return a row for each system: its best on validation, test there, and the seconds until it was close to it.

    ``passed_s`` are the seconds until the panel's first system is better than another's best on validation.
    """
    rows = []
    for panel, systems in curves(records).items():
        first = next(iter(systems))
        for system, points in systems.items():
            best = max(points, key=lambda point: point["valid"])
            row: dict[str, Any] = panel._asdict() | {"system": system, "valid": best["valid"], "test": best["test"]}
            row |= {f"s_{share}": _until(points, share / 100 * best["valid"]) for share in _SHARES}
            row["last_s"] = points[-1]["seconds"]
            if system != first:
                ahead = [point for point in systems[first] if point["valid"] > best["valid"]]
                row["passed_s"] = ahead[0]["seconds"] if ahead else None
            rows.append(row)
    return rows


def _until(points: Sequence[Point], value: float) -> float:
    """Return the seconds of the first point with at least ``value`` on validation."""
    seconds: float = next(point["seconds"] for point in points if point["valid"] >= value)
    return seconds
