"""Warm start: a training that starts from a finished run, on data that may have grown since.

Rows of the tables are matched by the original ids of users and items. New items are folded in from their known users,
then new users from their known items (``serving.fold_in``). Users and items without known interactions start at random,
as without a warm start. The state of the optimizer is not taken over.
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
      dataset: its data set.
      members: the parameters of each of its seeds, on one device.
      training: the settings of each seed, at the temperature that was kept.
      digest: a hash of the parameters.
    """

    folder: Path
    dataset: Dataset
    members: list[Params]
    training: list[TrainOptions]
    digest: str


def check_origin(folder: Path, model: Model, workdir: str | Path | None) -> bool:
    """Check that a training may start from the run in a folder; return whether it needs the run.

    A training with a checkpoint resumes from that, even if the folder is gone.

    Raises:
      InputError: no finished run in the folder, or a run of another model.
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
    """Check that the run in a folder has this model, with any kernel.

    Raises:
      InputError: it has another name or option; names the option.
    """
    options = dict(there)
    name = options.pop("name", None)
    if name != model.name:
        raise InputError(f"train.start={folder} is a run of model {name}, but the model is {model.name}")
    options.pop("kernel", None)
    existing = dict(create_model(name, **options).options)
    for option, value in model.options:
        if option != "kernel" and existing.get(option) != value:
            raise InputError(
                f"train.start={folder} is a run with model.{option}={existing.get(option)!r}, but the model has "
                f"{value!r}; set the same value, or train.start=random"
            )


def warm_params(
    origin: Origin, model: Model, dataset: Dataset, runs: Sequence[Run], log: Callable[[str], None] = print
) -> Params:
    """Return the parameters [S, ...] that runs start from.

    Seed i of the runs starts from seed i of the origin, or from its first seed if the origin has fewer seeds. Runs of
    one seed with different temperatures start equally.

    Args:
      origin: from ``read_origin``.
      model: the model to train.
      dataset: the data set to train on.
      runs: S runs.
      log: receives a log line.
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
    """Return which of the ids ``here`` are also in ``there``."""
    return IdIndex(there).find(here.cast(pl.String)) != UNKNOWN


def _extended(
    origin: Origin, member: int, model: Model, dataset: Dataset, users: np.ndarray, items: np.ndarray
) -> tuple[Params, pl.Series, pl.Series]:
    """Return a seed's parameters with rows for new users and items, and the ids of users and items of these rows.

    ``users`` and ``items`` mark those of the data set that the origin has.
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
    # A user with all known items has no negatives.
    all_of_it = to_known_items.degrees(dataset.num_users) >= data.num_items
    to_known_items = to_known_items.where(~all_of_it[to_known_items.user])
    if len(to_known_items):
        new_users = fold_in(model, params, data, frame(to_known_items), **common)
        params, user_ids = new_users.params, pl.concat([user_ids, new_users.ids.cast(pl.String).alias(user_ids.name)])
    return params, user_ids, data.item_ids.cast(pl.String)


def _placed(
    params: Params, user_ids: pl.Series, item_ids: pl.Series, model: Model, dataset: Dataset, run: Run
) -> dict[str, Any]:
    """Return parameters with the rows of the data set's users and items; rows that are missing are random."""
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
    """Return a log line on the rows that are reused."""
    parts, (_, *ids) = [], extended
    before = origin.dataset.num_users, origin.dataset.num_items
    for what, known, after, trained in zip(("users", "items"), (users, items), ids, before, strict=True):
        folded = len(after) - trained
        parts.append(f"{known.sum():,} of {len(known):,} {what}, and {folded:,} folded in")
    return f"starts from {origin.folder}: {'; '.join(parts)}"
