"""The best items of users, as frames with the ids and titles of the source."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
import numpy as np
import polars as pl
from scipy.sparse import csr_array

from hlr_jax.data.csr import csr_of
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError, check_range
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import RankingInputs, prepared_inputs
from hlr_jax.ranking.lists import NO_ITEM
from hlr_jax.ranking.rank import rank
from hlr_jax.scorers.base import histories_of
from hlr_jax.scorers.lists import rank_histories
from hlr_jax.serving.explain import check_reasons, reason_columns, reasons_of
from hlr_jax.serving.population import (
    UNKNOWN,
    Population,
    codes_of,
    known_interactions,
    trained_population,
    wanted_users,
)
from hlr_jax.sharding import mesh_of
from hlr_jax.systems import System
from hlr_jax.types import Params, Ranking


def allowed_items(
    dataset: Dataset,
    candidates: Sequence[object] | pl.Series | None,
    exclude: Sequence[object] | pl.Series,
    on_unknown: str,
    log: Callable[[str], None],
) -> np.ndarray | None:
    """Return which items [I] may be recommended, None for all; arguments and errors are those of ``recommend``."""
    if candidates is None and not len(exclude):
        return None
    allowed = np.full(dataset.num_items, candidates is None)
    if candidates is not None:
        allowed[codes_of(dataset.item_ids, candidates, "candidates", on_unknown, log)] = True
    if len(exclude):
        allowed[codes_of(dataset.item_ids, exclude, "excluded items", on_unknown, log)] = False
    if not allowed.any():
        raise InputError("no item is left to recommend: check the candidates and the excluded items")
    return allowed


@dataclass(frozen=True, eq=False)
class Lister:
    """What makes lists, prepared once for any number of calls; options and errors are those of ``recommend``.

    Attributes:
      model: scores the pairs; a model or a scorer.
      population: who can be given lists.
      dataset: gives the ids and titles of items.
      allowed: [I], which items may stand in a list; None: all.
    """

    model: System
    population: Population
    dataset: Dataset
    allowed: np.ndarray | None = None
    k: int = 10
    include_seen: bool = False
    num_reasons: int = 0
    memory_limit_mib: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges, and that the model has reasons if some are asked for."""
        check_range("recommend", k=(self.k, 1, 10**6), num_reasons=(self.num_reasons, 0, 65536))
        if self.num_reasons:
            check_reasons(self.model, self.dataset)
            if mesh_of(self.population.params) is not None:
                raise InputError("reasons are given on one device: load the run without a mesh")

    @property
    def _masked(self) -> Interactions:
        return Interactions(np.empty(0, np.int32), np.empty(0, np.int32)) if self.include_seen else self.population.met

    @cached_property
    def _inputs(self) -> RankingInputs:
        population = self.population
        assert population.sources is not None
        return prepared_inputs(
            csr_of(self._masked, len(population.params["user"])), population.sources, self.dataset.num_items, self.seed,
            None if self.allowed is None else jnp.asarray(self.allowed), mesh_of(population.params),
        )  # fmt: skip

    @cached_property
    def _histories(self) -> tuple[csr_array, csr_array]:
        """What a scorer reads of users, and what it leaves out."""
        sizes = len(self.population.rows), self.dataset.num_items
        return histories_of(self.population.met, *sizes), histories_of(self._masked, *sizes)

    @cached_property
    def _popular(self) -> np.ndarray:
        """The allowed items, from the most popular on."""
        counts = known_interactions(self.dataset).item_degrees(self.dataset.num_items)
        popular = np.argsort(-counts, kind="stable")
        return popular if self.allowed is None else popular[self.allowed[popular]]

    def ranking(self, places: np.ndarray) -> Ranking:
        """Return the lists of users by their places in the population, as codes and scores."""
        rows, params, limit = self.population.rows[places], self.population.params, self.memory_limit_mib
        if isinstance(self.model, Model):
            return rank(self.model, params, rows, self._inputs, self.k, limit)
        return rank_histories(self.model, params, rows, *self._histories, self.k, self.allowed, limit)

    def lists(self, ids: pl.Series, places: np.ndarray, count: int | None = None) -> pl.DataFrame:
        """Return the lists of ``wanted_users``, or of the first ``count`` of them: the frame of ``recommend``."""
        is_known = places != UNKNOWN
        # Unknown users are ranked as the first one and then overwritten, so that every call of as many has one shape.
        places = np.where(is_known, places, 0)
        ranking, titles = self.ranking(places), self.dataset.item_titles
        items, scores = ranking.items.astype(np.int64), ranking.scores.astype(np.float32)
        k, popular = items.shape[1], self._popular
        items[~is_known] = np.pad(popular[:k], (0, max(0, k - len(popular))), constant_values=NO_ITEM)
        scores[~is_known] = np.nan
        items[len(items) if count is None else count :] = NO_ITEM
        kept = items.ravel() != NO_ITEM
        flat = items.ravel()[kept]
        frame = pl.DataFrame(
            {
                "user": ids.gather(np.repeat(np.arange(len(places)), k)[kept]),
                "rank": np.tile(np.arange(1, k + 1), len(places))[kept],
                "item": self.dataset.item_ids.gather(flat),
                "title": titles.gather(flat),
                "score": pl.Series(scores.ravel()[kept]).fill_nan(None),
            }
        )
        if not self.num_reasons:
            return frame
        rows, items = self.population.rows[places], np.maximum(items, 0)
        reasons = reasons_of(self.model, self.population, self.dataset, rows, items, self.num_reasons, self.seed)
        columns = reason_columns(reasons.filter(pl.Series(kept)))
        explained = pl.Series(np.repeat(is_known, k)[kept])
        return frame.hstack(columns.with_columns(pl.when(explained).then(pl.all())))


def recommend(
    model: System,
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
      model: scores the pairs; a model or a scorer.
      params: its parameters, or its state.
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
      InputError: an unknown id, no item left to recommend, or reasons of a model that gives none.
    """
    population = trained_population(model, params, dataset) if among is None else among
    allowed = allowed_items(dataset, candidates, exclude, on_unknown, log)
    lister = Lister(model, population, dataset, allowed, k, include_seen, num_reasons, memory_limit_mib, seed)
    return lister.lists(*wanted_users(population, users, on_unknown, log))
