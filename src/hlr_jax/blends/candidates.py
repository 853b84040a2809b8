"""The lists of many blends of the same parts, computed from the best items of each part: exact, without all scores."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from hlr_jax.blended_systems import Blend
from hlr_jax.ranking.population import Population
from hlr_jax.ranking.scores import best_items, part_scores, ranked

_LARGE = 3e38  # used in place of infinity, since it is multiplied by weights of 0
_TILE = 512  # users


class Candidates(NamedTuple):
    """The inputs for the lists of any blend of some parts.

    An item outside the best M of every part has z_p <= t_p for each part p, where t_p is the M-th best score. So it
    scores at most sum_p w_p t_p in a blend. If the K-th best of the candidates scores more, the list is exact.
    Otherwise all items are scored (the threshold algorithm of Fagin et al. 2003, with M fixed).

    Attributes:
      blend: the parts, with any weights.
      population: the users.
      places: [n], rows of these users in the population.
      seen: [users of the population, I], items to leave out of their lists.
      items: [n, C], candidates in increasing order, padded with I.
      scores: [P, n, C], their standardized scores in each part; very low for padding.
      thresholds: [P, n], t of each part; very low for a user all of whose items are candidates.
    """

    blend: Blend
    population: Population
    places: np.ndarray
    seen: csr_array
    items: np.ndarray
    scores: np.ndarray
    thresholds: np.ndarray

    @classmethod
    def of(
        cls, blend: Blend, population: Population, places: np.ndarray, seen: csr_array, best: int,
        memory_limit_mib: int = 512,
    ) -> "Candidates":  # fmt: skip
        """Return the candidates of users: the ``best`` (M) items of each part.

        Args:
          blend: the parts, with any weights.
          population: the users.
          places: [n], rows of some users.
          seen: [users of the population, I].
          best: M.
          memory_limit_mib: MiB that a tile of users may use.

        Raises:
          InputError: see ``scores``.
        """
        num_items = seen.shape[1]
        tile = int(np.clip((memory_limit_mib << 20) // (4 * (len(blend.parts) + 4) * num_items), 1, _TILE))
        made = [
            _candidates(blend, population, places[start : start + tile], seen, best, memory_limit_mib)
            for start in range(0, len(places), tile)
        ]
        width = max(items.shape[1] for items, _, _ in made)

        def filled(array: np.ndarray, value: float) -> np.ndarray:
            more = [(0, 0)] * (array.ndim - 1) + [(0, width - array.shape[-1])]
            return np.pad(array, more, constant_values=value)

        items = np.concatenate([filled(part, num_items) for part, _, _ in made])
        scores = np.concatenate([filled(part, -_LARGE) for _, part, _ in made], axis=1)
        thresholds = np.concatenate([part for _, _, part in made], axis=1)
        return cls(blend, population, places, seen, items, scores, thresholds)

    def lists(self, weights: dict[str, float], k: int) -> np.ndarray:
        """Return the lists [n, K] of a blend with these weights, -1 for no item."""
        k = min(k, self.items.shape[1])
        values, bound = np.zeros(self.items.shape, np.float32), np.zeros(len(self.places), np.float32)
        for weight, scores, threshold in zip(weights.values(), self.scores, self.thresholds, strict=True):
            if weight:
                values += np.float32(weight) * scores
                bound += np.float32(weight) * threshold
        best = best_items(values, k)
        chosen = np.take_along_axis(values, best, axis=1)
        items = np.where(chosen > -_LARGE / 2, np.take_along_axis(self.items, best, axis=1), -1)
        unsure = np.flatnonzero((chosen[:, -1] <= bound) & (bound > -_LARGE / 2))
        if len(unsure):
            whole = ranked(
                self.blend.weighted(weights), self.population, self.places[unsure], self.seen.shape[1], k,
                seen=self.seen,
            )  # fmt: skip
            items[unsure] = whole.items
        return items


def _candidates(
    blend: Blend, population: Population, places: np.ndarray, seen: csr_array, best: int, memory_limit_mib: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the items, scores and thresholds of some users, at least M wide."""
    count, num_items = len(places), seen.shape[1]
    masked, best = seen[places].nonzero(), min(best, num_items)
    each, thresholds = [], np.empty((len(blend.parts), count), np.float32)
    wanted = np.zeros((count, num_items), bool)
    for row, label in enumerate(blend.parts):
        values, _ = part_scores(blend, label, population, places, num_items, memory_limit_mib)
        values[masked] = -_LARGE
        thresholds[row] = np.partition(values, -best, axis=1)[:, -best]
        wanted |= values > thresholds[row, :, None]
        each.append(values)
    user, item = wanted.nonzero()
    counts = wanted.sum(axis=1)
    place = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = max(best, int(counts.max(initial=0)))
    items = np.full((count, width), num_items)
    scores = np.full((len(each), count, width), -_LARGE, np.float32)
    items[user, place] = item
    for row, values in enumerate(each):
        scores[row, user, place] = values[user, item]
    return items, scores, thresholds
