"""Metrics of a split, of one trained model or of several seeds, and the files of a workdir that hold them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hlr_jax.errors import InputError
from hlr_jax.files import atomic_file, check_hash, sha256
from hlr_jax.json_files import read_json, write_json
from hlr_jax.provenance import check_maker

PER_USER = "per_user.parquet"  # beside test.json, which holds its hash
At = tuple[str, int]
"""A metric by its name, and the length K of the lists that it is of."""

METRICS = {
    "split": str, "users": int, "items": int, "data": str, "protocol": str, "protocol_hash": str, "names": {"*": str},
    "seconds": float, "k": [int], "seeds": [{"seed": int, "best_epoch": int | None}],
    "metrics": [{"metric": str, "k": int, "by_seed": [float | None], "cohorts?": [[float | None]]}],
}  # fmt: skip
"""The schema of the JSON of metrics; see ``json_files.Schema``."""

_FACTS = ("split", "users", "items", "data", "protocol", "protocol_hash", "names", "seconds")


@dataclass(frozen=True)
class Metrics:
    """The metrics of one split, at each K and of each seed.

    Attributes:
      split: ``valid`` or ``test``.
      users: whose lists were made.
      items: I.
      data: the first digits of the data set's fingerprint.
      protocol: how it was measured.
      protocol_hash: metrics with different ones are not comparable.
      names: the metrics that the protocol calls MAP, MRR and Popularity.
      seconds: to make the lists of all seeds.
      k: the lengths of lists, the main one first.
      seeds: of each trained model.
      best_epochs: that each one's parameters are from; 0: of the start; None: not known.
      values: of each metric at each K, for each seed; NaN where there was nothing to measure, which is null in files.
      cohorts: of each metric at each K, for each seed: mean and standard deviation over random groups of users; empty
        where ``eval.num_cohorts`` asks for none.

    Example:
      >>> metrics = recommender.metrics["test"]
      >>> metrics.k, metrics.seeds, metrics.value("ndcg", 10) == metrics.by_seed("ndcg", 10)[0]
      ((10,), (0,), True)
    """

    split: str
    users: int
    items: int
    data: str
    protocol: str
    protocol_hash: str
    names: Mapping[str, str]
    seconds: float
    k: tuple[int, ...]
    seeds: tuple[int, ...]
    best_epochs: tuple[int | None, ...]
    values: Mapping[At, tuple[float, ...]]
    cohorts: Mapping[At, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    @property
    def measured(self) -> list[str]:
        """The names of the metrics."""
        return list(dict.fromkeys(name for name, _ in self.values))

    def by_seed(self, name: str, k: int | None = None) -> tuple[float, ...]:
        """Return a metric of each seed, at the main K unless another is given.

        Raises:
          InputError: it was not measured.
        """
        at = name, self.k[0] if k is None else k
        if at not in self.values:
            raise InputError(f"{name}@{at[1]} was not measured on {self.split}; measured: {', '.join(self.measured)}")
        return self.values[at]

    def value(self, name: str, k: int | None = None) -> float:
        """Return the mean of a metric over the seeds that have it; NaN if none has; see ``by_seed``."""
        values = self._finite(name, k)
        return float(np.mean(values)) if values else math.nan

    def std(self, name: str, k: int | None = None) -> float | None:
        """Return the standard deviation (of a sample) of a metric over seeds, None of one seed; see ``by_seed``."""
        values = self._finite(name, k)
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def _finite(self, name: str, k: int | None) -> list[float]:
        return [value for value in self.by_seed(name, k) if math.isfinite(value)]

    def to_json(self) -> dict[str, Any]:
        """Return what the files hold."""
        facts = {name: getattr(self, name) for name in _FACTS}
        seeds = [{"seed": seed, "best_epoch": best} for seed, best in zip(self.seeds, self.best_epochs, strict=True)]
        rows = [
            {"metric": name, "k": k, "value": self.value(name, k), "std": self.std(name, k), "by_seed": values}
            | ({"cohorts": self.cohorts[name, k]} if (name, k) in self.cohorts else {})
            for (name, k), values in self.values.items()
        ]
        users_per_s = len(self.seeds) * self.users / self.seconds if self.seconds else None
        return facts | {"users_per_s": users_per_s, "k": self.k, "seeds": seeds, "metrics": rows}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Metrics":
        """Return the metrics that ``to_json`` has written, of the schema ``METRICS``."""
        rows, seeds = record["metrics"], record["seeds"]
        at = {(row["metric"], row["k"]): row for row in rows}
        return cls(
            **{name: record[name] for name in _FACTS}, k=tuple(record["k"]),
            seeds=tuple(entry["seed"] for entry in seeds), best_epochs=tuple(entry["best_epoch"] for entry in seeds),
            values={place: tuple(map(_number, row["by_seed"])) for place, row in at.items()},
            cohorts={place: tuple(map(tuple, row["cohorts"])) for place, row in at.items() if "cohorts" in row},
        )  # fmt: skip


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def over_seeds(each: Sequence[Metrics], best_epochs: Sequence[int | None]) -> Metrics:
    """Return the metrics of one model trained with several seeds from those of each of them."""
    first = each[0]
    return replace(
        first, seconds=sum(single.seconds for single in each), seeds=tuple(single.seeds[0] for single in each),
        best_epochs=tuple(best_epochs), values={at: tuple(s.values[at][0] for s in each) for at in first.values},
        cohorts={at: tuple(single.cohorts[at][0] for single in each) for at in first.cohorts},
    )  # fmt: skip


def write_metrics(folder: Path, metrics: Metrics, per_user: Sequence[pl.DataFrame], maker: str) -> None:
    """Write ``eval/SPLIT.json`` and, for test, ``eval/per_user.parquet`` of all seeds, whose hash it holds.

    Args:
      folder: the workdir.
      metrics: of all seeds.
      per_user: of each seed, a row per user and K.
      maker: the run that they were measured of, from ``provenance.maker_of``.
    """
    record, path = metrics.to_json() | {"made_by": maker}, folder / "eval" / PER_USER
    if metrics.split == "test":
        frames = [
            frame.select(pl.lit(seed).alias("seed"), pl.all())
            for seed, frame in zip(metrics.seeds, per_user, strict=True)
        ]
        with atomic_file(path) as temporary:
            pl.concat(frames).write_parquet(temporary)
        record["per_user"] = sha256(path)
    write_json(folder / "eval" / f"{metrics.split}.json", record)


def read_metrics(folder: Path, split: str) -> Metrics:
    """Return the metrics of a run in its workdir.

    Raises:
      InputError: there are none, or the file is not what a run has written.
      OtherRunError: they are of another run than the one that is there now.
    """
    return Metrics.from_json(_read(folder, split, {}))


def read_per_user(folder: Path) -> tuple[Metrics, pl.DataFrame]:
    """Return the test metrics of a run in its workdir, and those of each seed, K and user.

    Raises:
      InputError: there are none, or a file is not what a run has written.
      OtherRunError: they are of another run than the one that is there now.
    """
    record, path = _read(folder, "test", {"per_user": str}), folder / "eval" / PER_USER
    check_hash(path, record["per_user"], f"run hlr-jax evaluate --workdir={folder} again")
    return Metrics.from_json(record), pl.read_parquet(path, glob=False)


def _read(folder: Path, split: str, more: dict[str, Any]) -> dict[str, Any]:
    path, evaluate = folder / "eval" / f"{split}.json", f"run hlr-jax evaluate --workdir={folder}"
    absent = f"{path}: no such file; {evaluate} first, on data that has {split} interactions"
    record = read_json(path, METRICS | {"made_by": str} | more, f"{evaluate} again", absent)
    check_maker(path, record["made_by"], folder)
    return record
