"""Trained runs as their workdirs hold them, which of them may be compared, and tables of what they are."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from hlr_jax.errors import InputError
from hlr_jax.evaluation.comparison import Result, read_result
from hlr_jax.evaluation.results import Metrics, read_metrics
from hlr_jax.experiment import RunParts
from hlr_jax.report.drawing import Child, Markup, element, folded, side_by_side, table
from hlr_jax.runs import LoadedRun, load_run
from hlr_jax.types import Params
from hlr_jax.workdir import flatten, read_config

SPLIT_NAMES = {"test": "test", "valid": "validation"}
_PROTOCOL = {
    "test_neighbors": "neighbors at test are from",
    "solver_mask": "left out of MF-ALS's lists",
    "mrr": "MRR is",
    "map": "MAP is",
    "popularity": "Popularity is",
    "spread": "± is over",
    "hash": "hash",
}


class TrainedRun(NamedTuple):
    """One run.

    Attributes:
      label: what it is called on the page: short, and no other run's.
      parts: its data, model and options.
      params: of the best epoch of each seed.
      best_epochs: of each seed.
      settings: its config, flat.
      environment: its ``env.json``.
      epochs: a row per epoch and seed, from ``metrics.jsonl``.
      metrics: by split, of the splits that have interactions.
      result: its test metrics with those of each user; None without a test split.
    """

    label: str
    parts: RunParts
    params: list[Params]
    best_epochs: list[int]
    settings: dict[str, Any]
    environment: dict[str, Any]
    epochs: pl.DataFrame
    metrics: dict[str, Metrics]
    result: Result | None

    @property
    def split(self) -> str | None:
        """The split whose lists are shown: test, else validation, else None."""
        return next((split for split in SPLIT_NAMES if split in self.metrics), None)

    @property
    def first_seed(self) -> int:
        """The seed whose parameters make the lists that are shown."""
        return self.parts.seed


def read_runs(folders: Sequence[str | Path]) -> list[TrainedRun]:
    """Return the runs of workdirs, each once.

    Raises:
      InputError: no folder, or one that holds no finished run, or files of it that do not read.
    """
    paths = list(dict.fromkeys(Path(folder).resolve() for folder in folders if str(folder).strip()))
    if not paths:
        raise InputError("a report needs at least one workdir")
    # What tells them apart is short enough for a table.
    common = paths[0].parent if len(paths) == 1 else Path(os.path.commonpath(paths))
    return [_read(path, path.name if path == common else str(path.relative_to(common))) for path in paths]


def _read(folder: Path, short_name: str) -> TrainedRun:
    config = read_config(folder)
    loaded = load_run(folder, log=lambda _: None)
    splits = [split for split in ("valid", "test") if len(getattr(loaded.parts.dataset, split))]
    metrics = {split: read_metrics(folder, split) for split in splits}
    system = system_name(loaded.parts)
    is_system = short_name.lower() in {loaded.parts.model.name, system.lower()}
    return TrainedRun(
        system if is_system else f"{short_name} ({system})",
        loaded.parts,
        loaded.params,
        loaded.best_epochs,
        flatten(config),
        _read_object(folder / "env.json"),
        _read_epochs(folder / "metrics.jsonl", loaded),
        metrics,
        read_result(folder) if "test" in metrics else None,
    )


def system_name(parts: RunParts) -> str:
    """Return the model as the paper calls it."""
    return parts.model.title


def _read_object(path: Path) -> dict[str, Any]:
    remedy = "train"
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {remedy} first") from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{path}: no JSON object; delete it and {remedy} again")
    return value


def _read_epochs(path: Path, loaded: LoadedRun) -> pl.DataFrame:
    """Return the epochs of the runs that were chosen."""
    try:
        frame = pl.read_ndjson(path, infer_schema_length=None)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; train first") from None
    except pl.exceptions.PolarsError as problem:
        raise InputError(f"{path}: unreadable ({str(problem).splitlines()[0]}); train again") from None
    for name in ("epoch", "seed", "temperature", "train_loss", "seconds"):
        if name not in frame.columns:
            raise InputError(f'{path}: its lines have no "{name}"; train again')
    runs = [state.run for state in loaded.progress]
    kept = [(pl.col("seed") == run.seed) & (pl.col("temperature") == run.temperature) for run in runs]
    return frame.filter(pl.any_horizontal(kept))


def comparable_groups(runs: Sequence[TrainedRun]) -> list[list[TrainedRun]]:
    """Return the runs in groups of the same data, protocol and K: metrics of two groups say nothing of each other."""
    groups: dict[tuple[str, str, tuple[int, ...]], list[TrainedRun]] = {}
    for run in runs:
        dataset = run.parts.dataset
        groups.setdefault((dataset.fingerprint, dataset.protocol.hash, run.parts.eval.ks), []).append(run)
    return list(groups.values())


def data_and_protocol(parts: RunParts) -> Markup:
    """Return what was measured on, and how."""
    dataset, protocol = parts.dataset, parts.dataset.protocol
    sizes = [len(getattr(dataset, split)) for split in ("train", "valid", "test")]
    degrees = (dataset.train + dataset.valid + dataset.test).degrees()
    data: dict[str, list[Child]] = {
        "users": [f"{dataset.num_users:,}"],
        "items": [f"{dataset.num_items:,}"],
        "interactions": [f"{sum(sizes):,}"],
        "train / validation / test": [" / ".join(f"{size:,}" for size in sizes)],
        "density": [f"{sum(sizes) / dataset.num_users / dataset.num_items:.2%}"],
        "median interactions of a user": [f"{np.median(degrees):g}"],
        "hash": [dataset.fingerprint[:16]],
    }
    rules: dict[str, list[Child]] = {
        "name": [protocol.name],
        "split": [protocol.split],
        "K, the length of lists": [", ".join(map(str, parts.eval.ks))],
    }
    rules |= {words: [str(getattr(protocol, name))] for name, words in _PROTOCOL.items()}
    tables = table(f"Data set {dataset.name}", (), data), table("Protocol", (), rules)
    return side_by_side([element("div", drawn) for drawn in tables])


def run_tables(runs: Sequence[TrainedRun]) -> list[Child]:
    """Return what the runs are, in which settings they differ, and what they were made with."""
    labels = [run.label for run in runs]
    rows: dict[str, list[Child]] = {
        "model": [system_name(run.parts) for run in runs],
        "seeds": [_seeds(run) for run in runs],
        "best epoch": [", ".join(map(str, run.best_epochs)) for run in runs],
        "epochs": [str(run.epochs["epoch"].max()) for run in runs],
        "parameters": [f"{sum(array.size for array in run.params[0].values()):,}" for run in runs],
        "training, seconds": [f"{run.epochs.unique('epoch')['seconds'].sum():,.0f}" for run in runs],
    }
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: [run.settings.get(name) for run in runs] for name in names}
    settings = {name: list(map(_plain_value, values[name])) for name in names}
    differing = {name: settings[name] for name in sorted(names) if any(v != values[name][0] for v in values[name])}
    made_with: dict[str, list[Child]] = {
        "Python": [run.environment.get("python", "") for run in runs],
        "devices": [", ".join(run.environment.get("devices", [])) for run in runs],
    }
    packages = [run.environment.get("packages", {}) for run in runs]
    for name in dict.fromkeys(name for versions in packages for name in versions):
        made_with[name] = [versions.get(name, "") for versions in packages]
    return [
        table("The runs", labels, rows),
        folded("Settings in which they differ", table("Settings that differ", labels, differing))
        if differing
        else None,
        folded("All settings", table("Settings", labels, settings)),
        folded("Versions and devices", table("Made with", labels, made_with)),
    ]


def _seeds(run: TrainedRun) -> str:
    last = run.first_seed + len(run.params) - 1
    return str(last) if last == run.first_seed else f"{run.first_seed} to {last}"


def _plain_value(value: Any) -> str:
    """Return a setting as people read it."""
    if value is None or value == "":
        return "–"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
