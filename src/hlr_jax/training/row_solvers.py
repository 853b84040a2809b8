"""Solves the systems of a block of rows in alternating least squares, exactly or by a few steps.

A row solves (G + (c - 1) sum y y^T + lambda_r I) p = c sum y, with sums over the rows y that it interacted with.
``add_chunks`` computes such sums, a chunk [b, w, D] of y at a time.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap


def exact(
    confidence: jax.Array, strength: jax.Array, gram: jax.Array, add_chunks: Callable
) -> tuple[jax.Array, jax.Array]:
    """Return the exact factors [b, D] of a block's rows, and each row's change of the objective [b]."""
    count, dim = len(strength), len(gram)
    nothing = jnp.zeros((count, dim, dim)), jnp.zeros((count, dim))
    squares, total = add_chunks(lambda y: (jnp.einsum("bwd,bwe->bde", y, y), y.sum(axis=1)), nothing)
    matrix = gram + (confidence - 1) * squares + strength[:, None, None] * jnp.eye(dim)
    right = confidence * total
    x = _solve_all(matrix, right[..., None])[..., 0]
    return x, -jnp.sum(x * right, axis=1)


def conjugate_gradients(
    confidence: jax.Array, strength: jax.Array, gram: jax.Array, add_chunks: Callable, present: jax.Array, steps: int
) -> tuple[jax.Array, jax.Array]:
    """Return a block's factors [b, D] after some steps from the present ones, and each row's part of the objective.

    Only one product per step reads the interactions of the rows, and the program has it once. Step 0 uses the present
    factors as its direction, with full length. It gives the first residual.
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
        # b . p = c sum of scores; each further step lowers the objective by its length times |r|^2.
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
    # On a CPU LAPACK must get one matrix at a time. For a batch, jaxlib's kernel (0.10) divides the work over XLA's
    # thread pool and blocks a thread of that pool until it is done. Two such loops in one program, one for each shape
    # of blocks, then deadlock. One at a time is no slower, and `sequential_vmap` keeps it so.
    one = sequential_vmap(_cholesky_solve) if jax.default_backend() == "cpu" else _cholesky_solve
    return jax.vmap(one)(matrix, right)
