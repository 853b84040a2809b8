"""AdaCML: adaptive user representations from the history (Zhang et al. 2019)."""

import jax
import jax.numpy as jnp

from hlr_jax.kernels.distance import squared_distance
from hlr_jax.models.base import Model, attention_spec, ball_projection, tables
from hlr_jax.types import Neighbors, PairOutput, Params


def adacml(*, embed_dim: int = 100, max_history: int = 50, history_sampling: str = "uniform") -> Model:
    """Score a pair by -|p_u + r_uv - q_v|^2, where r_uv = sum_j softmax_j(q_v . q_j) q_j over the user's history.

    The authors' released code masks one padding slot wrongly in training; that is not reproduced.

    Args:
      embed_dim: D.
      max_history: H, the most items of the user that the attention reads; more are sampled anew at each visit.
      history_sampling: ``uniform`` or ``inverse_popularity``, both without replacement.
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

    history = attention_spec("history", max_history, history_sampling)
    # Logits: 2HD; softmax: 4H; relation: 2HD; distance: 4D.
    pair_flops = 4 * max_history * embed_dim + 4 * max_history + 4 * embed_dim
    return Model(
        "adacml", tables(embed_dim), pair, ball_projection(), catalogue, history,
        label="AdaCML", flops=(pair_flops, pair_flops),
    )  # fmt: skip
