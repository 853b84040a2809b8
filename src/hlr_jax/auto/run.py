"""Runs ``auto``: searches closed forms, trains models that start from them, and blends all.

    WORKDIR/auto.json       settings, and each finished step with its result and seconds
    WORKDIR/dataset/        the data, as in any workdir
    WORKDIR/parts/LABEL/    each part: a run of its own
    the rest                as in any blend (``blends.workdir``)

Without a time budget the steps depend only on the settings and on validation. Rerunning skips the finished steps.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hlr_jax.auto.closed_forms import search_ease, search_item_knn, search_mf_als
from hlr_jax.auto.record import Record
from hlr_jax.auto.refined import solved_part, trained_parts
from hlr_jax.auto.search import Point
from hlr_jax.auto_options import MATRICES, NAME, AutoOptions
from hlr_jax.blends.runs import PARTS, blend_of, described_weights, settings_of_blend, weighted
from hlr_jax.blends.weights import BlendWeights
from hlr_jax.blends.workdir import write_blend
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.prepare import load_dataset
from hlr_jax.data.serialization import read_stored, store_dataset
from hlr_jax.errors import InputError, check_options, check_seed
from hlr_jax.evaluation.evaluate import relevant_of
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.evaluation.results import Metrics
from hlr_jax.experiment import RunResult, evaluate_run, run
from hlr_jax.fitting.als_start import VanishedFactors
from hlr_jax.folders import as_folder, remove
from hlr_jax.loading import LoadedRun
from hlr_jax.settings import plain
from hlr_jax.systems import System
from hlr_jax.training.history import Logger
from hlr_jax.workdir import DATASET, held_by_all, record_environment

Log = Callable[[str], None]
Found = tuple[Point, System | None]
"""The sections ``model`` and ``train`` of a part, and the system if the search has already made it."""


class AutoPart(NamedTuple):
    """One part that was tried.

    Attributes:
      title: of its system, to display.
      weight: in the blend; 0: left out.
      metrics: by split.
      seconds: total time, including the search of its settings.
    """

    title: str
    weight: float
    metrics: Mapping[str, Metrics]
    seconds: float


class AutoResult(NamedTuple):
    """The result of ``run_auto``.

    Attributes:
      blend: the parts with a weight, as a finished run.
      settings: its config.
      metrics: its own, by split.
      parts: all parts that were tried, by label.
      chosen: how validation selected the weights.
      seconds: total time.
    """

    blend: LoadedRun
    settings: dict[str, Any]
    metrics: Mapping[str, Metrics]
    parts: dict[str, AutoPart]
    chosen: BlendWeights
    seconds: float

    @property
    def verdict(self) -> str:
        """The recommended system and its uncertainty, in a sentence."""
        chosen, title = self.chosen, self.blend.parts.model.title
        if sum(weight > 0 for weight in chosen.weights.values()) == 1:
            return f"{title} alone is recommended: no blend is better on validation"
        noise = "more than" if chosen.leads else "within"
        lead = f"{chosen.lead:.4f} (standard error {chosen.lead_error:.4f}, {noise} noise)"
        return f"the blend {title} is recommended: on validation it leads {chosen.best_part} by {lead}"


def run_auto(
    config: Mapping[str, Any],
    workdir: str | Path | None = None,
    *,
    dataset: Dataset | None = None,
    loggers: Sequence[Logger] = (),
    quiet: bool = False,
    log: Log = print,
) -> AutoResult:
    """Find good systems for a data set, train them, and blend them.

    First come the closed forms, whose settings are searched on validation; then models that start from the factors of
    MF-ALS; then the blend. Test is measured once for each part, and once for the blend at the end. It influences no
    choice.

    Args:
      config: the sections ``dataset``, ``model`` (``AutoOptions``) and ``eval``, and a ``seed``, as in ``auto:DATA``.
      workdir: folder of the result, a blend that every command reads; the same call resumes it. None: nothing is
        written.
      dataset: prepared interactions; None: loaded from the section ``dataset``.
      loggers: called with each epoch's record of each part.
      quiet: whether to hide progress.
      log: receives log lines.

    Raises:
      InputError: an unknown setting, a value out of range, a data set without validation interactions, or a workdir
        with something else.
    """
    start = time.perf_counter()
    config = plain(config)
    options, evaluation = auto_options(config)
    folder = None if workdir is None else as_folder(workdir)
    with held_by_all(folder, NAME):
        record = Record.of(folder, config)
        data = _data(dataset, config, folder, log)
        relevant_of(data, "valid")  # raises without validation interactions
        return _Auto(config, options, evaluation, data, folder, record, start, loggers, quiet, log).run()


def auto_options(config: Mapping[str, Any]) -> tuple[AutoOptions, EvalOptions]:
    """Return the checked settings of a config.

    Raises:
      InputError: an unknown setting, or a value out of range.
    """
    for section in ("train", "mesh"):
        if config.get(section):
            raise InputError(f"{NAME} sets its own {section} settings for each part: leave out the section {section}")
    given = {name: value for name, value in config["model"].items() if name != "name"}
    check_options(AutoOptions, given, "model")
    check_options(EvalOptions, config.get("eval", {}), "eval")
    check_seed("seed", config.get("seed", 0))
    return AutoOptions(**given), EvalOptions(**config.get("eval", {}))


def _data(dataset: Dataset | None, config: Mapping[str, Any], folder: Path | None, log: Log) -> Dataset:
    """Return the data, and store it in the workdir.

    Raises:
      InputError: the run in the workdir has different data.
    """
    if dataset is None and folder is not None and (folder / DATASET).exists():
        return read_stored(folder / DATASET)
    dataset = dataset or load_dataset(**config.get("dataset", {}), log=log)
    if folder is not None:
        record_environment(folder, dataset, log)
        store_dataset(folder / DATASET, dataset)
    return dataset


class _Auto(NamedTuple):
    """The state that the steps of one ``run_auto`` share."""

    config: dict[str, Any]
    options: AutoOptions
    evaluation: EvalOptions
    dataset: Dataset
    folder: Path | None
    record: Record
    start: float
    loggers: Sequence[Logger]
    quiet: bool
    log: Log

    def run(self) -> AutoResult:
        """Run all steps, and blend the finished parts after each."""
        done = dict[str, tuple[RunResult, float]]()
        for label, find in self._steps():
            if self._step(done, label, find):
                loaded, chosen = self._blend(done)
                self.log(f"after {time.perf_counter() - self.start:.0f} s: {described_weights(chosen)}")
        return self._finish(done, loaded, chosen)

    def _steps(self) -> Iterator[tuple[str, Callable[[], Found]]]:
        """Yield the label of each part and its search; parts that start from MF-ALS follow its search."""
        kinds = self.options.parts
        if "ease" in kinds:
            yield "ease", self._ease
        if "item_knn" in kinds:
            yield "item_knn", self._item_knn
        if not MATRICES.issuperset(kinds):
            yield "mf_als", self._mf_als
        if (solved := self.record.step("mf_als")) and solved["found"]:
            for label, sections in trained_parts(kinds, solved["found"]["model"]).items():
                yield label, partial(lambda found: (found, None), sections)

    def _ease(self) -> Found:
        ease = search_ease(self.dataset, self.evaluation, self._may_continue)
        return {"model": {"name": "ease"} | dict(ease.options)}, ease

    def _item_knn(self) -> Found:
        knn = search_item_knn(self.dataset, self.evaluation, self._may_continue)
        return {"model": {"name": "item_knn"} | dict(knn.options)}, None

    def _mf_als(self) -> Found:
        seed, most = self.config.get("seed", 0), self.options.max_dim
        return solved_part(search_mf_als(self.dataset, self.evaluation, most, seed, self._may_continue)), None

    def _may_continue(self) -> bool:
        budget = self.options.time_budget
        return not budget or time.perf_counter() - self.start < budget

    def _step(self, done: dict[str, tuple[RunResult, float]], label: str, find: Callable[[], Found]) -> bool:
        """Find the settings of a part and fit it, and return whether it was fitted.

        A part is skipped if there is no time left. One with a matrix of items by items is also skipped if the catalog
        is too large and other parts need no such matrix. One that starts from MF-ALS is skipped if MF-ALS validates
        best with a regularization that shrinks its factors to zero, as it may on small logs.
        """
        step = self.record.step(label)
        if step is None:
            began = time.perf_counter()
            if done and not self._may_continue():
                self.log(f"{label} is left out: the time budget is used up")
                self.record.add(label, None, 0.0)
                return False
            try:
                found, system = find()
                result = self._fit(label, found, system)
            except InputError as problem:
                too_large = label in MATRICES and not MATRICES.issuperset(self.options.parts)
                if not too_large and not (done and isinstance(problem, VanishedFactors)):
                    raise
                self.log(f"{label} is left out: {problem}")
                self.record.add(label, None, time.perf_counter() - began)
                if self.folder is not None and (folder := self.folder / PARTS / label).exists():
                    remove(folder)
                return False
            step = self.record.add(label, found, time.perf_counter() - began)
        elif step["found"] is not None:
            result = self._fit(label, step["found"])
        else:
            return False
        done[label] = result, step["seconds"]
        return True

    def _fit(self, label: str, sections: Point, system: System | None = None) -> RunResult:
        """Fit a part as a run of its own; ``system``, if given, replaces the section ``model``."""
        config = {name: self.config[name] for name in ("dataset", "eval", "seed") if name in self.config} | sections
        config["eval"] = self.config.get("eval", {}) | sections.get("eval", {})
        folder = None if self.folder is None else self.folder / PARTS / label
        self.log(f"{label}: {_shown(sections)}")
        return run(
            config, folder, dataset=self.dataset, model=system, loggers=self.loggers, quiet=self.quiet,
            log=lambda line: None,
        )  # fmt: skip

    def _blend(self, done: dict[str, tuple[RunResult, float]]) -> tuple[LoadedRun, BlendWeights]:
        """Return the blend of the finished parts, with weights selected on validation."""
        members = {label: (LoadedRun.of(result), 0) for label, (result, _) in done.items()}
        loaded, chosen = weighted(blend_of(members, self.evaluation), log=lambda line: None)
        assert chosen is not None
        return loaded, chosen

    def _finish(self, done: dict[str, tuple[RunResult, float]], loaded: LoadedRun, chosen: BlendWeights) -> AutoResult:
        """Measure the blend, and write its workdir."""
        if self.folder is None:
            metrics = evaluate_run(loaded.parts, loaded.params, loaded.best_epochs, loaded.seeds, None)[1]
        else:
            seconds = sum(seconds for _, seconds in done.values())
            metrics = write_blend(self.folder, loaded, chosen, self.config, seconds).result.metrics
        parts = {
            label: AutoPart(result.parts.model.title, chosen.weights[label], result.metrics, seconds)
            for label, (result, seconds) in done.items()
        }
        settings = settings_of_blend(loaded, self.config)
        return AutoResult(loaded, settings, metrics, parts, chosen, time.perf_counter() - self.start)


def _shown(sections: Point) -> str:
    model = {name: value for name, value in sections["model"].items() if name != "name"}
    return ", ".join(
        f"{name} {value[0] if isinstance(value, tuple | list) else value}" for name, value in model.items()
    )
