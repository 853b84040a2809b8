"""Reads trained runs from workdirs, groups the comparable ones, and describes runs and data in tables."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import polars as pl

from hlr_jax.errors import InputError
from hlr_jax.evaluation.comparison import Result, read_result
from hlr_jax.evaluation.results import Metrics, read_metrics
from hlr_jax.experiment import RunParts
from hlr_jax.files import short_names
from hlr_jax.loading import LoadedRun
from hlr_jax.models.base import Model
from hlr_jax.report.drawing import Child, Markup, element, folded, side_by_side, table
from hlr_jax.runs import load_run
from hlr_jax.serving.reason_quality import ReasonQuality, read_reasons
from hlr_jax.training.history import Record, lost_line, missing_epochs, read_epochs
from hlr_jax.workdir import flatten, read_config, read_environment

SPLIT_NAMES = {"test": "test", "valid": "validation"}
_PROTOCOL = {
    "test_neighbors": "neighbors at test",
    "solver_mask": "excluded from lists of MF-ALS",
    "mrr": "MRR",
    "map": "MAP",
    "popularity": "Popularity",
    "spread": "± over",
    "hash": "hash",
}


class TrainedRun(NamedTuple):
    """One run.

    Attributes:
      label: its short name on the page, unique there.
      folder: its workdir.
      loaded: its parts and parameters.
      settings: its config, flat.
      environment: versions and devices by name, from ``env.json``.
      epochs: a row per epoch and seed, from ``metrics.jsonl``.
      lost: the epochs that are missing there.
      metrics: by split, of the splits that have interactions.
      result: its test metrics with those of each user; None without a test split.
      reasons: the measured quality of its reasons; None where it was not measured.
    """

    label: str
    folder: Path
    loaded: LoadedRun
    settings: dict[str, Any]
    environment: dict[str, Any]
    epochs: pl.DataFrame
    lost: list[int]
    metrics: dict[str, Metrics]
    result: Result | None
    reasons: ReasonQuality | None

    @property
    def split(self) -> str | None:
        """The split whose lists the page shows: test, else validation, else None."""
        return next((split for split in SPLIT_NAMES if split in self.metrics), None)

    @property
    def parts(self) -> RunParts:
        """Its data, model and options."""
        return self.loaded.parts


def read_runs(folders: Sequence[str | Path], log: Callable[[str], None] = lambda line: None) -> list[TrainedRun]:
    """Return the runs of workdirs, each once; ``log`` receives warnings of damage that changes no metric.

    Raises:
      InputError: no folder is given, one has no finished run, or its files can't be read.
    """
    paths = list(dict.fromkeys(Path(folder).resolve() for folder in folders if str(folder).strip()))
    if not paths:
        raise InputError("a report needs at least one workdir")
    return [_read(path, name, log) for path, name in zip(paths, short_names(paths), strict=True)]


def _read(folder: Path, short_name: str, log: Callable[[str], None]) -> TrainedRun:
    config = read_config(folder)
    loaded = load_run(folder, log=lambda _: None)
    model, path = loaded.parts.model, folder / "metrics.jsonl"
    records = read_epochs(path)
    lost = missing_epochs(records, loaded.progress)
    if lost:
        log(f"warning: {lost_line(path, lost)}: curves lack them")
    metrics = {"valid": read_metrics(folder, "valid")} if len(loaded.parts.dataset.valid) else {}
    result = read_result(folder) if len(loaded.parts.dataset.test) else None
    if result is not None:
        metrics["test"] = result.metrics
    env = read_environment(folder, log) or {}
    return TrainedRun(
        model.title if short_name.lower() in {model.name, model.title.lower()} else f"{short_name} ({model.title})",
        folder,
        loaded,
        flatten(config),
        {"Python": env.get("python", ""), "devices": ", ".join(env.get("devices", [])), **env.get("packages", {})},
        _frame_of(records, loaded),
        lost,
        metrics,
        result,
        read_reasons(folder),
    )


def _frame_of(records: Sequence[Record], loaded: LoadedRun) -> pl.DataFrame:
    """Return the epochs of the chosen temperature of each seed."""
    if not records:
        return pl.DataFrame(schema={"epoch": pl.Int64, "seed": pl.Int64, "seconds": pl.Float64})
    frame = pl.DataFrame(records, infer_schema_length=None, strict=False)
    if not isinstance(loaded.parts.model, Model):
        return frame  # one seed, whose values are all shown
    runs = [state.run for state in loaded.progress]
    kept = [(pl.col("seed") == run.seed) & (pl.col("temperature") == run.temperature) for run in runs]
    return frame.filter(pl.any_horizontal(kept))


def comparable_groups(runs: Sequence[TrainedRun]) -> list[list[TrainedRun]]:
    """Return the runs in groups of the same data, protocol and K; metrics of different groups are not comparable."""
    groups: dict[tuple[str, str, tuple[int, ...]], list[TrainedRun]] = {}
    for run in runs:
        dataset = run.parts.dataset
        groups.setdefault((dataset.fingerprint, dataset.protocol.hash, run.parts.eval.ks), []).append(run)
    return list(groups.values())


def data_and_protocol(parts: RunParts) -> Markup:
    """Return tables of the data set and of the protocol."""
    dataset, protocol = parts.dataset, parts.dataset.protocol
    sizes = [len(getattr(dataset, split)) for split in ("train", "valid", "test")]
    degrees = (dataset.train + dataset.valid + dataset.test).degrees()
    data: dict[str, list[Child]] = {
        "users": [f"{dataset.num_users:,}"],
        "items": [f"{dataset.num_items:,}"],
        "interactions": [f"{sum(sizes):,}"],
        "of these in train": [f"{sizes[0]:,}"],
        "in validation": [f"{sizes[1]:,}"],
        "in test": [f"{sizes[2]:,}"],
        "density": [f"{sum(sizes) / dataset.num_users / dataset.num_items:.2%}"],
        "median interactions per user": [f"{np.median(degrees):g}"],
        "hash": [dataset.fingerprint[:16]],
    }
    rules: dict[str, list[Child]] = {
        "name": [protocol.name],
        "split": [protocol.split],
        "K, items per list": [", ".join(map(str, parts.eval.ks))],
    }
    rules |= {words: [str(getattr(protocol, name))] for name, words in _PROTOCOL.items()}
    tables = table(f"Data set {dataset.name}", (), data, "numbers"), table("Protocol", (), rules)
    return side_by_side([element("div", drawn) for drawn in tables])


def run_tables(runs: Sequence[TrainedRun]) -> list[Child]:
    """Return tables of the runs, of the settings that differ, of all settings, and of versions and devices."""
    labels, seeds = [run.label for run in runs], [run.loaded.seeds for run in runs]
    rows: dict[str, list[Child]] = {
        "model": [run.parts.model.title for run in runs],
        "seeds": [str(of[0]) if len(of) == 1 else f"{of[0]} to {of[-1]}" for of in seeds],
        "epoch of the parameters": [_epochs(run) for run in runs],
        "epochs trained": [str(max(state.epoch for state in run.loaded.progress)) for run in runs],
        "parameters": [f"{sum(array.size for array in jax.tree.leaves(run.loaded.params[0])):,}" for run in runs],
        "training time": [
            _plain_value(None) if run.lost else f"{run.epochs.unique('epoch')['seconds'].sum():,.0f} s" for run in runs
        ],
    }
    values = _by_name([run.settings for run in runs], None)
    settings = {name: list(map(_plain_value, row)) for name, row in values.items()}
    differing = {name: settings[name] for name, row in sorted(values.items()) if any(value != row[0] for value in row)}
    made_with = _by_name([run.environment for run in runs], "")
    content: list[Child] = [table("Runs", labels, rows, "numbers")]
    if differing:
        content.append(folded("Settings that differ", table("Settings that differ", labels, differing)))
    content.append(folded("All settings", table("Settings", labels, settings)))
    return [*content, folded("Versions and devices", table("Versions and devices", labels, made_with))]


def _epochs(run: TrainedRun) -> str:
    """Return the epoch of each seed's parameters, and whether it is the best or the last."""
    chosen = all(state.best_value is not None for state in run.loaded.progress)
    return f"{', '.join(map(str, run.loaded.best_epochs))} ({'best' if chosen else 'last'})"


def _by_name(rows: Sequence[dict[str, Any]], missing: Any) -> dict[str, list[Any]]:
    """Return the values of all rows by name, in the order of first occurrence."""
    return {
        name: [row.get(name, missing) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)
    }


def _plain_value(value: Any) -> str:
    """Return a setting as readable text."""
    if value is None or value == "":
        return "–"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
