"""Scorers that learn a matrix of items by items, from the users that two items share."""

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

_GRAM_CELLS = 2**22  # of the Gram matrix that are counted at once


class ItemMatrix(Settings, Scorer):
    """A frozen dataclass of settings; those whose default is a tuple may be several values.

    Validation chooses one of all combinations. The state is one array [I, I], float32.

    Attributes:
      array: the name of the array.
      memory_limit_gib: the most that the fit may take, GiB; 0: what the machine has left.

    Raises:
      InputError: no value, one twice, or one out of range.
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
                raise InputError(f"model.{name} must be one value or several, each once, got {list(values)}")
            object.__setattr__(self, name, tuple(map(type(kinds[name][0]), values)))

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """Every setting that changes scores."""
        fields: Any = self
        several = [field.name for field in dataclasses.fields(fields) if isinstance(field.default, tuple)]
        return tuple((name, getattr(self, name)) for name in several)

    @property
    def num_matrices(self) -> int:
        """How many matrices a fit makes in turn."""
        return prod(len(values) for _, values in self.options)

    def bytes_needed(self, num_items: int) -> int:
        """Return the bytes that a fit takes at most: of the Gram matrix, and to make several matrices two more like it.

        Those are the one that is made, and the best so far.
        """
        return (3 if self.num_matrices > 1 else 1) * 4 * num_items**2

    def check_memory(self, num_items: int) -> None:
        """Check that a fit takes no more than it may.

        Raises:
          InputError: it does.
        """
        limit = int(self.memory_limit_gib * 2**30) or available_memory()
        needed = self.bytes_needed(num_items)
        if limit is None or needed <= limit:
            return
        fewer = "give one value of each setting (a third of it), " if self.num_matrices > 1 else ""
        raise InputError(
            f"{self.title} of {num_items} items takes {needed / 2**30:.3g} GiB, and may take {limit / 2**30:.3g}: "
            f"{fewer}set model.memory_limit_gib higher, drop rare items (dataset.k_core), or train --config=mf_als"
        )

    def shapes(self, num_items: int) -> dict[str, tuple[int, ...]]:
        """Return that of the matrix."""
        return {self.array: (num_items, num_items)}


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


def copies(matrix: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Yield ``count`` matrices to compute in, the last of them the matrix itself.

    Take them with ``next`` inside of a call: a loop's variable would keep one of them alive as the next one is made.
    """
    for _ in range(count - 1):
        yield matrix.copy()
    yield matrix
