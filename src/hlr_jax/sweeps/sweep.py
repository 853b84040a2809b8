"""Trains the points of a sweep in a folder, from which a stopped sweep resumes; and ranks the points."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from hlr_jax import folders
from hlr_jax.errors import InputError, check_range, check_seed
from hlr_jax.experiment import build, settings_of
from hlr_jax.files import sha256_of
from hlr_jax.fitting.fit import check_monitor, fit_runs
from hlr_jax.json_files import read_json, write_json
from hlr_jax.models.base import Model
from hlr_jax.settings import plain
from hlr_jax.sweeps.points import Overrides, with_overrides
from hlr_jax.systems import System
from hlr_jax.workdir import begin, flatten, record_environment

OF_THE_RUN = {"seed": 0, "train.learning_rate": 0.0, "train.margin": 0.0, "train.temperature": 0.0}
"""Settings that may differ between trainings in one program."""

Trials = dict[str, dict[str, Any]]
"""Complete settings of one seed each, by a key that does not depend on the mesh or on other trials."""

_TRIAL = {
    "seed": int, "value": float | None, "best_epoch": int | None, "stopped": str, "failed": bool,
    "config": {"*": object}, "history": [{"epoch": int}],
}  # fmt: skip


class Outcome(NamedTuple):
    """A finished point.

    Attributes:
      overrides: the point.
      trials: for each seed ``seed``, ``value`` (None if there is none), ``best_epoch``, ``stopped``, ``failed`` and
        ``history``, a record per epoch.
    """

    overrides: Overrides
    trials: list[dict[str, Any]]

    @property
    def reason(self) -> str:
        """Why the point failed; empty if it did not."""
        return next((f"seed {trial['seed']}: {trial['stopped']}" for trial in self.trials if trial["failed"]), "")

    @property
    def values(self) -> list[float]:
        """The validation metric of the best epoch, for the seeds that have one."""
        return [trial["value"] for trial in self.trials if trial["value"] is not None]

    @property
    def mean(self) -> float | None:
        """The mean of the values."""
        return statistics.fmean(self.values) if self.values else None


class Sweep:
    """The points of one config and data set in one folder: ``trials/KEY.json`` for each finished training.

    The folder is locked against other processes while this object exists.

    Attributes:
      metric: the name of the validation metric that points are compared by.
      higher_is_better: whether a larger metric is better.
    """

    def __init__(
        self,
        config: dict[str, Any],
        folder: str | Path,
        *,
        parallel: int = 8,
        quiet: bool = False,
        log: Callable[[str], None] = print,
    ):
        """Open or start the sweep.

        Args:
          config: sections of settings, as ``experiment.build`` takes them; ``eval.monitor`` names the metric.
          folder: for its files.
          parallel: the largest number of trainings in one program; each needs the memory of a model and its state. A
            stopped program resumes only with the same number.
          quiet: whether to hide the progress of epochs.
          log: receives log lines.

        Raises:
          InputError: see ``experiment.build``; a folder with a sweep of other settings or data; nothing to compare by;
            ``parallel`` below 1; another process uses the folder.
        """
        check_range("sweep", parallel=(parallel, 1, 10**6))
        config = plain(config)
        self._config, self._parallel, self._quiet, self._log = config, parallel, quiet, log
        self._folder = folders.as_folder(folder)
        folders.check(self._folder, "sweep")  # before the source is read
        self._parts = parts = build(config, log)
        if not len(parts.dataset.valid):
            raise InputError(f"data set {parts.dataset.name} has no validation interactions to compare points by")
        model = _trained(parts.model)
        if model.solver is not None and parts.eval.monitor == "loss":
            raise InputError(f"model {model.name} has no validation loss; set eval.monitor=ndcg")
        check_monitor(parts.eval, parts.train, parts.dataset)
        self.metric, self.higher_is_better = parts.eval.monitor_name, parts.eval.higher_is_better
        self._lock = folders.claim(self._folder, "sweep")  # while the sweep is in use
        # The number of seeds per point may change: each seed is a training of its own.
        begin(self._folder, with_overrides(config, {"seed": 0, "train.num_seeds": 1}))
        record_environment(self._folder, parts.dataset, self._log)

    def train(self, points: Sequence[Overrides], after_pack: Callable[[], object] = lambda: None) -> None:
        """Train the unfinished points, and call ``after_pack`` after every program.

        Raises:
          InputError: settings out of range; this is checked before anything is trained.
        """
        trials = {key: trial for point in points for key, trial in trials_of(self._config, point).items()}
        missing = {key: trial for key, trial in trials.items() if not self._path(key).exists()}
        packs = packs_of(missing, self._parallel)
        work = f"{len(trials) - len(missing)} done before, {len(missing)} to do in {len(packs)} programs"
        self._log(f"{len(points)} points, {len(trials)} trainings: {work}")
        for number, pack in enumerate(packs, 1):
            settings = flatten(next(iter(pack.values())))
            shared = "".join(f", {key}={settings[key]}" for key in points[0] if key not in OF_THE_RUN)
            self._log(f"[{number}/{len(packs)}] {len(pack)} trainings at once{shared}")
            self._train(pack)
            after_pack()

    def outcomes(self, points: Sequence[Overrides]) -> list[Outcome]:
        """Return the finished points.

        Raises:
          InputError: one of their files is damaged.
        """
        outcomes = []
        for point in points:
            paths = [self._path(key) for key in trials_of(self._config, point)]
            if all(path.exists() for path in paths):
                outcomes.append(Outcome(point, [_read(path) for path in paths]))
        return outcomes

    def _path(self, key: str) -> Path:
        # The name depends on the data, so that trainings on other data are not read.
        return self._folder / "trials" / f"{sha256_of([key, self._parts.dataset.fingerprint])[:16]}.json"

    def _train(self, pack: Trials) -> None:
        model, train, evaluation = settings_of(next(iter(pack.values())))
        # Training a solved model again is as fast as writing checkpoints.
        is_solved = _trained(model).solver is not None
        folder = None if is_solved else self._folder / "packs" / sha256_of(list(pack))[:16]
        runs = [run for trial in pack.values() for run in settings_of(trial)[1].runs([trial["seed"]])]
        results = fit_runs(
            self._parts.dataset, _trained(model), train, evaluation, runs=runs, workdir=folder, mesh=self._parts.mesh,
            quiet=self._quiet,
        )  # fmt: skip
        for (key, trial), result in zip(pack.items(), results, strict=True):
            record = {
                "seed": result.seed, "value": result.best_value, "best_epoch": result.best_epoch,
                "stopped": result.stopped, "failed": result.failed, "config": trial, "history": result.history,
            }  # fmt: skip
            write_json(self._path(key), record)
        if folder is not None:
            folders.remove(folder)


def _trained(system: System) -> Model:
    if not isinstance(system, Model):
        raise InputError(f"{system.title} selects among the values of its settings itself: use hlr-jax train")
    return system


def trials_of(config: dict[str, Any], point: Overrides) -> Trials:
    """Return the trainings of a point, one for each seed.

    Raises:
      InputError: an unknown key, or a value out of range.
    """
    config = with_overrides(config, point)
    first, (_, train, _) = config.get("seed", 0), settings_of(config)
    if train.temperatures:
        raise InputError(
            "train.temperatures is set, but a sweep selects the temperature: pass --config.train.temperatures=() and "
            "--grid=train.temperature=..."
        )
    last = first + train.num_seeds - 1
    check_seed("seed", last)
    trials = [with_overrides(config, {"seed": seed, "train.num_seeds": 1}) for seed in range(first, last + 1)]
    return {sha256_of({name: trial[name] for name in trial if name != "mesh"})[:16]: trial for trial in trials}


def packs_of(trials: Trials, parallel: int) -> list[Trials]:
    """Group trials that may share a program, at most ``parallel`` in each; their order is kept."""
    groups: dict[str, Trials] = {}
    for key, trial in trials.items():
        groups.setdefault(sha256_of(with_overrides(trial, OF_THE_RUN)), {})[key] = trial
    return [
        dict(list(group.items())[start : start + parallel])
        for group in groups.values()
        for start in range(0, len(group), parallel)
    ]


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, _TRIAL, "delete it, then rerun to train it again")


def leaderboard(outcomes: Sequence[Outcome], metric: str, *, higher_is_better: bool) -> pl.DataFrame:
    """Return a row per point, best first and failed ones last.

    - ``rank``: null for a failed point.
    - Each key that is varied.
    - The ``metric``: the mean over seeds, each at its best epoch; ``std``: its sample standard deviation over seeds.
    - ``best_epoch`` and ``epochs``: lists over seeds.
    - ``status`` (``done`` or ``failed``) and ``reason``.
    """
    sign = -1 if higher_is_better else 1
    ordered = sorted(outcomes, key=lambda point: (bool(point.reason), point.mean is None, sign * (point.mean or 0.0)))
    rows = [
        {
            "rank": None if point.reason else rank,
            **point.overrides,
            metric: point.mean,
            "std": statistics.stdev(point.values) if len(point.values) > 1 else None,
            "best_epoch": [trial["best_epoch"] for trial in point.trials],
            "epochs": [len(trial["history"]) for trial in point.trials],
            "status": "failed" if point.reason else "done",
            "reason": point.reason,
        }
        for rank, point in enumerate(ordered, 1)
    ]
    return pl.DataFrame(rows, infer_schema_length=None, strict=False)


def histories(outcomes: Sequence[Outcome]) -> pl.DataFrame:
    """Return a row per point, seed and epoch: the varied keys, then the records of training."""
    trials = [(point.overrides, trial) for point in outcomes for trial in point.trials]
    rows = [overrides | record for overrides, trial in trials for record in trial["history"]]
    return pl.DataFrame(rows, infer_schema_length=None, strict=False)
