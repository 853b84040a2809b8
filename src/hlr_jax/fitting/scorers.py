"""Fitting a scorer: each value of its settings is an epoch, and the best on validation is kept, in ``result/``."""

import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load_file

from hlr_jax import folders
from hlr_jax.array_files import write_arrays
from hlr_jax.data.dataset import Dataset
from hlr_jax.distributed import is_process_zero
from hlr_jax.errors import InputError
from hlr_jax.evaluation.evaluate import values_on_valid
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.files import atomic_file, check_hash, sha256, sha256_of
from hlr_jax.fitting.fit import FitResult
from hlr_jax.json_files import read_json, write_json
from hlr_jax.scorers.base import Fit, Scorer, State
from hlr_jax.scorers.registry import create_scorer
from hlr_jax.training.history import History, Logger, Record
from hlr_jax.training.options import TrainOptions
from hlr_jax.training.result import RESULT
from hlr_jax.training.run_progress import PROGRESS, RunProgress
from hlr_jax.workdir import held_by_all

RECORD = f"{RESULT}/scorer.json"
_STATE = f"{RESULT}/state.safetensors"
_SCHEMA = {"identity": str, "name": str, "options": {"*": object}, "progress": PROGRESS, "state": str}


class FittedScorer(NamedTuple):
    """A scorer that is fitted: it has the values that were chosen, and its ``fit`` the state as ``params``."""

    scorer: Scorer
    fit: FitResult


def fit_scorer(
    dataset: Dataset,
    scorer: Scorer,
    evaluation: EvalOptions | None = None,
    *,
    seed: int = 0,
    workdir: str | Path | None = None,
    loggers: Sequence[Logger] = (),
) -> FittedScorer:
    """Fit a scorer to the training interactions, and choose among the values of its settings on validation.

    Args:
      dataset: prepared interactions.
      scorer: with one value of each setting, or several to choose from.
      evaluation: ``monitor`` chooses; where it is ``loss``, which a scorer has not, NDCG does.
      seed: of the groups of users in its metrics; nothing is drawn to fit it.
      workdir: where ``metrics.jsonl`` and the result go; a result found there is returned. None: nothing is written.
      loggers: are called with a record for each value.

    Raises:
      InputError: no training interactions, or several values and no validation interactions; see ``Scorer.fits``.

    Example:
      >>> from hlr_jax.scorers.ease import Ease
      >>> hlr_jax.fit_scorer(data, Ease((30.0, 3e6))).scorer.regularization  # the value that validates best
      (30.0,)
    """
    folder = None if workdir is None else folders.as_folder(workdir)
    identity = scorer_identity(dataset, scorer)
    history = History(folder and folder / "metrics.jsonl", loggers)
    if folder is not None and (folder / RECORD).exists():
        (scorer, fit), progress = load_scorer(folder, identity)
        history.resume([progress])
        return FittedScorer(scorer, fit._replace(history=history.records))
    if not len(dataset.train):
        raise InputError(f"data set {dataset.name} has no training interactions")
    evaluation = (evaluation or EvalOptions()).of_lists
    several = [(name, value) for name, value in scorer.options if isinstance(value, tuple) and len(value) > 1]
    if several and not len(dataset.valid):
        name, values = several[0]
        raise InputError(
            f"data set {dataset.name} has no validation interactions to choose {' and '.join(dict(several))} of "
            f"{scorer.title} by: pass one value of each, such as model.{name}=({values[0]},), or a split with some"
        )
    with held_by_all(folder):
        written = folder if is_process_zero() else None
        if written is not None:
            (written / "metrics.jsonl").unlink(missing_ok=True)
        kept, progress = _best_fit(dataset, scorer, evaluation, seed, history)
        result = FitResult(kept.state, progress.run, progress.best_epoch, progress.best_value, history.records)
        fitted = FittedScorer(kept.scorer, result)
        if written is not None:
            _save(written, fitted, progress, identity)
    return fitted


def _best_fit(
    dataset: Dataset, scorer: Scorer, evaluation: EvalOptions, seed: int, history: History
) -> tuple[Fit, RunProgress]:
    """Fit each value in turn, with a line of the history for each, and return the best."""
    progress = RunProgress(TrainOptions().runs([seed])[0])
    kept: Fit | None = None
    start, epochs = time.perf_counter(), count(1)
    for candidate in scorer.fits(dataset):  # with enumerate, one more state would stay alive
        epoch = next(epochs)
        value = _value(candidate, dataset, evaluation)
        progress = progress.after(epoch, (), value, evaluation)
        kept = candidate if progress.best_epoch == epoch else kept
        measured = {} if value is None else {evaluation.monitor_name: value}
        history.add([_record(candidate, epoch, measured, progress, time.perf_counter() - start)])
        start = time.perf_counter()
        del candidate  # the next one is made in as much memory
    if kept is None:
        raise InputError(f"{scorer.title} was never fitted: its metrics on validation are not finite")
    return kept, progress


def _value(fit: Fit, dataset: Dataset, evaluation: EvalOptions) -> float | None:
    """Return what a fit is worth on validation, where there is one."""
    if not len(dataset.valid):
        return None
    return float(values_on_valid(fit.scorer, fit.state, dataset, evaluation).mean())


def _record(fit: Fit, epoch: int, measured: dict[str, float], progress: RunProgress, seconds: float) -> Record:
    """Return the line of one value: those names that a model's lines have, and the settings."""
    chosen = {name: values[0] if isinstance(values, tuple) else values for name, values in fit.scorer.options}
    seed = progress.run.seed
    named = {"epoch": epoch, "run": f"seed-{seed}", "seed": seed}
    return named | chosen | measured | {"best_epoch": progress.best_epoch, "seconds": seconds}


def scorer_identity(dataset: Dataset, scorer: Scorer) -> str:
    """Return a hash of all that the state of a scorer depends on."""
    return sha256_of([dataset.fingerprint, scorer.name, scorer.options])


def _save(folder: Path, fitted: FittedScorer, progress: RunProgress, identity: str) -> None:
    """Write the state, then the record that says it is whole."""
    with atomic_file(folder / _STATE) as temporary:
        write_arrays(temporary, {name: np.asarray(array) for name, array in fitted.fit.params.items()})
    record = {
        "identity": identity, "name": fitted.scorer.name, "options": dict(fitted.scorer.options),
        "progress": progress.to_json(), "state": sha256(folder / _STATE),
    }  # fmt: skip
    write_json(folder / RECORD, record)


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a scorer in a workdir: among other things ``options``, the values that were chosen.

    Raises:
      InputError: there is none, or it is damaged.
    """
    path = folder / RECORD
    absent = f"{path}: no such file: the scorer is not fitted; train first"
    return read_json(path, _SCHEMA, f"delete {path.parent} and train again", absent)


def load_scorer(folder: Path, identity: str) -> tuple[FittedScorer, RunProgress]:
    """Return the fitted scorer of a workdir, without its history, and how it was chosen.

    Raises:
      InputError: there is none, a file is damaged, or it is another scorer's or of other data.
    """
    record, path = read_record(folder), folder / _STATE
    if record["identity"] != identity:
        raise InputError(f"{folder / RECORD} is of another scorer or other data; pass another workdir")
    scorer = create_scorer(record["name"], **record["options"])
    progress = RunProgress.from_json(record["progress"])
    check_hash(path, record["state"], f"delete {path.parent} and train again")
    state: State = dict(load_file(path))
    fit = FitResult(state, progress.run, progress.best_epoch, progress.best_value, [])
    return FittedScorer(scorer, fit), progress
