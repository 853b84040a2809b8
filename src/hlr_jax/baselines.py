"""What any model should be read beside, as runs in workdirs: Popularity, ItemKNN, EASE, and MF-ALS after a search."""

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
      space: what a sweep searches first, by key; empty: nothing. Scorers choose among their values themselves.
    """

    config: dict[str, Any]
    space: Space


def baseline(
    system: str, name: str, path: str = "", *, split: str = "given", k: int = 10,
    options: Mapping[str, Any] | None = None, num_epochs: int = 16, space: Space | None = None,
) -> Baseline:  # fmt: skip
    """Return the settings of a baseline.

    MF-ALS is tuned as Rendle et al. 2022 do: lambda grows with the weight of a row (exponent 1), and both it and the
    weight of what was observed are searched. Its lists are masked like all others, also under a protocol that leaves
    validation items in them.

    Args:
      system: a name of ``configs.baselines.SYSTEMS``.
      name: of the data set.
      path: a file; empty: the registry's data set.
      split: how the file is divided; ``given``: by its column.
      k: the length of lists.
      options: of the model or scorer, where they differ from the recipe's.
      num_epochs: of MF-ALS, the most; four without a better one end it.
      space: of MF-ALS, what is searched.
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
    """Fit a baseline, or read it where it is done, and return its workdir and what it shows on test.

    Args:
      asked: from ``baseline``.
      folder: its workdir. What a search has tried is in ``folder-search``, and what is fitted once more to both splits
        is in ``folder-refit``.
      train_splits: ``train``, or ``train+valid``: what validation chose is fitted anew to both before test.
      log: takes lines for people.

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
    """Return the point that validates best; those in the folder are not trained again."""
    sweep = Sweep(config, folder, quiet=True, log=log)
    sweep.train(points)
    board = leaderboard(sweep.outcomes(points), sweep.metric, higher_is_better=sweep.higher_is_better)
    best = board.row(0, named=True)
    if best["status"] == "failed":
        title = system_title(config["model"]["name"])
        raise InputError(f"{title}: no setting of the search could be trained: {best['reason']}")
    return {key: best[key] for key in points[0]}


def chosen_settings(folder: Path, space: Space) -> list[float]:
    """Return what validation chose for a baseline: settings of a scorer that are not the defaults, or of a search."""
    config = read_config(folder)
    if (scorer := config["model"]["name"]) in SCORERS:
        usual, kept = dict(create_scorer(scorer).options), read_record(folder)["options"]
        return [value for name, values in kept.items() if tuple(values) != usual[name] for value in values]
    return [config["model"][key.removeprefix("model.")] for key in space]
