"""Results of several systems side by side: which may stand in one table, each cell of it, and who is best."""

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
      metrics: what stands there.
      per_user: a row per seed, K and user, from the ``per_user.parquet`` beside it.
      variant: of the model, where it has several.
      has_draws: whether another seed would give another result; not so of scorers and blends of scorers.
    """

    path: Path
    metrics: Metrics
    per_user: pl.DataFrame
    variant: str
    has_draws: bool

    @property
    def folder(self) -> Path:
        """The workdir."""
        return self.path.parents[1]

    @property
    def k(self) -> int:
        """The main K."""
        return self.metrics.k[0]

    def metric(self, row: str) -> str:
        """Return the metric that the protocol of the run calls MAP, MRR and so on."""
        return self.metrics.names.get(row, ROWS[row])

    def mean_and_std(self, row: str, spread: str) -> tuple[float, float | None]:
        """Return mean and standard deviation, the latter None where there is none; percent but for Popularity.

        With ``cohorts`` they are those of the first seed, over disjoint random groups of its users.

        Raises:
          InputError: the result lacks the metric.
        """
        metric, scale = self.metric(row), 1 if row == POPULARITY else 100
        if spread == "seeds":
            mean, std = self.metrics.value(metric), self.metrics.std(metric)
        elif row == POPULARITY:  # how popular a list of items is belongs to no user, so groups of users don't spread it
            mean, std = self.metrics.by_seed(metric)[0], None
        else:
            seed = self.metrics.seeds[0]
            values = self.users(of_seed=seed)[metric].to_numpy()
            mean, std = cohort_statistics({metric: values}, NUM_COHORTS, seed)[metric]
        return scale * mean, None if std is None else scale * std

    def users(self, of_seed: int | None = None) -> pl.DataFrame:
        """Return the rows of users at the main K, of all seeds or of a single one."""
        frame = self.per_user.filter(pl.col("k") == self.k)
        return frame if of_seed is None else frame.filter(pl.col("seed") == of_seed)

    def seeds(self, spread: str) -> tuple[int, ...]:
        """Return the seeds that the shown numbers are made of."""
        return self.metrics.seeds[:1] if spread == "cohorts" else self.metrics.seeds

    def user_values(self, row: str, spread: str) -> pl.DataFrame:
        """Return ``user``, sorted, and the values of a row: a column for each seed that the shown number is made of.

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
      InputError: there are none, or files that are not what the run that is there now has written.
    """
    path = folder / "eval" / "test.json"
    metrics, per_user = read_per_user(folder)
    model = read_config(folder).get("model", {})
    systems = [part["model"] for part in model.get("parts", {}).values()] or [model]
    has_draws = any(system.get("name") not in SCORERS for system in systems)
    return Result(path, metrics, per_user, model.get("variant", ""), has_draws)


def finished(folder: Path, config: dict[str, Any]) -> Result | None:
    """Return the result of a run that is done, None for one that is not, or has results of an earlier run alone.

    Raises:
      InputError: it is one of other settings.
    """
    if not (folder / "eval" / "test.json").exists():
        return None
    check_settings(folder, config)
    try:
        return read_result(folder)
    except OtherRunError:
        return None


def check_comparable(results: Mapping[tuple[str, str], Result]) -> None:
    """Check that results by (data, system) share protocol and K, and those of one data set their data.

    Raises:
      InputError: names the two files, and the protocol and data of each.
    """
    first: dict[tuple[str, str], tuple[Result, str | int]] = {}
    for (data, _), result in results.items():
        metrics = result.metrics
        facts = ("protocol", "", metrics.protocol_hash), ("K", "", result.k), ("data", data, metrics.data)
        for reason, scope, fact in facts:
            other, theirs = first.setdefault((reason, scope), (result, fact))
            if fact != theirs:
                raise InputError(
                    f"{other.path} ({_identity(other)}) and {result.path} ({_identity(result)}) differ in {reason}, so "
                    "they cannot stand in one table; pass another --workdir, or delete one of the two runs"
                )


def _identity(result: Result) -> str:
    metrics = result.metrics
    return f"protocol {metrics.protocol} {metrics.protocol_hash}, data {metrics.data}, K {result.k}"


class Cell(NamedTuple):
    """One number: ``best`` of its row as shown, ``marked`` where it is significantly better than every other.

    ``p_value`` is that of the best system's difference from this one, adjusted; only in the row that is tested.
    """

    mean: float
    std: float | None
    best: bool
    marked: bool
    p_value: float | None

    def text(self, row: str) -> tuple[str, str]:
        """Return mean and spread as shown; the spread is empty where there is none."""
        places = decimals(row)
        if math.isnan(self.mean):
            return "–", ""
        return f"{self.mean:.{places}f}", "" if self.std is None else f"{self.std:.{places}f}"


def decimals(row: str) -> int:
    """Return how many decimals a row shows: those of the paper."""
    return 1 if row == POPULARITY else 2


class Block(NamedTuple):
    """A data set of the table: cells by row and system, any of its results, and the test of its tested row.

    ``best`` is empty and ``p_values`` too where fewer than two systems have a result.
    """

    data: str
    cells: dict[str, dict[str, Cell]]
    results: dict[str, Result]
    best: str
    p_values: dict[str, float]


def compare(data: str, results: Mapping[str, Result], *, tested: str = "NDCG", spread: str = "seeds") -> Block:
    """Return the block of a data set from the results by system that there are, perhaps none.

    Args:
      data: its name.
      results: comparable ones, see ``check_comparable``.
      tested: the row in which the best system is tested against the others.
      spread: ``seeds``: numbers are means over seeds; ``cohorts``: those of the first seed, over cohorts of users.

    Raises:
      InputError: results lack a metric or are of other users.
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
        # Which popularity is good is a matter of taste: no best there. Nor is there one of a single result.
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
      InputError: results are of other users, or see ``Result.user_values``.
    """
    frames = {system: result.user_values(row, spread) for system, result in results.items()}
    first = next(iter(frames))
    for system, frame in frames.items():
        if not frame["user"].equals(frames[first]["user"]):
            raise InputError(f"{results[first].path} and {results[system].path} are of other users; train one again")
    return {system: frame.drop("user").to_numpy().T for system, frame in frames.items()}


def with_one_seed(results: Mapping[str, Result], spread: str) -> list[str]:
    """Return the systems of which the test has one seed, though another one would give another result."""
    return [system for system, result in results.items() if result.has_draws and len(result.seeds(spread)) == 1]


def one_seed_note(systems: Sequence[str]) -> str:
    """Return a sentence on systems of which the test has one seed; empty without any."""
    return f"One seed of {', '.join(systems)}: what another seed changes is not in the test." if systems else ""
