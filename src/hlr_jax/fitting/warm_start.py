"""Warm start: a training that begins where another run has ended, on data that has grown since.

Rows of the tables are matched by the original ids of users and items. New items are folded in from their known users,
then new users from their known items (``serving.fold_in``); whoever has met nothing known starts at random, as all do
without a warm start. The optimizer starts anew.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.ids import UNKNOWN, IdIndex
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.serialization import read_stored
from hlr_jax.errors import InputError
from hlr_jax.models.base import Model
from hlr_jax.models.registry import create_model
from hlr_jax.serving.fold_in import fold_in, fold_in_items
from hlr_jax.sharding import unpadded
from hlr_jax.training.learner import key_of
from hlr_jax.training.options import Run, TrainOptions
from hlr_jax.training.result import check_ended, load_result
from hlr_jax.types import Params
from hlr_jax.workdir import DATASET, read_config


class Origin(NamedTuple):
    """The run that a training starts from.

    Attributes:
      folder: its workdir.
      dataset: what it was trained on.
      members: the parameters of each of its seeds, on one device.
      training: the settings of each, at the temperature that it has kept.
      digest: a hash of the parameters.
    """

    folder: Path
    dataset: Dataset
    members: list[Params]
    training: list[TrainOptions]
    digest: str


def check_origin(folder: Path, model: Model, workdir: str | Path | None) -> bool:
    """Check that a training may start from the run in a folder; return whether it needs it.

    A training that has a checkpoint goes on from that, also where the folder is gone.

    Raises:
      InputError: no run that has ended there, or one of another model.
    """
    if not folder.exists() and workdir is not None and any(Path(workdir).glob("checkpoints/[0-9]*")):
        return False
    _check_model(folder, read_config(folder).get("model", {}), model)
    check_ended(folder)
    return True


def read_origin(folder: Path) -> Origin:
    """Return the run in a folder.

    Raises:
      InputError: it is damaged.
    """
    dataset = read_stored(folder / DATASET)
    members, progress = load_result(folder, {})
    members = [unpadded(params, dataset.num_users, dataset.num_items) for params in members]
    digest = hashlib.sha256()
    for params in members:
        for name, array in sorted(params.items()):
            digest.update(f"{name} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    settings = TrainOptions(**read_config(folder).get("train", {}))
    training = [settings.at(state.run.temperature) for state in progress]
    return Origin(folder, dataset, members, training, digest.hexdigest())


def _check_model(folder: Path, there: dict[str, Any], model: Model) -> None:
    """Check that the run in a folder is of this model, whatever kernel computes it.

    Raises:
      InputError: it has another name or another option, which is named.
    """
    options = dict(there)
    name = options.pop("name", None)
    if name != model.name:
        raise InputError(f"train.start={folder} is a run of model {name}, and this is {model.name}")
    options.pop("kernel", None)
    theirs = dict(create_model(name, **options).options)
    for option, value in model.options:
        if option != "kernel" and theirs.get(option) != value:
            raise InputError(
                f"train.start={folder} is a run with model.{option}={theirs.get(option)!r}, and this has {value!r}; "
                "set the same, or start=random"
            )


def warm_params(
    origin: Origin, model: Model, dataset: Dataset, runs: Sequence[Run], log: Callable[[str], None] = print
) -> Params:
    """Return the parameters [S, ...] that runs start from.

    Seed i of the runs starts from seed i of the origin where that has as many, else from its first; whatever their
    temperatures.

    Args:
      origin: from ``read_origin``.
      model: what is trained.
      dataset: what it is trained on.
      runs: S of them.
      log: takes a line for people.
    """
    seeds = list(dict.fromkeys(run.seed for run in runs))
    enough = len(origin.members) >= len(seeds)
    users, items = (_known(getattr(origin.dataset, ids), getattr(dataset, ids)) for ids in ("user_ids", "item_ids"))
    extended = {}
    for place, seed in enumerate(seeds):
        member = place if enough else 0
        extended[seed] = _extended(origin, member, model, dataset, users, items)
    log(_describe(origin, users, items, extended[seeds[0]]))
    rows: list[dict[str, Any]] = [_placed(*extended[run.seed], model, dataset, run) for run in runs]
    stacked: dict[str, Any] = {name: np.stack([params[name] for params in rows]) for name in rows[0]}
    return stacked


def _known(there: pl.Series, here: pl.Series) -> np.ndarray:
    """Return which of the ids here are there too."""
    return IdIndex(there).find(here.cast(pl.String)) != UNKNOWN


def _extended(
    origin: Origin, member: int, model: Model, dataset: Dataset, users: np.ndarray, items: np.ndarray
) -> tuple[Params, pl.Series, pl.Series]:
    """Return a member's parameters with rows of what is new, and the ids of users and of items that its rows are of.

    ``users`` and ``items`` say which of the data set's the origin knows.
    """
    params, data, train = origin.members[member], origin.dataset, dataset.train
    common: dict[str, Any] = {"training": origin.training[member], "log": lambda line: None}

    def frame(pairs: Interactions) -> pl.DataFrame:
        ids = {"user": dataset.user_ids.gather(pairs.user), "item": dataset.item_ids.gather(pairs.item)}
        return pl.DataFrame(ids)

    to_known_users = train.where(users[train.user] & ~items[train.item])
    if len(to_known_users):
        params, data = fold_in_items(model, params, data, frame(to_known_users), **common)
        items = _known(data.item_ids, dataset.item_ids)
    user_ids = data.user_ids.cast(pl.String)
    to_known_items = train.where(~users[train.user] & items[train.item])
    # Nothing is negative for a user who has met all that is known.
    all_of_it = to_known_items.degrees(dataset.num_users) >= data.num_items
    to_known_items = to_known_items.where(~all_of_it[to_known_items.user])
    if len(to_known_items):
        people = fold_in(model, params, data, frame(to_known_items), **common)
        params, user_ids = people.params, pl.concat([user_ids, people.ids.cast(pl.String).alias(user_ids.name)])
    return params, user_ids, data.item_ids.cast(pl.String)


def _placed(
    params: Params, user_ids: pl.Series, item_ids: pl.Series, model: Model, dataset: Dataset, run: Run
) -> dict[str, Any]:
    """Return parameters with the rows of the data set's users and items, at random where there are none."""
    fresh = model.init(key_of(run.seed, 0), dataset.num_users, dataset.num_items)
    rows = {
        "user": IdIndex(user_ids).find(dataset.user_ids.cast(pl.String)),
        "item": IdIndex(item_ids).find(dataset.item_ids.cast(pl.String)),
    }
    result: dict[str, Any] = {}
    for name, array in fresh.items():
        if (axis := model.axis_of(name)) == "shared":
            result[name] = np.asarray(params[name])
        else:
            is_there = (rows[axis] != UNKNOWN).reshape(-1, *[1] * (array.ndim - 1))
            result[name] = np.where(is_there, np.asarray(params[name])[rows[axis]], np.asarray(array))
    return result


def _describe(
    origin: Origin, users: np.ndarray, items: np.ndarray, extended: tuple[Params, pl.Series, pl.Series]
) -> str:
    """Return a line on what is taken over."""
    parts, (_, *ids) = [], extended
    before = origin.dataset.num_users, origin.dataset.num_items
    for what, known, after, trained in zip(("users", "items"), (users, items), ids, before, strict=True):
        folded = len(after) - trained
        parts.append(f"{known.sum():,} of {len(known):,} {what}, and {folded:,} folded in")
    return f"starts from {origin.folder}: {'; '.join(parts)}"
