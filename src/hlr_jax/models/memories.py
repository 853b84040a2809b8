"""Memory keys and memory vectors of LRML, HLR and HLR++: initialization, attention scales, projection.

A relation needs two softmaxes. ``key_scale`` multiplies the logits of the softmax over keys (HLR, eq. 3), and
``attention_scale`` those of the softmax over neighbors (eq. 5). A scale of 0 gives uniform weights, 1 the paper's
weights, and larger scales give sharper weights. The kernels do not need the scales: ``key_scale`` multiplies the keys,
and ``attention_scale`` the vector that attends over the neighbors, in the logits only.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from hlr_jax.errors import InputError
from hlr_jax.kernels import memory_attention
from hlr_jax.kernels.distance import project_to_ball
from hlr_jax.models.base import ArraySpec, ItemPairFunction, ball_projection, tables
from hlr_jax.models.options import HLROptions, LRMLOptions
from hlr_jax.types import Padded, Params

MEMORY_ARRAYS = (
    ArraySpec("keys", meaning="memory keys, as in memories.parquet"),
    ArraySpec("memories", meaning="memory vectors, as in memories.parquet"),
)
_SCALES = ArraySpec("scales", meaning="logarithms of the learned key_scale and attention_scale")

Scaled = Callable[[Params], tuple[jax.Array, jax.Array | float]]
"""Parameters -> the keys [N, D] times ``key_scale``, and ``attention_scale`` []."""


def scaled_attention(options: HLROptions) -> Scaled:
    """Return the function from parameters to the scaled keys and ``attention_scale``."""

    def fixed(params: Params) -> tuple[jax.Array, float]:
        return options.key_scale * params["keys"], options.attention_scale

    def learned(params: Params) -> tuple[jax.Array, jax.Array]:
        key_scale, attention_scale = jnp.exp(params["scales"])
        return key_scale * params["keys"], attention_scale

    return learned if options.learned_scales else fixed


def memory_tables(options: HLROptions) -> Callable[[jax.Array, int, int], Params]:
    """Return the ``init`` of users, items, keys and memories and, if they are learned, of the scales [2]."""
    init = tables(options.embed_dim, options.num_memories)
    if not options.learned_scales:
        return init

    def with_scales(key: jax.Array, num_users: int, num_items: int) -> Params:
        # Logarithms are learned, so scales stay positive and a step of Adam changes them by a relative amount.
        start = jnp.log(jnp.array([options.key_scale, options.attention_scale]))
        return init(key, num_users, num_items) | {"scales": start}

    return with_scales


def memory_arrays(options: HLROptions) -> tuple[ArraySpec, ...]:
    """Return the arrays of ``memory_tables`` beside users and items."""
    return (*MEMORY_ARRAYS, _SCALES) if options.learned_scales else MEMORY_ARRAYS


def user_attention(
    options: HLROptions,
) -> Callable[[Params, jax.Array, jax.Array, Padded, jax.Array | None], jax.Array]:
    """Return the user attention of HLR (eq. 2-6) over many candidates, with the chosen ``kernel``.

    Its arguments are parameters, p_u [D], items [T, D], neighbors [H, D] and optional precomputed memory weights
    [H, N, T] of neighbors and items. It returns mixtures of the memory vectors [T, N].

    The kernel ``xla`` is ``memory_attention``. The kernel ``pallas`` is ``pallas_attention``, which needs a GPU and
    keeps the attention weights out of device memory. With precomputed memory weights, neither is used.

    Raises:
      InputError: ``pallas`` without a GPU.
    """
    form, backend, scaled = memory_attention.memory_mixture, jax.default_backend(), scaled_attention(options)
    if options.kernel == "pallas":
        if backend != "gpu":
            raise InputError(
                f'model.kernel "pallas" needs a GPU, but JAX uses the {backend} backend here; set it to "xla"'
            )
        from hlr_jax.kernels import pallas_attention

        form = pallas_attention.memory_mixture

    def mixtures(
        params: Params, user: jax.Array, items: jax.Array, near: Padded, weights: jax.Array | None
    ) -> jax.Array:
        keys, scale = scaled(params)
        if weights is None:
            return form(items, near.vectors, scale * user, keys, params["memories"], where=near.mask)
        return memory_attention.weigh_neighbors(weights, params["memories"] @ (scale * user), where=near.mask)

    return mixtures


def item_memory_weights(options: HLROptions) -> ItemPairFunction:
    """Return the function from neighbors [J, D] and items [T, D] to their memory weights [J, N, T]."""
    scaled = scaled_attention(options)

    def weights(params: Params, neighbors: jax.Array, items: jax.Array) -> jax.Array:
        return memory_attention.item_weights(neighbors, items, scaled(params)[0])

    return weights


def memory_projection(options: LRMLOptions) -> Callable[[Params], Params]:
    """Return the ``project`` that keeps users and items in their balls and, if chosen, keys and memories too.

    Memories may have a different ball. A relation is a weighted mean of memories, so ``memory_radius`` bounds how far
    it can move a user; a radius of 0 disables relations. ``center_memories`` subtracts the mean memory. If a memory is
    then outside the ball, all memories are scaled by one factor, so that their mean stays 0.
    """
    in_balls, unit = ball_projection(options), 1.0 if options.project_memories else None
    radius = unit if options.memory_radius is None else options.memory_radius

    def project(params: Params) -> Params:
        keys, memories = params["keys"], params["memories"]
        if unit is not None:
            keys = project_to_ball(keys, unit)
        if options.center_memories:
            memories = memories - memories.mean(axis=0)
            if radius is not None:
                longest = jnp.sqrt(jnp.max(jnp.sum(memories * memories, axis=-1)))
                memories = memories * jnp.where(longest > radius, radius / longest, 1)
        elif radius is not None:
            memories = project_to_ball(memories, radius)
        return in_balls(params) | {"keys": keys, "memories": memories}

    return project
