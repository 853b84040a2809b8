"""The arithmetic of an iteration of MF-ALS by formula; ``Model.flops`` has that of a pair.

Counted: additions, multiplications, divisions, maxima and exponentials, one each. Not counted: sampling, gathers and
scatters, masks, top-K, Adam and projection. Letters are those of ``hlr_jax.types``.
"""

from hlr_jax import Model


def iteration_flops(model: Model, num_users: int, num_items: int, interactions: int) -> float:
    """Return the operations of one iteration of MF-ALS, both sides.

    For each side of R rows against C fixed ones with P interactions: Y^T Y: 2 C D^2; sums: P D; then

    - conjugate gradients: 2 D^2 + 4 d D per row of d interactions and step, and once more for the first residual;
    - Cholesky, per row: y^T y: 2 d D^2, the factor D^3 / 3, solving 4 D^2.
    """
    assert model.solver is not None
    dim, total = dict(model.options)["embed_dim"], 0.0
    for rows, others in ((num_users, num_items), (num_items, num_users)):
        total += 2 * others * dim**2 + interactions * dim
        if model.solver.method == "cg":
            total += (1 + model.solver.cg_steps) * (2 * dim**2 * rows + 4 * dim * interactions)
        else:
            total += 2 * interactions * dim**2 + rows * (dim**3 / 3 + 4 * dim**2)
    return total
