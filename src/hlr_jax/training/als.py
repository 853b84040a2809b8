"""Alternating least squares for implicit feedback (Hu, Koren, Volinsky 2008): each side's factors from the other's.

Nothing here takes the memory of a [U, I] matrix. The Gram matrix of the fixed side covers all pairs, and a row adds
only the difference due to its observed pairs. A row is solved for by a few steps of conjugate gradients (Takacs,
Pilaszy and Tikk 2011), or exactly. On a mesh (Mehta et al. 2021, ALX) the tables are sharded over ``model``, and the
rows to solve for are sharded over ``data``.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from hlr_jax.data.interactions import Interactions
from hlr_jax.models.base import AlternatingLeastSquares, Model
from hlr_jax.sharding import cut, mesh_of, num_workers, pad_rows, rows_by_id, shardings
from hlr_jax.training.learner import key_of
from hlr_jax.training.row_blocks import Blocks, Side, sides
from hlr_jax.training.row_solvers import conjugate_gradients, exact
from hlr_jax.types import Params

Gather = Callable[[jax.Array], jax.Array]
"""ids [...] -> rows [..., D] of a table; zeros for an id without a row."""
How = tuple[str, int]
"""``cholesky`` or ``cg``, and the number of steps of conjugate gradients."""

_MOST_LOOPS = 8  # in parallel: each makes a whole table, most of it zeros
_GRAM_ROWS = 2**20  # multiplied at a time for a Gram matrix
_TABLE, _ROWS, _ALL = PartitionSpec("model"), PartitionSpec("data"), PartitionSpec()


class Weights(NamedTuple):
    """The numbers of a solver; arguments of the compiled program, so that a search compiles once.

    Attributes:
      confidence: c [].
      regularization: lambda_r of every row, and one more for padding of a block [R + 1].
    """

    confidence: jax.Array
    regularization: jax.Array


class Solved(NamedTuple):
    """One side after solving for it.

    Attributes:
      table: its factors [R, D].
      gain: [], the change of the objective from factors of zero, of this side's rows and their penalty.
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
      pairs: the interactions.
      num_users: U.
      num_items: I.
      num_iterations: each solves for all users, then for all items.
      seed: of the initial factors.

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
    """Return the random initial factors of a seed, sharded over the mesh if there is one."""
    return _start(init, num_users, num_items, mesh)(jnp.uint32(seed))


@lru_cache(maxsize=32)
def _start(init: Callable, num_users: int, num_items: int, mesh: Mesh | None) -> Callable[[jax.Array], Params]:
    def draw(seed: jax.Array) -> Params:
        return pad_rows(init(key_of(seed, 0), num_users, num_items), mesh)

    return jax.jit(draw, out_shardings=None if mesh is None else shardings(jax.eval_shape(draw, 0), mesh))


def sides_on(pairs: Interactions, num_users: int, num_items: int, mesh: Mesh | None) -> tuple[Side, Side]:
    """Return the interactions by user and by item, in blocks for the rows of a mesh or the cores of a CPU."""
    loops = min(num_workers(), _MOST_LOOPS) if mesh is None else mesh.shape["data"]
    users, items = sides(pairs, num_users, num_items, loops)
    return replace(users, blocks=cut(users.blocks, mesh)), replace(items, blocks=cut(items.blocks, mesh))


def iterate(solver: AlternatingLeastSquares, users: Side, items: Side, params: Params) -> tuple[Params, jax.Array]:
    """Solve for all users, then for all items, in place on the devices; a row without interactions becomes zero.

    Returns:
      The factors, and the objective [] over all pairs: sum c_uv (x_uv - p_u . q_v)^2 plus the regularization.
    """
    how, numbers = (solver.method, solver.cg_steps), _numbers(solver)
    mesh = mesh_of(params)
    solve = partial(_solve_side, how, numbers) if mesh is None else partial(solve_on_mesh, how, mesh, numbers)
    user = solve(users, params["user"], params["item"])
    item = solve(items, params["item"], user.table)
    return {"user": user.table, "item": item.table}, _objective(numbers, users, user, item)


@jax.jit
def _objective(numbers: jax.Array, users: Side, user: Solved, item: Solved) -> jax.Array:
    return numbers[0] * users.degrees.sum() + item.gain + user.penalty


def _solve_side(how: How, numbers: jax.Array, side: Side, present: jax.Array, other: jax.Array) -> Solved:
    """Solve for the rows of one side on one device, by parallel calls, one for each loop.

    Loops within one program run one after the other on a CPU, and the small operations of a loop wait for half of the
    threads. Calls from several threads keep all cores at work.
    """
    solve = partial(solve_loop, how, numbers, side, present, other, _gram(other))
    # The first call compiles while the others are made. NumPy's numbers do not wait for the compilation, JAX's do.
    first, more = solve(np.int32(0)), range(1, len(side.blocks[0].rows))
    if not more:
        return first
    with ThreadPoolExecutor(len(more)) as pool:
        return _joined(first, *pool.map(solve, map(np.int32, more)))


@jax.jit
def _joined(*loops: Solved) -> Solved:
    """Return the sum of the solutions of loops, each with zeros for the rows of the others."""
    return jax.tree.map(lambda *each: sum(each), *loops)


@jax.jit
def _gram(table: jax.Array) -> jax.Array:
    """Return the Gram matrix Y^T Y [D, D] of a table [R, D]. A GPU copies the rows that it multiplies at a time."""

    def of(rows: jax.Array) -> jax.Array:
        return jnp.matmul(rows.T, rows, precision="highest")

    def add(part: jax.Array, gram: jax.Array) -> jax.Array:
        return gram + of(jax.lax.dynamic_slice_in_dim(table, part * _GRAM_ROWS, _GRAM_ROWS))

    parts = len(table) // _GRAM_ROWS
    rest = of(table[parts * _GRAM_ROWS :])
    return jax.lax.fori_loop(0, parts, add, rest) if parts else rest


@partial(jax.jit, static_argnums=0)
def solve_loop(
    how: How, numbers: jax.Array, side: Side, present: jax.Array, other: jax.Array, gram: jax.Array, loop: jax.Array
) -> Solved:
    """Solve for the rows of one loop's blocks on one device: the program that ``iterate`` runs without a mesh.

    Args:
      how: the method, and the steps of conjugate gradients.
      numbers: confidence, lambda and frequency exponent [3].
      side: the interactions of the rows.
      present: [R, D], where conjugate gradients start.
      other: the factors of the other side [C, D].
      gram: their Gram matrix [D, D].
      loop: [], the number of the loop.
    """
    own = jax.tree.map(lambda array: jax.lax.dynamic_index_in_dim(array, loop), side.blocks)
    return _solve_alone(how, _weights(numbers, side), own, present, other, gram)


@partial(jax.jit, static_argnums=0)
def solve_new_rows(solver: AlternatingLeastSquares, side: Side, other: jax.Array, mean_weight: jax.Array) -> jax.Array:
    """Return the exact factors [R, D] of new rows of a trained side, on one device.

    Args:
      solver: its settings.
      side: the interactions of the new rows.
      other: the trained factors of the other side [C, D].
      mean_weight: [], of the trained rows: scales the regularization of the new rows.
    """
    weights = _weights(_numbers(solver), side, mean_weight)
    nothing = jnp.zeros((side.degrees.shape[0], other.shape[1]), other.dtype)
    return _solve_alone(("cholesky", 0), weights, side.blocks, nothing, other, _gram(other)).table


def _numbers(solver: AlternatingLeastSquares) -> jax.Array:
    return jnp.array([solver.confidence, solver.regularization, solver.frequency_exponent], jnp.float32)


def _weights(numbers: jax.Array, side: Side, mean_weight: jax.Array | None = None) -> Weights:
    """Return the weights of a side; see ``mf_als`` for their form."""
    confidence, regularization, _ = numbers
    strength = row_regularization(numbers, side.degrees, side.num_others, mean_weight)
    return Weights(confidence, jnp.append(strength, regularization))


def row_regularization(numbers: Any, degrees: Any, num_others: int, mean_weight: Any = None) -> Any:
    """Return lambda_r of rows [R]; see ``mf_als`` for its form. NumPy arguments give a NumPy result.

    Args:
      numbers: confidence, lambda and frequency exponent.
      degrees: the number of interactions of each row [R].
      num_others: C, the rows of the other side.
      mean_weight: of the trained rows; None: of these rows.
    """
    confidence, regularization, exponent = numbers
    weight = num_others + (confidence - 1) * degrees
    return regularization * (weight / (weight.mean() if mean_weight is None else mean_weight)) ** exponent


def _solve_alone(
    how: How, weights: Weights, blocks: tuple[Blocks, ...], present: jax.Array, other: jax.Array, gram: jax.Array
) -> Solved:
    """Solve for the rows of blocks on one device."""
    # The ids that pad a chunk or a block are past the end. A table with a row of zeros there would be a copy.
    rows_of = partial(jnp.take, axis=0, mode="fill", fill_value=0)
    return _solve_share(how, weights, blocks, present, gram, partial(rows_of, present), partial(rows_of, other))


@partial(jax.jit, static_argnums=(0, 1))
def solve_on_mesh(how: How, mesh: Mesh, numbers: jax.Array, side: Side, present: jax.Array, other: jax.Array) -> Solved:
    """Solve for the rows of one side, sharded over ``data``; the tables are sharded over ``model``.

    The arguments are those of ``solve_loop``.
    """

    def share(weights: Weights, blocks: tuple[Blocks, ...], present: jax.Array, other: jax.Array) -> Solved:
        start_of, other_of = partial(rows_by_id, present), partial(rows_by_id, other)
        gram, first = jax.lax.psum(_gram(other), "model"), jax.lax.axis_index("model") * len(present)
        return jax.lax.psum(_solve_share(how, weights, blocks, present, gram, start_of, other_of, first), "data")

    specs: Any = _TABLE, _ALL, _ALL
    shared = jax.shard_map(
        share, mesh=mesh, in_specs=(_ALL, _ROWS, _TABLE, _TABLE), out_specs=Solved(*specs), check_vma=False
    )
    return shared(_weights(numbers, side), side.blocks, present, other)


def _solve_share(
    how: How, weights: Weights, blocks: tuple[Blocks, ...], present: jax.Array, gram: jax.Array, start_of: Gather,
    other_of: Gather, first: jax.Array | int = 0,
) -> Solved:  # fmt: skip
    """Solve for the rows of some blocks with the factors Y [C, D] of the other side fixed; other rows are zeros.

    Row r solves (Y^T Y + (c - 1) sum y y^T + lambda_r I) p = c sum y, with sums over the rows y of its interactions.

    Args:
      how: the method, and the steps of conjugate gradients.
      weights: of this side.
      blocks: of one device.
      present: [R, D], where conjugate gradients start.
      gram: Y^T Y [D, D].
      start_of: rows of ``present``.
      other_of: rows of Y.
      first: the id of the first row of ``present``.
    """
    method, steps = how

    def solve_block(
        table: jax.Array, block: tuple[jax.Array, jax.Array, jax.Array], met: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        rows, start, end = block
        strength = weights.regularization[rows]

        def add_chunks(add: Callable, sums: tuple) -> tuple:
            """Add ``add(the factors of a chunk [b, w, D])`` of all chunks of the block to sums."""

            def add_chunk(chunk: jax.Array, sums: tuple) -> tuple:
                return jax.tree.map(jnp.add, sums, add(other_of(met[chunk].reshape(len(rows), -1))))

            return jax.lax.fori_loop(start, end, add_chunk, sums)

        system = weights.confidence, strength, gram, add_chunks
        x, gain = exact(*system) if method == "cholesky" else conjugate_gradients(*system, start_of(rows), steps)
        ids = rows - first
        ids = jnp.where(ids < 0, len(present), ids)  # a negative id would count from the end
        # Scatter at once: the rows of all blocks together would be as large as the whole table.
        table = table.at[ids].set(x, mode="drop")
        return table, jnp.stack([gain.sum(), strength @ jnp.sum(x**2, axis=1)])

    loops = [(group.rows[i], group.start[i], group.met[i]) for group in blocks for i in range(len(group.rows))]
    table, totals = jnp.zeros_like(present), jnp.zeros(2)
    for rows, start, met in loops:
        with jax.default_matmul_precision("highest"):
            table, parts = jax.lax.scan(partial(solve_block, met=met), table, (rows, start[:-1], start[1:]))
        totals += parts.sum(axis=0)
    return Solved(table, *totals)
