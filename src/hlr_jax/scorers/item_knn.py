"""ItemKNN: scores from the items of a history that are nearest to a candidate (Sarwar et al. 2001).

Item-based Collaborative Filtering Recommendation Algorithms, WWW 2001.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hlr_jax.scorers.base import Fit, State
from hlr_jax.scorers.item_matrix import ItemMatrix, copies, gram_matrix
from hlr_jax.settings import number

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from hlr_jax.data.dataset import Dataset

ALL = 0
_BLOCK = 512  # rows divided at once


@dataclass(frozen=True)
class ItemKNN(ItemMatrix):
    """Scores an item by the sum of its largest similarities to items of the history.

    s_ij = n_ij / (sqrt(n_i n_j) + shrink) and s_ii = 0, where n_i users have item i and n_ij users have both. This is
    the cosine of two columns of the data, shrunk if few users support it (Ferrari Dacrema et al. 2019, Are We Really
    Making Much Progress?). Only the k history items that are most similar to a candidate count, as in Sarwar et al.
    2001. The state is ``similarities`` [I, I].

    A setting may have several values: validation selects the best combination.

    Attributes:
      best_matches: k; 0: all items of the history.
      shrink: added to the denominator of each cosine.
      memory_limit_gib: the most memory that the fit may use, GiB; 0: all available memory.

    Raises:
      InputError: a setting without values, with duplicates, or with a value out of range.

    Example:
      >>> ItemKNN((3,), (10.0,)).options
      (('best_matches', (3,)), ('shrink', (10.0,)))
    """

    best_matches: tuple[int, ...] = number((1, 3, 10, ALL), 0, 100)
    shrink: tuple[float, ...] = number((0.0, 10.0, 100.0), 0.0, 1e9)
    memory_limit_gib: float = number(0.0, 0.0, 1e6)

    name: ClassVar[str] = "item_knn"
    title: ClassVar[str] = "ItemKNN"
    array: ClassVar[str] = "similarities"

    @property
    def num_matrices(self) -> int:
        """Number of matrices that a fit makes in turn: one for each shrink."""
        return len(self.shrink)

    def fits(self, dataset: "Dataset") -> Iterator[Fit]:
        """Fit each combination of values. All fits of one shrink share a matrix.

        Raises:
          InputError: the fit needs more memory than allowed.
        """
        self.check_memory(dataset.num_items)
        own = copies(gram_matrix(dataset), len(self.shrink))
        for shrink in self.shrink:
            yield from self._of_each_number(shrink, {"similarities": similarities(next(own), shrink)})

    def _of_each_number(self, shrink: float, state: State) -> Iterator[Fit]:
        for best in self.best_matches:
            yield Fit(ItemKNN((best,), (shrink,)), state)

    def scores(self, state: State, histories: "csr_array") -> np.ndarray:
        """Return the sums [n, I] of the k largest similarities; the scorer must have one value of each setting."""
        (best,) = self.best_matches
        matrix = state["similarities"]
        if best == ALL:
            return histories @ matrix
        sums = np.empty(histories.shape, np.float32)
        for row, items in zip(sums, np.split(histories.indices, histories.indptr[1:-1]), strict=True):
            row[:] = sum_of_largest(matrix[items], best)
        return sums

    def parts(self, state: State, history: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return the similarities of the items [h] of a history with items [T]: [h, T]; 0 where k others are larger."""
        (best,) = self.best_matches
        found = state["similarities"][np.ix_(history, items)]
        if best != ALL:
            np.put_along_axis(found, np.argsort(-found, axis=0, kind="stable")[best:], 0, axis=0)
        return found


def similarities(counts: np.ndarray, shrink: float) -> np.ndarray:
    """Return n_ij / (sqrt(n_i n_j) + shrink) [I, I], float32, with a diagonal of 0, overwriting the counts.

    Args:
      counts: n_ij [I, I], with n_i on the diagonal; they are overwritten.
      shrink: added to the denominator.

    Example:
      >>> similarities(np.array([[4.0, 2.0], [2.0, 9.0]], np.float32), 2.0)
      array([[0.  , 0.25],
             [0.25, 0.  ]], dtype=float32)
    """
    lengths = np.sqrt(np.maximum(np.diag(counts), 1))  # any divisor does for an item without users: n_ij is 0
    for start in range(0, len(counts), _BLOCK):
        rows = slice(start, start + _BLOCK)
        counts[rows] /= lengths[rows, None] * lengths + np.float32(shrink)
    np.fill_diagonal(counts, 0)
    return counts


def sum_of_largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the sum of the largest values of each column, where no value is negative: [h, I] -> [I].

    Rows are merged one after another. For a count of 3 that is 2 to 5 times as fast as partitioning each column.

    Example:
      >>> sum_of_largest(np.array([[1.0, 5.0], [4.0, 2.0], [2.0, 2.0]]), 2)
      array([6., 7.])
    """
    largest = np.zeros((min(count, len(values)), values.shape[1]), values.dtype)  # in decreasing order
    for row in values:
        np.maximum(largest[1:], np.minimum(largest[:-1], row), out=largest[1:])
        np.maximum(largest[:1], row, out=largest[:1])
    return largest.sum(axis=0)
