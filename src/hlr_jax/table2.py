"""A table of systems on data sets: the settings of each run, the finished runs, and their comparison."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hlr_jax.errors import InputError, pick
from hlr_jax.evaluation.comparison import Block, Result, check_comparable, compare, finished, read_result
from hlr_jax.evaluation.names import SYSTEMS
from hlr_jax.protocols import PROTOCOLS
from hlr_jax.scorers.registry import SCORERS
from hlr_jax.systems import system_names, system_title
from hlr_jax.training.result import train_seconds

Place = tuple[str, str]
"""(data set, system): the folder of a run is DATA/SYSTEM in the folder of the table."""


class Comparison(NamedTuple):
    """The contents of a table: a block per data set, the requested systems, and the tested row."""

    blocks: list[Block]
    systems: list[str]
    tested: str
    spread: str

    def results(self) -> list[Result]:
        """Return all available results."""
        return [result for block in self.blocks for result in block.results.values()]

    def missing(self) -> list[str]:
        """Return the runs without a result, in words."""
        return [
            f"{system_title(system)} on {block.data}"
            for block in self.blocks
            for system in self.systems
            if system not in block.results
        ]


def ordered_systems(asked: Sequence[str]) -> list[str]:
    """Return systems in the order of a table: scorers, then the paper's in its order, then your own models.

    Raises:
      InputError: an unknown system.
    """
    known = dict.fromkeys((*SCORERS, *SYSTEMS, *system_names()))
    chosen = {pick(system, known, "system of --systems:") for system in asked}
    return [system for system in known if system in chosen]


def dataset_settings(dataset: Mapping[str, Any], name: str, path: str, split: str = "given") -> dict[str, Any]:
    """Return the section ``dataset`` for a data set of the registry, or for a file if there is a path.

    Args:
      dataset: the section of a config.
      name: of the data set.
      path: of the file; empty: the registry's.
      split: how the file is split; ``given``: by its column.
    """
    if path:
        return dict(dataset) | {"name": "", "path": path, "split": split}
    split = dataset.get("split", "random")
    return dict(dataset) | {"name": name, "path": "", "split": "random" if split == "given" else split}


def plan(
    get_config: Callable[[str], Mapping[str, Any]], data_sets: Mapping[str, str], systems: Sequence[str], *,
    num_seeds: int, seed: int, protocol: str | None,
) -> dict[Place, dict[str, Any]]:  # fmt: skip
    """Return the settings of every run, in the order in which they are trained.

    Args:
      get_config: from ``SYSTEM,DATA`` to sections of settings; data and seeds are set here.
      data_sets: the file of each, empty for one of the registry.
      systems: in their order.
      num_seeds: of each run of a model; a scorer has one.
      seed: the first seed.
      protocol: replaces that of the configs.

    Raises:
      InputError: no data set or system, or a system without a config.
    """
    if not data_sets or not systems:
        raise InputError("--data and --systems must each name at least one")
    configs = {}
    for data, path in data_sets.items():
        for system in systems:
            config = dict(get_config(f"{system},{data}"))
            config["dataset"] = dataset_settings(config.get("dataset", {}), data, path)
            if protocol:
                config["dataset"]["protocol"] = protocol
            config["seed"] = seed
            if system not in SCORERS:
                config["train"] = dict(config.get("train", {})) | {"num_seeds": num_seeds}
            configs[data, system] = config
    return configs


class TableRuns:
    """The runs of a table in a folder; some of them may be finished.

    Attributes:
      configs: the settings of each run.
      results: of each finished run.
      before: the runs that were finished before this object was made.
    """

    def __init__(self, folder: Path, configs: Mapping[Place, dict[str, Any]], *, tested: str, spread: str | None):
        """Read the finished runs.

        Args:
          folder: of the runs.
          configs: from ``plan``.
          tested: the row in which the best system is tested.
          spread: what ± is over; None: seeds if a run has several, or as in the protocol.

        Raises:
          InputError: a run there has other settings, or two are not comparable.
        """
        self._folder, self.configs, self._tested, self._spread = folder, configs, tested, spread
        found = {place: finished(self.folder(place), config) for place, config in configs.items()}
        self.results = {place: result for place, result in found.items() if result}
        self.before = set(self.results)
        check_comparable(self.results)
        self._blocks = {data: self._block(data) for data, _ in configs}

    def folder(self, place: Place) -> Path:
        """Return the workdir of a run."""
        return self._folder.joinpath(*place)

    def add(self, place: Place) -> None:
        """Read the result of a run that has just finished.

        Raises:
          InputError: it is not comparable with the others.
        """
        self.results[place] = read_result(self.folder(place))
        check_comparable(self.results)
        self._blocks[place[0]] = self._block(place[0])

    def comparison(self, systems: Sequence[str]) -> Comparison:
        """Return the table of the finished runs."""
        return Comparison(list(self._blocks.values()), list(systems), self._tested, self._spread_now())

    def line(self, place: Place) -> str:
        """Return a log line about a finished run."""
        data, system = place
        result = self.results[place]
        mean, _ = result.mean_and_std("NDCG", "seeds")
        return f"{data}, {system_title(system)}: {train_seconds(result.folder):.0f} s, NDCG@{result.k} {mean:.2f}"

    def _block(self, data: str) -> Block:
        results = {system: result for (name, system), result in self.results.items() if name == data}
        return compare(data, results, tested=self._tested, spread=self._spread_now())

    def _spread_now(self) -> str:
        trained = (config.get("train", {}) for config in self.configs.values())
        several = any(train.get("num_seeds", 1) > 1 for train in trained)
        protocols = {result.metrics.protocol for result in self.results.values()}
        by_protocol = next((PROTOCOLS[name].spread for name in protocols), "seeds")
        return self._spread or ("seeds" if several else by_protocol)
