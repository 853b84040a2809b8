"""The settings that all parts of the benchmark share."""

import ast
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import polars as pl

import hlr_jax
from hlr_jax import Dataset, InputError, Model, TrainOptions, errors, model_names
from hlr_jax.training import batches

# The authors' own sizes, with B = 1000, D = 100 and one negative.
SIZES: dict[str, dict[str, Any]] = {
    "adacml": {"max_history": 50},
    "hlr": {"max_history": 50, "num_memories": 20, "variant": "reference"},
    "hlrpp": {"max_history": 50, "num_memories": 20, "variant": "reference"},
}


@dataclass(frozen=True)
class Settings:
    """Settings of the benchmark.

    Attributes:
      models: names of models.
      data: a data set of the registry, or a synthetic one.
      split_file: a file of user, item, split columns, instead of ``data``.
      interactions: train only on users with about this many interactions in total; 0: on all. See ``shortened``.
      repeats: timed runs of each item after the first.
      seconds: time after which an item with three timed runs stops; 0: no limit.
      users: number of users to rank for.
      num_seeds: number of seeds to train at once.
      rows: rows of the ratings.csv that ``prepare`` generates.
      train: options of ``TrainOptions``.
      model: options of models; each model uses those that it has.
      beside: commands that are run beside each item, in turn with it, each ``COMMAND`` or ``LABEL: COMMAND``; of
        ``quality``, what is measured.
      beside_pattern: a regular expression whose first group is a command's rate; without it, its wall time counts.
      isolated: whether this process measures nothing else.
    """

    models: Sequence[str] = ("cml", "hlr")
    data: str = "planted-5949x2810x571531"
    split_file: str = ""
    interactions: int = 0
    repeats: int = 5
    seconds: float = 0.0
    users: int = 200
    num_seeds: int = 4
    rows: int = 20_000_000
    train: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    beside: Sequence[str] = ()
    beside_pattern: str = ""
    isolated: bool = False


def parsed(pairs: Sequence[str], flag: str) -> dict[str, Any]:
    """Return ``name=value`` pairs as a dict, numbers and booleans as such.

    Raises:
      InputError: a pair without ``=``.
    """
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f'--{flag}: "{pair}" is not of the form option=value')
        try:
            options[name] = ast.literal_eval(value.capitalize() if value in ("true", "false") else value)
        except (ValueError, SyntaxError):
            options[name] = value
    return options


def create_model(name: str, settings: Settings, **sizes: Any) -> Model:
    """Return a model at the authors' sizes, with the options of the command line and then ``sizes``."""
    known = options_of(name)
    given = {option: value for option, value in settings.model.items() if option in known}
    return hlr_jax.create_model(name, **(SIZES.get(name, {}) | given | sizes))


def train_options(settings: Settings, **changed: Any) -> TrainOptions:
    """Return the options of training."""
    chosen = {"batch_size": 1000} | settings.train | changed
    errors.check_options(TrainOptions, chosen, "train")
    return TrainOptions(**chosen)


def options_of(name: str) -> dict[str, Any]:
    """Return every option of a model with its default."""
    return dict(hlr_jax.create_model(name).options)


def embed_dim(model: Model) -> int:
    """Return D."""
    return jax.eval_shape(lambda: model.init(jax.random.key(0), 1, 1))["item"].shape[-1]


def check(settings: Settings) -> Settings:
    """Return the settings with ``all`` replaced by every model.

    Raises:
      InputError: an unknown model, an option that no model, or training, has, or batches that a model has not.
    """
    every = model_names()
    names = (
        every
        if list(settings.models) == ["all"]
        else [errors.pick(n, every, "model of --models:") for n in settings.models]
    )
    known = {option for name in every for option in options_of(name)}
    for option in settings.model:
        errors.pick(option, known, "option of --model:")
    if train_options(settings).batch == "users":
        for name in names:
            batches.check_batches_of_users(create_model(name, settings))
    return dataclasses.replace(settings, models=tuple(names))


def load(settings: Settings) -> Dataset:
    """Return the data to measure on."""
    if settings.split_file:
        return hlr_jax.load_dataset(path=settings.split_file, split="given", log=lambda _: None)
    return hlr_jax.load_dataset(settings.data, log=lambda _: None)


def shortened(dataset: Dataset, interactions: int, model: Model) -> Dataset:
    """Return the data with the training rows of some users only, about ``interactions`` of them, for a shorter epoch.

    The users are a random sample and keep their whole rows. Both tables keep their size, so that a step costs what
    it costs on all the data. Not where a step averages over the rows of items (means), which would be shorter, or there
    are no steps (a solver): such a model gets all the data.
    """
    train = dataset.train
    if not interactions or interactions >= len(train) or model.derived is not None or model.solver is not None:
        return dataset
    degrees = train.degrees(dataset.num_users)
    order = np.random.default_rng(0).permutation(dataset.num_users)
    taken = np.zeros(dataset.num_users, bool)
    taken[order[: 1 + int(np.searchsorted(np.cumsum(degrees[order]), interactions))]] = True
    kept = taken[train.user]
    return dataclasses.replace(dataset, train=train.where(kept))


def widened(dataset: Dataset, users: int = 0, items: int = 0) -> Dataset:
    """Return the data with tables of ``users`` and ``items`` rows; added rows have no interactions."""
    return dataclasses.replace(
        dataset,
        user_ids=pl.Series("user", np.arange(max(users, dataset.num_users))),
        item_ids=pl.Series("item", np.arange(max(items, dataset.num_items))),
    )
