"""Trained runs from their workdirs: to use, as ensembles, and to train once more or further on more interactions."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, mode
from typing import Any, NamedTuple

from hlr_jax.blends.blend import Blend
from hlr_jax.data.dataset import TRAIN_SPLITS, Dataset
from hlr_jax.data.growth import read_rows, with_interactions
from hlr_jax.data.serialization import read_stored
from hlr_jax.distributed import is_process_zero, log_on_process_zero, on_all_processes
from hlr_jax.ensembles import ensemble_of, ensemble_params
from hlr_jax.errors import InputError, pick
from hlr_jax.experiment import RunParts, RunResult, build, run
from hlr_jax.fitting.scorers import load_scorer, scorer_identity
from hlr_jax.models.base import Model
from hlr_jax.scorers.registry import SCORERS
from hlr_jax.sharding import unpadded
from hlr_jax.systems import require_model
from hlr_jax.training.history import Logger
from hlr_jax.training.options import UPDATE_EPOCHS, TrainOptions
from hlr_jax.training.result import load_result, run_identity
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
    def best_epochs(self) -> list[int | None]:
        """The epoch that each set of parameters is from; 0: what training started from."""
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
    assert not isinstance(parts.model, Blend)  # build makes none
    if not isinstance(parts.model, Model):
        fitted = load_scorer(folder, scorer_identity(parts.dataset, parts.model))
        return LoadedRun(parts._replace(model=fitted.scorer), [fitted.fit.params], [fitted.progress])
    identity = run_identity(parts.dataset, parts.model, parts.train, parts.seed)
    params, progress = load_result(folder, identity, parts.mesh)
    if parts.mesh is None:
        params = [unpadded(each, parts.dataset.num_users, parts.dataset.num_items) for each in params]
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
    config = _as_chosen(config, loaded) | {"mesh": mesh or {}}
    config["dataset"] = config.get("dataset", {}) | {"train_splits": train_splits}
    dataset = loaded.parts.dataset.trained_on(train_splits)
    dataset.announce(log_on_process_zero(log))
    return run(config, output, dataset=dataset, quiet=quiet, log=log)


def update(
    workdir: str | Path,
    data: Any,
    output: str | Path,
    *,
    num_epochs: int = UPDATE_EPOCHS,
    mesh: dict[str, int] | None = None,
    loggers: Sequence[Logger] = (),
    quiet: bool = False,
    log: Callable[[str], None] = print,
) -> RunResult:
    """Train a run a little further, in ``output``, on its interactions and new ones: yesterday's run and today's rows.

    The new run starts from the best epoch of the old one (``train.start``); users and items that came with the new rows
    are folded in. It has the same settings, at the temperature that most seeds have kept. The new rows join the
    training interactions; validation and test stay as they were, and a row that stands in them stays there. So metrics
    of the two runs are of the same interactions, and the best epoch is chosen on validation as before; of a run that
    was trained on everything (``refit``), the last epoch is the result. The same call continues it.

    A scorer has nothing to start from: it is fitted anew, with the values that it has kept.

    Args:
      workdir: of a run that is done.
      data: the new rows: a file, or a frame, with the columns that the run's section ``dataset`` names; its threshold
        applies. Neither its k-core nor its split does.
      output: workdir of the new run.
      num_epochs: passes over all interactions; see docs/updating.md.
      mesh: the section ``mesh``, whatever the run was trained on; None: one device.
      loggers: are called with each epoch's record.
      quiet: show no progress.
      log: takes lines for people.

    Raises:
      InputError: no run there, or one that is not done; anything wrong with the rows, or no new one among them; another
        run in ``output``.

    Example:
      >>> update("runs/monday", "tuesday.parquet", "runs/tuesday")  # doctest: +SKIP
    """
    config = read_config(Path(workdir))
    loaded = _read_run(Path(workdir), config, None, lambda _: None)
    before = loaded.parts.dataset
    dataset = with_interactions(before, read_rows(data, config.get("dataset", {})))
    added = len(dataset.train) - len(before.train)
    if not added:
        raise InputError(f"{workdir}: the run has every one of the new rows already; there is nothing to update with")
    users, items = dataset.num_users - before.num_users, dataset.num_items - before.num_items
    log(f"{added:,} new interactions, {users:,} new users, {items:,} new items")
    config = _as_chosen(config, loaded) | {"mesh": mesh or {}}
    if isinstance(loaded.parts.model, Model):
        config["train"] |= {"num_epochs": num_epochs, "start": str(workdir)}
    return run(config, output, dataset=dataset, loggers=loggers, quiet=quiet, log=log)


def _as_chosen(config: dict[str, Any], loaded: LoadedRun) -> dict[str, Any]:
    """Return the settings of a run that is done with what it has chosen, for its seeds or for a scorer."""
    if not isinstance(loaded.parts.model, Model):
        return config | {"model": config["model"] | dict(loaded.parts.model.options)}
    temperature = mode(state.run.temperature for state in loaded.progress)
    needed = [state.best_epoch or 0 for state in loaded.progress if state.run.temperature == temperature]
    # A start that no epoch has made better is the whole training; at random there is always one that has.
    chosen = {
        "temperatures": [], "temperature": temperature, "prune_after": 0, "num_epochs": round(mean(needed)),
        "patience": 0,
    }  # fmt: skip
    return config | {"train": config.get("train", {}) | chosen}
