"""Users to recommend to: those that a model was trained on, or folded-in users."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np
import polars as pl
from scipy.sparse import csr_array

from hlr_jax.blended_systems import Blend
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.ids import ON_UNKNOWN, UNKNOWN, IdIndex, named, texts_of
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborSources
from hlr_jax.errors import InputError, pick
from hlr_jax.models.base import Model
from hlr_jax.parameters import check_params
from hlr_jax.ranking.inputs import padded_rows, placed_rows
from hlr_jax.scorers.base import histories_of
from hlr_jax.scoring import neighbor_sources, user_vectors
from hlr_jax.sharding import mesh_of
from hlr_jax.systems import System
from hlr_jax.types import CSR, Params


@dataclass(frozen=True, eq=False)
class Population:
    """Users with the inputs of their recommendations. Derived arrays are computed once and kept with it.

    Attributes:
      params: the model's, with a row of ``user`` for each of them where it has such a table; the state of a scorer; of
        a blend, those by label.
      ids: [users], as in the data.
      rows: [users], their rows of the tables of users and of ``met``.
      met: the items of each user's interactions, by row.
      learned: the items that a table of users was learned from, by row: fewer than ``met`` where validation items are
        known too.
      sources: what a model's histories (of ``met``), and the users of items, are sampled from; None for a scorer, which
        reads ``met``, and for a blend.
      parts: of a blend, the same users as each part's population, by label.

    Example:
      >>> people = recommender.users
      >>> people.ids.len(), people.params["user"].shape
      (60, (60, 4))
    """

    params: Params
    ids: pl.Series
    rows: np.ndarray
    met: Interactions
    learned: Interactions
    sources: NeighborSources | None
    parts: Mapping[str, "Population"] = field(default_factory=dict)
    _histories: Any = field(default=None, init=False, repr=False)

    @cached_property
    def index(self) -> IdIndex:
        """Finds their places by their ids."""
        return IdIndex(self.ids)

    @cached_property
    def placed(self) -> tuple[CSR, NeighborSources]:
        """Their interactions and the sources, as rankings read them, on the devices of the parameters."""
        assert self.sources is not None
        met = self.sources.history.rows
        met = padded_rows(self.met, len(self.params["user"])) if met is None else met  # it has a table, if not these
        return placed_rows(met, self.sources, self.params)

    def histories(self, num_items: int) -> csr_array:
        """Return their interactions as the 0/1 matrix [users, I] that a scorer reads."""
        if self._histories is None or self._histories.shape[1] != num_items:
            object.__setattr__(self, "_histories", histories_of(self.met, len(self.rows), num_items))
        return self._histories


def trained_population(model: System, params: Params, dataset: Dataset, met: Interactions | None = None) -> Population:
    """Return the users that a model was trained on, a scorer fitted to, or all parts of a blend.

    ``met`` are the interactions to recommend from; None: all training and validation interactions.

    Raises:
      InputError: the parameters are of another model or data set, or of a blend and on a mesh.
    """
    check_params(model, params, dataset.num_users, dataset.num_items)
    met, sizes = dataset.known if met is None else met, (dataset.num_users, dataset.num_items)
    parts = {label: trained_population(*own, dataset, met) for label, own in parts_of(model, params).items()}
    sources = neighbor_sources(model, met, sizes) if isinstance(model, Model) else None
    return Population(params, dataset.user_ids, np.arange(dataset.num_users), met, dataset.train, sources, parts)


def parts_of(model: System, params: Params) -> dict[str, tuple[System, Params]]:
    """Return the systems of a blend with their parameters, by label; none of a model or scorer.

    Raises:
      InputError: a part lies on a mesh.
    """
    if not isinstance(model, Blend):
        return {}
    given: dict[str, Any] = dict(params)
    if any(isinstance(part.system, Model) and mesh_of(given[label]) for label, part in model.parts.items()):
        raise InputError("a blend is ranked on the host: load its parts without a mesh")
    return {label: (part.system, given[label]) for label, part in model.parts.items()}


def user_table(model: Model, params: Params, dataset: Dataset) -> jax.Array:
    """Return p_u of the users that a model was trained on [U, D]: its table, or made from all their interactions."""
    if model.history_users is None:
        return params["user"]
    return user_vectors(model, params, trained_population(model, params, dataset).placed[1])


def population_of(model: System, params: Params, dataset: Dataset, among: Population | None) -> Population:
    """Return ``among``, or without one the users that the model was trained on.

    Raises:
      InputError: the parameters, or those of ``among``, are of another model or data set.
    """
    if among is None:
        return trained_population(model, params, dataset)
    _check_population(model, among, dataset)
    return among


def _check_population(model: System, people: Population, dataset: Dataset) -> None:
    if isinstance(model, Blend):
        if set(people.parts) != set(model.parts):
            raise InputError("among: users of another blend, or of a single system; call fold_in with this one")
        for label, part in model.parts.items():
            _check_population(part.system, people.parts[label], dataset)
        return
    num_users = model.num_rows(people.params, "user") if isinstance(model, Model) else len(people.ids)
    check_params(model, people.params, num_users, dataset.num_items)


def codes_of(
    index: IdIndex, wanted: Any, what: str, on_unknown: str = "error", log: Callable[[str], None] = print
) -> np.ndarray:
    """Return the codes of the wanted ids that are known, in the order given; others are counted and named.

    ``wanted`` is what ``texts_of`` takes.

    Raises:
      InputError: some are unknown and ``on_unknown`` is ``error``, or one is not an id.
    """
    places = resolved(index, texts_of(wanted, what), what, on_unknown, "left out", log)
    return places[places != UNKNOWN]


def wanted_users(
    population: Population, users: Any, on_unknown: str, log: Callable[[str], None]
) -> tuple[pl.Series, np.ndarray]:
    """Return the wanted users in the order given, each once; None: all.

    Returns:
      Their ids, and their places [users] in the population, ``UNKNOWN`` for some where ``on_unknown`` is ``popular``.

    Raises:
      InputError: some are unknown and ``on_unknown`` is ``error``, it is not in ``ON_UNKNOWN``, or one is not an id.
    """
    pick(on_unknown, ON_UNKNOWN, "on_unknown")
    if users is None:
        return population.ids, np.arange(len(population.ids))
    texts = texts_of(users, "users").unique(maintain_order=True)
    fate = "given the most popular items" if on_unknown == "popular" else "left out"
    places = resolved(population.index, texts, "users", on_unknown, fate, log)
    if on_unknown != "popular":
        places = places[places != UNKNOWN]
        return population.ids[places], places
    as_known = texts.cast(population.ids.dtype, strict=False)
    return texts if as_known.null_count() else as_known, places


def resolved(
    index: IdIndex, texts: pl.Series, what: str, on_unknown: str, fate: str, log: Callable[[str], None]
) -> np.ndarray:
    """Return the places of texts; log which are unknown and how they are handled.

    Raises:
      InputError: some are unknown and ``on_unknown`` is ``error``.
    """
    places = index.find(texts)
    unknown = texts.filter(pl.Series(places == UNKNOWN))
    if len(unknown):
        line = f"{len(unknown):,} of {len(texts):,} {what} are unknown, such as {named(unknown)}"
        if on_unknown == "error":
            raise InputError(f"{line}; known ids are {index.kind}")
        log(f"{line}: {fate}")
    return places
