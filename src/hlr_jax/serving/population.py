"""Those who can be given lists: the users that a model was trained on, or people folded in."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborSources
from hlr_jax.errors import InputError, pick
from hlr_jax.models.base import Model
from hlr_jax.scoring import neighbor_sources
from hlr_jax.systems import System
from hlr_jax.types import Params

ON_UNKNOWN = ("error", "skip", "popular")
UNKNOWN = -1


class Population(NamedTuple):
    """Users with what their lists are made from.

    Attributes:
      params: the model's, with a row of ``user`` for each of them; or the state of a scorer.
      ids: [users], as people call them.
      rows: [users], their rows of ``params["user"]`` and of ``met``.
      met: what they have met, by row.
      sources: what a model's histories, and the users of items, are drawn from; None for a scorer, which reads ``met``.
    """

    params: Params
    ids: pl.Series
    rows: np.ndarray
    met: Interactions
    sources: NeighborSources | None


def known_interactions(dataset: Dataset) -> Interactions:
    """Return what may be known when recommending: train and validation items."""
    return dataset.train + dataset.valid


def trained_population(model: System, params: Params, dataset: Dataset) -> Population:
    """Return the users that a model was trained on, or a scorer fitted to."""
    met = known_interactions(dataset)
    sizes = dataset.num_users, dataset.num_items
    sources = neighbor_sources(model, met, sizes) if isinstance(model, Model) else None
    return Population(params, dataset.user_ids, np.arange(dataset.num_users), met, sources)


def places_of(ids: pl.Series, wanted: pl.Series) -> np.ndarray:
    """Return the place in ``ids`` of every wanted id, compared as text; ``UNKNOWN`` where it is not there."""
    places = pl.int_range(len(ids), eager=True)
    return wanted.replace_strict(ids.cast(pl.String), places, default=UNKNOWN, return_dtype=pl.Int64).to_numpy()


def codes_of(
    ids: pl.Series,
    wanted: Sequence[object] | pl.Series,
    what: str,
    on_unknown: str = "error",
    log: Callable[[str], None] = print,
) -> np.ndarray:
    """Return the codes of the wanted ids that are known, in the order given; others are counted and named.

    Raises:
      InputError: some are unknown and ``on_unknown`` is ``error``.
    """
    places = _resolved(ids, _texts(wanted), what, on_unknown, "left out", log)
    return places[places != UNKNOWN]


def wanted_users(
    population: Population, users: Sequence[object] | pl.Series | None, on_unknown: str, log: Callable[[str], None]
) -> tuple[pl.Series, np.ndarray]:
    """Return the users that are asked for, in the order given, each once; None: all.

    Returns:
      Their ids, and their places [users] in the population, ``UNKNOWN`` for some where ``on_unknown`` is ``popular``.

    Raises:
      InputError: some are unknown and ``on_unknown`` is ``error``, or it is none of ``ON_UNKNOWN``.
    """
    pick(on_unknown, ON_UNKNOWN, "on_unknown")
    if users is None:
        return population.ids, np.arange(len(population.ids))
    texts = _texts(users).unique(maintain_order=True)
    fate = "given the most popular items" if on_unknown == "popular" else "left out"
    places = _resolved(population.ids, texts, "users", on_unknown, fate, log)
    if on_unknown != "popular":
        places = places[places != UNKNOWN]
        return population.ids.gather(places), places
    as_known = texts.cast(population.ids.dtype, strict=False)
    return texts if as_known.null_count() else as_known, places


def _texts(ids: Sequence[object] | pl.Series) -> pl.Series:
    """Return ids as text; a single text is one id."""
    if isinstance(ids, pl.Series):
        return ids.cast(pl.String)
    return pl.Series([str(value) for value in ([ids] if isinstance(ids, str) else ids)], dtype=pl.String)


def _resolved(
    ids: pl.Series, texts: pl.Series, what: str, on_unknown: str, fate: str, log: Callable[[str], None]
) -> np.ndarray:
    """Return ``places_of`` the texts, and say which are unknown and what becomes of them."""
    places = places_of(ids, texts)
    unknown = texts.filter(pl.Series(places == UNKNOWN))
    if len(unknown):
        line = f'{len(unknown):,} of {len(texts):,} {what} are unknown, such as "{unknown[0]}"'
        if on_unknown == "error":
            raise InputError(line)
        log(f"{line}: {fate}")
    return places
