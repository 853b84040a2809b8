"""Losses written from ``Model.pair`` alone, each pair by itself: what the losses of batches are compared with."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.losses import LossParams
from hlr_jax.types import Neighbors, Padded

MARGIN, TEMPERATURE = 0.7, 0.5
LOSS_PARAMS = LossParams(jnp.float32(MARGIN), jnp.float32(TEMPERATURE))


class Pair(NamedTuple):
    """A user and an item, with the neighbors that they are read with."""

    user: int
    item: int
    history: tuple[int, ...] = ()
    users: tuple[int, ...] = ()


class Measured(NamedTuple):
    """A positive and its negatives, and the log of how often each negative is expected."""

    positive: Pair
    negatives: list[Pair]
    log_expected: list[float] | None = None


def outputs_of(model, params, pairs):
    """Return the ``PairOutput`` of pairs [P, ...]; what the model derives stands in ``params`` already."""
    axes = {"user": "user", "item": "item"} | {spec.name: spec.axis for spec in model.arrays}
    histories, item_users = (_padded([pair[side] for pair in pairs]) for side in (2, 3))

    def output(user, item, history, users):
        ids = {"user": user, "item": item}
        own = {name: array[ids[axes[name]]] if axes.get(name) in ids else array for name, array in params.items()}
        (items, item_mask), (users, user_mask) = history, users
        near = Neighbors(Padded(params["item"][items], item_mask), Padded(params["user"][users], user_mask))
        return model.pair(own, own["user"], own["item"], near)

    users, items = (jnp.array([pair[side] for pair in pairs]) for side in (0, 1))
    return jax.vmap(output)(users, items, histories, item_users)


def plain_loss(model, params, objective, examples):
    """Return the sum of the losses of positives and their distances [E]: the equations of an objective written out."""
    pairs = sorted({pair for example in examples for pair in (example.positive, *example.negatives)})
    number = {pair: place for place, pair in enumerate(pairs)}
    positives = np.array([number[example.positive] for example in examples])
    negatives, real = _padded([[number[pair] for pair in example.negatives] for example in examples])
    outputs = outputs_of(model, params, pairs)
    positive = -outputs.score[positives]
    if model.share_relation:
        # All distances of a triplet are from where the relation of its positive moves the user.
        users, items = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
        moved = params["user"][users[positives]] + outputs.relation[positives]
        others = jnp.sum((moved[:, None] - params["item"][items[negatives]]) ** 2, axis=-1)
    else:
        others = -outputs.score[negatives]
    if objective == "hinge_hardest":
        losses = jax.nn.relu(MARGIN + positive - jnp.where(real, others, jnp.inf).min(axis=1))
    elif objective == "hinge_mean":
        hinges = jnp.where(real, jax.nn.relu(MARGIN + positive[:, None] - others), 0)
        losses = hinges.sum(axis=1) / real.sum(axis=1)
    else:
        logits = -others / TEMPERATURE
        if objective == "sampled_softmax":
            logits -= _padded([example.log_expected for example in examples], float)[0]
        own = -positive / TEMPERATURE
        losses = jnp.log(jnp.exp(own) + jnp.where(real, jnp.exp(logits), 0).sum(axis=1)) - own
    return losses.sum(), positive


def _padded(rows, kind=int):
    """Return rows of numbers as an array, filled up with zeros, and what of it is real."""
    width = max(map(len, rows))
    filled = np.zeros((len(rows), width), kind)
    for row, place in zip(rows, filled, strict=True):
        place[: len(row)] = row
    return filled, np.arange(width) < np.array([*map(len, rows)])[:, None]
