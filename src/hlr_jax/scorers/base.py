"""The interface of scorers. Popularity, ItemKNN and EASE are scorers, and a program may define its own.

A ``Model`` has a vector for each user and is ranked on JAX's devices. A scorer has no user vectors: it takes the items
of a user and returns a score for each item. So it serves new users in the same way as the users it was fitted to. A
function that takes a model and its parameters also takes a scorer and its state.

The two are compared by their lists only, since a model keeps its scores on the device and selects the best there. A
blend (``hlr_jax.blends``) combines the scores themselves.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias

import numpy as np

# Commands import scorers before heavier packages.
if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from hlr_jax.data.dataset import Dataset
    from hlr_jax.data.interactions import Interactions

State: TypeAlias = dict[str, Any]
"""The fitted arrays of a scorer by name, in NumPy. It takes the place of a model's parameters."""


class Scorer(Protocol):
    """A recommender that scores all items for a user from the user's history alone.

    An object holds settings. What is fitted is a separate ``State``, like the parameters of a ``Model``. A scorer may
    have ``shapes(num_items)``, the shape of each array of its state by name. Then other shapes are an error.

    Attributes:
      name: as in a config's ``model.name``.
      title: the name to display.
      explains: whether ``parts`` gives the contributions of history items.

    Example:
      >>> from hlr_jax.scorers.ease import Ease
      >>> fitted = hlr_jax.fit_scorer(data, Ease((30.0,)))
      >>> hlr_jax.recommend(fitted.scorer, fitted.fit.params, data, users=7, k=3).height
      3
    """

    name: ClassVar[str]
    title: ClassVar[str]
    explains: ClassVar[bool] = False

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """Every setting with its value; they identify a scorer among those of its name."""

    def fits(self, dataset: "Dataset") -> Iterator["Fit"]:
        """Fit each value of the settings to ``dataset.train`` in turn; validation selects among several.

        Raises:
          InputError: the data set is too large for the scorer.
        """

    def scores(self, state: State, histories: "csr_array") -> np.ndarray:
        """Return a new array of scores [n, I], float32, for histories [n, I] of 0 and 1; higher is better."""

    def parts(self, state: State, history: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return what each item of a history [h] adds to the scores of items [T]: [h, T].

        Their sums are the scores if ``explains`` is true; otherwise they are 0.
        """
        return np.zeros((len(history), len(items)), np.float32)


class Fit(NamedTuple):
    """A scorer with one value of each setting, and its fitted state."""

    scorer: Scorer
    state: State


def histories_of(interactions: "Interactions", num_users: int, num_items: int) -> "csr_array":
    """Return the 0/1 matrix [U, I] of interactions."""
    from scipy.sparse import csr_array

    offsets = np.concatenate([[0], np.cumsum(interactions.degrees(num_users))])
    return csr_array((np.ones(len(interactions), np.float32), interactions.item, offsets), shape=(num_users, num_items))
