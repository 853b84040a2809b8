"""HLR++: HLR with an item attention in addition to the user attention (Tran et al. 2021, section 3.3).

The user attention r^U is eq. 2-6 over the user's items: r_vj is addressed by q_v * q_j (eq. 2-4) and weighted by
p_u . r_vj (eq. 5-6). The paper and the released code define the item attention r^I differently:

- ``paper``: over the users w of the item v. r_uw is addressed by p_u * p_w and weighted by q_v . r_uw. In training, u
  is left out: u is a user of the positive, but of none of the negatives.
- ``reference``: over the user's items and the candidate. r_uj is addressed by p_u * q_j and weighted by q_v . r_uj.

In both variants, the user's own vector is not a neighbor of the user attention, unlike in the code's HLR. In the code,
a padding position takes part in r^U for every history shorter than the longest of the batch. This is not reproduced.
"""

from functools import partial

import jax
import jax.numpy as jnp

from hlr_jax.kernels.distance import squared_distance, translated_distances
from hlr_jax.kernels.memory_attention import attention_flops, memory_attention, translation_flops
from hlr_jax.models.base import Model
from hlr_jax.models.memories import (
    Scaled,
    item_memory_weights,
    memory_arrays,
    memory_projection,
    memory_tables,
    scaled_attention,
    user_attention,
)
from hlr_jax.models.options import HLRPPOptions, with_options
from hlr_jax.types import Neighbors, NeighborSpec, PairOutput, Params


@with_options(HLRPPOptions)
def hlrpp(options: HLRPPOptions) -> Model:
    """Score a pair by -|p_u + r^U + r^I - q_v|^2 (eq. 9), both relations from one set of keys and memories."""
    attend, over_users = user_attention(options), options.variant == "paper"
    scaled = scaled_attention(options)
    item_attention = _over_item_users if over_users else _over_history
    item_users = NeighborSpec(options.max_item_users, options.item_users_sampling) if over_users else NeighborSpec()

    def scores(
        params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors, weights: jax.Array | None = None
    ) -> jax.Array:
        by_user = attend(params, user, items, neighbors.items, weights)
        by_item = item_attention(scaled, params, user, items, neighbors)
        return -translated_distances(user, by_user + by_item, params["memories"], items)

    return Model(
        "hlrpp",
        memory_tables(options),
        partial(_pair, over_users, scaled),
        memory_projection(options),
        scores,
        NeighborSpec(options.max_history, options.history_sampling),
        item_users,
        options.share_relation,
        item_pairs=item_memory_weights(options),
        label="HLR++",
        arrays=memory_arrays(options),
        flops=_flops(options.embed_dim, options.num_memories, options.max_history, item_users.size),
    )


def _pair(
    over_users: bool, scaled: Scaled, params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors
) -> PairOutput:
    (keys, scale), memories, history = scaled(params), params["memories"], neighbors.items
    by_user = memory_attention(item, history.vectors, scale * user, keys, memories, where=history.mask)
    context = neighbors.users if over_users else history.appended(item)
    by_item = memory_attention(user, context.vectors, scale * item, keys, memories, where=context.mask)
    relation = (by_user.mixture + by_item.mixture) @ memories
    score = -squared_distance(user + relation, item)
    return PairOutput(score, relation, by_user.memory_weights, by_user.neighbor_weights)


def _over_item_users(
    scaled: Scaled, params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors
) -> jax.Array:
    """Return the mixtures [T, N] of r^I for candidates [T, D] with their users [T, A, D]."""
    keys, scale = scaled(params)
    vectors, mask = neighbors.users.vectors, neighbors.users.mask
    # All users of all candidates have the same addresses, so this is one matrix product.
    weights = jax.nn.softmax(vectors.reshape(-1, vectors.shape[-1]) @ (user * keys).T, axis=-1)
    weights = weights.reshape(*mask.shape, -1)
    values = jnp.sum(weights * (scale * items @ params["memories"].T)[:, None], axis=-1)
    return jnp.sum(jax.nn.softmax(values, axis=-1, where=mask)[..., None] * weights, axis=1)


def _over_history(scaled: Scaled, params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
    """Return the mixtures [T, N] of r^I for candidates [T, D]; all but the candidate itself is shared."""
    keys, scale = scaled(params)
    addresses, memory_scores = user * keys, scale * items @ params["memories"].T
    history = jax.nn.softmax(neighbors.items.vectors @ addresses.T, axis=-1)
    own = jax.nn.softmax(items @ addresses.T, axis=-1)
    own_value = jnp.sum(own * memory_scores, axis=-1, keepdims=True)
    values = jnp.concatenate([memory_scores @ history.T, own_value], axis=-1)
    weights = jax.nn.softmax(values, axis=-1, where=neighbors.items.appended(user).mask)
    return weights[:, :-1] @ history + weights[:, -1:] * own


def _flops(dim: int, memories: int, context: int, item_users: int) -> tuple[int, int]:
    """Count HLR's attention with H neighbors, another over A users or H + 1 items; relation 2ND + N, distance 4D.

    In a catalogue the item attention over users takes 2ND more than its logits and weights. Over the history only the
    candidate itself is new: 4HN + 4(H + 1) + 8N + 4ND.
    """
    shared = 3 * memories * dim
    others = attention_flops(dim, memories, item_users or context + 1)
    pair = attention_flops(dim, memories, context) + others + 2 * memories * dim + memories + 4 * dim
    own = 4 * context * memories + 4 * (context + 1) + 8 * memories + 4 * memories * dim
    if item_users:
        own = others - shared + 2 * memories * dim
    return pair, attention_flops(dim, memories, context) - shared + own + translation_flops(dim, memories)
