"""What a sweep varies, from text, files or presets; and its points: all of a grid, or proposed by Optuna in batches."""

import copy
import itertools
import json
import tomllib
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from hlr_jax.configs.unread import check_read
from hlr_jax.errors import InputError, missing_extra, pick
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
    },
    "mf_als": {
        "model.confidence": [5.0, 10.0, 20.0, 50.0],
        "model.regularization": [5.0, 20.0, 50.0, 100.0],
        "model.frequency_exponent": [0.0, 1.0],
    },
}
_DECIDING = {"train.objective", "train.negatives", "train.temperatures", "model.solver"}  # what else is read
_SHARED = ("dataset", "eval", "mesh", "seed")  # what all points of a leaderboard have in common


def read_space(entries: Sequence[str], path: str | None, config: dict[str, Any]) -> Space:
    """Return what a sweep varies.

    Args:
      entries: each ``key=value,value``, ``key=LOW..HIGH``, ``key=log:LOW..HIGH``, or the name of a preset.
      path: a JSON or TOML file with a list of values (or the text of a range) for each key; sections may be nested.
      config: the settings that are varied; a value becomes a float where theirs is one.

    Raises:
      InputError: an unreadable file, an unknown or repeated key, no value, a key that nothing reads, or one that all
        points must share.
    """
    given: list[tuple[str, str, Any]] = []
    for entry in entries:
        key, equals, text = entry.partition("=")
        values = text if ".." in text else [_value(part) for part in text.split(",") if part]
        named = {key: values} if equals else PRESETS[pick(entry, PRESETS, "preset of --grid:")]
        given += [(f"--grid={entry}", *item) for item in named.items()]
    given += [(str(path), *item) for item in flatten(_read_file(Path(path)) if path else {}).items()]
    space: Space = {}
    for source, key, values in given:
        if key in space:
            raise InputError(f"{source}: {key} is given twice; put all its values in one place")
        space[key] = _checked(key, values, config, source)
    if not space:
        raise InputError("nothing to vary: pass --grid=KEY=VALUE,VALUE, a preset (--grid=paper) or --grid_file=FILE")
    if not _DECIDING & set(space):
        check_read(config, space)
    return space


def _read_file(path: Path) -> dict[str, Any]:
    kind, parse = ("TOML", tomllib.loads) if path.suffix == ".toml" else ("JSON", json.loads)
    try:
        values = parse(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise InputError(f"{path}: no such file; check --grid_file") from None
    except (ValueError, RecursionError) as problem:
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
        low, _, high = values.removeprefix("log:").partition("..")
        log, ends = values.startswith("log:"), (_value(low), _value(high))
        if any(type(end) not in (int, float) for end in ends) or ends[0] >= ends[1] or (log and ends[0] <= 0):
            raise InputError(f"{source}: {values!r} is no range; LOW..HIGH, or log:LOW..HIGH with LOW above 0")
        return Range(*ends, log)
    if not isinstance(values, list) or not values:
        raise InputError(f"{source}: {key} needs one value or more, in a list")
    if isinstance(known[key], float):
        values = [float(value) if type(value) is int else value for value in values]
    if any(values.count(value) > 1 for value in values):
        raise InputError(f"{source}: {key} has a value twice: {values}")
    return values


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
        reduce(lambda inner, section: inner.setdefault(section, {}), sections, changed)[name] = value
    return changed


Evaluate = Callable[[Sequence[Overrides]], Sequence[float | None]]
"""Points -> their metrics; None for a point that failed."""


def search(
    space: Space, evaluate: Evaluate, *, trials: int, batch: int, higher_is_better: bool, seed: int = 0
) -> list[Overrides]:
    """Evaluate points that a tree-structured Parzen estimator (Bergstra et al. 2011) proposes, and return them.

    The proposals are a function of the seed and of the metrics so far. So a search that was stopped is repeated from
    its start, and ``evaluate`` answers at once for what is known already.

    Args:
      space: lists of values and ranges.
      evaluate: gives the metrics of a batch.
      trials: how many points, at most: a proposal made before is not evaluated again.
      batch: how many are proposed before their metrics are known.
      higher_is_better: whether a larger metric is better.
      seed: of the proposals.

    Raises:
      InputError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise InputError(f"--sampler=optuna needs Optuna; {missing_extra('optuna')}") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize" if higher_is_better else "minimize",
        # All of a first batch is drawn at random: nothing is known. Points of a batch keep away from each other.
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=batch, constant_liar=True),
    )
    points: list[Overrides] = []
    for start in range(0, trials, batch):
        asked = [study.ask() for _ in range(min(batch, trials - start))]
        proposed = [{key: _suggest(trial, key, values) for key, values in space.items()} for trial in asked]
        for point in proposed:
            if point not in points:
                points.append(point)
        for trial, value in zip(asked, evaluate(proposed), strict=True):
            state = optuna.trial.TrialState
            study.tell(trial, value, state=state.FAIL if value is None else state.COMPLETE)
    return points


def _suggest(trial: Any, key: str, values: list[Any] | Range) -> Any:
    if not isinstance(values, Range):
        return trial.suggest_categorical(key, values)
    if type(values.low) is int and type(values.high) is int:
        return trial.suggest_int(key, values.low, values.high, log=values.log)
    return trial.suggest_float(key, values.low, values.high, log=values.log)
