"""HLR: hierarchical latent relations (Tran et al. 2021, section 3.2)."""

import jax
import jax.numpy as jnp

from hlr_jax.kernels.distance import squared_distance, translated_distances
from hlr_jax.kernels.memory_attention import attention_flops, item_weights, memory_attention, translation_flops
from hlr_jax.models.base import Model
from hlr_jax.models.memories import (
    item_memory_weights,
    memory_arrays,
    memory_projection,
    memory_tables,
    scaled_attention,
    user_attention,
)
from hlr_jax.models.options import HLROptions, with_options
from hlr_jax.types import Neighbors, NeighborSpec, Padded, PairOutput, Params


@with_options(HLROptions)
def hlr(options: HLROptions) -> Model:
    """Score a pair by -|p_u + r_uv - q_v|^2 (eq. 7), with r_uv from the user's history (eq. 2-6)."""
    attend, with_user = user_attention(options), options.variant == "reference"
    scaled = scaled_attention(options)

    def context_of(user: jax.Array, neighbors: Neighbors) -> Padded:
        return neighbors.items.appended(user) if with_user else neighbors.items

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        (keys, scale), memories = scaled(params), params["memories"]
        context = context_of(user, neighbors)
        attention = memory_attention(item, context.vectors, scale * user, keys, memories, where=context.mask)
        relation = attention.mixture @ memories
        score = -squared_distance(user + relation, item)
        return PairOutput(score, relation, attention.memory_weights, attention.neighbor_weights)

    def scores(
        params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors, weights: jax.Array | None = None
    ) -> jax.Array:
        if with_user and weights is not None:
            weights = jnp.concatenate([weights, item_weights(user[None], items, scaled(params)[0])])
        mixtures = attend(params, user, items, context_of(user, neighbors), weights)
        return -translated_distances(user, mixtures, params["memories"], items)

    return Model(
        "hlr",
        memory_tables(options),
        pair,
        memory_projection(options),
        scores,
        NeighborSpec(options.max_history, options.history_sampling),
        share_relation=options.share_relation,
        item_pairs=item_memory_weights(options),
        label="HLR",
        arrays=memory_arrays(options),
        flops=_flops(options.embed_dim, options.num_memories, options.max_history + with_user),
    )


def _flops(dim: int, memories: int, context: int) -> tuple[int, int]:
    """Count the attention, the relation 2ND and the distance 4D. In a catalogue q_j * k_n and M p_u are shared."""
    attention, shared = attention_flops(dim, memories, context), 3 * memories * dim
    return attention + 2 * memories * dim + 4 * dim, attention - shared + translation_flops(dim, memories)
