"""What a scorer is. Popularity, ItemKNN and EASE are scorers, and a program may bring one of its own.

A ``Model`` has a vector for each user and is ranked on JAX's devices. A scorer has none: it is given what a user has
met, and returns a score for each item. So it serves new people as it serves those that it was fitted to. Both stand in
the same places: wherever a function takes a model and its parameters, it takes a scorer and its state. Alone, the two
meet at the lists of users: a model keeps its scores on the device, where it picks the best. In a blend
(``hlr_jax.blends``) they meet at scores.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias

import numpy as np

# A command looks at scorers before it needs what computes.
if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from hlr_jax.data.dataset import Dataset
    from hlr_jax.data.interactions import Interactions

State: TypeAlias = dict[str, Any]
"""What a scorer has learned: NumPy arrays by name. It takes the place of a model's parameters."""


class Scorer(Protocol):
    """A recommender that scores all items for a user by the user's history alone.

    An object holds settings. What is fitted is a ``State`` beside it, as parameters are beside a ``Model``. One that
    also has ``shapes(num_items)``, the shape of each array of its state by name, is not handed the state of another.

    Attributes:
      name: as in a config's ``model.name``.
      title: the name for people.
      explains: whether ``parts`` says which items of a history a score is from.

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
        """Every setting with its value: what tells two scorers of a name apart."""

    def fits(self, dataset: "Dataset") -> Iterator["Fit"]:
        """Fit each value of the settings to ``dataset.train`` in turn; validation chooses among several.

        Raises:
          InputError: the data set is more than the scorer can take.
        """

    def scores(self, state: State, histories: "csr_array") -> np.ndarray:
        """Return a new array of scores [n, I], float32, for histories [n, I] of 0 and 1; higher is better."""

    def parts(self, state: State, history: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return what each item of a history [h] adds to the scores of items [T]: [h, T].

        Their sums are the scores, where ``explains`` is true; elsewhere they are 0.
        """
        return np.zeros((len(history), len(items)), np.float32)


class Fit(NamedTuple):
    """A scorer with one value of each setting, and what it has learned."""

    scorer: Scorer
    state: State


def histories_of(met: "Interactions", num_users: int, num_items: int) -> "csr_array":
    """Return the 0/1 matrix [U, I] of interactions."""
    from scipy.sparse import csr_array

    offsets = np.concatenate([[0], np.cumsum(met.degrees(num_users))])
    return csr_array((np.ones(len(met), np.float32), met.item, offsets), shape=(num_users, num_items))
