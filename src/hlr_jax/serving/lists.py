"""The best items of users, as frames with the ids and titles of the source."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import polars as pl

from hlr_jax.data.csr import csr_of
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError, check_range
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import RankingInputs, prepared_inputs
from hlr_jax.ranking.lists import NO_ITEM
from hlr_jax.ranking.rank import rank
from hlr_jax.serving.explain import reason_columns
from hlr_jax.serving.population import (
    UNKNOWN,
    Population,
    Wanted,
    codes_of,
    known_codes,
    known_interactions,
    trained_population,
    wanted_users,
)
from hlr_jax.serving.reasons import check_reasons, reasons_of
from hlr_jax.sharding import mesh_of
from hlr_jax.types import Params

__all__ = ["codes_of", "known_interactions", "recommend"]


class Lister(NamedTuple):
    """What makes lists, prepared once for any number of calls.

    Attributes:
      model: scores the pairs.
      population: who can be given lists.
      dataset: gives the ids and titles of items.
      inputs: of the ranking.
      popular: [I], items from the most popular on, of those that are allowed.
      k: K.
      num_reasons: items of the history that are named beside each item of a list; 0: no reasons.
      memory_limit_mib: MiB for the tiles of users.
      seed: of the draw of histories.
    """

    model: Model
    population: Population
    dataset: Dataset
    inputs: RankingInputs
    popular: np.ndarray
    k: int
    num_reasons: int
    memory_limit_mib: int
    seed: int


def create_lister(
    model: Model,
    population: Population,
    dataset: Dataset,
    *,
    k: int = 10,
    candidates: Sequence[object] | pl.Series | None = None,
    exclude: Sequence[object] | pl.Series = (),
    include_seen: bool = False,
    on_unknown: str = "error",
    num_reasons: int = 0,
    memory_limit_mib: int = 512,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> Lister:
    """Prepare lists; arguments and errors are those of ``recommend``."""
    check_range("recommend", k=(k, 1, 10**6), num_reasons=(num_reasons, 0, 65536))
    mesh = mesh_of(population.params)
    if num_reasons:
        check_reasons(model)
        if mesh is not None:
            raise InputError("reasons are given on one device: load the run without a mesh")
    allowed = None
    if candidates is not None or len(exclude):
        allowed = np.full(dataset.num_items, candidates is None)
        if candidates is not None:
            allowed[known_codes(dataset.item_ids, candidates, "candidates", on_unknown, log)] = True
        if len(exclude):
            allowed[known_codes(dataset.item_ids, exclude, "excluded items", on_unknown, log)] = False
        if not allowed.any():
            raise InputError("no item is left to recommend: check the candidates and the excluded items")
    rows, seen = population.params["user"].shape[0], Interactions(np.empty(0, np.int32), np.empty(0, np.int32))
    inputs = prepared_inputs(
        csr_of(seen if include_seen else population.met, rows), population.sources, dataset.num_items, seed,
        None if allowed is None else jnp.asarray(allowed), mesh,
    )  # fmt: skip
    counts = known_interactions(dataset).item_degrees(dataset.num_items)
    popular = np.argsort(-counts, kind="stable")
    popular = popular if allowed is None else popular[allowed[popular]]
    return Lister(model, population, dataset, inputs, popular, k, num_reasons, memory_limit_mib, seed)


def lists_of(lister: Lister, wanted: Wanted, count: int | None = None) -> pl.DataFrame:
    """Return the lists of users, in their order, or of the first ``count`` of them: the frame of ``recommend``."""
    model, population, dataset, k = lister.model, lister.population, lister.dataset, lister.k
    k = min(k, dataset.num_items)
    is_known = wanted.places != UNKNOWN
    # Unknown users are ranked as the first one and then overwritten, so that every call of as many has one shape.
    rows = population.rows[np.where(is_known, wanted.places, 0)]
    ranking = rank(model, population.params, rows, lister.inputs, k, lister.memory_limit_mib)
    items, scores = ranking.items.astype(np.int64), ranking.scores.astype(np.float32)
    items[~is_known] = np.pad(lister.popular[:k], (0, max(0, k - len(lister.popular))), constant_values=NO_ITEM)
    scores[~is_known] = np.nan
    items[len(items) if count is None else count :] = NO_ITEM
    kept = items.ravel() != NO_ITEM
    flat = items.ravel()[kept]
    frame = pl.DataFrame(
        {
            "user": wanted.ids.gather(np.repeat(np.arange(len(rows)), k)[kept]),
            "rank": np.tile(np.arange(1, k + 1), len(rows))[kept],
            "item": dataset.item_ids.gather(flat),
            "title": titles_of(dataset).gather(flat),
            "score": pl.Series(scores.ravel()[kept]).fill_nan(None),
        }
    )
    if lister.num_reasons:
        reasons = reasons_of(model, population, rows, np.maximum(items, 0), lister.num_reasons, lister.seed)
        explained = np.repeat(is_known, k)[kept]
        frame = frame.hstack(reason_columns(dataset, reasons, kept, explained, titles_of(dataset)))
    return frame


def titles_of(dataset: Dataset) -> pl.Series:
    """Return the title of every item [I], or its original id where it has none."""
    ids = dataset.item_ids.cast(pl.String)
    if dataset.titles is None:
        return ids.alias("title")
    return pl.select(pl.coalesce(dataset.titles["title"], ids)).to_series().alias("title")


def recommend(
    model: Model,
    params: Params,
    dataset: Dataset,
    users: Sequence[object] | None = None,
    *,
    k: int = 10,
    candidates: Sequence[object] | pl.Series | None = None,
    exclude: Sequence[object] | pl.Series = (),
    include_seen: bool = False,
    on_unknown: str = "error",
    num_reasons: int = 0,
    among: Population | None = None,
    memory_limit_mib: int = 512,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> pl.DataFrame:
    """Return the best ``k`` items for each user; by default those that they have not met.

    Args:
      model: scores the pairs.
      params: its parameters.
      dataset: gives ids, titles and what the users have met (train and validation items).
      users: original ids, or one; None: all.
      k: K.
      candidates: original ids of the items that may be recommended; None: all.
      exclude: original ids of items that may not.
      include_seen: whether items that a user has met may stand in their list.
      on_unknown: what becomes of ids that the data set lacks: ``error``, ``skip``, or ``popular``: unknown users are
        given the items with the most interactions, without a score, and unknown items are left out.
      num_reasons: items of the history that are named beside each recommendation; see ``explain.reason_columns``.
      among: from ``fold_in``: users who were not trained in; None: those of ``dataset``.
      memory_limit_mib: MiB for the tiles of users.
      seed: of the draw of histories longer than the model reads.
      log: takes lines for people.

    Returns:
      A frame of ``user``, ``rank`` (from 1), ``item``, ``title``, ``score``; ids as in the source; then the reasons.

    Raises:
      InputError: an unknown id, no item left to recommend, or reasons of a model without a history.
    """
    population = trained_population(model, params, dataset) if among is None else among
    lister = create_lister(
        model, population, dataset, k=k, candidates=candidates, exclude=exclude, include_seen=include_seen,
        on_unknown=on_unknown, num_reasons=num_reasons, memory_limit_mib=memory_limit_mib, seed=seed, log=log,
    )  # fmt: skip
    return lists_of(lister, wanted_users(population, users, on_unknown, log))
