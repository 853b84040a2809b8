"""EASE: a linear item-item model in closed form (Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hlr_jax.errors import InputError
from hlr_jax.memory import available_memory
from hlr_jax.scorers.base import Fit, Scorer, State, histories_of
from hlr_jax.settings import Settings, number

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from hlr_jax.data.dataset import Dataset

_BLOCK = 512  # rows that are mirrored at once
_GRAM_CELLS = 2**22  # of the Gram matrix that are counted at once


@dataclass(frozen=True)
class Ease(Settings, Scorer):
    """Scores an item by the sum of its weights with the items of the history; the state is ``weights`` [I, I].

    B minimises sum_u w_u |x_u - x_u B|^2 + sum_ij (lambda + g_i p / (1 - p)) B_ij^2 with a diagonal of 0. Here x_u [I]
    is 1 for what user u has met, g_i = sum_u w_u x_ui, and w_u = (n_u / mean n)^-a for n_u items. With the defaults of
    p and a, 0, that is EASE as published. Each setting may be several values: validation chooses one of all
    combinations.

    Attributes:
      regularization: lambda.
      dropout: p: the penalty is that of histories whose items are each left out with probability p (Steck 2020,
        Autoencoders that don't overfit towards the Identity).
      user_exponent: a: with more, users of many items count for less.
      memory_limit_gib: the most that the fit may take, GiB; 0: what the machine has left.

    Raises:
      InputError: no value, one twice, or one out of range.
    """

    section: ClassVar[str] = "model"

    regularization: tuple[float, ...] = number((30.0, 100.0, 300.0, 1000.0, 3000.0), 1e-6, 1e9)
    dropout: tuple[float, ...] = number((0.0,), 0.0, 0.99)
    user_exponent: tuple[float, ...] = number((0.0,), 0.0, 2.0)
    memory_limit_gib: float = number(0.0, 0.0, 1e6)

    name: ClassVar[str] = "ease"
    title: ClassVar[str] = "EASE"
    explains: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        for name, given in self.options:
            values = tuple(given) if isinstance(given, tuple | list) else (given,)  # a config has a list
            if not values or len(set(values)) < len(values):
                raise InputError(f"model.{name} must be one value or several, each once, got {list(values)}")
            object.__setattr__(self, name, tuple(map(float, values)))

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """Every setting that changes the weights."""
        return tuple((name, getattr(self, name)) for name in ("regularization", "dropout", "user_exponent"))

    def fits(self, dataset: "Dataset") -> Iterator[Fit]:
        """Fit each combination of values. Those of a user exponent share a Gram matrix, in which the last one is made.

        Raises:
          InputError: the fit takes more memory than it may, or a lambda is too small for float32.
        """
        self.check_memory(dataset.num_items)
        for exponent in self.user_exponent:
            gram, pairs = gram_matrix(dataset, exponent), list(product(self.regularization, self.dropout))
            for place, (strength, dropout) in enumerate(pairs, 1):
                own = gram if place == len(pairs) else gram.copy()
                yield Fit(Ease((strength,), (dropout,), (exponent,)), {"weights": ease_weights(own, strength, dropout)})

    @property
    def _fits_several(self) -> bool:
        return any(len(values) > 1 for _, values in self.options)

    def bytes_needed(self, num_items: int) -> int:
        """Return the bytes that a fit takes at most: of the Gram matrix, and of several values two more like it.

        Those are the weights that are made, and the best so far.
        """
        return (3 if self._fits_several else 1) * 4 * num_items**2

    def check_memory(self, num_items: int) -> None:
        """Check that a fit takes no more than it may.

        Raises:
          InputError: it does.
        """
        limit = int(self.memory_limit_gib * 2**30) or available_memory()
        needed = self.bytes_needed(num_items)
        if limit is None or needed <= limit:
            return
        fewer = "give one value of each setting (a third of it), " if self._fits_several else ""
        raise InputError(
            f"EASE of {num_items} items takes {needed / 2**30:.3g} GiB, and may take {limit / 2**30:.3g}: {fewer}"
            "set model.memory_limit_gib higher, drop rare items (dataset.k_core), or train --config=mf_als"
        )

    def shapes(self, num_items: int) -> dict[str, tuple[int, ...]]:
        """Return that of the weights."""
        return {"weights": (num_items, num_items)}

    def scores(self, state: State, histories: "csr_array") -> np.ndarray:
        """Return the sums [n, I] of the weights of each history's items."""
        return histories @ state["weights"]

    def parts(self, state: State, history: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return the weights of the items [h] of a history with items [T]: [h, T]."""
        return state["weights"][np.ix_(history, items)]


@dataclass(frozen=True, eq=False)
class SolvedEase(Ease):
    """EASE with one value of each setting, whose weights a search has made: its fit is these.

    Attributes:
      weights: [I, I], for the data set that it is fitted to.
    """

    weights: np.ndarray = field(kw_only=True, repr=False)

    def fits(self, dataset: "Dataset") -> Iterator[Fit]:
        """Return the weights, once."""
        yield Fit(Ease(**dict(self.options)), {"weights": self.weights})


def gram_matrix(dataset: "Dataset", user_exponent: float = 0.0) -> np.ndarray:
    """Return X^T W X [I, I], float32, with w_u = (n_u / mean n)^-a on the diagonal of W.

    For a = 0 it counts the training users that two items share. Counts below 2^24 are exact.

    A sparse product takes a third of the time of a dense one even on movielens-1m, where one pair in 40 is observed. It
    is made a few rows at a time, since all of it as a sparse matrix can take more than the dense one.
    """
    count = dataset.num_items
    met = histories_of(dataset.train, dataset.num_users, count)
    weighted = met
    if user_exponent:
        degrees = np.maximum(dataset.train.degrees(dataset.num_users), 1).astype(np.float32)
        weighted = met.multiply(((degrees / degrees.mean()) ** -user_exponent)[:, None]).tocsr()
    users_of, gram = met.T.tocsr(), np.empty((count, count), np.float32)
    rows = max(1, min(_GRAM_CELLS // count, count // 16))
    for start in range(0, count, rows):
        gram[start : start + rows] = (users_of[start : start + rows] @ weighted).toarray()
    return gram


def ease_weights(gram: np.ndarray, regularization: float, dropout: float = 0.0) -> np.ndarray:
    """Return EASE's weights B [I, I], float32, in the memory of G = X^T W X [I, I] (Steck 2019, eq. 8; 2020).

    B = I - P diag(1 / diag P) with P = (G + lambda I + p / (1 - p) diag G)^-1. P is symmetric and positive definite, so
    LAPACK inverts it from its Cholesky factor, in place and in float32.

    Args:
      gram: G, float32; it is gone afterwards.
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
    weights = inverse.T  # the same numbers, and its rows are those of memory
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
