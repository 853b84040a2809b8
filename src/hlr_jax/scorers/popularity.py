"""Popularity: every user gets the items with the most training users. A baseline for personalized systems."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hlr_jax.scorers.base import Fit, Scorer, State

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from hlr_jax.data.dataset import Dataset


@dataclass(frozen=True)
class Popularity(Scorer):
    """Scores an item by its number of training users; the state is ``counts`` [I]."""

    name: ClassVar[str] = "popularity"
    title: ClassVar[str] = "Popularity"

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """Empty: there are no settings."""
        return ()

    def fits(self, dataset: "Dataset") -> Iterator[Fit]:
        """Count the training users of each item, once."""
        yield Fit(self, {"counts": dataset.train.item_degrees(dataset.num_items).astype(np.float32)})

    def shapes(self, num_items: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of the counts."""
        return {"counts": (num_items,)}

    def scores(self, state: State, histories: "csr_array") -> np.ndarray:
        """Return the counts for every user [n, I]."""
        return np.tile(state["counts"], (histories.shape[0], 1))
