"""AdaCML: adaptive user representations from the history (Zhang et al. 2019)."""

import jax
import jax.numpy as jnp

from hlr_jax.kernels.distance import squared_distance
from hlr_jax.models.base import Model, ball_projection, tables
from hlr_jax.models.options import AdaCMLOptions, with_options
from hlr_jax.types import Neighbors, NeighborSpec, PairOutput, Params


@with_options(AdaCMLOptions)
def adacml(options: AdaCMLOptions) -> Model:
    """Score a pair by -|p_u + r_uv - q_v|^2, where r_uv = sum_j softmax_j(q_v . q_j) q_j over the user's history.

    In training, the authors' released code masks one padding position wrongly. This is not reproduced.
    """

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        del params
        history = neighbors.items
        weights = jax.nn.softmax(history.vectors @ item, where=history.mask)
        relation = weights @ history.vectors
        memory_weights = jnp.zeros((weights.shape[0], 0), user.dtype)
        return PairOutput(-squared_distance(user + relation, item), relation, memory_weights, weights)

    def catalogue(params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
        del params
        history = neighbors.items
        weights = jax.nn.softmax(items @ history.vectors.T, where=history.mask)
        return -squared_distance(user + weights @ history.vectors, items)

    history = NeighborSpec(options.max_history, options.history_sampling)
    # Logits: 2HD; softmax: 4H; relation: 2HD; distance: 4D.
    pair_flops = 4 * (options.max_history * options.embed_dim + options.max_history + options.embed_dim)
    return Model(
        "adacml", tables(options.embed_dim), pair, ball_projection(options), catalogue, history,
        label="AdaCML", flops=(pair_flops, pair_flops),
    )  # fmt: skip
