"""RunResult runs from their workdirs: to use, as ensembles, and to train once more on more interactions."""

from collections.abc import Callable
from pathlib import Path
from statistics import mean, mode
from typing import Any, NamedTuple, TypeVar

from hlr_jax.data.dataset import TRAIN_SPLITS, Dataset
from hlr_jax.data.serialization import read_stored
from hlr_jax.distributed import is_process_zero, log_on_process_zero, on_all_processes
from hlr_jax.ensembles import ensemble_of, joined
from hlr_jax.errors import InputError, pick
from hlr_jax.experiment import RunParts, RunResult, build, run
from hlr_jax.sharding import split_seeds
from hlr_jax.training.checkpoints import Checkpoints
from hlr_jax.training.fit import run_identity
from hlr_jax.training.loop import is_done, kept_runs
from hlr_jax.training.options import Run
from hlr_jax.types import Params
from hlr_jax.workdir import DATASET, read_config, record_environment

T = TypeVar("T")


def _stored_dataset(folder: Path, log: Callable[[str], None]) -> Dataset | None:
    if not (folder / DATASET).exists():
        return None
    dataset = read_stored(folder / DATASET, check=is_process_zero())
    log(dataset.summary())
    return dataset


class LoadedRun(NamedTuple):
    """A trained run from its workdir: its parts, and for each seed the parameters of its best epoch.

    ``runs`` has what each seed was trained with, of several temperatures the one that is kept.
    """

    parts: RunParts
    params: list[Params]
    best_epochs: list[int]
    runs: list[Run]


def load_run(
    workdir: str | Path,
    *,
    eval_options: dict[str, Any] | None = None,
    mesh: dict[str, int] | None = None,
    ensemble: int = 1,
    log: Callable[[str], None] = print,
) -> LoadedRun:
    """Return a trained run from its workdir.

    Its data is the workdir's own copy; only of a workdir without one, the source is read.

    Args:
      workdir: of a run with a checkpoint.
      eval_options: replace settings of the section ``eval``.
      mesh: the section ``mesh``, whatever the run was trained on; None: one device.
      ensemble: how many seeds are one model together (``ensembles.ensemble_of``); the result has as many sets of
        parameters as the run has seeds, divided by this, each with the seed and the epoch of its first member and the
        mean of the members' temperatures.
      log: takes lines for people.

    Raises:
      InputError: no run there, or its data is damaged or that of another run; an ensemble that does not divide the
        seeds, or on a mesh.
    """
    config = read_config(Path(workdir))
    config["eval"] = {**config.get("eval", {}), **(eval_options or {})}
    parts, (params, best_epochs, best_values) = _read_run(
        Path(workdir), config, mesh, log, lambda checkpoints, parts: checkpoints.restore_best(parts.mesh)
    )
    every, runs = split_seeds(params), _runs_of(parts)
    kept = kept_runs(parts.train, parts.eval, best_epochs, best_values)
    loaded = LoadedRun(parts, [every[i] for i in kept], [best_epochs[i] for i in kept], [runs[i] for i in kept])
    return loaded if ensemble == 1 else _together(loaded, ensemble)


def _read_run(
    folder: Path, config: dict[str, Any], mesh: dict[str, int] | None, log: Callable[[str], None],
    read: Callable[[Checkpoints, RunParts], T],
) -> tuple[RunParts, T]:  # fmt: skip
    """Return the parts of the run in a folder, and what ``read`` finds in its checkpoint."""
    log = log_on_process_zero(log)
    # One device may read what many wrote, and the other way round, and a CPU what a GPU wrote.
    model = {name: value for name, value in config.get("model", {}).items() if name != "kernel"}
    config = config | {"mesh": mesh or {}, "model": model}
    if not (folder / "checkpoints").is_dir():
        raise InputError(f"{folder} has no checkpoint; train first")
    parts = on_all_processes(lambda: build(config, log, _stored_dataset(folder, log)))
    on_all_processes(lambda: record_environment(folder, parts.dataset) if is_process_zero() else None)
    checkpoints = Checkpoints(folder / "checkpoints", run_identity(parts.dataset, parts.model, parts.train, parts.seed))
    try:
        return parts, read(checkpoints, parts)
    finally:
        checkpoints.close()


def _runs_of(parts: RunParts) -> list[Run]:
    return parts.train.runs(range(parts.seed, parts.seed + parts.train.num_seeds))


def _together(loaded: LoadedRun, count: int) -> LoadedRun:
    parts, seeds = loaded.parts, len(loaded.params)
    if count < 1 or seeds % count:
        raise InputError(f"an ensemble of {count}: it must divide the run's seeds, of which there are {seeds}")
    if parts.mesh is not None:
        raise InputError("an ensemble runs on one device: load the run without a mesh")
    groups = [slice(first, first + count) for first in range(0, seeds, count)]
    return LoadedRun(
        parts._replace(model=ensemble_of(parts.model, count)),
        [joined(loaded.params[group]) for group in groups],
        [loaded.best_epochs[group.start] for group in groups],
        [
            loaded.runs[group.start]._replace(temperature=mean(run.temperature for run in loaded.runs[group]))
            for group in groups
        ],
    )


def refit(
    workdir: str | Path,
    output: str | Path,
    *,
    train_splits: str = "train+valid",
    mesh: dict[str, int] | None = None,
    quiet: bool = False,
    log: Callable[[str], None] = print,
) -> RunResult:
    """Train the settings that a run has chosen once more, on more than its training interactions, in ``output``.

    Validation has said which of several temperatures and which epoch are best, so its interactions can be learned from
    too: the temperature that most seeds have kept, for as many epochs as they needed in the mean, from the start. With
    ``train+valid`` the result is measured on test, once; with ``train+valid+test`` it is a model to serve, and
    not measured. The same call continues it. Data is the run's own copy.

    Args:
      workdir: of a run that is done.
      output: workdir of the new run.
      train_splits: the splits that are trained on, a name of ``interactions.TRAIN_SPLITS``.
      mesh: the section ``mesh``, whatever the run was trained on; None: one device.
      quiet: show no progress.
      log: takes lines for people.

    Raises:
      InputError: no run there, one that is not done or has chosen nothing on validation, or another one in ``output``.
    """
    pick(train_splits, TRAIN_SPLITS[1:], "train_splits")
    config = read_config(Path(workdir))
    parts, progress = _read_run(
        Path(workdir), config, mesh, lambda _: None, lambda checkpoints, _: checkpoints.progress()
    )
    if not is_done(progress, parts.train):
        raise InputError(
            f"{workdir} stopped after epoch {progress.epoch} of {parts.train.num_epochs}: continue it first, by the "
            "command that trained it"
        )
    runs = _runs_of(parts)
    kept = kept_runs(parts.train, parts.eval, progress.best_epoch, progress.best_value)
    temperature = mode(runs[index].temperature for index in kept)
    needed = [progress.best_epoch[index] for index in kept if runs[index].temperature == temperature]
    chosen = {"temperatures": [], "temperature": temperature, "num_epochs": max(1, round(mean(needed))), "patience": 0}
    config |= {
        "dataset": config.get("dataset", {}) | {"train_splits": train_splits},
        "train": config.get("train", {}) | chosen,
        "mesh": mesh or {},
    }
    return run(config, output, dataset=parts.dataset.trained_on(train_splits), quiet=quiet, log=log)
