"""What a run has trained, read from its workdir."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hlr_jax.blended_systems import Blend
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.serialization import read_stored, stored_fingerprint
from hlr_jax.distributed import is_process_zero, log_on_process_zero, on_all_processes
from hlr_jax.errors import InputError
from hlr_jax.experiment import RunParts, RunResult, build
from hlr_jax.fitting.scorers import load_scorer, scorer_identity
from hlr_jax.models.base import Model
from hlr_jax.scorers.registry import SCORERS
from hlr_jax.sharding import unpadded
from hlr_jax.training.options import TrainOptions
from hlr_jax.training.result import RESULT, load_result, run_identity
from hlr_jax.training.run_progress import RunProgress
from hlr_jax.types import Params
from hlr_jax.workdir import DATASET, check_data


def _stored_dataset(folder: Path, log: Callable[[str], None]) -> Dataset | None:
    if not (folder / DATASET).exists():
        return None
    dataset = read_stored(folder / DATASET, check=is_process_zero())
    dataset.announce(log)
    return dataset


class LoadedRun(NamedTuple):
    """A trained run from its workdir: its parts, and for each seed the parameters and the run of its best epoch.

    Of a scorer there is one seed; ``parts.model`` has the values that were chosen, and the parameters are its state. Of
    a blend there is one set of parameters, those of its parts by label.

    Example:
      >>> run = hlr_jax.load_run(workdir, log=lambda line: None)
      >>> run.parts.model.title, run.seeds, run.params[0].keys()
      ('EASE', [0], dict_keys(['weights']))
    """

    parts: RunParts
    params: list[Params]
    progress: list[RunProgress]

    @classmethod
    def of(cls, done: RunResult) -> "LoadedRun":
        """Return a run that has just been trained."""
        progress = [RunProgress(fit.run, fit.best_epoch, fit.best_value) for fit in done.fits]
        return cls(done.parts, [fit.params for fit in done.fits], progress)

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


def read_run(
    folder: Path, config: dict[str, Any], mesh: dict[str, int] | None = None,
    log: Callable[[str], None] = lambda line: None, dataset: Dataset | None = None,
) -> LoadedRun:  # fmt: skip
    """Return the run of a single system in a folder, whose training has ended.

    Args:
      folder: the workdir.
      config: its settings.
      mesh: the section ``mesh``; None: one device.
      log: takes lines for people.
      dataset: is not read again, if the run has this data.

    Raises:
      InputError: no result there, or its data is damaged or that of another run.
    """
    log, config = log_on_process_zero(log), portable(config, mesh)
    kept = (folder / "checkpoints").is_dir() or (folder / RESULT).is_dir()
    if config["model"].get("name") not in SCORERS and not kept:
        raise InputError(f"{folder} has no checkpoint; train first")
    known = dataset if dataset is not None and dataset.fingerprint == stored_fingerprint(folder / DATASET) else None
    parts = on_all_processes(lambda: build(config, log, known or _stored_dataset(folder, log)))
    on_all_processes(lambda: check_data(folder, parts.dataset, log) if is_process_zero() else None)
    assert not isinstance(parts.model, Blend)  # build makes none
    if not isinstance(parts.model, Model):
        (scorer, fit), chosen = load_scorer(folder, scorer_identity(parts.dataset, parts.model))
        return LoadedRun(parts._replace(model=scorer), [fit.params], [chosen])
    identity = run_identity(parts.dataset, parts.model, parts.train, parts.seed)
    params, progress = load_result(folder, identity, parts.mesh)
    if parts.mesh is None:
        params = [unpadded(each, parts.dataset.num_users, parts.dataset.num_items) for each in params]
    return LoadedRun(parts, params, progress)


def portable(config: dict[str, Any], mesh: dict[str, int] | None = None) -> dict[str, Any]:
    """Return settings for the devices that are here: one may read what many wrote, and a CPU what a GPU wrote."""
    model = {name: value for name, value in config.get("model", {}).items() if name != "kernel"}
    return config | {"mesh": mesh or {}, "model": model}
