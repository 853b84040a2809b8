"""Compares results of several systems: checks comparability, and makes the cells and tests of a table."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from hlr_jax.errors import InputError, OtherRunError
from hlr_jax.evaluation.metrics import cohort_statistics
from hlr_jax.evaluation.names import POPULARITY, ROWS
from hlr_jax.evaluation.results import Metrics, read_per_user
from hlr_jax.evaluation.significance import best_against_rest
from hlr_jax.scorers.registry import SCORERS
from hlr_jax.workdir import check_settings, read_config

NUM_COHORTS = 5
SIGNIFICANT = 0.05


class Result(NamedTuple):
    """The test metrics of a run in its workdir.

    Attributes:
      path: of its ``eval/test.json``.
      metrics: its contents.
      per_user: a row per seed, K and user, from ``per_user.parquet`` in the same folder.
      variant: of the model, if it has several.
      depends_on_seed: whether the result depends on the seed; false for scorers and blends of scorers.
    """

    path: Path
    metrics: Metrics
    per_user: pl.DataFrame
    variant: str
    depends_on_seed: bool

    @property
    def folder(self) -> Path:
        """The workdir."""
        return self.path.parents[1]

    @property
    def k(self) -> int:
        """The main K."""
        return self.metrics.k[0]

    def metric(self, row: str) -> str:
        """Return the metric that the run's protocol defines for a row such as MAP or MRR."""
        return self.metrics.names.get(row, ROWS[row])

    def mean_and_std(self, row: str, spread: str) -> tuple[float, float | None]:
        """Return the mean and the standard deviation (None if there is none), in percent except for Popularity.

        With ``cohorts`` they are over disjoint random groups of the first seed's users.

        Raises:
          InputError: the result lacks the metric.
        """
        metric, scale = self.metric(row), 1 if row == POPULARITY else 100
        if spread == "seeds":
            mean, std = self.metrics.value(metric), self.metrics.std(metric)
        elif row == POPULARITY:  # popularity is a property of all lists, so it has no values by user to group
            mean, std = self.metrics.by_seed(metric)[0], None
        else:
            seed = self.metrics.seeds[0]
            values = self.users(of_seed=seed)[metric].to_numpy()
            mean, std = cohort_statistics({metric: values}, NUM_COHORTS, seed)[metric]
        return scale * mean, None if std is None else scale * std

    def users(self, of_seed: int | None = None) -> pl.DataFrame:
        """Return the rows of users at the main K, for all seeds or one."""
        frame = self.per_user.filter(pl.col("k") == self.k)
        return frame if of_seed is None else frame.filter(pl.col("seed") == of_seed)

    def seeds(self, spread: str) -> tuple[int, ...]:
        """Return the seeds that the displayed numbers are computed from."""
        return self.metrics.seeds[:1] if spread == "cohorts" else self.metrics.seeds

    def user_values(self, row: str, spread: str) -> pl.DataFrame:
        """Return ``user``, sorted, and the values of a row: a column for each seed of the displayed number.

        Raises:
          InputError: a user lacks a value in one of the seeds.
        """
        frame = self.users().filter(pl.col("seed").is_in(self.seeds(spread)))
        values = frame.pivot(on="seed", index="user", values=self.metric(row)).sort("user")
        if sum(values.null_count().row(0)):
            raise InputError(f"{self.path.parent}: not all seeds have the same users; run hlr-jax evaluate again")
        return values


def read_result(folder: Path) -> Result:
    """Return the test metrics of a run in its workdir.

    Raises:
      InputError: there are none, or the files are not those that the current run wrote.
    """
    path = folder / "eval" / "test.json"
    metrics, per_user = read_per_user(folder)
    model = read_config(folder).get("model", {})
    systems = [part["model"] for part in model.get("parts", {}).values()] or [model]
    depends_on_seed = any(system.get("name") not in SCORERS for system in systems)
    return Result(path, metrics, per_user, model.get("variant", ""), depends_on_seed)


def finished(folder: Path, config: dict[str, Any]) -> Result | None:
    """Return the result of a finished run; None if it is unfinished or its results are of an earlier run.

    Raises:
      InputError: the run has other settings.
    """
    if not (folder / "eval" / "test.json").exists():
        return None
    check_settings(folder, config)
    try:
        return read_result(folder)
    except OtherRunError:
        return None


def check_comparable(results: Mapping[tuple[str, str], Result]) -> None:
    """Check that results by (data, system) share protocol and K, and that each data set has one fingerprint.

    Raises:
      InputError: names two files that differ, and the protocol, data and K of each.
    """
    first: dict[tuple[str, str], tuple[Result, str | int]] = {}
    for (data, _), result in results.items():
        metrics = result.metrics
        facts = ("protocol", "", metrics.protocol_hash), ("K", "", result.k), ("data", data, metrics.data)
        for reason, scope, fact in facts:
            other, expected = first.setdefault((reason, scope), (result, fact))
            if fact != expected:
                raise InputError(
                    f"{other.path} ({_identity(other)}) and {result.path} ({_identity(result)}) differ in {reason}, so "
                    "they are not comparable; pass another --workdir, or delete one of the two runs"
                )


def _identity(result: Result) -> str:
    metrics = result.metrics
    return f"protocol {metrics.protocol} {metrics.protocol_hash}, data {metrics.data}, K {result.k}"


class Cell(NamedTuple):
    """One number: ``best`` if it is the best of its row as displayed, ``marked`` if significantly better than all.

    ``p_value`` is the adjusted p-value of the best system's difference from this one; only in the tested row.
    """

    mean: float
    std: float | None
    best: bool
    marked: bool
    p_value: float | None

    def text(self, row: str) -> tuple[str, str]:
        """Return the displayed mean and spread; the spread is empty if there is none."""
        places = decimals(row)
        if math.isnan(self.mean):
            return "–", ""
        return f"{self.mean:.{places}f}", "" if self.std is None else f"{self.std:.{places}f}"


def decimals(row: str) -> int:
    """Return the number of decimals of a row, as in the paper."""
    return 1 if row == POPULARITY else 2


class Block(NamedTuple):
    """One data set of the table: cells by row and system, the results, and the test of the tested row.

    ``best`` and ``p_values`` are empty if fewer than two systems have a result.
    """

    data: str
    cells: dict[str, dict[str, Cell]]
    results: dict[str, Result]
    best: str
    p_values: dict[str, float]


def compare(data: str, results: Mapping[str, Result], *, tested: str = "NDCG", spread: str = "seeds") -> Block:
    """Return the block of a data set from the available results by system, which may be none.

    Args:
      data: its name.
      results: comparable ones, see ``check_comparable``.
      tested: the row in which the best system is tested against the others.
      spread: ``seeds`` for means over seeds, or ``cohorts`` for the first seed, over cohorts of users.

    Raises:
      InputError: results lack a metric or have different users.
    """
    best = ""
    p_values: dict[str, float] = {}
    if len(results) > 1:
        best, differences = best_against_rest(paired_values(results, tested, spread))
        p_values = {system: difference.p_value for system, difference in differences.items()}
    significant = bool(p_values) and max(p_values.values()) < SIGNIFICANT
    cells: dict[str, dict[str, Cell]] = {}
    for row in ROWS:
        numbers = {system: result.mean_and_std(row, spread) for system, result in results.items()}
        shown = {system: round(mean, decimals(row)) for system, (mean, _) in numbers.items()}
        # No popularity is better than another, and a single result has nothing to be better than.
        top = max(shown.values()) if len(shown) > 1 and row != POPULARITY else None
        cells[row] = {
            system: Cell(
                mean,
                std,
                best=shown[system] == top,
                marked=row == tested and significant and system == best,
                p_value=p_values.get(system) if row == tested else None,
            )
            for system, (mean, std) in numbers.items()
        }
    return Block(data, cells, dict(results), best, p_values)


def paired_values(results: Mapping[str, Result], row: str, spread: str) -> dict[str, np.ndarray]:
    """Return the values [seeds, users] of a row by system.

    Raises:
      InputError: results have different users, or see ``Result.user_values``.
    """
    frames = {system: result.user_values(row, spread) for system, result in results.items()}
    first = next(iter(frames))
    for system, frame in frames.items():
        if not frame["user"].equals(frames[first]["user"]):
            raise InputError(f"{results[first].path} and {results[system].path} have different users; retrain one")
    return {system: frame.drop("user").to_numpy().T for system, frame in frames.items()}


def with_one_seed(results: Mapping[str, Result], spread: str) -> list[str]:
    """Return the systems that the test has only one seed of, although their results depend on the seed."""
    return [system for system, result in results.items() if result.depends_on_seed and len(result.seeds(spread)) == 1]


def one_seed_note(systems: Sequence[str]) -> str:
    """Return a note on systems with one seed in the test; empty without any."""
    return f"One seed of {', '.join(systems)}: the test ignores the variance over its seeds." if systems else ""
