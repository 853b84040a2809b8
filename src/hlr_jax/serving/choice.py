"""Which items may be recommended: to all users, and to single ones."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.ids import UNKNOWN, texts_of
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError
from hlr_jax.ranking.population import Population, codes_of, resolved
from hlr_jax.serving.inputs import of_single_users, read_pairs

Log = Callable[[str], None]


class ItemChoice(NamedTuple):
    """Which items may be recommended.

    Attributes:
      allowed: [I] bool, for all users; None: all items.
      excluded: items that must not be recommended to a user, by the user's row in the population; None: none.
      candidates: the only items that may be recommended to a user, by row; a user without any gets no list. None: all.
    """

    allowed: np.ndarray | None = None
    excluded: Interactions | None = None
    candidates: Interactions | None = None


EVERYTHING = ItemChoice()


def item_choice(
    population: Population, dataset: Dataset, candidates: Any, exclude: Any, on_unknown: str, log: Log
) -> ItemChoice:
    """Return the choice of items that candidates and excluded items give; arguments and errors as in ``recommend``."""
    allowed, excluded, only = None, None, None
    if of_single_users(candidates):
        only = _pairs(population, dataset, candidates, "candidates", on_unknown, log)
    elif candidates is not None:
        allowed = np.zeros(dataset.num_items, bool)
        allowed[codes_of(dataset.item_index, candidates, "candidates", on_unknown, log)] = True
    if of_single_users(exclude):
        excluded = _pairs(population, dataset, exclude, "excluded items", on_unknown, log)
    elif exclude is not None and len(texts := texts_of(exclude, "excluded items")):
        allowed = np.ones(dataset.num_items, bool) if allowed is None else allowed
        allowed[codes_of(dataset.item_index, texts, "excluded items", on_unknown, log)] = False
    if allowed is not None and not allowed.any():
        raise InputError("no item is left to recommend: check the candidates and the excluded items")
    return ItemChoice(allowed, excluded, only)


def _pairs(population: Population, dataset: Dataset, given: Any, what: str, on_unknown: str, log: Log) -> Interactions:
    """Return items by the users' rows in the population, sorted and without duplicates."""
    pairs = read_pairs(given, what)
    user, item = (texts_of(pairs[name], what) for name in ("user", "item"))
    users = resolved(population.index, user, f"users of the {what}", on_unknown, "left out", log)
    items = resolved(dataset.item_index, item, what, on_unknown, "left out", log)
    known = (users != UNKNOWN) & (items != UNKNOWN)
    code = np.unique(users[known] * np.int64(dataset.num_items) + items[known])
    return Interactions(*(part.astype(np.int32) for part in np.divmod(code, dataset.num_items)))
