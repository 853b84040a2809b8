"""Training the points of a sweep, in a folder from which it goes on where it was."""

import json
import shutil
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hlr_jax.errors import InputError, check_range
from hlr_jax.experiment import build
from hlr_jax.files import write_json
from hlr_jax.sweeps.grid import Overrides, with_overrides
from hlr_jax.sweeps.packs import OF_THE_RUN, Pack, Trial, packs_of, trials_of
from hlr_jax.training.fit import fit_runs, monitor_of
from hlr_jax.workdir import claim, flatten, record_environment


class Outcome(NamedTuple):
    """A point that is done.

    Attributes:
      overrides: the point.
      trials: of each seed: ``seed``, ``value`` (None if there is none), ``best_epoch``, ``stopped``, ``failed`` and
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
        """The validation metric of each seed's best epoch; of those that have one."""
        return [trial["value"] for trial in self.trials if trial["value"] is not None]

    @property
    def mean(self) -> float | None:
        """The mean of the values."""
        return statistics.fmean(self.values) if self.values else None


class Sweep:
    """The points of one config and data set in one folder: ``trials/KEY.json`` for each training that is done.

    Attributes:
      metric: the name of the validation metric that points are compared by.
      higher_is_better: whether that is what it should be.
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
          parallel: how many trainings share one program, at most; each takes the memory of a model and its state. A
            program that was stopped goes on only under the same number.
          quiet: show no progress of epochs.
          log: takes lines for people.

        Raises:
          InputError: see ``experiment.build``; a folder with a sweep of other settings or data; nothing to compare by;
            ``parallel`` below 1.
        """
        self._config, self._folder, self._quiet, self._log = config, Path(folder), quiet, log
        check_range("sweep", parallel=(parallel, 1, 10**6))
        self._parallel = parallel
        parts = build(config, log)
        self._dataset, self._mesh, evaluation = parts.dataset, parts.mesh, parts.eval
        if not len(self._dataset.valid):
            raise InputError(f"data set {self._dataset.name} has no validation interactions to compare points by")
        if parts.model.solver is not None and evaluation.monitor == "loss":
            raise InputError(f"model {parts.model.name} has no validation loss; set eval.monitor=ndcg")
        monitor = monitor_of(evaluation, parts.train)
        self.metric, self.higher_is_better = monitor.name, monitor.higher_is_better
        # How many seeds a point has may change: each is a training of its own.
        claim(self._folder, with_overrides(config, {"seed": 0, "train.num_seeds": 1}), "trials/*.json")
        record_environment(self._folder, self._dataset)

    def train(self, points: Sequence[Overrides], after_pack: Callable[[], object] = lambda: None) -> None:
        """Train the points that are not done, and call ``after_pack`` after every program.

        Raises:
          InputError: settings out of range, before anything is trained.
        """
        trials = {trial.key: trial for point in points for trial in self._trials(point)}
        missing = [trial for trial in trials.values() if not self._path(trial).exists()]
        packs = packs_of(missing, self._parallel)
        done = len(trials) - len(missing)
        work = f"{done} done before, {len(missing)} to do in {len(packs)} programs"
        self._log(f"{len(points)} points, {len(trials)} trainings: {work}")
        for number, pack in enumerate(packs, 1):
            settings = flatten(pack.trials[0].config)
            shared = "".join(f", {key}={settings[key]}" for key in points[0] if key not in OF_THE_RUN)
            self._log(f"[{number}/{len(packs)}] {len(pack.trials)} trainings at once{shared}")
            self._train(pack)
            after_pack()

    def outcomes(self, points: Sequence[Overrides]) -> list[Outcome]:
        """Return those of the points that are done.

        Raises:
          InputError: a file of theirs is not what was written.
        """
        outcomes = []
        for point in points:
            paths = [self._path(trial) for trial in self._trials(point)]
            if all(path.exists() for path in paths):
                outcomes.append(Outcome(point, [_read(path) for path in paths]))
        return outcomes

    def _trials(self, point: Overrides) -> list[Trial]:
        return trials_of(with_overrides(self._config, point))

    def _path(self, trial: Trial) -> Path:
        return self._folder / "trials" / f"{trial.key}.json"

    def _train(self, pack: Pack) -> None:
        folder = self._folder / "packs" / pack.key
        settings, runs = pack.trials[0].settings, [trial.run for trial in pack.trials]
        results = fit_runs(
            self._dataset, settings.model, settings.train, settings.eval, runs=runs, workdir=folder, mesh=self._mesh,
            quiet=self._quiet,
        )  # fmt: skip
        for trial, result in zip(pack.trials, results, strict=True):
            best = [record for record in result.history if record["epoch"] == result.best_epoch]
            record = {
                "seed": result.seed, "value": best[0][self.metric] if best else None, "best_epoch": result.best_epoch,
                "stopped": result.stopped, "failed": result.failed, "config": trial.config, "history": result.history,
            }  # fmt: skip
            write_json(self._path(trial), record)
        shutil.rmtree(folder)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError:
        raise InputError(f"{path}: not JSON; delete it, and it is trained again") from None
