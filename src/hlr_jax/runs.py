"""Trained runs from their workdirs: to use, as ensembles, and to train once more on more interactions."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, mode
from typing import Any, NamedTuple

from hlr_jax.data.dataset import TRAIN_SPLITS, Dataset
from hlr_jax.data.serialization import read_stored
from hlr_jax.distributed import is_process_zero, log_on_process_zero, on_all_processes
from hlr_jax.ensembles import ensemble_of, ensemble_params
from hlr_jax.errors import InputError, pick
from hlr_jax.experiment import RunParts, RunResult, build, run
from hlr_jax.models.base import Model
from hlr_jax.scorers.fit import load_scorer, scorer_identity
from hlr_jax.scorers.registry import SCORERS
from hlr_jax.systems import require_model
from hlr_jax.training.fit import load_result, run_identity
from hlr_jax.training.options import TrainOptions
from hlr_jax.training.run_progress import RunProgress
from hlr_jax.types import Params
from hlr_jax.workdir import DATASET, read_config, record_environment


def _stored_dataset(folder: Path, log: Callable[[str], None]) -> Dataset | None:
    if not (folder / DATASET).exists():
        return None
    dataset = read_stored(folder / DATASET, check=is_process_zero())
    dataset.announce(log)
    return dataset


class LoadedRun(NamedTuple):
    """A trained run from its workdir: its parts, and for each seed the parameters and the run of its best epoch.

    Of a scorer there is one seed; ``parts.model`` has the values that were chosen, and the parameters are its state.
    """

    parts: RunParts
    params: list[Params]
    progress: list[RunProgress]

    @property
    def seeds(self) -> list[int]:
        """The seed of each set of parameters."""
        return [progress.run.seed for progress in self.progress]

    @property
    def best_epochs(self) -> list[int]:
        """The epoch that each set of parameters is from."""
        return [progress.best_epoch for progress in self.progress]

    def training_of(self, index: int) -> TrainOptions:
        """Return the settings that one set of parameters was trained with, its temperature among them."""
        return self.parts.train.at(self.progress[index].run.temperature)


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
    evaluation = config.get("eval", {}) | (eval_options or {})
    if eval_options and "k" in eval_options:  # nothing is chosen any more, at whatever K it was
        evaluation["monitor"] = evaluation.get("monitor", "loss").partition("@")[0]
    config["eval"] = evaluation
    loaded = _read_run(Path(workdir), config, mesh, log)
    return loaded if ensemble == 1 else _as_ensembles(loaded, ensemble)


def _read_run(
    folder: Path, config: dict[str, Any], mesh: dict[str, int] | None, log: Callable[[str], None]
) -> LoadedRun:
    """Return the run in a folder, whose training has ended."""
    log, config = log_on_process_zero(log), portable(config, mesh)
    if config["model"].get("name") not in SCORERS and not (folder / "checkpoints").is_dir():
        raise InputError(f"{folder} has no checkpoint; train first")
    parts = on_all_processes(lambda: build(config, log, _stored_dataset(folder, log)))
    on_all_processes(lambda: record_environment(folder, parts.dataset) if is_process_zero() else None)
    if not isinstance(parts.model, Model):
        fitted = load_scorer(folder, scorer_identity(parts.dataset, parts.model))
        return LoadedRun(parts._replace(model=fitted.scorer), [fitted.fit.params], [fitted.progress])
    identity = run_identity(parts.dataset, parts.model, parts.train, parts.seed)
    params, progress = load_result(folder, identity, parts.mesh)
    if parts.mesh is None:  # what was trained on a mesh may end in rows of padding
        sizes = {"user": parts.dataset.num_users, "item": parts.dataset.num_items}
        params = [each | {name: each[name][:size] for name, size in sizes.items()} for each in params]
    return LoadedRun(parts, params, progress)


def portable(config: dict[str, Any], mesh: dict[str, int] | None = None) -> dict[str, Any]:
    """Return settings for the devices that are here: one may read what many wrote, and a CPU what a GPU wrote."""
    model = {name: value for name, value in config.get("model", {}).items() if name != "kernel"}
    return config | {"mesh": mesh or {}, "model": model}


def _as_ensembles(loaded: LoadedRun, count: int) -> LoadedRun:
    parts, seeds = loaded.parts, len(loaded.params)
    if count < 1 or seeds % count:
        raise InputError(f"an ensemble of {count}: it must divide the run's seeds, of which there are {seeds}")
    if parts.mesh is not None:
        raise InputError("an ensemble runs on one device: load the run without a mesh")
    model = require_model(parts.model, "an ensemble")
    params, progress = [], []
    for first in range(0, seeds, count):
        members = slice(first, first + count)
        params.append(ensemble_params(model, loaded.params[members]))
        temperature = mean(state.run.temperature for state in loaded.progress[members])
        leader = loaded.progress[first]
        progress.append(replace(leader, run=leader.run._replace(temperature=temperature)))
    return LoadedRun(parts._replace(model=ensemble_of(model, count)), params, progress)


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
    too: the temperature that most seeds have kept, for as many epochs as they needed in the mean, from the start. A
    scorer is fitted with the values that it has kept.

    With ``train+valid`` the result is measured on test, once; with ``train+valid+test`` it is a model to serve, and not
    measured. The same call continues it.

    Data is the run's own copy, so the source may be gone. It holds everyone whom the settings of the run let in: also
    users who were left out because train lacks them, as a split by time does with those who come later. They are
    trained on as soon as ``train_splits`` has interactions of theirs; with ``train+valid+test`` nobody is missing.

    Args:
      workdir: of a run that is done.
      output: workdir of the new run.
      train_splits: the splits that are trained on, the second or third of ``dataset.TRAIN_SPLITS``.
      mesh: the section ``mesh``, whatever the run was trained on; None: one device.
      quiet: show no progress.
      log: takes lines for people.

    Raises:
      InputError: no run there, one that is not done or has chosen nothing on validation, or another one in ``output``.
    """
    pick(train_splits, TRAIN_SPLITS[1:], "train_splits")
    config = read_config(Path(workdir))
    loaded = _read_run(Path(workdir), config, mesh, lambda _: None)
    config |= {"dataset": config.get("dataset", {}) | {"train_splits": train_splits}, "mesh": mesh or {}}
    if isinstance(loaded.parts.model, Model):
        config["train"] = config.get("train", {}) | _chosen(loaded.progress)
    else:
        config["model"] = config["model"] | dict(loaded.parts.model.options)
    dataset = loaded.parts.dataset.trained_on(train_splits)
    dataset.announce(log_on_process_zero(log))
    return run(config, output, dataset=dataset, quiet=quiet, log=log)


def _chosen(progress: Sequence[RunProgress]) -> dict[str, Any]:
    """Return the settings of training that stand for what the seeds of a run have chosen."""
    temperature = mode(state.run.temperature for state in progress)
    needed = [state.best_epoch for state in progress if state.run.temperature == temperature]
    return {
        "temperatures": [], "temperature": temperature, "prune_after": 0, "num_epochs": max(1, round(mean(needed))),
        "patience": 0,
    }  # fmt: skip
