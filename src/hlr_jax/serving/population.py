"""Those who can be given lists: the users that a model was trained on, or people folded in."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborSources, neighbor_sources
from hlr_jax.errors import InputError, pick
from hlr_jax.models.base import Model
from hlr_jax.types import Params

ON_UNKNOWN = ("error", "skip", "popular")
UNKNOWN = -1


class Population(NamedTuple):
    """Users with what their lists are made from.

    Attributes:
      params: the model's, with a row of ``user`` for each of them.
      ids: [users], as people call them.
      rows: [users], their rows of ``params["user"]``.
      met: what they have met, by row.
      sources: what their histories, and the users of items, are drawn from.
    """

    params: Params
    ids: pl.Series
    rows: np.ndarray
    met: Interactions
    sources: NeighborSources


class Wanted(NamedTuple):
    """Users who were asked for: ``ids``, and their ``places`` [users] in a population, ``UNKNOWN`` for some."""

    ids: pl.Series
    places: np.ndarray


def known_interactions(dataset: Dataset) -> Interactions:
    """Return what may be known when recommending: train and validation items."""
    return dataset.train + dataset.valid


def trained_population(model: Model, params: Params, dataset: Dataset) -> Population:
    """Return the users that a model was trained on."""
    met = known_interactions(dataset)
    sizes = dataset.num_users, dataset.num_items
    sources = neighbor_sources(met, *sizes, model.history, model.item_users, model.derived is not None)
    return Population(params, dataset.user_ids, np.arange(dataset.num_users), met, sources)


def places_of(ids: pl.Series, wanted: pl.Series) -> np.ndarray:
    """Return the place in ``ids`` of every wanted id, compared as text; ``UNKNOWN`` where it is not there."""
    places = wanted.replace_strict(
        ids.cast(pl.String), np.arange(len(ids)), default=UNKNOWN, return_dtype=pl.Int64
    )  # fmt: skip
    return places.to_numpy()


def codes_of(ids: pl.Series, wanted: Sequence[object], what: str) -> np.ndarray:
    """Return the codes [wanted] of original ids, which may be given as they are or as text.

    Raises:
      InputError: names the first id that is unknown.
    """
    return known_codes(ids, wanted, what, "error", lambda _: None)


def known_codes(
    ids: pl.Series, wanted: Sequence[object] | pl.Series, what: str, on_unknown: str, log: Callable[[str], None]
) -> np.ndarray:
    """Return the codes of the ids that are known, in the order given, each once; others are counted and named.

    Raises:
      InputError: some are unknown and ``on_unknown`` is ``error``.
    """
    texts = _texts(wanted)
    places = places_of(ids, texts)
    _tell_unknown(texts, places, what, on_unknown, "left out", log)
    return places[places != UNKNOWN]


def wanted_users(
    population: Population, users: Sequence[object] | pl.Series | None, on_unknown: str, log: Callable[[str], None]
) -> Wanted:
    """Return the users that are asked for, in the order given, each once; None: all.

    Raises:
      InputError: some are unknown and ``on_unknown`` is ``error``, or it is none of ``ON_UNKNOWN``.
    """
    pick(on_unknown, ON_UNKNOWN, "on_unknown")
    if users is None:
        return Wanted(population.ids, np.arange(len(population.ids)))
    texts = _texts(users).unique(maintain_order=True)
    places = places_of(population.ids, texts)
    fate = "given the most popular items" if on_unknown == "popular" else "left out"
    _tell_unknown(texts, places, "users", on_unknown, fate, log)
    if on_unknown != "popular":
        places = places[places != UNKNOWN]
        return Wanted(population.ids.gather(places), places)
    as_known = texts.cast(population.ids.dtype, strict=False)
    return Wanted(texts if as_known.null_count() else as_known, places)


def _texts(ids: Sequence[object] | pl.Series) -> pl.Series:
    if isinstance(ids, pl.Series):
        return ids.cast(pl.String)
    return pl.Series([str(value) for value in ([ids] if isinstance(ids, str) else ids)], dtype=pl.String)


def _tell_unknown(
    texts: pl.Series, places: np.ndarray, what: str, on_unknown: str, fate: str, log: Callable[[str], None]
) -> None:
    unknown = texts.filter(pl.Series(places == UNKNOWN))
    if not len(unknown):
        return
    line = f'{len(unknown):,} of {len(texts):,} {what} are unknown, such as "{unknown[0]}"'
    if on_unknown == "error":
        raise InputError(line)
    log(f"{line}: {fate}")
