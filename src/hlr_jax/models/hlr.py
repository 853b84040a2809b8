"""HLR: hierarchical latent relations (Tran et al. 2021, section 3.2)."""

import jax
import jax.numpy as jnp

from hlr_jax.errors import pick
from hlr_jax.kernels.distance import squared_distance, translated_distances
from hlr_jax.kernels.memory_attention import attention_flops, item_weights, memory_attention, translation_flops
from hlr_jax.models.base import (
    MEMORY_ARRAYS,
    Model,
    attention_spec,
    ball_projection,
    item_memory_weights,
    tables,
    user_attention,
)
from hlr_jax.types import Neighbors, Padded, PairOutput, Params


def hlr(
    *,
    embed_dim: int = 100,
    num_memories: int = 20,
    max_history: int = 50,
    history_sampling: str = "uniform",
    variant: str = "paper",
    project_memories: bool = False,
    memory_radius: float | None = None,
    share_relation: bool = False,
    kernel: str = "xla",
) -> Model:
    """Score a pair by -|p_u + r_uv - q_v|^2 (eq. 7), with r_uv from the user's history (eq. 2-6).

    Args:
      embed_dim: D.
      num_memories: N, the number of keys and of memories.
      max_history: H, the most items of the user that the attention reads; more are sampled anew at each visit.
      history_sampling: ``uniform`` or ``inverse_popularity``, both without replacement.
      variant: ``paper``: eq. 5-6 run over the user's items. ``reference``: p_u joins them as one more neighbor,
        as in the released code, so that a user without items still has a relation.
      project_memories: whether the rows of keys and memories stay in the unit ball too.
      memory_radius: of a ball of the memories' own, which bounds how far a relation moves a user; None: as above.
      share_relation: whether training measures the negatives with the relation of the positive.
      kernel: what computes the attention of many candidates at once: ``xla``, or ``pallas``, a GPU kernel.
    """
    attend, with_user = user_attention(kernel), pick(variant, ("paper", "reference"), "model.variant") == "reference"

    def context_of(user: jax.Array, neighbors: Neighbors) -> Padded:
        return neighbors.items.appended(user) if with_user else neighbors.items

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        keys, memories = params["keys"], params["memories"]
        context = context_of(user, neighbors)
        attention = memory_attention(item, context.vectors, user, keys, memories, where=context.mask)
        relation = attention.mixture @ memories
        score = -squared_distance(user + relation, item)
        return PairOutput(score, relation, attention.memory_weights, attention.neighbor_weights)

    def scores(
        params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors, weights: jax.Array | None = None
    ) -> jax.Array:
        if with_user and weights is not None:
            weights = jnp.concatenate([weights, item_weights(user[None], items, params["keys"])])
        mixtures = attend(params, user, items, context_of(user, neighbors), weights)
        return -translated_distances(user, mixtures, params["memories"], items)

    return Model(
        "hlr",
        tables(embed_dim, num_memories),
        pair,
        ball_projection(project_memories, memory_radius),
        scores,
        attention_spec("history", max_history, history_sampling),
        share_relation=share_relation,
        item_pairs=item_memory_weights,
        label="HLR",
        arrays=MEMORY_ARRAYS,
        flops=_flops(embed_dim, num_memories, max_history + with_user),
    )


def _flops(dim: int, memories: int, context: int) -> tuple[int, int]:
    """A pair: the attention, the relation 2ND, the distance 4D. In a catalogue q_j * k_n and M p_u are shared."""
    attention, shared = attention_flops(dim, memories, context), 3 * memories * dim
    return attention + 2 * memories * dim + 4 * dim, attention - shared + translation_flops(dim, memories)
