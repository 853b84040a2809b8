"""LRML: latent relational metric learning (Tay et al. 2018)."""

import jax
import jax.numpy as jnp

from hlr_jax.kernels.distance import squared_distance, translated_distances
from hlr_jax.kernels.memory_attention import translation_flops
from hlr_jax.models.base import Model, tables
from hlr_jax.models.memories import MEMORY_ARRAYS, memory_projection
from hlr_jax.models.options import LRMLOptions, with_options
from hlr_jax.types import Neighbors, PairOutput, Params


@with_options(LRMLOptions)
def lrml(options: LRMLOptions) -> Model:
    """Score a pair by -|p_u + r_uv - q_v|^2, with one relation per pair, addressed by p_u * q_v.

    Tay et al. 2018, section 3.3: s = p_u * q_v (eq. 4), weights softmax_n(s . k_n) (eq. 5-6), r_uv = sum_n w_n m_n
    (eq. 7), distance (eq. 8).
    """

    def weights(params: Params, user: jax.Array, items: jax.Array) -> jax.Array:
        # The keys are multiplied with the user first, so that a catalogue is one product [T, D] x [D, N].
        return jax.nn.softmax(items @ (user * (options.key_scale * params["keys"])).T, axis=-1)

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        del neighbors
        memory_weights = weights(params, user, item)
        relation = memory_weights @ params["memories"]
        return PairOutput(
            -squared_distance(user + relation, item), relation, memory_weights[None], jnp.ones((1,), user.dtype)
        )

    def catalogue(params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
        del neighbors
        return -translated_distances(user, weights(params, user, items), params["memories"], items)

    return Model(
        "lrml",
        tables(options.embed_dim, options.num_memories),
        pair,
        memory_projection(options),
        catalogue,
        share_relation=options.share_relation,
        label="LRML",
        arrays=MEMORY_ARRAYS,
        flops=_flops(options.embed_dim, options.num_memories),
    )


def _flops(dim: int, memories: int) -> tuple[int, int]:
    """Count p_u * K: ND; logits: 2ND; softmax: 4N; relation: 2ND; distance: 4D.

    For a catalogue see ``translation_flops``.
    """
    pair = 5 * memories * dim + 4 * memories + 4 * dim
    return pair, 2 * memories * dim + 4 * memories + translation_flops(dim, memories)
