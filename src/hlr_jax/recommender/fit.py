"""From a data set to a recommender in one call."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hlr_jax.auto.run import run_auto
from hlr_jax.auto_options import is_auto
from hlr_jax.configs.recipes import get_config
from hlr_jax.configs.unread import check_read
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.source_files import described
from hlr_jax.errors import InputError
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.experiment import run
from hlr_jax.loading import LoadedRun
from hlr_jax.models.base import Model
from hlr_jax.recommender.artifact import check_named
from hlr_jax.recommender.recommender import Recommender
from hlr_jax.settings import plain
from hlr_jax.systems import System, create_system, system_names
from hlr_jax.training.history import Logger
from hlr_jax.training.options import TrainOptions


def fit(
    dataset: Dataset,
    system: str | System = "hlr",
    *,
    model: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | TrainOptions | None = None,
    eval: Mapping[str, Any] | EvalOptions | None = None,
    mesh: Mapping[str, int] | None = None,
    seed: int = 0,
    num_seeds: int | None = None,
    workdir: str | Path | None = None,
    loggers: Sequence[Logger] = (),
    quiet: bool = False,
    log: Callable[[str], None] = print,
) -> Recommender:
    """Train a model on a data set, measure its best epoch, and return what recommends with it.

    ``model``, ``train``, ``eval`` and ``mesh`` are the sections of a config: their keys override those of the recipe.

    Args:
      dataset: prepared interactions.
      system: a recipe by name, as ``--config`` takes it: ``auto``, ``hlr``, ``cml-paper``, ``hlr-tuned:ml-100k``; its
        data set is not read. Or a ``Model`` or scorer, with the defaults of ``train`` and ``eval``.
      model: settings of a recipe's model, such as ``{"num_memories": 10}``.
      train: settings of training, such as ``{"num_epochs": 5}``; ``TrainOptions`` stand for the whole section.
      eval: settings of evaluation, such as ``{"k": (5, 10)}``; ``EvalOptions`` stand for the whole section.
      mesh: devices to train on, such as ``{"data": 2, "model": 4}``; None: one.
      seed: of parameters and draws.
      num_seeds: models that are trained at once, with ``seed`` and those after it. The result holds all and serves the
        first.
      workdir: where the whole run is kept: the commands, ``load_run`` and ``Recommender.load`` read it, and the same
        call continues it. None: nothing is written.
      loggers: are called with each record of an epoch.
      quiet: show no progress.
      log: takes lines for people.

    Raises:
      InputError: an unknown recipe or setting, a value out of range, a data set without training interactions, a
        workdir of another run, or a workdir for a model that was made by hand.

    Example:
      >>> ease = hlr_jax.fit(data, "ease", model={"regularization": (30.0,)}, quiet=True)
      >>> ease.recommend(users=7, k=3).columns
      ['user', 'rank', 'item', 'title', 'score']
    """
    if not isinstance(dataset, Dataset):
        raise InputError(
            f"fit: a Dataset is needed, not {described(dataset)}; hlr_jax.load_dataset makes one of a file"
        )
    if not isinstance(system, str) and not hasattr(system, "options"):
        raise InputError(f"fit: a recipe's name, a Model or a scorer is needed, not {described(system)}")
    if not isinstance(system, str) and model is not None:
        raise InputError("fit: a Model has its settings already; settings of `model` are those of a recipe")
    by_hand = None if isinstance(system, str) else system
    seeds = {} if num_seeds is None else {"num_seeds": num_seeds}
    sections = ("model", model), ("train", train), ("train", seeds), ("eval", eval), ("mesh", mesh)
    config = plain(_config_of(system, sections) | {"seed": seed})
    if is_auto(config):
        found = run_auto(config, workdir, dataset=dataset, loggers=loggers, quiet=quiet, log=log)
        return Recommender(found.blend, found.settings, found.metrics)
    if workdir is not None:
        check_named(config)
    done = run(config, workdir, dataset=dataset, model=by_hand, loggers=loggers, quiet=quiet, log=log)
    return Recommender(LoadedRun.of(done), config, done.metrics)


def _config_of(system: str | System, sections: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the config of a recipe or a system, without data, overridden by what is given of its sections.

    Raises:
      InputError: no such recipe, or a setting that nothing reads.
    """
    config, overridden = get_config(system).to_dict() if isinstance(system, str) else _of_system(system), list[str]()
    config.pop("dataset", None)
    for section, given in sections:
        if isinstance(given, TrainOptions | EvalOptions):
            config[section] = asdict(given)
        elif given is not None and not isinstance(given, Mapping):
            raise InputError(f"fit: {section} is a dict of settings, not {described(given)}")
        elif given:
            config[section] = config.get(section, {}) | dict(given)
            overridden += [f"{section}.{name}" for name in given]
    check_read(config, overridden)
    return config


def _of_system(system: System) -> dict[str, Any]:
    """Return the config of a model and the defaults of all else; without a section ``model`` if no name makes it."""
    train = asdict(TrainOptions()) if isinstance(system, Model) else {}
    config: dict[str, Any] = {"train": train, "eval": asdict(EvalOptions())}
    options = dict(system.options)
    if system.name in system_names() and create_system(system.name, **options) == system:
        config["model"] = {"name": system.name, **options}
    return config
