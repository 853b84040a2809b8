"""MF-ALS: matrix factorization of implicit feedback by alternating least squares (Hu, Koren, Volinsky 2008)."""

import jax
import jax.numpy as jnp

from hlr_jax.models.base import AlternatingLeastSquares, Model, tables
from hlr_jax.models.options import MFALSOptions, with_options
from hlr_jax.types import Neighbors, PairOutput, Params


@with_options(MFALSOptions)
def mf_als(options: MFALSOptions) -> Model:
    """Score a pair by p_u . q_v, learned by alternating least squares instead of triplets.

    The factors minimize the sum of c_uv (x_uv - p_u . q_v)^2 over all pairs, observed or not, plus
    sum lambda_u |p_u|^2 + sum lambda_v |q_v|^2. For an observed pair, x_uv = 1 and c_uv = c; for any other pair,
    x_uv = 0 and c_uv = 1. An epoch is one iteration: first all users, then all items.

    lambda_u = lambda (w_u / mean w)^nu, where w_u = I + (c - 1) |I_u| is the weight of all pairs of user u; the same
    holds for items. This is the frequency scaling of Rendle et al. 2022, |I_u| + alpha_0 I with alpha_0 = 1 / (c - 1).
    It is divided by its mean, so that lambda has the same scale for every nu. It has no effect if nu = 0 or c = 1.
    """
    solver = AlternatingLeastSquares(
        float(options.confidence), float(options.regularization), float(options.frequency_exponent), options.solver,
        options.cg_steps,
    )  # fmt: skip
    return Model(
        "mf_als",
        tables(options.embed_dim),
        _pair,
        _unbounded,
        _catalogue,
        solver=solver,
        label="MF-ALS",
        similarity="cosine",
        flops=(2 * options.embed_dim, 2 * options.embed_dim),
    )


def _unbounded(params: Params) -> Params:
    return params


def _pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
    del params, neighbors
    nothing = jnp.zeros((0,), user.dtype)
    return PairOutput(user @ item, jnp.zeros_like(user), nothing[None], nothing)


def _catalogue(params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
    del params, neighbors
    return items @ user
