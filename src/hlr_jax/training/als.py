"""Alternating least squares for implicit feedback (Hu, Koren, Volinsky 2008): each side's factors from the other's.

Nothing here takes the memory of a [U, I] matrix: the Gram matrix of the fixed side stands for all pairs, and a row adds
only what its observed pairs differ by. A row is solved for by a few steps of conjugate gradients (Takacs, Pilaszy and
Tikk 2011), or exactly. On a mesh (Mehta et al. 2021, ALX) the tables are cut over ``model`` and the rows that are
solved for over ``data``.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import sequential_vmap
from jax.sharding import Mesh, PartitionSpec

from hlr_jax.data.interactions import Interactions
from hlr_jax.models.base import AlternatingLeastSquares, Model
from hlr_jax.sharding import cut, mesh_of, num_workers, pad_rows, rows_by_id, shardings
from hlr_jax.training.learner import key_of
from hlr_jax.training.row_blocks import Blocks, Side, sides
from hlr_jax.types import Params

Gather = Callable[[jax.Array], jax.Array]
"""ids [...] -> rows [..., D] of a table; zeros for an id that has none."""

_MOST_LOOPS = 8  # side by side: each makes a whole table, most of it zeros
_TABLE, _ROWS, _ALL = PartitionSpec("model"), PartitionSpec("data"), PartitionSpec()


class Weights(NamedTuple):
    """The numbers of a solver; arguments of what is compiled, so that a search compiles once.

    Attributes:
      confidence: c [].
      regularization: lambda_r of every row, and one more for what fills up a block [R + 1].
    """

    confidence: jax.Array
    regularization: jax.Array


class Solved(NamedTuple):
    """One side after it was solved for.

    Attributes:
      table: its factors [R, D].
      gain: [], what the objective changes by from factors of zero, of this side's rows and their penalty.
      penalty: sum lambda_r |p_r|^2 [].
    """

    table: jax.Array
    gain: jax.Array
    penalty: jax.Array


def factorize(
    model: Model, pairs: Interactions, num_users: int, num_items: int, *, num_iterations: int = 10, seed: int = 0
) -> Params:
    """Return the factors of the interactions: ``user`` [U, D] and ``item`` [I, D].

    Args:
      model: from ``mf_als``: D and the settings of the solver.
      pairs: who met what.
      num_users: U.
      num_items: I.
      num_iterations: each solves for all users, then for all items.
      seed: of the factors at the start.

    Example:
      >>> import numpy as np
      >>> from hlr_jax.models.mf_als import mf_als
      >>> pairs = Interactions(np.array([0, 1], np.int32), np.array([0, 1], np.int32))
      >>> params = factorize(mf_als(embed_dim=4, confidence=10.0, regularization=0.1), pairs, 2, 2)
      >>> (params["user"] @ params["item"].T).round(1).tolist()
      [[1.0, 0.0], [0.0, 1.0]]
    """
    assert model.solver is not None
    params, both = start_of(model.init, num_users, num_items, seed, None), sides_on(pairs, num_users, num_items, None)
    for _ in range(num_iterations):
        params, _ = iterate(model.solver, *both, params)
    return params


def start_of(init: Callable, num_users: int, num_items: int, seed: int, mesh: Mesh | None) -> Params:
    """Return the factors that a seed draws, where they lie on a mesh."""
    return _start(init, num_users, num_items, mesh)(jnp.uint32(seed))


@lru_cache(maxsize=32)
def _start(init: Callable, num_users: int, num_items: int, mesh: Mesh | None) -> Callable[[jax.Array], Params]:
    def draw(seed: jax.Array) -> Params:
        return pad_rows(init(key_of(seed, 0), num_users, num_items), mesh)

    return jax.jit(draw, out_shardings=None if mesh is None else shardings(jax.eval_shape(draw, 0), mesh))


def sides_on(pairs: Interactions, num_users: int, num_items: int, mesh: Mesh | None) -> tuple[Side, Side]:
    """Return the interactions by user and by item, with blocks for the rows of a mesh or for the cores of a CPU."""
    loops = min(num_workers(), _MOST_LOOPS) if mesh is None else mesh.shape["data"]
    users, items = sides(pairs, num_users, num_items, loops)
    return replace(users, blocks=cut(users.blocks, mesh)), replace(items, blocks=cut(items.blocks, mesh))


def iterate(solver: AlternatingLeastSquares, users: Side, items: Side, params: Params) -> tuple[Params, jax.Array]:
    """Solve for all users, then for all items, where the factors lie; a row without interactions becomes zero.

    Returns:
      The factors, and the objective [] over all pairs: sum c_uv (x_uv - p_u . q_v)^2 and the regularization.
    """
    numbers = jnp.array([solver.confidence, solver.regularization, solver.frequency_exponent], jnp.float32)
    solve = partial(_solve_loops, (solver.method, solver.cg_steps, mesh_of(params)), numbers)
    user = solve(users, params["user"], params["item"])
    item = solve(items, params["item"], user.table)
    return {"user": user.table, "item": item.table}, _objective(numbers, users, user, item)


@jax.jit
def _objective(numbers: jax.Array, users: Side, user: Solved, item: Solved) -> jax.Array:
    return numbers[0] * users.degrees.sum() + item.gain + user.penalty


def _solve_loops(how: tuple[str, int, Mesh | None], numbers: jax.Array, side: Side, *tables: jax.Array) -> Solved:
    """Solve for a side whose loops run side by side: those of a mesh in one program, others in a call each.

    Loops within one program take turns on a CPU, and the small operations of one loop wait for the threads that the
    compiler hands half of them to. Calls from several threads keep all cores at work.
    """
    loops = 1 if how[2] is not None else len(side.blocks[0].rows)
    if loops == 1:
        return _solve(how, numbers, side, *tables)
    solve = partial(_solve_loop, how, numbers, side, *tables)
    # The first call compiles, and goes on while the others are made. NumPy's numbers do not wait behind it, JAX's do.
    first = solve(np.int32(0))
    with ThreadPoolExecutor(loops - 1) as pool:
        return _joined(first, *pool.map(solve, map(np.int32, range(1, loops))))


@jax.jit
def _joined(*loops: Solved) -> Solved:
    """Return what loops have solved for, each with zeros where the others have rows."""
    return jax.tree.map(lambda *each: sum(each), *loops)


@partial(jax.jit, static_argnums=0)
def _solve(how: tuple[str, int, Mesh | None], numbers: jax.Array, side: Side, *tables: jax.Array) -> Solved:
    return _solve_side(*how, _weights(numbers, side), side, *tables)


@partial(jax.jit, static_argnums=0)
def _solve_loop(
    how: tuple[str, int, Mesh | None], numbers: jax.Array, side: Side, present: jax.Array, other: jax.Array,
    loop: jax.Array,
) -> Solved:  # fmt: skip
    own = jax.tree.map(lambda array: jax.lax.dynamic_index_in_dim(array, loop), side.blocks)
    return _solve_side(*how, _weights(numbers, side), replace(side, blocks=own), present, other)


@partial(jax.jit, static_argnums=0)
def solve_new_rows(solver: AlternatingLeastSquares, side: Side, other: jax.Array, mean_weight: jax.Array) -> jax.Array:
    """Return the exact factors [R, D] of rows that come to a trained side, on one device.

    Args:
      solver: its settings.
      side: who met what.
      other: the trained factors of the other side [C, D].
      mean_weight: [], of the trained rows: their regularization is scaled by it.
    """
    numbers = jnp.array([solver.confidence, solver.regularization, solver.frequency_exponent], jnp.float32)
    nothing = jnp.zeros((side.degrees.shape[0], other.shape[1]), other.dtype)
    return _solve_side("cholesky", 0, None, _weights(numbers, side, mean_weight), side, nothing, other).table


def _weights(numbers: jax.Array, side: Side, mean_weight: jax.Array | None = None) -> Weights:
    """Return the weights of a side; see ``mf_als`` for their form."""
    confidence, regularization, exponent = numbers
    weight = side.num_others + (confidence - 1) * side.degrees
    mean = weight.mean() if mean_weight is None else mean_weight
    return Weights(confidence, jnp.append(regularization * (weight / mean) ** exponent, regularization))


def _solve_side(
    method: str, steps: int, mesh: Mesh | None, weights: Weights, side: Side, present: jax.Array, other: jax.Array
) -> Solved:
    """Solve for the rows of one side, the factors of the other fixed.

    Row r solves (Y^T Y + (c - 1) sum y y^T + lambda_r I) p = c sum y, with sums over the rows y of Y that r has met.

    Args:
      method: ``cholesky`` or ``cg``.
      steps: of conjugate gradients.
      mesh: where the tables lie.
      weights: of this side.
      side: R rows.
      present: [R, D], where conjugate gradients start.
      other: Y [C, D].
    """
    with jax.default_matmul_precision("highest"):
        if mesh is None:
            # Ids that fill up a block find a row of zeros, so that nothing needs a mask.
            with_zeros = [jnp.pad(table, ((0, 1), (0, 0))) for table in (present, other)]
            start_of, other_of = (partial(jnp.take, table, axis=0, mode="clip") for table in with_zeros)
            return _solve_share(method, steps, weights, side.blocks, present, other.T @ other, start_of, other_of)

        def share(weights: Weights, blocks: tuple[Blocks, ...], present: jax.Array, other: jax.Array) -> Solved:
            start_of, other_of = partial(rows_by_id, present), partial(rows_by_id, other)
            gram = jax.lax.psum(other.T @ other, "model")
            first = jax.lax.axis_index("model") * len(present)
            solved = _solve_share(method, steps, weights, blocks, present, gram, start_of, other_of, first)
            return jax.lax.psum(solved, "data")

        specs: Any = _TABLE, _ALL, _ALL
        shared = jax.shard_map(
            share, mesh=mesh, in_specs=(_ALL, _ROWS, _TABLE, _TABLE), out_specs=Solved(*specs), check_vma=False
        )
        return shared(weights, side.blocks, present, other)


def _solve_share(
    method: str, steps: int, weights: Weights, blocks: tuple[Blocks, ...], present: jax.Array, gram: jax.Array,
    start_of: Gather, other_of: Gather, first: jax.Array | int = 0,
) -> Solved:  # fmt: skip
    """Solve for the rows of one device's blocks; rows of other blocks are zeros.

    The table that is returned has the rows of ``present``, of which ``first`` is the first one's id.
    """

    def solve_block(_: None, block: tuple[jax.Array, jax.Array, jax.Array], met: jax.Array) -> tuple[None, tuple]:
        rows, start, end = block
        strength = weights.regularization[rows]

        def add_chunks(add: Callable, sums: tuple) -> tuple:
            """Return sums with those of ``add(the factors of a chunk [b, w, D])`` of all chunks of the block."""

            def add_chunk(chunk: jax.Array, sums: tuple) -> tuple:
                return jax.tree.map(jnp.add, sums, add(other_of(met[chunk])))

            return jax.lax.fori_loop(start, end, add_chunk, sums)

        system = weights.confidence, strength, gram, add_chunks
        x, gain = _exact(*system) if method == "cholesky" else _conjugate_gradients(*system, start_of(rows), steps)
        return None, (x, gain.sum(), strength @ jnp.sum(x**2, axis=1))

    loops = [(group.rows[i], group.start[i], group.met[i]) for group in blocks for i in range(len(group.rows))]
    table, totals = jnp.zeros_like(present), jnp.zeros(2)
    for rows, start, met in loops:
        _, (x, gain, penalty) = jax.lax.scan(partial(solve_block, met=met), None, (rows, start[:-1], start[1:]))
        ids = rows.reshape(-1) - first
        ids = jnp.where(ids < 0, len(table), ids)  # a negative one would count from the end
        table = table.at[ids].set(x.reshape(-1, x.shape[-1]), mode="drop")
        totals += jnp.stack([gain.sum(), penalty.sum()])
    return Solved(table, *totals)


def _exact(
    confidence: jax.Array, strength: jax.Array, gram: jax.Array, add_chunks: Callable
) -> tuple[jax.Array, jax.Array]:
    """Return the exact factors [b, D] of a block's rows, and what each changes the objective by [b]."""
    count, dim = len(strength), len(gram)
    nothing = jnp.zeros((count, dim, dim)), jnp.zeros((count, dim))
    squares, total = add_chunks(lambda y: (jnp.einsum("bwd,bwe->bde", y, y), y.sum(axis=1)), nothing)
    matrix = gram + (confidence - 1) * squares + strength[:, None, None] * jnp.eye(dim)
    right = confidence * total
    x = _solve_all(matrix, right[..., None])[..., 0]
    return x, -jnp.sum(x * right, axis=1)


def _conjugate_gradients(
    confidence: jax.Array, strength: jax.Array, gram: jax.Array, add_chunks: Callable, present: jax.Array, steps: int
) -> tuple[jax.Array, jax.Array]:
    """Return a block's factors [b, D] after some steps from those at present, and each row's part of the objective.

    One product for each step is all that reads what the rows have met, so it stands once in the program: step 0 takes
    the factors at present for its direction, and full length. It gives the first residual.
    """

    def step(number: jax.Array, state: tuple) -> tuple:
        x, residual, direction, squared, gain = state
        is_first = number == 0
        constant = jnp.where(is_first, -confidence, 0.0)

        def image_of(y: jax.Array) -> tuple[jax.Array, jax.Array]:
            score = jnp.einsum("bwd,bd->bw", y, direction)
            return jnp.einsum("bw,bwd->bd", constant + (confidence - 1) * score, y), score.sum(axis=1)

        nothing = direction @ gram + strength[:, None] * direction, jnp.zeros_like(gain)
        image, score = add_chunks(image_of, nothing)  # of step 0: A p - b
        curvature = jnp.sum(direction * image, axis=1)
        length = jnp.where(is_first, 1.0, _ratio(squared, curvature))
        # b . p = c sum of scores; from there on each step lowers the objective by its length times |r|^2.
        gain += jnp.where(is_first, curvature - confidence * score, -length * squared)
        x, residual = x + length[:, None] * direction, residual - length[:, None] * image
        now = jnp.sum(residual**2, axis=1)
        turn = jnp.where(is_first, 0.0, _ratio(now, squared))
        return x, residual, residual + turn[:, None] * direction, now, gain

    zeros, none = jnp.zeros_like(present), jnp.zeros_like(strength)
    x, *_, gain = jax.lax.fori_loop(0, steps + 1, step, (zeros, zeros, present, none, none))
    return x, gain


def _ratio(above: jax.Array, below: jax.Array) -> jax.Array:
    return jnp.where(below > 0, above / jnp.where(below > 0, below, 1), 0)  # the residual may become exactly 0


def _cholesky_solve(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """Solve with a positive definite matrix: [D, D], [D, n] -> [D, n]."""
    lower = jax.lax.linalg.cholesky(matrix, symmetrize_input=False)
    solve = partial(jax.lax.linalg.triangular_solve, lower, left_side=True, lower=True)
    return solve(solve(right), transpose_a=True)


def _solve_all(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """Solve with positive definite matrices: [b, D, D], [b, D, n] -> [b, D, n]."""
    # On a CPU LAPACK must get one matrix at a time. For a batch jaxlib's kernel (0.10) shares the work out to XLA's
    # thread pool and blocks a thread of that pool until it is done: two such loops in one program, as the shapes of
    # blocks are, wait for each other for ever. One at a time is no slower, and `sequential_vmap` keeps it so.
    one = sequential_vmap(_cholesky_solve) if jax.default_backend() == "cpu" else _cholesky_solve
    return jax.vmap(one)(matrix, right)
