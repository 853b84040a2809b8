"""Alternating least squares for implicit feedback (Hu, Koren, Volinsky 2008): each side's factors from the other's.

Nothing here takes the memory of a [U, I] matrix: the Gram matrix of the fixed side stands for all pairs, and a row adds
only what its observed pairs differ by.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.custom_batching import sequential_vmap

from hlr_jax.data.csr import csr_of, groups_by_width, padded_row
from hlr_jax.data.interactions import Interactions
from hlr_jax.models.base import AlternatingLeastSquares
from hlr_jax.types import CSR, Params

_SHORTEST = 32  # the least padded length: shorter groups save less time than their loops take to compile
_ACCELERATOR_FLOATS = 2**26  # that the rows solved together may take on an accelerator: 256 MiB


@struct.dataclass
class Grouped:
    """The interactions of all users, or of all items, and the rows in groups of like length.

    Attributes:
      rows: who met what.
      groups: the ids [rows] in each group, which together hold every row that has interactions.
      widths: powers of two that the rows of each group are padded to (static).
    """

    rows: CSR
    groups: tuple[jax.Array, ...]
    widths: tuple[int, ...] = struct.field(pytree_node=False)


def sides(pairs: Interactions, num_users: int, num_items: int) -> tuple[Grouped, Grouped]:
    """Return the interactions by user and by item."""
    return _side(pairs, num_users), _side(pairs.transposed(), num_items)


def _side(pairs: Interactions, count: int) -> Grouped:
    degrees = pairs.degrees(count)
    padded = np.maximum(_SHORTEST, 2 ** np.ceil(np.log2(np.maximum(degrees, 1))).astype(int))
    widths = tuple(np.unique(padded[degrees > 0]).tolist())
    return Grouped(csr_of(pairs, count), groups_by_width(degrees, widths), widths)


def iterate(solver: AlternatingLeastSquares, users: Grouped, items: Grouped, params: Params) -> Params:
    """Solve for all users, then for all items; a row without interactions becomes the zero vector."""
    user = solve_side(solver, users, params["user"], params["item"])
    return {"user": user, "item": solve_side(solver, items, params["item"], user)}


@partial(jax.jit, static_argnums=0)
def solve_side(
    solver: AlternatingLeastSquares, side: Grouped, present: jax.Array, other: jax.Array,
    mean_weight: jax.Array | None = None,
) -> jax.Array:  # fmt: skip
    """Return the factors [R, D] of one side that fit the fixed factors of the other.

    Row r solves (Y^T Y + (c - 1) sum y y^T + lambda_r I) p = c sum y, with sums over the rows y of Y that r has met.

    Args:
      solver: its settings.
      side: the side to solve for, R rows.
      present: [R, D], where conjugate gradients start.
      other: Y [C, D].
      mean_weight: [], see ``row_regularization``.
    """
    with jax.default_matmul_precision("highest"):
        dim, excess = other.shape[1], solver.confidence - 1
        strength = row_regularization(solver, side, other.shape[0], mean_weight)
        gram, identity = other.T @ other, jnp.eye(dim)

        def exact(row: jax.Array, y: jax.Array) -> jax.Array:
            matrix = gram + excess * (y.T @ y) + strength[row] * identity
            return _solve(matrix, solver.confidence * y.sum(0)[:, None])[:, 0]

        def gradients(row: jax.Array, y: jax.Array) -> jax.Array:
            def product(v: jax.Array) -> jax.Array:
                return gram @ v + excess * ((y @ v) @ y) + strength[row] * v

            return _conjugate_gradients(product, solver.confidence * y.sum(0), present[row], solver.cg_steps)

        if solver.method == "cg":
            return _map_rows(side, gradients, other)
        if solver.confidence == 1:  # every row has the same matrix
            sums = _map_rows(side, lambda row, y: y.sum(0), other)
            return _solve(gram + solver.regularization * identity, sums.T).T
        return _map_rows(side, exact, other)


@partial(jax.jit, static_argnums=0)
def objective(solver: AlternatingLeastSquares, users: Grouped, items: Grouped, params: Params) -> jax.Array:
    """Return the objective [] over all pairs: sum c_uv (x_uv - p_u . q_v)^2 and the regularisation."""
    with jax.default_matmul_precision("highest"):
        user, item = params["user"], params["item"]

        def observed(row: jax.Array, y: jax.Array) -> jax.Array:
            score = y @ user[row]  # 0 where a row is padded, so that it adds nothing to the sums below
            return (solver.confidence - 1) * score @ score - 2 * solver.confidence * score.sum()

        total = jnp.sum((user.T @ user) * (item.T @ item)) + solver.confidence * users.rows.offsets[-1]
        total += _map_rows(users, observed, item).sum()
        for side, table, others in ((users, user, len(item)), (items, item, len(user))):
            total += row_regularization(solver, side, others) @ jnp.sum(table**2, axis=1)
        return total


def row_regularization(
    solver: AlternatingLeastSquares, side: Grouped, others: int, mean_weight: jax.Array | None = None
) -> jax.Array:
    """Return lambda_r [R] of a side whose rows could meet ``others`` of the other; see ``mf_als`` for the form.

    ``mean_weight`` [] stands for the mean weight of the rows, for rows that come to a trained side; None: theirs.
    """
    weight = others + (solver.confidence - 1) * jnp.diff(side.rows.offsets)
    mean = weight.mean() if mean_weight is None else mean_weight
    return solver.regularization * (weight / mean) ** solver.frequency_exponent


def _map_rows(side: Grouped, solve_row: Callable[[jax.Array, jax.Array], jax.Array], other: jax.Array) -> jax.Array:
    """Return what ``solve_row`` makes of every row's number and the factors [width, D] of what it met: [R, ...].

    Behind those there are zeros; so is the result of rows without interactions.
    """

    def padded(width: int, row: jax.Array) -> jax.Array:
        met, mask = padded_row(side.rows, row, width)
        return solve_row(row, jnp.where(mask[:, None], other[met], 0))

    def batch(width: int) -> int | None:
        if jax.default_backend() == "cpu":
            return None  # one row after the other, each in cache: no slower than 64, and see `_solve`
        dim = other.shape[1]
        return max(1, _ACCELERATOR_FLOATS // (dim * (width + 3 * dim)))

    solutions = [
        jax.lax.map(partial(padded, width), ids, batch_size=batch(width))
        for ids, width in zip(side.groups, side.widths, strict=True)
    ]
    result = jnp.zeros((side.rows.num_rows, *solutions[0].shape[1:]), other.dtype)
    return result.at[jnp.concatenate(side.groups)].set(jnp.concatenate(solutions))


def _cholesky_solve(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """Solve with a positive definite matrix: [D, D], [D, n] -> [D, n]."""
    lower = jax.lax.linalg.cholesky(matrix, symmetrize_input=False)
    solve = partial(jax.lax.linalg.triangular_solve, lower, left_side=True, lower=True)
    return solve(solve(right), transpose_a=True)


def _solve(matrix: jax.Array, right: jax.Array) -> jax.Array:
    # On a CPU LAPACK must get one matrix at a time. For a batch jaxlib's kernel (0.10) shares the work out to XLA's
    # thread pool and blocks a thread of that pool until it is done: two such loops in one program, as the groups of
    # `_map_rows` are, wait for each other for ever. One at a time is no slower, and `sequential_vmap` keeps it so.
    if jax.default_backend() == "cpu":
        return sequential_vmap(_cholesky_solve)(matrix, right)
    return _cholesky_solve(matrix, right)


def _conjugate_gradients(
    product: Callable[[jax.Array], jax.Array], right: jax.Array, start: jax.Array, steps: int
) -> jax.Array:
    """Take ``steps`` from ``start`` towards the solution of product(x) = right, all [D]."""

    def ratio(above: jax.Array, below: jax.Array) -> jax.Array:
        return jnp.where(below > 0, above / jnp.where(below > 0, below, 1), 0)  # the residual may become exactly 0

    def step(_: int, state: tuple) -> tuple:
        x, residual, direction, squared = state
        image = product(direction)
        length = ratio(squared, direction @ image)
        x, residual = x + length * direction, residual - length * image
        now = residual @ residual
        return x, residual, residual + ratio(now, squared) * direction, now

    residual = right - product(start)
    return jax.lax.fori_loop(0, steps, step, (start, residual, residual, residual @ residual))[0]
