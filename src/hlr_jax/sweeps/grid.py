"""What a sweep varies: values for keys of a config, from text, files or presets, and the points of their grid."""

import copy
import itertools
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hlr_jax.errors import InputError, pick
from hlr_jax.workdir import flatten

Overrides = dict[str, Any]
"""A point: by key of the config, such as ``train.margin``, its value."""


class Range(NamedTuple):
    """Numbers from ``low`` to ``high``, for a sampler; ``log``: drawn by their logarithm."""

    low: float
    high: float
    log: bool = False


Space = dict[str, list[Any] | Range]
"""By key of the config, the values that it takes."""

PRESETS: dict[str, Space] = {
    "paper": {  # the grid of Tran et al. 2021
        "train.learning_rate": [2e-4, 5e-4, 7.5e-4, 1e-3],
        "model.num_memories": [5, 10, 20, 50],
        "train.margin": [0.2, 0.5, 0.75, 1.0],
    }
}
_SHARED = ("dataset", "eval", "mesh", "seed")  # what all points of a leaderboard have in common


def read_space(entries: Sequence[str], path: str | None, config: dict[str, Any]) -> Space:
    """Return what a sweep varies.

    Args:
      entries: each ``key=value,value``, ``key=LOW..HIGH``, ``key=log:LOW..HIGH``, or the name of a preset.
      path: a JSON or TOML file with a list of values (or the text of a range) for each key; sections may be nested.
      config: the settings that are varied; a value becomes a float where theirs is one.

    Raises:
      InputError: an unreadable file, an unknown or repeated key, no value, or a key that all points must share.
    """
    space: Space = {}

    def add(key: str, values: Any, source: str) -> None:
        if key in space:
            raise InputError(f"{source}: {key} is given twice; put all its values in one place")
        space[key] = _checked(key, values, config, source)

    for entry in entries:
        key, given, text = entry.partition("=")
        if given:
            add(key, text if ".." in text else [_value(part) for part in text.split(",") if part], f"--grid={entry}")
            continue
        for name, values in PRESETS[pick(entry, PRESETS, "preset of --grid:")].items():
            add(name, values, f"--grid={entry}")
    for key, values in flatten(_read_file(Path(path)) if path else {}).items():
        add(key, values, str(path))
    if not space:
        raise InputError("nothing to vary: pass --grid=KEY=VALUE,VALUE, --grid=paper or --grid_file=FILE")
    return space


def _read_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check --grid_file") from None
    except ValueError as problem:  # of either format
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise InputError(f"{path}: not {kind}: {str(problem).splitlines()[0]}") from None
    if not isinstance(values, dict):
        raise InputError(f'{path}: must map keys to lists of values, such as {{"train.margin": [0.5, 1.0]}}')
    return values


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _checked(key: str, values: Any, config: dict[str, Any], source: str) -> list[Any] | Range:
    known = flatten(config)
    pick(key, known, f"key of {source}:")
    if key.split(".")[0] in _SHARED or key == "train.num_seeds":
        raise InputError(f"{source}: {key} is the same for all points of a sweep; pass it as --config.{key}=...")
    if isinstance(values, str):
        return _range(values, source)
    if not isinstance(values, list) or not values:
        raise InputError(f"{source}: {key} needs one value or more, in a list")
    if isinstance(known[key], float):
        values = [float(value) if type(value) is int else value for value in values]
    if any(values.count(value) > 1 for value in values):
        raise InputError(f"{source}: {key} has a value twice: {values}")
    return values


def _range(text: str, source: str) -> Range:
    low, _, high = text.removeprefix("log:").partition("..")
    log, ends = text.startswith("log:"), (_value(low), _value(high))
    if any(type(end) not in (int, float) for end in ends) or ends[0] >= ends[1] or (log and ends[0] <= 0):
        raise InputError(f"{source}: {text!r} is no range; LOW..HIGH, or log:LOW..HIGH with LOW above 0")
    return Range(*ends, log)


def product(space: Space) -> list[Overrides]:
    """Return every point of the grid, the last key varying fastest.

    Raises:
      InputError: a range, which only a sampler can take values from.
    """
    for key, values in space.items():
        if isinstance(values, Range):
            raise InputError(f"{key} has a range; a grid needs a list of values (or pass --sampler=optuna)")
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


def with_overrides(config: dict[str, Any], overrides: Overrides) -> dict[str, Any]:
    """Return a copy of nested settings with the values of a point."""
    changed = copy.deepcopy(config)
    for key, value in overrides.items():
        *sections, name = key.split(".")
        inner = changed
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return changed
