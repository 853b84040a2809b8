"""The rows of a side of the interactions in blocks of similar length, for a solver that processes a block at a time.

The interactions of a block's rows are cut into chunks of a few columns. A block has as many chunks as its longest row
needs. So a long row takes no more memory than a short one, padding stays small, and few shapes are compiled.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from hlr_jax.data.interactions import Interactions
from hlr_jax.ranking.inputs import power_of_two

_SHAPES = (64, 8), (8, 64), (1, 512)  # rows and columns of a chunk, for short rows first; fits a CPU's cache
_ACCELERATOR_SHAPES = (512, 16), (512, 64), (64, 512), (8, 4096)
_LAUNCH = 8192  # cells that an accelerator could compute while it launches the kernels of a chunk
_SAVED_SHARE, _SAVED_CELLS = 0.15, 50_000  # what another shape must save to be compiled: of the entries, and cells


@struct.dataclass
class Blocks:
    """Rows, b at a time, and their interactions in chunks of w columns.

    The leading axis is of parallel loops: one on each device of a mesh, or on each core of a CPU.

    Attributes:
      rows: the ids of each block's rows [d, n, b]; R for padding.
      start: the first chunk of each block [d, n + 1]: block t has the chunks from ``start[t]`` up to ``start[t + 1]``.
      met: the ids that the rows interacted with [d, chunks, b * w]; C for padding. A chunk is flat because a TPU pads
        the last axis to a multiple of 128, which w need not be.
    """

    rows: jax.Array
    start: jax.Array
    met: jax.Array


@struct.dataclass
class Side:
    """The interactions of all users, or of all items.

    Attributes:
      blocks: hold every row that has interactions, once; one entry for each shape.
      degrees: the interactions of each row [R].
      num_others: C, how many rows the other side has (static).
    """

    blocks: tuple[Blocks, ...]
    degrees: jax.Array
    num_others: int = struct.field(pytree_node=False)


def sides(pairs: Interactions, num_users: int, num_items: int, loops: int = 1) -> tuple[Side, Side]:
    """Return the interactions by user and by item, for a number of loops that share the blocks.

    Example:
      >>> pairs = Interactions(np.array([0, 0, 1], np.int32), np.array([0, 2, 2], np.int32))
      >>> users, items = sides(pairs, 2, 3)
      >>> users.degrees.tolist(), items.degrees.tolist()
      ([2, 1], [1, 0, 2])
    """
    return (
        side_of(pairs, num_users, num_items, loops),
        side_of(pairs.transposed(), num_items, num_users, loops),
    )


def side_of(pairs: Interactions, num_rows: int, num_others: int, loops: int = 1) -> Side:
    """Return the interactions by their first id, of R = ``num_rows`` rows; the second is of C = ``num_others``."""
    degrees = pairs.degrees(num_rows)
    blocks = tuple(_blocks(pairs, degrees, ids, shape, num_others, loops) for ids, shape in _shared_out(degrees))
    return Side(blocks, jnp.asarray(degrees, jnp.int32), num_others)


def side_shapes(degrees: np.ndarray, num_others: int, loops: int = 1) -> Side:
    """Return the shapes of the arrays of ``side_of`` from the number of interactions of each row [R]."""

    def ints(*shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, jnp.int32)

    def shapes(ids: np.ndarray, shape: tuple[int, int]) -> Blocks:
        rows, start = _layout(degrees, ids, shape, loops)
        return Blocks(
            ints(*rows.shape), ints(*start.shape), ints(loops, max(1, int(start[:, -1].max())), shape[0] * shape[1])
        )

    return Side(tuple(shapes(*share) for share in _shared_out(degrees)), ints(len(degrees)), num_others)


def _shared_out(degrees: np.ndarray) -> list[tuple[np.ndarray, tuple[int, int]]]:
    """Return the rows with interactions, the longest first, divided among shapes: ids, and their shape."""
    order = _by_length(degrees)
    shapes, launch = (_SHAPES, 0) if jax.default_backend() == "cpu" else (_ACCELERATOR_SHAPES, _LAUNCH)
    return [(order[first:end], shape) for shape, first, end in _shares(degrees[order], shapes, launch)]


def new_side(pairs: Interactions, num_others: int) -> Side:
    """Return new rows 0, 1, ... of a trained side; calls with about as many rows share the compiled program."""
    degrees = pairs.degrees(power_of_two(int(pairs.user[-1]) + 1))
    blocks = _blocks(pairs, degrees, _by_length(degrees), _SHAPES[1], num_others, 1, rounded=True)
    return Side((blocks,), jnp.asarray(degrees, jnp.int32), num_others)


def side_of_histories(histories: jax.Array, num_others: int) -> Side:
    """Return the rows of histories [b, W] of distinct ids, with negative ids for padding; W is static."""
    real = histories >= 0
    rows, start = jnp.arange(len(histories), dtype=jnp.int32), jnp.arange(2, dtype=jnp.int32)
    met = jnp.where(real, histories, num_others)
    blocks = Blocks(rows[None, None], start[None], met.reshape(1, 1, -1))
    return Side((blocks,), real.sum(axis=1, dtype=jnp.int32), num_others)


def _by_length(degrees: np.ndarray) -> np.ndarray:
    """Return the rows with interactions, the longest first."""
    return np.argsort(-degrees, kind="stable")[: np.count_nonzero(degrees)]


class _Share(NamedTuple):
    """The rows from ``first`` up to ``end``, the longest first, and the rows and columns of their chunks."""

    shape: tuple[int, int]
    first: int
    end: int


def _shares(degrees: np.ndarray, shapes: tuple[tuple[int, int], ...], launch: int = 0) -> list[_Share]:
    """Return which rows get which shape: few cells in all, few shapes, and few chunks, each of which costs ``launch``.

    A shape takes as many rows as it has in a block times a power of two; the first shape takes the rest.
    """

    def cells(share: _Share) -> float:
        rows, columns = share.shape
        chunks = -(-degrees[share.first : share.end : rows] // columns)
        return float(chunks.sum()) * (rows * columns + launch)

    compiling = max(_SAVED_SHARE * float(degrees.sum()), _SAVED_CELLS)

    def cost(shares: list[_Share]) -> float:
        return sum(map(cells, shares)) + compiling * len(shares)

    def choices(shapes: tuple[tuple[int, int], ...], end: int) -> list[list[_Share]]:
        """Return the ways to assign the rows up to ``end`` to the shapes."""
        shape, *longer = shapes
        size, whole = shape[0], [[_Share(shape, 0, end)]]
        if not longer:
            return whole
        cuts = [size << power for power in range(end.bit_length()) if size << power < end]
        return whole + [[*rest, _Share(shape, cut, end)] for cut in cuts for rest in choices(tuple(longer), cut)]

    return min(choices(shapes, len(degrees)), key=cost)


def _blocks(
    pairs: Interactions, degrees: np.ndarray, ids: np.ndarray, shape: tuple[int, int], num_others: int, loops: int,
    *, rounded: bool = False,
) -> Blocks:  # fmt: skip
    """Return some rows, the longest first, in blocks of one shape; loops take them in turn.

    ``rounded``: sizes are powers of two; padding costs no computation.
    """
    (size, width), num_rows = shape, len(degrees)
    rows, start = _layout(degrees, ids, shape, loops, rounded=rounded)
    chunks = _room(int(start[:, -1].max()), rounded)
    met = np.full((loops, chunks, size, width), num_others, np.int32)
    place = np.full(num_rows + 1, -1)  # the place of each row among these
    place[rows.reshape(-1)] = np.arange(rows.size)
    place[num_rows] = -1
    taken = np.flatnonzero(place[pairs.user] >= 0)
    owner = pairs.user[taken]
    column = taken - (np.cumsum(degrees) - degrees)[owner]
    loop, block, row = np.unravel_index(place[owner], rows.shape)
    met[loop, start[loop, block] + column // width, row, column % width] = pairs.item[taken]
    return Blocks(jnp.asarray(rows), jnp.asarray(start), jnp.asarray(met.reshape(loops, chunks, -1)))


def _layout(
    degrees: np.ndarray, ids: np.ndarray, shape: tuple[int, int], loops: int, *, rounded: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the arrays ``rows`` and ``start`` of some rows' ``Blocks``; arguments are those of ``_blocks``."""
    (size, width), num_rows = shape, len(degrees)
    per_loop = _room(-(-len(ids) // (size * loops)), rounded)
    filled = np.full(per_loop * loops * size, num_rows, np.int32)
    filled[: len(ids)] = ids
    rows = filled.reshape(per_loop, loops, size).swapaxes(0, 1)
    start = np.zeros((loops, per_loop + 1), np.int32)
    longest = np.append(degrees, 0)[rows].max(axis=2)
    np.cumsum(-(-longest // width), axis=1, out=start[:, 1:])
    return rows, start


def _room(count: int, rounded: bool) -> int:
    return power_of_two(count) if rounded else max(1, count)
