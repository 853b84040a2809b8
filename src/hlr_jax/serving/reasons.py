"""The reasons of pairs of users and items as arrays, computed for many users at once."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.data.neighbor_sampling import NeighborSources
from hlr_jax.errors import InputError
from hlr_jax.kernels.distance import squared_distance
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import ranking_item_users, ranking_neighbors
from hlr_jax.scoring import pair_params, with_derived
from hlr_jax.serving.population import Population
from hlr_jax.types import Neighbors, Padded, Params

_BLOCK = 256  # users that are explained by one call of the compiled function


class Reasons(NamedTuple):
    """Why each of T items for each of some users; the J items of the history with the largest weights.

    Attributes:
      neighbors: [users, T, J] the items, -1 where a history has fewer.
      weights: [users, T, J] alpha, the largest first.
      keys: [users, T, J] the key that neighbor and item address most; of a model without memories -1.
      key_weights: [users, T, J] how much they address it: the largest of the memory weights.
      length: [users, T] items of the history that were read.
      key: [users, T] the key with the largest weight w[n] = sum_h alpha[h] a[h, n] in the relation, -1 for none.
      key_weight: [users, T] that w[n].
      before: [users, T] |p_u - q_v|^2.
      after: [users, T] |p_u + r_uv - q_v|^2, the negative score.
    """

    neighbors: np.ndarray
    weights: np.ndarray
    keys: np.ndarray
    key_weights: np.ndarray
    length: np.ndarray
    key: np.ndarray
    key_weight: np.ndarray
    before: np.ndarray
    after: np.ndarray


def check_reasons(model: Model) -> None:
    """Check that a model attends over items of the user.

    Raises:
      InputError: it does not.
    """
    if not model.history.size:
        raise InputError(f"model {model.name} attends over no history, so it gives no reasons")


def reasons_of(
    model: Model, population: Population, rows: np.ndarray, items: np.ndarray, most: int, seed: int
) -> Reasons:
    """Return why ``items`` [users, T] (codes) for the users in ``rows`` [users], with at most ``most`` neighbors each.

    ``seed`` is that of the lists: it draws the same histories.

    Raises:
      InputError: a model without history.
    """
    check_reasons(model)
    program = _reasoner(model, min(most, model.history.size))
    params = population.params
    blocks = []
    for start in range(0, len(rows), _BLOCK):
        users, targets = rows[start : start + _BLOCK], items[start : start + _BLOCK]
        missing = (_BLOCK if len(rows) > _BLOCK else len(rows)) - len(users)
        padded = np.pad(users, (0, missing), mode="edge"), np.pad(targets, ((0, missing), (0, 0)), mode="edge")
        block = program(params, population.sources, jax.random.key(seed), *(jnp.asarray(p, jnp.int32) for p in padded))
        blocks.append(tuple(np.asarray(array)[: len(users)] for array in block))
    return Reasons(*map(np.concatenate, zip(*blocks, strict=True)))


@lru_cache(maxsize=32)
def _reasoner(model: Model, most: int) -> Callable[..., tuple]:
    """Return the compiled function from users [b] and items [b, T] to the fields of their reasons."""

    @jax.jit
    def reasons(params: Params, sources: NeighborSources, key: jax.Array, users: jax.Array, items: jax.Array) -> tuple:
        everything = with_derived(model, params, sources)

        def of_user(inputs: tuple[jax.Array, jax.Array]) -> tuple:
            user, targets = inputs
            drawn = ranking_neighbors(key, sources.history, user)
            history, row = drawn.vectors(params["item"]), model.rows(everything, "user", user)
            vector = row["user"]
            context = drawn.ids.shape[0]

            def of_item(item: jax.Array, users_of_item: Padded) -> tuple:
                candidate = model.rows(everything, "item", item)
                q, given = candidate["item"], pair_params(model, params, row, candidate)
                output = model.pair(given, vector, q, Neighbors(history, users_of_item))
                # Behind the history may stand the user's own vector, which is no item.
                alpha = jnp.where(drawn.mask, output.neighbor_weights[:context], -1.0)
                best, places = jax.lax.top_k(alpha, most)
                real = best >= 0
                memory_weights = output.memory_weights
                if memory_weights.shape[-1]:
                    item_memory_weights = memory_weights[places]
                    keys, strengths = item_memory_weights.argmax(axis=-1), item_memory_weights.max(axis=-1)
                    mixture = output.neighbor_weights @ memory_weights
                    main, main_weight = mixture.argmax(), mixture.max()
                else:
                    keys, strengths = jnp.full(most, -1), jnp.zeros(most)
                    main, main_weight = jnp.int32(-1), jnp.float32(0)
                return (
                    jnp.where(real, drawn.ids[places], -1), jnp.maximum(best, 0), jnp.where(real, keys, -1), strengths,
                    drawn.mask.sum(), main, main_weight, squared_distance(vector, q),
                    squared_distance(vector + output.relation, q),
                )  # fmt: skip

            item_users = ranking_item_users(key, sources.item_users, targets).vectors(params["user"])
            return jax.vmap(of_item)(targets, item_users)

        return jax.lax.map(of_user, (users, items))

    return reasons
