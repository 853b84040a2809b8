"""TransCF: collaborative translational metric learning (Park et al. 2018)."""

import jax
import jax.numpy as jnp

from hlr_jax.errors import check_range
from hlr_jax.kernels.distance import squared_distance
from hlr_jax.models.base import Model, ball_projection, tables
from hlr_jax.types import Neighbors, NeighborSpec, Padded, PairOutput, Params


def _mean(neighbors: Padded) -> jax.Array:
    """Return the one vector [D] of a neighborhood's mean; zero for an empty neighborhood."""
    return jnp.where(neighbors.mask[..., 0, None], neighbors.vectors[..., 0, :], 0.0)


def transcf(
    *, embed_dim: int = 100, neighborhood_weight: float = 0.1, distance_weight: float = 0.1, refresh: int = 1
) -> Model:
    """Score a pair by -|p_u + r_uv - q_v|^2 with r_uv = a_u * b_v, element by element (Park et al. 2018, section III).

    a_u is the mean of the vectors of all items that u met, b_v the mean of the vectors of all users who met v, both in
    training. Means are taken from the present vectors and no gradient flows through them, as in the released code.

    The loss of a triplet gains two regularisers: ``neighborhood_weight`` times |p_u - a_u|^2 + |q_v - b_v|^2
    (positive
    and negatives), which pulls a vector to the mean of its neighbors, and ``distance_weight`` times the positive's
    squared distance.

    Args:
      embed_dim: D.
      neighborhood_weight: of the first regulariser.
      distance_weight: of the second.
      refresh: training steps between two computations of the means; 1: exact at every step.

    Raises:
      InputError: a value out of range.
    """
    check_range("model", refresh=(refresh, 1, 10**6))
    check_range(
        "model", neighborhood_weight=(neighborhood_weight, 0.0, 1e6), distance_weight=(distance_weight, 0.0, 1e6)
    )

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        del params
        relation = _mean(neighbors.items) * _mean(neighbors.users)
        score = -squared_distance(user + relation, item)
        # A mean over all neighbors weighs none of them: there is nothing to explain a pair with.
        return PairOutput(score, relation, jnp.zeros((1, 0), user.dtype), jnp.ones((1,), user.dtype))

    def catalogue(params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
        del params
        return -squared_distance(user + _mean(neighbors.items) * _mean(neighbors.users), items)

    def penalty(user: jax.Array, items: jax.Array, neighbors: Neighbors, distances: jax.Array) -> jax.Array:
        strayed = squared_distance(user, _mean(neighbors.items)) + squared_distance(items, _mean(neighbors.users)).sum()
        return neighborhood_weight * strayed + distance_weight * distances[0]

    means = NeighborSpec(1, "mean", refresh)
    return Model("transcf", tables(embed_dim), pair, ball_projection(), catalogue, means, means, penalty=penalty)
