"""Trained runs from their workdirs: to use, and to train once more or further on more interactions."""

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

    Its data is the workdir's own copy; only of a workdir without one, the source is read.

    Args:
      workdir: of a run with a result.
      eval_options: replace settings of the section ``eval``.
      mesh: the section ``mesh``, whatever the run was trained on; None: one device.
      blend_seeds: whether all seeds of the run are one blend with equal weights, whose parts are ``seed-0``, ...
      log: takes lines for people.

    Raises:
      InputError: no run there, or its data is damaged or that of another run; a blend on a mesh, or of a blend.

    Example:
      >>> run = hlr_jax.load_run(workdir, log=lambda line: None)
      >>> hlr_jax.evaluate(run.parts.model, run.params[0], run.parts.dataset).metrics.users
      52
    """
    config = read_config(Path(workdir))
    evaluation = config.get("eval", {}) | (eval_options or {})
    if eval_options and "k" in eval_options:  # nothing is chosen any more, at whatever K it was
        evaluation["monitor"] = evaluation.get("monitor", "loss").partition("@")[0]
    config["eval"] = evaluation
    if is_blend(config):
        if any(count != 1 for count in (mesh or {}).values()):
            raise InputError(f"{workdir} is a blend, which is ranked on the host: leave the mesh out")
        if blend_seeds:
            raise InputError(f"{workdir} is a blend already: leave blend_seeds out")
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
    """Train the settings that a run has chosen once more, on more than its training interactions, in ``output``.

    Validation has said which of several temperatures and which epoch are best, so its interactions can be learned from
    too: the temperature that most seeds have kept, for as many epochs as they needed in the mean, from the start. A
    scorer is fitted with the values that it has kept.

    With ``train+valid`` the result is measured on test, once; with ``train+valid+test`` it is a model to serve, and not
    measured. The same call continues it.

    Data is the run's own copy, so the source may be gone. It holds everyone whom the settings of the run let in: also
    users who were left out because train lacks them, as a split by time does with those who come later. They are
    trained on as soon as ``train_splits`` has interactions of theirs; with ``train+valid+test`` nobody is missing.

    Of a blend, each part is trained so; the weights are kept.

    Args:
      workdir: of a run that is done.
      output: workdir of the new run.
      train_splits: the splits that are trained on, the second or third of ``dataset.TRAIN_SPLITS``.
      mesh: the section ``mesh``, whatever the run was trained on; None: one device.
      quiet: show no progress.
      log: takes lines for people.

    Raises:
      InputError: no run there, one that is not done or has chosen nothing on validation, or another one in ``output``.

    Example:
      >>> done = hlr_jax.refit(workdir, "runs/final", quiet=True, log=lambda line: None)
      >>> sorted(done.metrics)
      ['test']
    """
    pick(train_splits, TRAIN_SPLITS[1:], "train_splits")
    config = read_config(Path(workdir))
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
    """Train a run a little further, in ``output``, on its interactions and new ones: yesterday's run and today's rows.

    The new run starts from the best epoch of the old one (``train.start``); users and items that came with the new rows
    are folded in. It has the same settings, at the temperature that most seeds have kept. The new rows join the
    training interactions; validation and test stay as they were, and a row that stands in them stays there. So metrics
    of the two runs are of the same interactions, and the best epoch is chosen on validation as before; of a run that
    was trained on everything (``refit``), the last epoch is the result. The same call continues it.

    A scorer has nothing to start from: it is fitted anew, with the values that it has kept. Of a blend, each part is
    updated; the weights are kept.

    Args:
      workdir: of a run that is done.
      data: the new rows: a file, or a frame, with the columns that the run's section ``dataset`` names; its threshold
        applies. Neither its k-core nor its split does.
      output: workdir of the new run.
      num_epochs: passes over all interactions; see docs/guides/updating.md.
      mesh: the section ``mesh``, whatever the run was trained on; None: one device.
      loggers: are called with each epoch's record.
      quiet: show no progress.
      log: takes lines for people.

    Raises:
      InputError: no run there, or one that is not done; anything wrong with the rows, or no new one among them; another
        run in ``output``.

    Example:
      >>> today = pl.DataFrame({"user": [7, 1000], "item": [3, 3]})
      >>> done = hlr_jax.update(workdir, today, "runs/today", quiet=True, log=lambda line: None)
      >>> done.parts.dataset.num_users
      61
    """
    config = read_config(Path(workdir))
    if is_blend(config):
        options: dict[str, Any] = {"num_epochs": num_epochs, "mesh": mesh, "loggers": loggers, "quiet": quiet}
        return _of_parts(workdir, output, lambda part, new: update(part, data, new, **options, log=log), log)
    loaded = read_run(Path(workdir), config)
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


def _of_parts(
    workdir: str | Path, output: str | Path, again: Callable[[Path, Path], RunResult], log: Callable[[str], None]
) -> RunResult:
    """Train each part of a blend once more, from its workdir to a new one, and keep the weights."""
    folder, new = Path(workdir), as_folder(output)
    config = read_config(folder)
    weights = {label: part["weight"] for label, part in config["model"][PARTS].items()}
    with held_by_all(new, "blend"):
        for label in weights:
            log(f"part {label}:")
            again(folder / PARTS / label, new / PARTS / label)
        return finish_blend(new, list(weights), weights, eval=config.get("eval"), log=log).result


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
