"""In what the tables of users and items are stored between two steps; all arithmetic is in float32.

A step of Adam is often smaller than half the distance of two bfloat16 numbers, so that rounding to the nearest would
undo it. Stochastic rounding takes one of the two neighbors, with the odds that make the result right on average (Gupta
et al. 2015). A float32 master beside a bfloat16 copy would take 6 bytes for each number, more than float32 alone.

It saves memory, not time: drawing costs some on a CPU. Adam's moments stay in float32, so that a number of a table
takes 10 bytes instead of 12 between two steps, and 2 instead of 4 in the trained model.
"""

import jax
import jax.numpy as jnp

from hlr_jax.types import Params

STORAGES = ("float32", "bfloat16")


def store(params: Params, storage: str) -> Params:
    """Return parameters as training starts with them: the tables of users and items in ``storage``."""
    return params | {name: params[name].astype(storage) for name in ("user", "item")}


def widened(params: Params) -> Params:
    """Return the parameters in float32, for arithmetic."""
    return {name: array.astype(jnp.float32) for name, array in params.items()}


def rounded(key: jax.Array, params: Params, like: Params) -> Params:
    """Return float32 parameters in the types of ``like``, rounded stochastically where that is bfloat16."""
    keys = jax.random.split(key, len(params))
    return {
        name: array if like[name].dtype == jnp.float32 else round_stochastically(one, array)
        for one, (name, array) in zip(keys, sorted(params.items()), strict=True)
    }


def round_stochastically(key: jax.Array, array: jax.Array) -> jax.Array:
    """Return a finite float32 array as bfloat16, rounded down or up at random, without bias.

    bfloat16 is the upper half of a float32: a random number is added to the lower half, which is then cut off.
    """
    noise = jax.random.bits(key, array.shape, jnp.uint16).astype(jnp.uint32)
    bits = (jax.lax.bitcast_convert_type(array, jnp.uint32) + noise) >> 16
    return jax.lax.bitcast_convert_type(bits.astype(jnp.uint16), jnp.bfloat16)
