"""EASE: a linear item-item model in closed form (Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hlr_jax.errors import InputError
from hlr_jax.scorers.base import Fit, State
from hlr_jax.scorers.item_matrix import ItemMatrix, copies, gram_matrix
from hlr_jax.settings import number

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from hlr_jax.data.dataset import Dataset

_BLOCK = 512  # rows mirrored at once


@dataclass(frozen=True)
class Ease(ItemMatrix):
    """Scores an item by the sum of its weights with the items of the history; the state is ``weights`` [I, I].

    B minimizes sum_u w_u |x_u - x_u B|^2 + sum_ij (lambda + g_i p / (1 - p)) B_ij^2 with a diagonal of 0. Here x_u [I]
    is 1 for the items of user u, g_i = sum_u w_u x_ui, and w_u = (n_u / mean n)^-a for n_u items. With p = a = 0, the
    defaults, this is EASE as published. A setting may have several values: validation selects the best combination.

    Attributes:
      regularization: lambda.
      dropout: p: the penalty equals training on histories whose items are each left out with probability p (Steck
        2020, Autoencoders that don't overfit towards the Identity).
      user_exponent: a: larger values give less weight to users with many items.
      memory_limit_gib: the most memory that the fit may use, GiB; 0: all available memory.

    Raises:
      InputError: a setting without values, with duplicates, or with a value out of range.
    """

    regularization: tuple[float, ...] = number((30.0, 100.0, 300.0, 1000.0, 3000.0), 1e-6, 1e9)
    dropout: tuple[float, ...] = number((0.0,), 0.0, 0.99)
    user_exponent: tuple[float, ...] = number((0.0,), 0.0, 2.0)
    memory_limit_gib: float = number(0.0, 0.0, 1e6)

    name: ClassVar[str] = "ease"
    title: ClassVar[str] = "EASE"
    array: ClassVar[str] = "weights"

    def fits(self, dataset: "Dataset") -> Iterator[Fit]:
        """Fit each combination of values. All fits of one user exponent share a Gram matrix, which the last overwrites.

        Raises:
          InputError: the fit needs more memory than allowed, or a lambda is too small for float32.
        """
        self.check_memory(dataset.num_items)
        for exponent in self.user_exponent:
            pairs = list(product(self.regularization, self.dropout))
            own = copies(gram_matrix(dataset, exponent), len(pairs))
            for strength, dropout in pairs:
                ease = Ease((strength,), (dropout,), (exponent,))
                yield Fit(ease, {"weights": ease_weights(next(own), strength, dropout)})

    def scores(self, state: State, histories: "csr_array") -> np.ndarray:
        """Return the sums [n, I] of the weights of each history's items."""
        return histories @ state["weights"]

    def parts(self, state: State, history: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return the weights of the items [h] of a history with items [T]: [h, T]."""
        return state["weights"][np.ix_(history, items)]


@dataclass(frozen=True, eq=False)
class SolvedEase(Ease):
    """EASE with one value of each setting and weights that a search has already computed; fitting returns these.

    Attributes:
      weights: [I, I], for the data set that it is fitted to.
    """

    weights: np.ndarray = field(kw_only=True, repr=False)

    def fits(self, dataset: "Dataset") -> Iterator[Fit]:
        """Return the weights, once."""
        yield Fit(Ease(**dict(self.options)), {"weights": self.weights})


def ease_weights(gram: np.ndarray, regularization: float, dropout: float = 0.0) -> np.ndarray:
    """Return EASE's weights B [I, I], float32, overwriting G = X^T W X [I, I] (Steck 2019, eq. 8; 2020).

    B = I - P diag(1 / diag P) with P = (G + lambda I + p / (1 - p) diag G)^-1. P is symmetric and positive definite, so
    LAPACK inverts it from its Cholesky factor, in place and in float32.

    Args:
      gram: G, float32; it is overwritten.
      regularization: lambda.
      dropout: p.

    Raises:
      InputError: lambda is too small for float32.

    Example:
      >>> ease_weights(np.array([[2.0, 1.0], [1.0, 2.0]], np.float32), 1.0).round(4)
      array([[0.    , 0.3333],
             [0.3333, 0.    ]], dtype=float32)
    """
    from scipy.linalg import lapack

    inverse = gram.T  # the same matrix, in the order of LAPACK
    diagonal = np.einsum("ii->i", inverse)  # a view
    diagonal *= np.float32(1 / (1 - dropout))
    diagonal += np.float32(regularization)
    inverse, failed = lapack.spotrf(inverse, lower=1, clean=0, overwrite_a=1)
    if not failed:
        inverse, failed = lapack.spotri(inverse, lower=1, overwrite_c=1)
    if failed:
        raise InputError(f"model.regularization={regularization:g} is too small to invert EASE's matrix in float32")
    _mirror(inverse)
    weights = inverse.T  # the same numbers in row-major order
    weights /= -np.diag(weights).copy()
    np.fill_diagonal(weights, 0.0)
    return weights


def _mirror(matrix: np.ndarray) -> None:
    """Copy the lower triangle of a matrix to the upper one, in place."""
    for start in range(0, len(matrix), _BLOCK):
        rows = slice(start, start + _BLOCK)
        square = matrix[rows, rows]
        square[...] = np.tril(square) + np.tril(square, -1).T
        matrix[rows, rows.stop :] = matrix[rows.stop :, rows].T
