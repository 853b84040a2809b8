"""CML: collaborative metric learning (Hsieh et al. 2017; HLR paper, eq. 1)."""

import jax
import jax.numpy as jnp

from hlr_jax.kernels.distance import squared_distance, squared_distances
from hlr_jax.models.base import ArraySpec, HistoryUsers, Model, ball_projection, tables
from hlr_jax.models.options import CMLOptions, with_options
from hlr_jax.types import Neighbors, PairOutput, Params


@with_options(CMLOptions)
def cml(options: CMLOptions) -> Model:
    """Score a pair by -|p_u - q_v|^2, without a relation.

    With ``user="history"`` p_u = sum x_j / n^a over the user's n items, as in FISM (Kabbur et al. 2013, eq. 5). Each
    item then has two vectors, also as in FISM. In training, the positive is left out of p_u. The source vectors x_j
    are initialized with q_j, and no ball bounds them.
    """

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        del params, neighbors
        nothing = jnp.zeros((0,), user.dtype)
        return PairOutput(-squared_distance(user, item), jnp.zeros_like(user), nothing[None], nothing)

    def catalogue(params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
        del params, neighbors
        return -squared_distances(user, items)

    # A pair: 3D; in a catalogue q_v . q_v and p_u . q_v: 4D.
    flops = 3 * options.embed_dim, 4 * options.embed_dim
    init = tables(options.embed_dim)
    model = Model("cml", init, pair, ball_projection(options), catalogue, label="CML", plain=True, flops=flops)
    return model if options.user == "table" else _with_history_users(model, options)


def _with_history_users(model: Model, options: CMLOptions) -> Model:
    """Return the model with users computed from their items."""

    def pool(total: jax.Array, count: jax.Array) -> jax.Array:
        return total / jnp.maximum(count, 1)[..., None].astype(total.dtype) ** options.count_exponent

    def init(key: jax.Array, num_users: int, num_items: int) -> Params:
        item = model.init(key, num_users, num_items)["item"]
        return {"item": item} if options.tied else {"item": item, "source": item}

    users = HistoryUsers("item" if options.tied else "source", pool)
    source = ArraySpec("source", "item", "x_j, from which p_u is computed; rows as in items.parquet")
    return model._replace(
        init=init,
        history_users=users,
        derived=users.derived,
        arrays=() if options.tied else (source,),
    )
