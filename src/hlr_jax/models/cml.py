"""CML: collaborative metric learning (Hsieh et al. 2017; HLR paper, eq. 1)."""

import jax
import jax.numpy as jnp

from hlr_jax.errors import check_range
from hlr_jax.kernels.distance import project_to_ball, squared_distance
from hlr_jax.models.base import Model, normal_table
from hlr_jax.types import Neighbors, PairOutput, Params


def cml(*, embed_dim: int = 100) -> Model:
    """Score a pair by -|p_u - q_v|^2: users and items are points, and nothing stands between them.

    Args:
      embed_dim: D.
    """
    check_range("model", embed_dim=(embed_dim, 1, 65536))

    def init(key: jax.Array, num_users: int, num_items: int) -> Params:
        user_key, item_key = jax.random.split(key)
        return {
            "user": normal_table(user_key, num_users, embed_dim),
            "item": normal_table(item_key, num_items, embed_dim),
        }

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        del params
        heads = neighbors.mask.shape[0]
        return PairOutput(
            score=-squared_distance(user, item),
            relation=jnp.zeros_like(user),
            memory_weights=jnp.zeros((heads, 0), user.dtype),
            neighbor_weights=jnp.zeros((heads,), user.dtype),
        )

    def project(params: Params) -> Params:
        return {name: project_to_ball(rows) for name, rows in params.items()}

    def catalogue(params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
        del params, neighbors
        return -squared_distance(user, items)

    return Model("cml", init, pair, project, catalogue)
