"""HLR++: HLR with an item attention beside the user attention (Tran et al. 2021, section 3.3), as released."""

import jax
import jax.numpy as jnp

from hlr_jax.errors import pick
from hlr_jax.kernels.distance import squared_distance
from hlr_jax.kernels.memory_attention import catalogue_mixtures, memory_attention
from hlr_jax.models.base import Model, attended_history, in_the_ball, tables
from hlr_jax.types import Neighbors, PairOutput, Params


def hlrpp(
    *,
    embed_dim: int = 100,
    num_memories: int = 20,
    max_history: int = 50,
    history_sampling: str = "uniform",
    variant: str = "reference",
    project_memories: bool = False,
) -> Model:
    """Score a pair by -|p_u + r^U + r^I - q_v|^2 (eq. 9), both relations from one set of keys and memories.

    In the variant ``reference``, which is what the released code computes:

    - r^U is eq. 2-6 over the user's items: r_vj is addressed by q_v * q_j, weighed by p_u . r_vj. The user's own vector
      is no neighbor here, unlike in the code's HLR.
    - r^I runs over the user's items and the candidate, not over the item's users as in the paper: r_uj is addressed by
      p_u * q_j, weighed by q_v . r_uj.

    A padding slot, which takes part in the code's r^U wherever a history is shorter than the batch's longest, is not
    reproduced.

    Args:
      embed_dim: D.
      num_memories: N, the number of keys and of memories.
      max_history: H, the most items of the user that the attentions read; more are sampled anew at each visit.
      history_sampling: ``uniform`` or ``inverse_popularity``, both without replacement.
      variant: ``reference``.
      project_memories: whether the rows of keys and memories stay in the unit ball too.
    """
    pick(variant, ("reference",), "model.variant")

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        keys, memories = params["keys"], params["memories"]
        by_user = memory_attention(item, neighbors.vectors, user, keys, memories, where=neighbors.mask)
        joined = jnp.concatenate([neighbors.vectors, item[None]])
        real = jnp.append(neighbors.mask, jnp.ones((), bool))
        by_item = memory_attention(user, joined, item, keys, memories, where=real)
        relation = (by_user.mixture + by_item.mixture) @ memories
        score = -squared_distance(user + relation, item)
        return PairOutput(score, relation, by_user.memory_weights, by_user.neighbor_weights)

    def item_mixtures(params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
        """Return the mixtures of r^I for many candidates [T, N]; only the candidate's own slot differs between them."""
        addresses, gains = user * params["keys"], items @ params["memories"].T
        history = jax.nn.softmax(neighbors.vectors @ addresses.T, axis=-1)
        own = jax.nn.softmax(items @ addresses.T, axis=-1)
        values = jnp.concatenate([gains @ history.T, jnp.sum(own * gains, axis=-1, keepdims=True)], axis=-1)
        weights = jax.nn.softmax(values, axis=-1, where=jnp.append(neighbors.mask, jnp.ones((), bool)))
        return weights[:, :-1] @ history + weights[:, -1:] * own

    def catalogue(params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
        keys, memories = params["keys"], params["memories"]
        by_user = catalogue_mixtures(items, neighbors.vectors, user, keys, memories, where=neighbors.mask)
        mixtures = by_user + item_mixtures(params, user, items, neighbors)
        return -squared_distance(user + mixtures @ memories, items)

    history = attended_history(max_history, history_sampling)
    return Model("hlrpp", tables(embed_dim, num_memories), pair, in_the_ball(project_memories), catalogue, history)
