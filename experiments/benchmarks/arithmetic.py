"""The arithmetic of an iteration of MF-ALS by formula; that of a pair stands with each model (``Model.flops``).

Counted: additions, multiplications, divisions, maxima and exponentials, one each. Not counted: draws, gathers and
scatters, masks, top-K, Adam and projection. Letters are those of ``hlr_jax.types``.
"""

from hlr_jax import Model
from hlr_jax.training.als import Grouped


def iteration_flops(model: Model, users: Grouped, items: Grouped) -> float:
    """Return the operations of one iteration of MF-ALS, both sides.

    For each side of R rows against C fixed ones with P interactions: Y^T Y: 2 C D^2; sums: P D; then

    - c = 1: one Cholesky factor D^3 / 3, and 4 D^2 per row;
    - else, per row: y^T y: 2 d D^2 for its d interactions, Cholesky D^3 / 3, solving 4 D^2;
    - conjugate gradients: 2 D^2 + 4 d D per row and step, and once more for the first residual.
    """
    assert model.solver is not None
    dim, total = dict(model.options)["embed_dim"], 0.0
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
