"""Detects collapsed attention: the entropies and the spread of a model's memories after each epoch.

A relation is the same for all pairs if the memories are one point, or if all have the same weight. An attention with
equal weights for all items of a history is a plain mean. The loss shows none of this.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborSources
from hlr_jax.kernels.distance import squared_distance
from hlr_jax.models.base import Model
from hlr_jax.models.memories import MEMORY_ARRAYS
from hlr_jax.scoring import interaction_output, with_derived
from hlr_jax.training.history import Record
from hlr_jax.types import Params

PAIRS = 256  # training interactions in the sample
_AT_ONCE = 32  # pairs computed together: bounds the memory
# Users and items are in balls of radius 1 by default. So the squared distance of a pair differs by less than 0.004
# between any two memories of such a set.
ONE_POINT = 1e-3  # mean distance of two memories
# Ten weights with this entropy differ from 1/10 by 7 % of it (root mean square), four from 1/4 by 5 %.
UNIFORM = 0.999  # mean entropy, of 1


@struct.dataclass
class AttentionSample:
    """Interactions ``user`` and ``item`` [256] on which attentions are measured, the same at every epoch."""

    user: jax.Array
    item: jax.Array

    @classmethod
    def of(cls, train: Interactions) -> "AttentionSample":
        """Return the sample. Sampling with replacement gives one size, however few interactions there are."""
        chosen = np.random.default_rng(0).integers(len(train), size=PAIRS)
        return cls(jnp.asarray(train.user[chosen], jnp.int32), jnp.asarray(train.item[chosen], jnp.int32))


def has_memories(model: Model) -> bool:
    """Return whether a model attends over two memories or more."""
    if not set(MEMORY_ARRAYS) <= set(model.arrays):
        return False
    return len(jax.eval_shape(lambda: model.init(jax.random.key(0), 1, 1))["memories"]) > 1


def attention_figures(
    model: Model, sources: NeighborSources, sample: AttentionSample, params: Params
) -> dict[str, jax.Array]:
    """Return the values [] of ``history.ATTENTION``; NaN where no pair of the sample has one.

    Each pair has a history as sampled in training, without the item itself. Entropies are divided by that of uniform
    weights, as in ``analysis.keys.attention_summary``.

    Args:
      model: one that ``has_memories``.
      sources: what neighbors are sampled from in training.
      sample: pairs of users and their items.
      params: of one run.
    """
    everything, key = with_derived(model, params, sources), jax.random.key(0)

    def of_pair(pair: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        history, output = interaction_output(model, everything, sources, key, *pair)
        weights = output.memory_weights
        # LRML has one relation and no history. HLR may append the user's own vector to the history; it is not an item.
        mask = history.mask if model.history.size else jnp.ones(len(weights), bool)
        alpha = jnp.where(mask, output.neighbor_weights[: len(mask)], 0)
        keys = _entropy(weights[: len(mask)], jnp.float32(weights.shape[1]))
        count = mask.sum()
        return jnp.sum(jnp.where(mask, keys, 0)), count, jnp.where(count > 1, _entropy(alpha, count), 0), count > 1

    pairs = jnp.arange(PAIRS), sample.user, sample.item
    tiles = jax.tree.map(lambda array: array.reshape(-1, _AT_ONCE), pairs)
    by_key, met, by_neighbor, several = (part.sum() for part in jax.lax.map(jax.vmap(of_pair), tiles))
    memories = params["memories"]
    distances = jnp.sqrt(squared_distance(memories[:, None], memories))
    others = len(memories) * (len(memories) - 1)
    values = {"memory_entropy": by_key / met, "memory_distance": distances.sum() / others}
    return values | ({"neighbor_entropy": by_neighbor / several} if model.history.size else {})


def _entropy(weights: jax.Array, count: jax.Array) -> jax.Array:
    """Return the entropy of weights [..., n] over that of ``count`` uniform weights, at least 2: [...]."""
    shares = weights / jnp.maximum(weights.sum(axis=-1, keepdims=True), jnp.finfo(weights.dtype).tiny)
    return jax.scipy.special.entr(shares).sum(axis=-1) / jnp.log(jnp.maximum(count, 2).astype(weights.dtype))


class _Collapse(NamedTuple):
    """A key of a record, which of its values show a collapse, and the warning, with the format of its values."""

    key: str
    is_seen: Callable[[float], bool]
    line: str
    form: str


_COLLAPSES = (
    _Collapse(
        "memory_distance", lambda distance: distance < ONE_POINT,
        "the memories are one point (mean distance {}): the relation is the same for all pairs", ".1g",
    ),
    _Collapse(
        "memory_entropy", lambda entropy: entropy > UNIFORM,
        "all memories have the same weight (entropy {} of 1): the relation is their mean for all pairs", ".4f",
    ),
    _Collapse(
        "neighbor_entropy", lambda entropy: entropy > UNIFORM,
        "the attention over the history is uniform (entropy {} of 1): all items of it have the same weight", ".4f",
    ),
)  # fmt: skip


class CollapseWatch:
    """Reports once for each run that its memories have become one point, and once that an attention is uniform."""

    def __init__(self, several: bool):
        """Begin with nothing reported; ``several``: name the runs in each line."""
        self._several, self._told = several, set[tuple[str, str]]()

    def lines(self, records: Sequence[Record]) -> list[str]:
        """Return a line for each collapse that first appears in the records of an epoch.

        Epoch 0 is not trained: a start may have memories that are all 0.
        """
        told = []
        for key, is_seen, line, form in _COLLAPSES:
            shown = {record["run"]: record[key] for record in records if record["epoch"] and key in record}
            new = {run: x for run, x in shown.items() if is_seen(x) and (run, key) not in self._told}
            if new:
                self._told |= {(run, key) for run in new}
                runs = f", {' and '.join(new)}" if self._several else ""
                ends = dict.fromkeys(format(end(new.values()), form) for end in (min, max))
                told.append(f"epoch {records[0]['epoch']}{runs}: {line.format(' to '.join(ends))}")
        return told
