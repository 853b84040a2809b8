"""Baselines as runs in workdirs: Popularity, ItemKNN, EASE, and MF-ALS after a search."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hlr_jax.configs.recipes import get_config
from hlr_jax.errors import InputError
from hlr_jax.evaluation.comparison import Result, finished, read_result
from hlr_jax.experiment import run
from hlr_jax.fitting.scorers import read_record
from hlr_jax.runs import refit
from hlr_jax.scorers.registry import SCORERS, create_scorer
from hlr_jax.sweeps.points import Space, product, with_overrides
from hlr_jax.sweeps.sweep import Sweep, leaderboard
from hlr_jax.systems import system_title
from hlr_jax.table2 import dataset_settings
from hlr_jax.workdir import read_config


class Baseline(NamedTuple):
    """A baseline on a data set.

    Attributes:
      config: its settings.
      space: values to search first, by key; empty: none. Scorers select among their values themselves.
    """

    config: dict[str, Any]
    space: Space


def baseline(
    system: str, name: str, path: str = "", *, split: str = "given", k: int = 10,
    options: Mapping[str, Any] | None = None, num_epochs: int = 16, space: Space | None = None,
) -> Baseline:  # fmt: skip
    """Return the settings of a baseline.

    MF-ALS is tuned as in Rendle et al. 2022: lambda grows with the weight of a row (exponent 1). Both lambda and the
    confidence are searched. Its lists leave out the same items as all others, even if the protocol says otherwise.

    Args:
      system: a name of ``configs.baselines.SYSTEMS``.
      name: of the data set.
      path: a file; empty: the registry's data set.
      split: how the file is split; ``given``: by its column.
      k: the length of lists.
      options: of the model or scorer, if they differ from the recipe's.
      num_epochs: most epochs of MF-ALS; it stops after four without an improvement.
      space: of MF-ALS, the values to search.
    """
    config = get_config(f"{system}:{name if not path else 'split'}").to_dict()
    config["dataset"] = dataset_settings(config["dataset"], name, path, split)
    config["model"] |= dict(options or {})
    config["eval"] |= {"k": (k,)}
    if system in SCORERS:
        return Baseline(config, {})
    config["model"] |= {"frequency_exponent": 1.0}
    config["train"] |= {"num_epochs": num_epochs, "patience": 4}
    config["eval"] |= {"solver_mask": "train+valid"}
    return Baseline(config, space or {})


def fit_baseline(
    asked: Baseline, folder: Path, *, train_splits: str = "train", log: Callable[[str], None] = print
) -> tuple[Path, Result]:
    """Fit a baseline, or read its finished run, and return its workdir and its test result.

    Args:
      asked: from ``baseline``.
      folder: its workdir. The trials of a search are in ``folder-search``, and a refit to both splits is in
        ``folder-refit``.
      train_splits: ``train``, or ``train+valid`` to refit the selected settings to both splits before test.
      log: receives log lines.

    Raises:
      InputError: data without validation or test interactions, a value out of range, or a workdir of another run.
    """
    config = asked.config
    if asked.space:
        points = product(asked.space)
        config = with_overrides(config, _searched(config, points, folder.with_name(f"{folder.name}-search"), log))
    result = finished(folder, config)
    if result is None:
        done = run(config, folder, quiet=True, log=log)
        for split in ("valid", "test"):
            if split not in done.metrics:
                raise InputError(f"data set {done.parts.dataset.name} has no {split} interactions to measure on")
        result = read_result(folder)
    if train_splits == "train":
        return folder, result
    again = folder.with_name(f"{folder.name}-refit")
    refit(folder, again, train_splits=train_splits, quiet=True, log=log)
    return again, read_result(again)


def _searched(
    config: dict[str, Any], points: Sequence[dict[str, Any]], folder: Path, log: Callable[[str], None]
) -> dict[str, Any]:
    """Return the point that validates best; finished points in the folder are not trained again."""
    sweep = Sweep(config, folder, quiet=True, log=log)
    sweep.train(points)
    board = leaderboard(sweep.outcomes(points), sweep.metric, higher_is_better=sweep.higher_is_better)
    best = board.row(0, named=True)
    if best["status"] == "failed":
        title = system_title(config["model"]["name"])
        raise InputError(f"{title}: no setting of the search could be trained: {best['reason']}")
    return {key: best[key] for key in points[0]}


def chosen_settings(folder: Path, space: Space) -> list[float]:
    """Return the settings that validation selected: a scorer's non-default values, or those of a search."""
    config = read_config(folder)
    if (scorer := config["model"]["name"]) in SCORERS:
        usual, kept = dict(create_scorer(scorer).options), read_record(folder)["options"]
        return [value for name, values in kept.items() if tuple(values) != usual[name] for value in values]
    return [config["model"][key.removeprefix("model.")] for key in space]
