"""Why an item, of a model whose users are made from their items: what each of these adds to p_u, and so to the score.

p_u = sum x'_j, where x'_j is what item j adds (x_j / n^a). An item v is compared with m, the mean of all vectors q:

    |p_u|^2 + |q_v|^2 - 2 p_u . m - |p_u - q_v|^2 = sum_j 2 x'_j . (q_v - m).

The left side is how much closer v is than an item as long as v in the mean direction. Each term on the right is what
one item of the history has to do with it.
"""

from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp

from hlr_jax.data.csr import padded_row
from hlr_jax.data.neighbor_sampling import NeighborSources
from hlr_jax.kernels.distance import squared_distance
from hlr_jax.models.base import Model
from hlr_jax.types import Params


@lru_cache(maxsize=32)
def history_reasoner(model: Model, most: int) -> Callable[..., tuple]:
    """Return the compiled function from users [b] and items [b, T] to the arrays of ``explain.reasons_of``.

    The weight of an item of the history is its share of all parts that are positive; others are no reasons.
    """

    @jax.jit
    def reasons(params: Params, sources: NeighborSources, key: jax.Array, rows: jax.Array, items: jax.Array) -> tuple:
        del key  # nothing is drawn: a user is made from all its items
        history, users = sources.history.rows, model.history_users
        assert history is not None
        assert users is not None
        count, mean = min(most, history.longest), params["item"].mean(axis=0)

        def of_user(inputs: tuple[jax.Array, jax.Array]) -> tuple:
            user, targets = inputs
            ids, mask = padded_row(history, user, history.longest)
            each = users.pool(jnp.where(mask[:, None], params[users.source][ids], 0), mask.sum())
            vectors, vector = params["item"][targets], each.sum(axis=0)
            parts = 2 * (vectors - mean) @ each.T
            after, raised = squared_distance(vector, vectors), jnp.maximum(parts, 0)
            shares = raised / jnp.maximum(raised.sum(axis=1, keepdims=True), jnp.finfo(raised.dtype).tiny)
            best, places = jax.lax.top_k(shares, count)
            no_key, nothing = jnp.full(best.shape, -1), jnp.zeros(best.shape)
            return (
                jnp.where(best > 0, ids[places], -1), best, no_key, nothing, no_key[:, 0], nothing[:, 0],
                after + parts.sum(axis=1), after, (shares > 0).sum(axis=1),
            )  # fmt: skip

        return jax.lax.map(of_user, (rows, items))

    return reasons
