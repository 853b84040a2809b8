"""Scorers with a matrix of items by items, fitted to the users that two items share."""

import dataclasses
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hlr_jax.errors import InputError
from hlr_jax.memory import available_memory
from hlr_jax.scorers.base import Scorer, histories_of
from hlr_jax.settings import Settings

if TYPE_CHECKING:
    from hlr_jax.data.dataset import Dataset

_GRAM_CELLS = 2**22  # cells of the Gram matrix computed at once


class ItemMatrix(Settings, Scorer):
    """A frozen dataclass of settings; those with a tuple as default may have several values.

    Validation selects the best combination. The state is one array [I, I], float32.

    Attributes:
      array: the name of the array.
      memory_limit_gib: the most memory that the fit may use, GiB; 0: all available memory.

    Raises:
      InputError: a setting without values, with duplicates, or with a value out of range.
    """

    section: ClassVar[str] = "model"
    explains: ClassVar[bool] = True
    array: ClassVar[str]

    memory_limit_gib: float

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        fields: Any = self
        kinds: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(fields)}
        for name, given in self.options:
            values = tuple(given) if isinstance(given, tuple | list) else (given,)  # a config has a list
            if not values or len(set(values)) < len(values):
                raise InputError(f"model.{name} is {list(values)}; it must be one value, or several distinct ones")
            object.__setattr__(self, name, tuple(map(type(kinds[name][0]), values)))

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """Every setting that changes scores."""
        fields: Any = self
        several = [field.name for field in dataclasses.fields(fields) if isinstance(field.default, tuple)]
        return tuple((name, getattr(self, name)) for name in several)

    @property
    def num_matrices(self) -> int:
        """Number of matrices that a fit makes in turn."""
        return prod(len(values) for _, values in self.options)

    def bytes_needed(self, num_items: int) -> int:
        """Return the most bytes that a fit needs: one matrix, or three to make several matrices.

        The three are the Gram matrix, the matrix being made, and the best so far.
        """
        return (3 if self.num_matrices > 1 else 1) * 4 * num_items**2

    def check_memory(self, num_items: int) -> None:
        """Check that a fit needs no more memory than allowed.

        Raises:
          InputError: it needs more.
        """
        limit = int(self.memory_limit_gib * 2**30) or available_memory()
        needed = self.bytes_needed(num_items)
        if limit is None or needed <= limit:
            return
        fewer = "pass one value of each setting (a third of it), " if self.num_matrices > 1 else ""
        raise InputError(
            f"{self.title} of {num_items} items needs {needed / 2**30:.3g} GiB, and the limit is {limit / 2**30:.3g}: "
            f"{fewer}raise model.memory_limit_gib, drop rare items (dataset.k_core), or train --config=mf_als"
        )

    def shapes(self, num_items: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of the matrix."""
        return {self.array: (num_items, num_items)}


def gram_matrix(dataset: "Dataset", user_exponent: float = 0.0) -> np.ndarray:
    """Return X^T W X [I, I], float32, with w_u = (n_u / mean n)^-a on the diagonal of W.

    For a = 0 it counts the training users that two items share. Counts below 2^24 are exact.

    A sparse product takes a third of the time of a dense one, even on movielens-1m, where one pair in 40 is observed.
    It is made a few rows at a time, since the whole sparse matrix can need more memory than the dense one.
    """
    count = dataset.num_items
    histories = histories_of(dataset.train, dataset.num_users, count)
    weighted = histories
    if user_exponent:
        degrees = np.maximum(dataset.train.degrees(dataset.num_users), 1).astype(np.float32)
        weighted = histories.multiply(((degrees / degrees.mean()) ** -user_exponent)[:, None]).tocsr()
    users_of, gram = histories.T.tocsr(), np.empty((count, count), np.float32)
    rows = max(1, min(_GRAM_CELLS // count, count // 16))
    for start in range(0, count, rows):
        gram[start : start + rows] = (users_of[start : start + rows] @ weighted).toarray()
    return gram


def copies(matrix: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Yield ``count`` matrices to compute in; the last one is the matrix itself.

    Take them with ``next`` inside a call: a loop variable would keep one of them alive while the next one is made.
    """
    for _ in range(count - 1):
        yield matrix.copy()
    yield matrix
