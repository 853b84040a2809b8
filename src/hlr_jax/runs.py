"""Loads finished runs from their workdirs, refits them on more splits, and updates them with new interactions."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, mode
from typing import Any

from hlr_jax.blends.runs import PARTS, blend_of_seeds, is_blend
from hlr_jax.blends.workdir import finish_blend, read_blend
from hlr_jax.data.dataset import TRAIN_SPLITS
from hlr_jax.data.growth import read_rows, with_interactions
from hlr_jax.distributed import log_on_process_zero
from hlr_jax.errors import InputError, pick
from hlr_jax.experiment import RunResult, run
from hlr_jax.folders import as_folder
from hlr_jax.loading import LoadedRun, read_run
from hlr_jax.models.base import Model
from hlr_jax.training.history import Logger
from hlr_jax.training.options import UPDATE_EPOCHS
from hlr_jax.workdir import held_by_all, read_config


def load_run(
    workdir: str | Path,
    *,
    eval_options: dict[str, Any] | None = None,
    mesh: dict[str, int] | None = None,
    blend_seeds: bool = False,
    log: Callable[[str], None] = print,
) -> LoadedRun:
    """Return a trained run, or a blend, from its workdir.

    It needs only the workdir, which has a copy of the data. If the copy is missing, the source is read.

    Args:
      workdir: of a run with a result.
      eval_options: replace settings of the section ``eval``.
      mesh: the section ``mesh``, independent of the one in training; None: one device.
      blend_seeds: whether to blend all seeds of the run with equal weights, as parts ``seed-0``, ...
      log: receives log lines.

    Raises:
      InputError: no run there, damaged data or data of another run, a blend on a mesh, or a blend of blends.

    Example:
      >>> run = hlr_jax.load_run(workdir, log=lambda line: None)
      >>> hlr_jax.evaluate(run.parts.model, run.params[0], run.parts.dataset).metrics.users
      52
    """
    config = read_config(Path(workdir))
    evaluation = config.get("eval", {}) | (eval_options or {})
    if eval_options and "k" in eval_options:  # the monitor no longer selects anything, so any K is valid
        evaluation["monitor"] = evaluation.get("monitor", "loss").partition("@")[0]
    config["eval"] = evaluation
    if is_blend(config):
        if any(count != 1 for count in (mesh or {}).values()):
            raise InputError(f"{workdir} is a blend, which is ranked on the host: leave out the mesh")
        if blend_seeds:
            raise InputError(f"{workdir} is already a blend: leave out blend_seeds")
        return read_blend(Path(workdir), config, log)
    loaded = read_run(Path(workdir), config, mesh, log)
    return blend_of_seeds(loaded) if blend_seeds else loaded


def refit(
    workdir: str | Path,
    output: str | Path,
    *,
    train_splits: str = "train+valid",
    mesh: dict[str, int] | None = None,
    quiet: bool = False,
    log: Callable[[str], None] = print,
) -> RunResult:
    """Retrain a run with its selected settings on its training and validation interactions, in ``output``.

    Validation has already selected a temperature and an epoch, so its interactions can be used for training too. The
    new run uses the temperature that most seeds kept, and the mean number of epochs that those seeds needed. It starts
    from the beginning. A scorer is fitted with its selected values.

    With ``train+valid`` the result is measured on test, once. With ``train+valid+test`` it is a model to deploy, and is
    not measured. The same call resumes it.

    The data is the run's own copy, so the source is not needed. It contains all users that the run's settings admit,
    including those without training interactions, such as late users in a split by time. These users are trained as
    soon as ``train_splits`` has interactions of theirs; with ``train+valid+test`` all users do.

    In a blend each part is retrained, and the weights do not change.

    Args:
      workdir: of a finished run.
      output: workdir of the new run.
      train_splits: the splits to train on, the second or third of ``dataset.TRAIN_SPLITS``.
      mesh: the section ``mesh``, independent of the one in training; None: one device.
      quiet: whether to hide progress.
      log: receives log lines.

    Raises:
      InputError: no run there, a run that is unfinished or has selected nothing on validation, or another run in
        ``output``.

    Example:
      >>> done = hlr_jax.refit(workdir, "runs/final", quiet=True, log=lambda line: None)
      >>> sorted(done.metrics)
      ['test']
    """
    pick(train_splits, TRAIN_SPLITS[1:], "train_splits")
    config = _config_to_start_from(workdir, output)
    if is_blend(config):
        options: dict[str, Any] = {"train_splits": train_splits, "mesh": mesh, "quiet": quiet}
        return _of_parts(workdir, output, lambda part, new: refit(part, new, **options, log=log), log)
    loaded = read_run(Path(workdir), config, mesh)
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
    """Continue training a run on its interactions and new ones, in ``output``, for example daily.

    The new run starts from the best epoch of the old one (``train.start``), and new users and items are folded in. It
    has the same settings, at the temperature that most seeds kept.

    The new rows join the training interactions. Validation and test do not change, and rows that they contain are not
    moved. So the metrics of both runs are of the same interactions, and validation selects the best epoch as before. If
    the old run was trained on all splits (``refit``), the last epoch is the result. The same call resumes the run.

    A scorer cannot start from another one: it is fitted again with its selected values. In a blend each part is
    updated, and the weights do not change.

    Args:
      workdir: of a finished run.
      data: the new rows: a file or a frame, with the columns that the run's section ``dataset`` names. The threshold of
        that section applies to them, but its k-core and split do not.
      output: workdir of the new run.
      num_epochs: passes over all interactions; see docs/guides/updating.md.
      mesh: the section ``mesh``, independent of the one in training; None: one device.
      loggers: called with each epoch's record.
      quiet: whether to hide progress.
      log: receives log lines.

    Raises:
      InputError: no run there, or an unfinished one; anything wrong with the rows, or no new row among them; another
        run in ``output``.

    Example:
      >>> today = pl.DataFrame({"user": [7, 1000], "item": [3, 3]})
      >>> done = hlr_jax.update(workdir, today, "runs/today", quiet=True, log=lambda line: None)
      >>> done.parts.dataset.num_users
      61
    """
    config = _config_to_start_from(workdir, output)
    if is_blend(config):
        options: dict[str, Any] = {"num_epochs": num_epochs, "mesh": mesh, "loggers": loggers, "quiet": quiet}
        return _of_parts(workdir, output, lambda part, new: update(part, data, new, **options, log=log), log)
    loaded = read_run(Path(workdir), config)
    before = loaded.parts.dataset
    dataset = with_interactions(before, read_rows(data, config.get("dataset", {})))
    added = len(dataset.train) - len(before.train)
    if not added:
        raise InputError(f"{workdir}: no new row: the run has all, or its threshold leaves them out; pass one or more")
    users, items = dataset.num_users - before.num_users, dataset.num_items - before.num_items
    log(f"{added:,} new interactions, {users:,} new users, {items:,} new items")
    config = _as_chosen(config, loaded) | {"mesh": mesh or {}}
    if isinstance(loaded.parts.model, Model):
        config["train"] |= {"num_epochs": num_epochs, "start": str(workdir)}
    return run(config, output, dataset=dataset, loggers=loggers, quiet=quiet, log=log)


def _config_to_start_from(workdir: str | Path, output: str | Path) -> dict[str, Any]:
    """Return the settings of a run from which a new one in ``output`` starts.

    Raises:
      InputError: no run there, or ``output`` is the same folder.
    """
    if Path(output).resolve() == Path(workdir).resolve():
        raise InputError(f"{workdir} is the run to start from; pass another folder as --output")
    return read_config(Path(workdir))


def _of_parts(
    workdir: str | Path, output: str | Path, again: Callable[[Path, Path], RunResult], log: Callable[[str], None]
) -> RunResult:
    """Retrain each part of a blend, from its workdir to a new one, and keep the weights."""
    folder, new = Path(workdir), as_folder(output)
    config = read_config(folder)
    weights = {label: part["weight"] for label, part in config["model"][PARTS].items()}
    with held_by_all(new, "blend"):
        for label in weights:
            log(f"part {label}:")
            again(folder / PARTS / label, new / PARTS / label)
        return finish_blend(new, list(weights), weights, eval=config.get("eval"), log=log).result


def _as_chosen(config: dict[str, Any], loaded: LoadedRun) -> dict[str, Any]:
    """Return the settings of a finished run, with those that it selected for its seeds or for a scorer."""
    if not isinstance(loaded.parts.model, Model):
        return config | {"model": config["model"] | dict(loaded.parts.model.options)}
    temperature = mode(state.run.temperature for state in loaded.progress)
    needed = [state.best_epoch or 0 for state in loaded.progress if state.run.temperature == temperature]
    # Best epoch 0 counts as no epochs: the start was never improved. With a random start some epoch always improves it.
    chosen = {
        "temperatures": [], "temperature": temperature, "prune_after": 0, "num_epochs": round(mean(needed)),
        "patience": 0,
    }  # fmt: skip
    return config | {"train": config.get("train", {}) | chosen}
