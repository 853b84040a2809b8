"""What a model's attentions do on a sample of interactions: the arrays that every analysis here starts from."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.data.dataset import SPLITS, Dataset
from hlr_jax.data.neighbor_sampling import NeighborIds, NeighborSources, draw_neighbors, neighbor_sources
from hlr_jax.errors import InputError, check_range, check_seed, pick
from hlr_jax.models.base import Model
from hlr_jax.scoring import pair_params, with_derived
from hlr_jax.types import Neighbors, Params

_AT_ONCE = 128  # interactions computed together: bounds the memory, H x N weights each


class Attended(NamedTuple):
    """A sample of B interactions and what the model makes of each.

    Attributes:
      user, item: [B] codes.
      neighbors: [B, H] codes of the items of the user that the pair is seen with, the item itself left out.
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
    model: Model, params: Params, dataset: Dataset, *, split: str = "train", interactions: int = 2000, seed: int = 0
) -> Attended:
    """Return the attentions and relations of interactions drawn from a split, all of it if it has no more.

    Neighbors are drawn as in training, from the user's items in train and, outside train, in validation too.

    Args:
      model: any; one without history or memories has H = 0 or N = 0.
      params: its parameters.
      dataset: the data set that it was trained on.
      split: ``train``, ``valid`` or ``test``.
      interactions: how many are drawn, without replacement.
      seed: of the draw of interactions and of their neighbors.

    Raises:
      InputError: a setting out of range, or an empty split.
    """
    check_range("analysis", interactions=(interactions, 1, 10**7))
    check_seed("analysis.seed", seed)
    pairs = getattr(dataset, pick(split, SPLITS, "split"))
    if not len(pairs):
        raise InputError(f"{dataset.name}: no {split} interactions to look at; name another split")
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(pairs))[:interactions])
    user, item = pairs.user[chosen], pairs.item[chosen]
    near = dataset.train if split == "train" else dataset.train + dataset.valid
    sizes = dataset.num_users, dataset.num_items
    sources = neighbor_sources(near, *sizes, model.history, model.item_users, model.derived is not None)
    drawn, *outputs = jax.device_get(
        _attender(model)(params, sources, jax.random.key(seed), jnp.asarray(user), jnp.asarray(item))
    )
    length = model.history.size  # HLR's variant `reference` has the user's own vector behind the neighbors
    memory_weights, neighbor_weights, relation = outputs
    return Attended(
        user, item, drawn.ids[:, :length], drawn.mask[:, :length], memory_weights[:, :length],
        neighbor_weights[:, :length], relation,
    )  # fmt: skip


@lru_cache(maxsize=8)
def _attender(model: Model) -> Callable[..., tuple[NeighborIds, jax.Array, jax.Array, jax.Array]]:
    """Return the compiled function behind ``attend``; one per model, so that several analyses share it."""

    @jax.jit
    def attended(
        params: Params, sources: NeighborSources, key: jax.Array, user: jax.Array, item: jax.Array
    ) -> tuple[NeighborIds, jax.Array, jax.Array, jax.Array]:
        everything = with_derived(model, params, sources)

        def attend_pair(
            pair: tuple[jax.Array, jax.Array, jax.Array],
        ) -> tuple[NeighborIds, jax.Array, jax.Array, jax.Array]:
            number, u, v = pair
            words = sources.history.num_bits
            bits = jax.random.bits(jax.random.fold_in(key, number), (words + sources.item_users.num_bits,))
            history = draw_neighbors(bits[:words], sources.history, u, v)
            item_users = draw_neighbors(bits[words:], sources.item_users, v, u)
            neighbors = Neighbors(history.vectors(params["item"]), item_users.vectors(params["user"]))
            user, candidate = model.rows(everything, "user", u), model.rows(everything, "item", v)
            given = pair_params(model, params, user, candidate)
            output = model.pair(given, user["user"], candidate["item"], neighbors)
            return history, output.memory_weights, output.neighbor_weights, output.relation

        tiles = -(-len(user) // _AT_ONCE)

        def tiled(array: jax.Array) -> jax.Array:
            return jnp.pad(array, (0, tiles * _AT_ONCE - len(array))).reshape(tiles, _AT_ONCE)

        outputs = jax.lax.map(jax.vmap(attend_pair), (tiled(jnp.arange(len(user))), tiled(user), tiled(item)))
        return jax.tree.map(lambda array: array.reshape(tiles * _AT_ONCE, *array.shape[2:])[: len(user)], outputs)

    return attended


def check_keys(model: Model, params: Params) -> None:
    """Check that pairs of items address keys in this model.

    Raises:
      InputError: they do not.
    """
    if "keys" not in params or not model.history.size:
        raise InputError(f"pairs of items address no keys in model {model.name}; look at hlr or hlrpp")
