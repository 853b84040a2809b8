"""Recommendations: the best items of each user, as frames with the original ids and titles."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
import polars as pl
from scipy.sparse import csr_array

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.ids import UNKNOWN
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import check_range
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import RankingInputs, draw_key, padded_rows, power_of_two
from hlr_jax.ranking.lists import NO_ITEM
from hlr_jax.ranking.population import Population, population_of, wanted_users
from hlr_jax.ranking.rank import rank
from hlr_jax.ranking.scores import ranked
from hlr_jax.scorers.base import histories_of
from hlr_jax.serving.choice import EVERYTHING, ItemChoice, item_choice
from hlr_jax.serving.explain import MOST_REASONS, check_reasons, reason_columns
from hlr_jax.sharding import beside, padded_size
from hlr_jax.systems import System
from hlr_jax.types import CSR, Params, Ranking

_LARGE = 1024  # users; a larger call is padded to a multiple of it, a smaller one to a power of two


@dataclass(frozen=True, eq=False)
class Lister:
    """Makes recommendations, prepared once for any number of calls; options and errors are those of ``recommend``.

    Attributes:
      model: scores the pairs; a model, a scorer or a blend.
      population: the users to recommend to.
      dataset: has the ids and titles of items.
      choice: which items may be recommended.
    """

    model: System
    population: Population
    dataset: Dataset
    choice: ItemChoice = EVERYTHING
    k: int = 10
    include_seen: bool = False
    num_reasons: int = 0
    memory_limit_mib: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges, and that the model gives reasons if they are requested."""
        check_range(
            "recommend", k=(self.k, 1, 10**6), num_reasons=(self.num_reasons, 0, MOST_REASONS),
            memory_limit_mib=(self.memory_limit_mib, 1, 2**24),
        )  # fmt: skip
        if self.num_reasons:
            check_reasons(self.model, self.population.params)

    @cached_property
    def _inputs(self) -> RankingInputs:
        seen, sources = self.population.placed
        if self.include_seen:
            seen = CSR(jnp.zeros_like(seen.offsets), seen.items, 1)
        allowed = None if self.choice.allowed is None else jnp.asarray(self.choice.allowed)
        key, allowed = beside((draw_key(self.seed), allowed), self.population.params)
        return RankingInputs(seen, sources, key, self.dataset.num_items, allowed)

    def _inputs_of(self, places: np.ndarray) -> RankingInputs:
        """Return the inputs, with the excluded items and candidates of each of these users."""

        def rows(own: Interactions | None) -> CSR | None:
            return None if own is None else padded_rows(own.of_users(places), len(places))

        own = rows(self.choice.excluded), rows(self.choice.candidates)
        excluded, candidates = beside(own, self.population.params)
        return replace(self._inputs, excluded=excluded, candidates=candidates)

    @property
    def _popular(self) -> np.ndarray:
        """The allowed items, most popular first; none if single users have candidates."""
        popular, allowed = self.dataset.popular_items, self.choice.allowed
        if self.choice.candidates is not None:
            return popular[:0]
        return popular if allowed is None else popular[allowed[popular]]

    def ranking(self, places: np.ndarray) -> Ranking:
        """Return the top-K lists of users by their rows in the population, as codes and scores."""
        if isinstance(self.model, Model):
            return self._ranked(self.model, places)
        num_items, choice = self.dataset.num_items, self.choice
        histories = self.population.histories(num_items)

        def rows(own: Interactions | None) -> csr_array | None:
            return None if own is None else histories_of(own.of_users(places), len(places), num_items)

        return ranked(
            self.model, self.population, places, num_items, self.k, seen=None if self.include_seen else histories,
            allowed=choice.allowed, excluded=rows(choice.excluded), candidates=rows(choice.candidates), seed=self.seed,
            memory_limit_mib=self.memory_limit_mib,
        )  # fmt: skip

    def _ranked(self, model: Model, places: np.ndarray) -> Ranking:
        count = len(places)
        # A call is padded with its last user, so that few sizes are compiled.
        padded = power_of_two(count) if count < _LARGE else padded_size(count, _LARGE)
        filled = places[np.arange(padded).clip(max=count - 1)] if count else places
        rows, inputs = self.population.rows[filled], self._inputs_of(filled)
        best = rank(model, self.population.params, rows, inputs, self.k, self.memory_limit_mib)
        return Ranking(best.items[:count], best.scores[:count])

    def lists(self, ids: pl.Series, places: np.ndarray, count: int | None = None) -> pl.DataFrame:
        """Return the frame of ``recommend`` for ``wanted_users``, or for the first ``count`` of them."""
        is_known = places != UNKNOWN
        # Unknown users are ranked as the first user and then overwritten, so that equal calls have equal shapes.
        places = np.where(is_known, places, 0)
        ranking, titles = self.ranking(places), self.dataset.item_titles
        items, scores = ranking.items.astype(np.int64), ranking.scores.astype(np.float32)
        k = items.shape[1]
        if not is_known.all():
            popular = self._popular[:k]
            items[~is_known] = np.pad(popular, (0, k - len(popular)), constant_values=NO_ITEM)
            scores[~is_known] = np.nan
        items[len(items) if count is None else count :] = NO_ITEM
        kept = items.ravel() != NO_ITEM
        flat = items.ravel()[kept]
        frame = pl.DataFrame(
            {
                "user": ids[np.repeat(np.arange(len(places)), k)[kept]],
                "rank": np.tile(np.arange(1, k + 1), len(places))[kept],
                "item": self.dataset.item_ids[flat],
                "title": titles[flat],
                "score": pl.Series(scores.ravel()[kept], nan_to_null=True),
            }
        )
        if not self.num_reasons:
            return frame
        reasons = reason_columns(
            self.model, self.population, self.dataset, places, np.maximum(items, 0), self.num_reasons, self.seed
        )
        columns = reasons.filter(pl.Series(kept))
        explained = pl.Series(np.repeat(is_known, k)[kept])
        return frame.hstack(columns.with_columns(pl.when(explained).then(pl.all())))


def recommend(
    model: System,
    params: Params,
    dataset: Dataset,
    users: Any = None,
    *,
    k: int = 10,
    candidates: Any = None,
    exclude: Any = None,
    include_seen: bool = False,
    on_unknown: str = "error",
    num_reasons: int = 0,
    among: Population | None = None,
    memory_limit_mib: int = 512,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> pl.DataFrame:
    """Return the best ``k`` items for each user, by default only unseen items.

    Args:
      model: scores the pairs; a model, a scorer or a blend.
      params: its parameters, or its state; for a blend, those of its parts by label.
      dataset: has ids, titles and the seen items of users (train and validation).
      users: original ids, or one; None: all.
      k: K.
      candidates: the only items that may be recommended. Either original ids, or the candidates of each user: a frame
        of ``user`` and ``item``, or a dict of items by user. A user without candidates gets no list. None: all items.
      exclude: the items that must not be recommended, in the same forms.
      include_seen: whether to recommend the items of the user's training and validation interactions, too.
      on_unknown: how unknown ids are handled: ``error``, ``skip`` or ``popular``. With ``popular``, unknown users get
        the items with the most interactions, without a score, and unknown items are left out.
      num_reasons: history items to show as reasons for each recommendation; see ``explain.reason_columns``.
      among: new users, from ``fold_in``; None: the users of ``dataset``.
      memory_limit_mib: MiB for the tiles of users.
      seed: for sampling histories longer than the model reads.
      log: receives log lines.

    Returns:
      A frame of ``user``, ``rank`` (from 1), ``item``, ``title``, ``score``, with the original ids; then the reasons.

    Raises:
      InputError: an unknown id, no item left to recommend, reasons of a model that gives none, or parameters of
        another model or data set.

    Example:
      >>> hlr_jax.recommend(model, params, data, users=7, k=2, exclude={7: [3, 9]}).columns
      ['user', 'rank', 'item', 'title', 'score']
    """
    population = population_of(model, params, dataset, among)
    choice = item_choice(population, dataset, candidates, exclude, on_unknown, log)
    lister = Lister(model, population, dataset, choice, k, include_seen, num_reasons, memory_limit_mib, seed)
    return lister.lists(*wanted_users(population, users, on_unknown, log))
