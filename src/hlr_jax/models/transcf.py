"""TransCF: collaborative translational metric learning (Park et al. 2018)."""

import jax
import jax.numpy as jnp

from hlr_jax.kernels.distance import squared_distance
from hlr_jax.kernels.row_means import row_means
from hlr_jax.models.base import ArraySpec, Model, ball_projection, tables
from hlr_jax.models.options import TransCFOptions, with_options
from hlr_jax.types import CSR, Neighbors, PairOutput, Params


@with_options(TransCFOptions)
def transcf(options: TransCFOptions) -> Model:
    """Score a pair by -|p_u + r_uv - q_v|^2 with r_uv = a_u * b_v, element by element (Park et al. 2018, section III).

    a_u is the mean vector of all training items of u, and b_v the mean vector of all training users of v. Means use
    the current vectors, and no gradient flows through them, as in the released code.

    The loss of a triplet has two additional regularizers. ``neighborhood_weight`` times |p_u - a_u|^2 + |q_v - b_v|^2
    (positive and negatives) pulls a vector to the mean of its neighbors. The other is ``distance_weight`` times the
    positive's squared distance.
    """

    def derived(params: Params, user_items: CSR, item_users: CSR, users: jax.Array, items: jax.Array) -> Params:
        user, item = (jax.lax.stop_gradient(params[name]) for name in ("user", "item"))
        return {"user_mean": row_means(item, user_items, users), "item_mean": row_means(user, item_users, items)}

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        del neighbors
        relation = params["user_mean"] * params["item_mean"]
        score = -squared_distance(user + relation, item)
        # A mean weights all neighbors equally, so there are no weights to explain a pair with.
        return PairOutput(score, relation, jnp.zeros((1, 0), user.dtype), jnp.ones((1,), user.dtype))

    def catalogue(params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
        del neighbors
        return -squared_distance(user + params["user_mean"] * params["item_mean"], items)

    def penalty(
        params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors, distances: jax.Array
    ) -> jax.Array:
        del neighbors
        deviation = squared_distance(user, params["user_mean"]) + squared_distance(items, params["item_mean"]).sum()
        return options.neighborhood_weight * deviation + options.distance_weight * distances[0]

    arrays = (
        ArraySpec("user_mean", "user", "mean vector of each user's items"),
        ArraySpec("item_mean", "item", "mean vector of each item's users"),
    )
    # a_u * b_v: D; a distance with relation: 4D.
    flops = 5 * options.embed_dim, 5 * options.embed_dim
    return Model(
        "transcf", tables(options.embed_dim), pair, ball_projection(options), catalogue,
        penalty=penalty, derived=derived, label="TransCF", arrays=arrays, flops=flops,
    )  # fmt: skip
