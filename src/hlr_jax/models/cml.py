"""CML: collaborative metric learning (Hsieh et al. 2017; HLR paper, eq. 1)."""

import jax
import jax.numpy as jnp

from hlr_jax.kernels.distance import squared_distance, squared_distances
from hlr_jax.models.base import Model, ball_projection, tables
from hlr_jax.models.options import CMLOptions, with_options
from hlr_jax.types import Neighbors, PairOutput, Params


@with_options(CMLOptions)
def cml(options: CMLOptions) -> Model:
    """Score a pair by -|p_u - q_v|^2: users and items are points, and nothing stands between them."""

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        del params, neighbors
        nothing = jnp.zeros((0,), user.dtype)
        return PairOutput(-squared_distance(user, item), jnp.zeros_like(user), nothing[None], nothing)

    def catalogue(params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
        del params, neighbors
        return -squared_distances(user, items)

    # A pair: 3D; in a catalogue q_v . q_v and p_u . q_v: 4D.
    flops = 3 * options.embed_dim, 4 * options.embed_dim
    return Model("cml", tables(options.embed_dim), pair, ball_projection(), catalogue, label="CML", flops=flops)
