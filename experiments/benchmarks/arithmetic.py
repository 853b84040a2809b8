"""The arithmetic of each model by formula: float operations of a triplet and of a ranked user.

Counted: additions, multiplications, divisions, maxima and exponentials, one each. Not counted: draws, gathers and
scatters, masks, top-K, Adam and projection. Letters are those of ``hlr_jax.types``; h = H + 1 for HLR's variant
``reference``, else H.
"""

from hlr_jax.models.base import Model
from hlr_jax.training.als import Grouped


def _sizes(model: Model) -> tuple[int, int, int]:
    options = dict(model.options)
    return options["embed_dim"], options.get("num_memories", 0), options.get("max_history", 0)


def _attention(dim: int, memories: int, context: int) -> int:
    """Return what eq. 2-6 cost in the factored form, for h neighbors.

    q_v * K: ND; logits: 2hND; softmax over N: 4hN; M p_u: 2ND; a (M p_u): 2hN; softmax over h: 4h; mixture: 2hN.
    """
    return 2 * context * memories * dim + 3 * memories * dim + 8 * context * memories + 4 * context


def pair_flops(model: Model) -> int:
    """Return the operations of scoring one pair, forward.

    | model | operations |
    | --- | --- |
    | CML | distance: 3D |
    | MF-ALS | 2D |
    | TransCF | a_u * b_v: D; distance with relation: 4D |
    | LRML | p_u * K: ND; logits: 2ND; softmax: 4N; relation: 2ND; distance: 4D |
    | AdaCML | logits: 2HD; softmax: 4H; relation: 2HD; distance: 4D |
    | HLR | attention of h neighbors (``_attention``); relation: 2ND; distance: 4D |
    | HLR++ | attention of H items, and of A users (``paper``) or H + 1 items; relation: 2ND + N; distance: 4D |

    Raises:
      KeyError: no formula for the model.
    """
    dim, memories, context = _sizes(model)
    options = dict(model.options)
    reference = options.get("variant") == "reference"
    relation, distance = 2 * memories * dim, 4 * dim
    if model.name == "hlrpp":
        others = context + 1 if reference else model.item_users.size
        attentions = _attention(dim, memories, context) + _attention(dim, memories, others)
        return attentions + relation + memories + distance
    formulas = {
        "cml": 3 * dim,
        "mf_als": 2 * dim,
        "transcf": dim + distance,
        "lrml": 3 * memories * dim + 4 * memories + relation + distance,
        "adacml": 4 * context * dim + 4 * context + distance,
        "hlr": _attention(dim, memories, context + reference) + relation + distance,
    }
    return formulas[model.name]


def triplet_flops(model: Model, negatives: int) -> int:
    """Return the operations of a triplet's loss and gradient: 3 (1 + n) pairs.

    A gradient takes two products for each of the forward pass, one by either factor. TransCF's means over all
    interactions are not counted.
    """
    return 3 * (1 + negatives) * pair_flops(model)


def ranking_flops(model: Model, num_items: int) -> int:
    """Return the operations of scoring I items for one user, by the form that takes users one by one.

    What all items share is not counted. A form that shares work among users does less, so that its rate by this count
    may be above a matrix product's.

    | model | operations per item |
    | --- | --- |
    | MF-ALS, TransCF | those of a pair |
    | CML | 4D: q_v . q_v and p_u . q_v |
    | LRML | 2ND + 4N for its weights, and a translation |
    | AdaCML | a pair's |
    | a translation | CML's, and 2ND + 2N^2 + 5N: M q_v, M M^T w and their product with w |
    | HLR | 2hND + 8hN + 4h, and a translation: q_j * k_n and M p_u are shared |
    | HLR++ | HLR's with h = H; and for r^I ``paper`` 2AND + 8AN + 4A + 2ND, ``reference`` 4HN + 4(H + 1) + 8N + 4ND |

    In ``reference`` r^I meets the same history for every item, so that only the candidate's own slot is anew.
    """
    dim, memories, context = _sizes(model)
    reference = dict(model.options).get("variant") == "reference"

    def attention(context: int) -> int:
        return 2 * context * memories * dim + 8 * context * memories + 4 * context

    relation = 2 * memories * dim + 2 * memories**2 + 5 * memories + 4 * dim
    if model.name == "cml":
        return num_items * 4 * dim
    if model.name == "lrml":
        return num_items * (2 * memories * dim + 4 * memories + relation)
    if model.name == "hlr":
        return num_items * (attention(context + reference) + relation)
    if model.name == "hlrpp" and reference:
        own = 4 * context * memories + 4 * (context + 1) + 8 * memories + 4 * memories * dim
        return num_items * (attention(context) + own + relation)
    if model.name == "hlrpp":
        own = attention(model.item_users.size) + 2 * memories * dim
        return num_items * (attention(context) + own + relation)
    return num_items * pair_flops(model)


def iteration_flops(model: Model, users: Grouped, items: Grouped) -> float:
    """Return the operations of one iteration of MF-ALS, both sides.

    For each side of R rows against C fixed ones with P interactions: Y^T Y: 2 C D^2; sums: P D; then

    - c = 1: one Cholesky factor D^3 / 3, and 4 D^2 per row;
    - else, per row: y^T y: 2 d D^2 for its d interactions, Cholesky D^3 / 3, solving 4 D^2;
    - conjugate gradients: 2 D^2 + 4 d D per row and step, and once more for the first residual.
    """
    assert model.solver is not None
    dim, total = _sizes(model)[0], 0.0
    counts = [side.rows.offsets.shape[0] - 1 for side in (users, items)]
    for rows, others, side in ((counts[0], counts[1], users), (counts[1], counts[0], items)):
        interactions = int(side.rows.offsets[-1])
        total += 2 * others * dim**2 + interactions * dim
        if model.solver.method == "cg":
            total += (1 + model.solver.cg_steps) * (2 * dim**2 * rows + 4 * dim * interactions)
        elif model.solver.confidence == 1:
            total += dim**3 / 3 + 4 * dim**2 * rows
        else:
            total += 2 * interactions * dim**2 + rows * (dim**3 / 3 + 4 * dim**2)
    return total
