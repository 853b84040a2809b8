"""The attention weights of a model on a sample of interactions, and its pairs of items: the input of every analysis."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.encoding import SPLITS
from hlr_jax.data.neighbor_sampling import NeighborSources
from hlr_jax.errors import InputError, check_range, check_seed, pick
from hlr_jax.models.base import Model
from hlr_jax.parameters import check_params
from hlr_jax.scoring import interaction_output, neighbor_sources, with_derived
from hlr_jax.types import Params

_TOP_SHARE = 0.05
_AT_ONCE = 128  # interactions computed together: bounds the memory, H x N weights each


class Attended(NamedTuple):
    """A sample of B interactions with the attention weights and relation of each.

    Attributes:
      user, item: [B] codes.
      neighbors: [B, H] codes of the sampled items of the user, without the item itself.
      mask: [B, H], true for real neighbors.
      memory_weights: [B, H, N], the first attention (eq. 3).
      neighbor_weights: [B, H], the second (eq. 5).
      relation: [B, D], r_uv.
    """

    user: np.ndarray
    item: np.ndarray
    neighbors: np.ndarray
    mask: np.ndarray
    memory_weights: np.ndarray
    neighbor_weights: np.ndarray
    relation: np.ndarray


def attend(
    model: Model, params: Params, dataset: Dataset, *, split: str = "train", interactions: int = 2000, seed: int = 0,
    sources: NeighborSources | None = None,
) -> Attended:  # fmt: skip
    """Return the attentions and relations of interactions that are sampled without replacement from a split.

    Neighbors are sampled as in training, from the user's items in train and, outside train, in validation too.

    Args:
      model: any model; without a history H = 0, and without memories N = 0.
      params: its parameters.
      dataset: the data set that it was trained on.
      split: ``train``, ``valid`` or ``test``.
      interactions: the size of the sample; all of the split, if it has fewer.
      seed: of the sample of interactions and of their neighbors.
      sources: the result of ``attention_sources``, to share it between calls; None: it is computed.

    Raises:
      InputError: a setting is out of range, the split is empty, or the parameters are of another model or data set.
    """
    check_range("analysis", interactions=(interactions, 1, 10**7))
    check_seed("analysis.seed", seed)
    pairs = getattr(dataset, pick(split, SPLITS, "split"))
    if not len(pairs):
        raise InputError(f"{dataset.name}: no {split} interactions to analyze; choose another split")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(pairs))[:interactions])
    user, item = pairs.user[chosen], pairs.item[chosen]
    check_params(model, params, dataset.num_users, dataset.num_items)
    sources = attention_sources(model, dataset, split) if sources is None else sources
    attended = _attend(model, params, sources, jax.random.key(seed), jnp.asarray(user), jnp.asarray(item))
    return Attended(user, item, *jax.device_get(attended))


def attention_sources(model: Model, dataset: Dataset, split: str = "train") -> NeighborSources:
    """Return the interactions that the neighbors of a split's interactions are sampled from."""
    near = dataset.train if split == "train" else dataset.known
    return neighbor_sources(model, near, (dataset.num_users, dataset.num_items))


@partial(jax.jit, static_argnames="model")
def _attend(
    model: Model, params: Params, sources: NeighborSources, key: jax.Array, user: jax.Array, item: jax.Array
) -> tuple[jax.Array, ...]:
    """Return the fields of ``Attended`` after the first two."""
    everything = with_derived(model, params, sources)
    length = sources.history.spec.size  # HLR's variant `reference` appends the user's own vector to the neighbors

    def attend_pair(pair: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        history, output = interaction_output(model, everything, sources, key, *pair)
        by_neighbor = history.ids, history.mask, output.memory_weights, output.neighbor_weights
        return *(array[:length] for array in by_neighbor), output.relation

    # Not ``lax.map(batch_size=...)``: it fails on empty outputs, those of models without history or memory.
    pairs = (jnp.arange(len(user)), user, item)
    tiles = tuple(jnp.pad(array, (0, -len(user) % _AT_ONCE)).reshape(-1, _AT_ONCE) for array in pairs)
    return tuple(jax.lax.collapse(array, 0, 2)[: len(user)] for array in jax.lax.map(jax.vmap(attend_pair), tiles))


def check_keys(model: Model, params: Params) -> None:
    """Check that a model has keys that pairs of items address.

    Raises:
      InputError: it has none.
    """
    if "keys" not in params or not model.history.size:
        raise InputError(f"pairs of items address no keys in model {model.name}; look at hlr or hlrpp")


class ItemPairs(NamedTuple):
    """The distinct pairs of items (candidate, neighbor) of a sample of interactions, which address the memory keys.

    The memory weights (eq. 2-3) of a candidate v and a neighbor j are a softmax over q_v * q_j . k_n. They do not
    depend on the user, and they are symmetric in v and j, so the pairs are unordered.

    Attributes:
      first, second: [P] codes, ``first`` below ``second``.
      times: [P], the number of interactions of the sample with the pair.
      weights: [P, N], the memory weights, which are the same in all of these.
    """

    first: np.ndarray
    second: np.ndarray
    times: np.ndarray
    weights: np.ndarray


def pair_weights(sample: Attended) -> np.ndarray:
    """Return the memory weights [M, N] of all pairs of items in a sample, as often as they occur.

    Raises:
      InputError: the model has no keys for pairs of items, or no user has a second item.
    """
    if not sample.memory_weights.size:
        raise InputError("pairs of items address no keys in the model of this sample; look at hlr or hlrpp")
    if not sample.mask.any():
        raise InputError("no user of the sample has a second item, so no pair of items addresses a key")
    return sample.memory_weights[sample.mask]


def item_pairs(sample: Attended) -> ItemPairs:
    """Return the distinct pairs of items in a sample, by their codes; see ``pair_weights`` for errors."""
    weights = pair_weights(sample)
    candidate = np.broadcast_to(sample.item[:, None], sample.mask.shape)[sample.mask].astype(np.int64)
    neighbor = sample.neighbors[sample.mask].astype(np.int64)
    low, high = np.minimum(candidate, neighbor), np.maximum(candidate, neighbor)
    base = int(high.max(initial=0)) + 1
    pairs, where, times = np.unique(low * base + high, return_index=True, return_counts=True)
    return ItemPairs(pairs // base, pairs % base, times, weights[where])


def top_pairs(pairs: ItemPairs, share: float = _TOP_SHARE) -> np.ndarray:
    """Return the places [N, T] of the pairs with the largest weight on each key: a ``share`` of all, at least one."""
    count = min(len(pairs.first), max(1, round(share * len(pairs.first))))
    return np.argsort(-pairs.weights, axis=0, kind="stable")[:count].T
