"""Blends as workdirs, which contain the workdirs of their parts.

    OUT/config.json         model.name is blend, with a description of each part and its weight
    OUT/parts/LABEL/        each part: a finished run, without checkpoints
    OUT/result/blend.json   how the weights were selected
    OUT/eval/, env.json, metrics.jsonl: as in any run; metrics.jsonl has one line

Everything that reads a workdir reads such a folder. It needs nothing outside it, so it can be moved.
"""

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hlr_jax.blended_systems import Blend, Part
from hlr_jax.blends.description import from_description
from hlr_jax.blends.runs import (
    EPOCH,
    PARTS,
    Log,
    blend_of,
    check_same_data,
    is_blend,
    loaded_blend,
    settings_of_blend,
    weighted,
)
from hlr_jax.blends.weights import BlendWeights
from hlr_jax.errors import InputError
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.experiment import RunResult, evaluate_run
from hlr_jax.files import atomic_file
from hlr_jax.fitting.fit import FitResult
from hlr_jax.folders import MARKER, adopt, as_folder, replacing_folder
from hlr_jax.json_files import json_lines, write_json
from hlr_jax.loading import LoadedRun, read_run
from hlr_jax.training.result import train_seconds
from hlr_jax.workdir import read_config, record_environment

RECORD = "result/blend.json"
_COPIED = (MARKER, "config.json", "env.json", "metrics.jsonl", "dataset", "result", "eval")


class BlendedRun(NamedTuple):
    """A finished blend.

    Attributes:
      result: as of any run; ``params`` of its one fit are those of the parts by label.
      chosen: how validation selected the weights; None if they were given.
    """

    result: RunResult
    chosen: BlendWeights | None


def read_blend(folder: Path, config: Mapping[str, Any], log: Log = lambda line: None) -> LoadedRun:
    """Return the blend in a folder.

    Raises:
      InputError: a part is missing or damaged, or has different data.
    """
    try:
        blend = from_description(config["model"][PARTS])
        evaluation = EvalOptions(**config.get("eval", {}))
    except (KeyError, TypeError, AttributeError) as problem:
        raise InputError(f"{folder / 'config.json'} does not describe a blend ({problem}); blend again") from None
    parts: dict[str, Part] = {}
    params: dict[str, Any] = {}
    runs = _read_parts(folder, blend.parts, log)
    check_same_data(runs)
    for label, loaded in runs.items():
        part, system = blend.parts[label], loaded.parts.model
        if part.seed not in loaded.seeds:
            own = folder / PARTS / label
            raise InputError(f"{own} has no seed {part.seed}, which the blend uses; blend again")
        params[label] = loaded.params[loaded.seeds.index(part.seed)]
        assert not isinstance(system, Blend)
        parts[label] = part._replace(system=system)
    dataset = runs[next(iter(runs))].parts.dataset
    return loaded_blend(dataset, Blend(parts), params, evaluation, int(config.get("seed", 0)))


def _read_parts(folder: Path, labels: Iterable[str], log: Log = lambda line: None) -> dict[str, LoadedRun]:
    """Return the runs of parts by label. Data that they share is read, and logged, once.

    Raises:
      InputError: a part is missing, damaged, unfinished, or a blend.
    """
    runs, dataset = dict[str, LoadedRun](), None
    for label in labels:
        own = folder / PARTS / label
        config = read_config(own)
        if is_blend(config):
            raise InputError(f"{own} is a blend: blend its parts instead")
        runs[label] = read_run(own, config, None, log, dataset)
        dataset = runs[label].parts.dataset
    return runs


def finish_blend(
    folder: str | Path,
    labels: Sequence[str],
    weights: Mapping[str, float] | None = None,
    *,
    eval: Mapping[str, Any] | None = None,
    log: Log = print,
) -> BlendedRun:
    """Make the workdir of a blend of the runs in ``folder/parts``: select weights, measure, and write the files.

    Args:
      folder: the workdir; ``folder/parts/LABEL`` is the workdir of each part, whose first seed is used.
      labels: of the parts; others in ``folder/parts`` are not read.
      weights: by label; None: selected on validation.
      eval: settings of evaluation, in place of the first part's.
      log: receives log lines.

    Raises:
      InputError: a part is missing, unfinished or on different data; the folder holds something else; or see
        ``weighted``.
    """
    folder, start = Path(folder), time.perf_counter()
    adopt(folder, "blend", [PARTS])
    members = {label: (loaded, 0) for label, loaded in _read_parts(folder, labels).items()}
    settings = read_config(folder / PARTS / labels[0]) if labels else {}
    evaluation = EvalOptions(**{**settings.get("eval", {}), **(eval or {})})
    loaded, chosen = weighted(blend_of(members, evaluation), weights, log)
    seconds = time.perf_counter() - start
    seconds += sum(train_seconds(folder / PARTS / label) for label in labels)
    return write_blend(folder, loaded, chosen, settings, seconds)


def write_blend(
    folder: Path, loaded: LoadedRun, chosen: BlendWeights | None, settings: Mapping[str, Any], seconds: float
) -> BlendedRun:
    """Measure a blend whose parts are in ``folder/parts``, and write all other files of its workdir.

    Args:
      folder: the workdir.
      loaded: the blend.
      chosen: how validation selected its weights; None: they were given.
      settings: of one of the parts.
      seconds: total time to make it.
    """
    record_environment(folder, loaded.parts.dataset)
    metrics = {} if chosen is None else {chosen.metric: chosen.value}
    seed = loaded.parts.seed
    line = {"epoch": EPOCH, "run": f"seed-{seed}", "seed": seed} | metrics
    line |= {"best_epoch": EPOCH, "seconds": seconds}
    with atomic_file(folder / "metrics.jsonl") as temporary:
        temporary.write_text(json_lines([line]), encoding="utf-8")
    config = settings_of_blend(loaded, settings)
    weights = {label: part["weight"] for label, part in config["model"][PARTS].items()}
    record = {"weights": weights, "chosen": None if chosen is None else chosen.to_json()}
    write_json(folder / RECORD, record | {"progress": loaded.progress[0].to_json()})
    evaluations, measured = evaluate_run(loaded.parts, loaded.params, loaded.best_epochs, loaded.seeds, folder, config)
    write_json(folder / "config.json", config)
    progress = loaded.progress[0]
    fit = FitResult(loaded.params[0], progress.run, EPOCH, progress.best_value, [line])
    return BlendedRun(RunResult(loaded.parts, [fit], evaluations, measured), chosen)


def blend_runs(
    workdirs: Mapping[str, str | Path],
    output: str | Path,
    weights: Mapping[str, float] | None = None,
    *,
    eval: Mapping[str, Any] | None = None,
    log: Log = print,
) -> BlendedRun:
    """Make the workdir of a blend of runs, with a copy of each part, whole or not at all.

    Args:
      workdirs: of the runs, by label; the first seed of each run is used.
      output: the workdir; an older blend there is replaced.
      weights: by label; None: selected on validation.
      eval: settings of evaluation, in place of the first run's.
      log: receives log lines.

    Raises:
      InputError: ``output`` holds something else; or see ``finish_blend``.
    """
    Blend.check_labels(workdirs)
    with replacing_folder(as_folder(output), "blend") as temporary:
        for label, workdir in workdirs.items():
            read_config(Path(workdir))  # raises if it is missing
            _copy(Path(workdir), temporary / PARTS / label)
        return finish_blend(temporary, list(workdirs), weights, eval=eval, log=log)


def _copy(workdir: Path, part: Path) -> None:
    """Copy the files of a finished run that readers need."""
    part.mkdir(parents=True)
    for name in _COPIED:
        source = workdir / name
        if source.is_dir():
            shutil.copytree(source, part / name)
        elif source.is_file():
            shutil.copyfile(source, part / name)
