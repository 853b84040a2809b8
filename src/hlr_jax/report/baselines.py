"""Systems that the runs of a page are compared with: Popularity, and the parts of blends."""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from hlr_jax.blends.runs import PARTS
from hlr_jax.evaluation.comparison import Result, read_result
from hlr_jax.evaluation.evaluate import evaluate, validation_users
from hlr_jax.evaluation.results import Metrics
from hlr_jax.report.runs import TrainedRun
from hlr_jax.scorers.popularity import Popularity
from hlr_jax.systems import system_title
from hlr_jax.workdir import read_config


class Baseline(NamedTuple):
    """A system beside the runs.

    Attributes:
      label: its title.
      note: how it relates to the runs.
      metrics: of the split whose lists are shown.
      per_user: a row per user and K, of each seed.
    """

    label: str
    note: str
    metrics: Metrics
    per_user: pl.DataFrame


def baselines_of(runs: Sequence[TrainedRun]) -> list[Baseline]:
    """Return the baselines of comparable runs that are not runs of the page themselves.

    Popularity is measured here; a part of a blend has its metrics in ``parts/LABEL`` of the workdir.

    Raises:
      InputError: metrics of a part that can't be read.
    """
    shown = {run.folder for run in runs}
    found = [] if runs[0].split is None else _popularity(runs)
    blended = [run for run in runs if run.result is not None and (run.folder / PARTS).is_dir()]
    for run in blended:
        whole = "the blend" if len(blended) == 1 else run.label
        for folder in sorted((run.folder / PARTS).iterdir()):
            if folder in shown or not (folder / "eval" / "test.json").exists():
                continue
            result = read_result(folder)
            if run.result is not None and _is_comparable(result, run.result):
                weight = run.settings.get(f"model.parts.{folder.name}.weight", 0)
                title = system_title(read_config(folder)["model"]["name"])
                found.append(Baseline(title, f"weight {weight:g} in {whole}", result.metrics, result.per_user))
    return found


def _popularity(runs: Sequence[TrainedRun]) -> list[Baseline]:
    parts, split = runs[0].parts, runs[0].split
    if split is None or any(isinstance(run.parts.model, Popularity) for run in runs):
        return []
    (fit,) = Popularity().fits(parts.dataset)
    users = validation_users(parts.dataset, parts.eval) if split == "valid" else None
    measured = evaluate(fit.scorer, fit.state, parts.dataset, split=split, options=parts.eval, users=users)
    return [Baseline(Popularity.title, "baseline", measured.metrics, measured.per_user)]


def _is_comparable(part: Result, whole: Result) -> bool:
    one, other = part.metrics, whole.metrics
    return (one.data, one.protocol_hash, one.k) == (other.data, other.protocol_hash, other.k)
