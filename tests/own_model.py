"""A model as a program may write its own: arrays of every shape and axis, and names that mean something elsewhere."""

import jax
import jax.numpy as jnp

from hlr_jax import ArraySpec, Model, PairOutput
from hlr_jax.types import NeighborSpec

DIM = 4


def own_model(weights=(1.0, 2.0, 0.5, 1.0), name="own"):
    """Score by -e^keys |p_u + r - q_v|_w^2 + b_v, where r is what the history's mean and two vectors make.

    ``keys`` is one number, ``item_bias`` one for each item, ``batch`` holds the two vectors; w are constants.
    """
    weights = jnp.array(weights)

    def init(key, num_users, num_items):
        keys = jax.random.split(key, 4)
        return {
            "user": 0.5 * jax.random.normal(keys[0], (num_users, DIM)),
            "item": 0.5 * jax.random.normal(keys[1], (num_items, DIM)),
            "keys": jnp.zeros(()) + 0.1,
            "item_bias": 0.1 * jax.random.normal(keys[2], (num_items,)),
            "batch": jax.random.normal(keys[3], (2, DIM)),
        }

    def pair(params, user, item, neighbors):
        vectors, mask = neighbors.items.vectors, neighbors.items.mask
        mean = jnp.sum(jnp.where(mask[:, None], vectors, 0), axis=0) / jnp.maximum(mask.sum(), 1)
        relation = params["batch"][0] * mean + 0.1 * params["batch"][1]
        score = params["item_bias"] - jnp.exp(params["keys"]) * weighted(user + relation - item)
        return PairOutput(score, relation, jnp.zeros((len(mask), 0)), mask / jnp.maximum(mask.sum(), 1))

    weighted = jax.jit(lambda vector: jnp.sum(weights * vector**2))  # it keeps the constants to itself
    arrays = ArraySpec("item_bias", "item", "what makes an item liked by all"), ArraySpec("batch")
    return Model(name, init, pair, lambda params: params, history=NeighborSpec(3), arrays=arrays)
