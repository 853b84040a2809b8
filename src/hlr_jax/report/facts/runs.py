"""Runs as their workdirs hold them, and which of them may be compared."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from hlr_jax.errors import InputError
from hlr_jax.evaluation.comparison import SYSTEMS, Result, read_result
from hlr_jax.runs import LoadedRun, load_run
from hlr_jax.workdir import flatten, read_config


class RunFacts(NamedTuple):
    """One run.

    Attributes:
      label: what it is called on the page: short, and no other run's.
      loaded: its parts and parameters.
      settings: its config, flat.
      environment: its ``env.json``.
      epochs: a row per epoch and seed, from ``metrics.jsonl``.
      figures: ``eval/SPLIT.json`` by split, of the splits that have interactions.
      result: its test figures with those of each user; None without a test split.
    """

    label: str
    loaded: LoadedRun
    settings: dict[str, Any]
    environment: dict[str, Any]
    epochs: pl.DataFrame
    figures: dict[str, dict[str, Any]]
    result: Result | None

    @property
    def model(self) -> str:
        """The model as the paper calls it."""
        name = self.loaded.parts.model.name
        return SYSTEMS.get(name, name)

    @property
    def split(self) -> str | None:
        """The split whose lists tell of the run: test, else validation, else None."""
        return next((split for split in ("test", "valid") if split in self.figures), None)

    @property
    def first_seed(self) -> int:
        """The seed whose parameters make the lists that are shown."""
        return self.loaded.parts.seed


def read_runs(folders: Sequence[str | Path]) -> list[RunFacts]:
    """Return the runs of workdirs, each once.

    Raises:
      InputError: no folder, or one that holds no finished run, or files of it that do not read.
    """
    paths = list(dict.fromkeys(Path(folder).resolve() for folder in folders if str(folder).strip()))
    if not paths:
        raise InputError("a report needs at least one workdir")
    # What tells them apart is short enough for a table.
    common = paths[0].parent if len(paths) == 1 else Path(os.path.commonpath(paths))
    return [_read(path, common) for path in paths]


def _read(folder: Path, common: Path) -> RunFacts:
    config = read_config(folder)
    loaded = load_run(folder, log=lambda _: None)
    dataset = loaded.parts.dataset
    figures = {}
    for split in ("valid", "test"):
        if len(getattr(dataset, split)):
            figures[split] = _json(folder / "eval" / f"{split}.json")
    shown = folder.name if folder == common else str(folder.relative_to(common))
    name = loaded.parts.model.name
    display = SYSTEMS.get(name, name)
    label = display if shown.lower() in {name, display.lower()} else f"{shown} ({display})"
    return RunFacts(
        label,
        loaded,
        flatten(config),
        _json(folder / "env.json"),
        _epochs(folder / "metrics.jsonl", loaded),
        figures,
        read_result(folder) if "test" in figures else None,
    )


def _json(path: Path) -> dict[str, Any]:
    remedy = f"run experiments/evaluate.py --workdir={path.parent.parent}" if path.parent.name == "eval" else "train"
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {remedy} first") from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{path}: no JSON object; delete it and {remedy} again")
    return found


def _epochs(path: Path, loaded: LoadedRun) -> pl.DataFrame:
    """Return the epochs of the runs that are kept: of a seed's several temperatures those of one."""
    try:
        frame = pl.read_ndjson(path, infer_schema_length=None)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; train first") from None
    except pl.exceptions.PolarsError as problem:
        raise InputError(f"{path}: unreadable ({str(problem).splitlines()[0]}); train again") from None
    lacking = [name for name in ("epoch", "seed", "train_loss", "seconds") if name not in frame.columns]
    if lacking:
        raise InputError(f'{path}: its lines have no "{lacking[0]}"; train again')
    if len(loaded.parts.train.temperatures) > 1:
        kept = pl.any_horizontal(
            (pl.col("seed") == r.seed) & (pl.col("temperature") == r.temperature) for r in loaded.runs
        )
        frame = frame.filter(kept)
    return frame


def comparable_groups(runs: Sequence[RunFacts]) -> list[list[RunFacts]]:
    """Return the runs in groups of the same data, protocol and K: figures of two groups say nothing of each other."""
    groups: dict[tuple[str, str, int], list[RunFacts]] = {}
    for run in runs:
        parts = run.loaded.parts
        key = (parts.dataset.fingerprint, parts.dataset.protocol.hash, parts.eval.k)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def differing_settings(runs: Sequence[RunFacts]) -> dict[str, list[Any]]:
    """Return the settings in which runs differ, with each run's value; None where a run lacks the setting."""
    names = sorted({name for run in runs for name in run.settings})
    values = {name: [run.settings.get(name) for run in runs] for name in names}
    return {name: found for name, found in values.items() if any(one != found[0] for one in found)}
