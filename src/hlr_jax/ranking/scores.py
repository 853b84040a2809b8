"""Scores of users on the host, of a model, a scorer or a blend: all of them, or the best K."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from hlr_jax.blended_systems import Blend
from hlr_jax.errors import InputError
from hlr_jax.models.base import Model
from hlr_jax.ranking.lists import NO_ITEM
from hlr_jax.ranking.population import Population
from hlr_jax.ranking.whole import score_everything
from hlr_jax.sharding import num_workers
from hlr_jax.systems import System
from hlr_jax.types import Ranking

_TILE = 512  # users
_COPIES = 6  # approximate number of live arrays as large as the scores of a tile


def scores(
    system: System, population: Population, places: np.ndarray, num_items: int, *, seed: int = 0,
    memory_limit_mib: int = 512,
) -> np.ndarray:  # fmt: skip
    """Return the scores [n, I] of all items for some users, as a new array, float32; higher is better.

    Nothing is masked, and there are no tiles: the result has n x I numbers. ``ranked`` uses tiles.

    Args:
      system: a model, a scorer or a blend.
      population: whose users they are, with the parameters.
      places: [n], of the users in the population.
      num_items: I.
      seed: for sampling the neighbors that a model reads; the parts of a blend have seeds of their own.
      memory_limit_mib: limit of a model's program, beside the scores.

    Raises:
      InputError: a score of a blend is not finite; or a model's parameters are on a mesh.
    """
    if isinstance(system, Blend):
        return _blended(system, population, places, num_items, memory_limit_mib)
    rows = population.rows[places]
    if isinstance(system, Model):
        sources = population.placed[1]
        return score_everything(system, population.params, rows, sources, num_items, seed, memory_limit_mib)
    return system.scores(population.params, population.histories(num_items)[rows])


def part_scores(
    blend: Blend, label: str, population: Population, places: np.ndarray, num_items: int, memory_limit_mib: int = 512
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``standardized`` scores z [n, I] of one part of a blend; arguments and errors are those of ``scores``."""
    part, people = blend.parts[label], population.parts[label]
    limit = {"seed": part.seed, "memory_limit_mib": memory_limit_mib}
    try:
        return standardized(np.asarray(scores(part.system, people, places, num_items, **limit), np.float32))
    except FloatingPointError:
        raise InputError(
            f"part {label} of the blend has scores that are not finite, or are too large for float32: train it again, "
            "or blend the others"
        ) from None


def _blended(
    blend: Blend, population: Population, places: np.ndarray, num_items: int, memory_limit_mib: int
) -> np.ndarray:
    total: np.ndarray | None = None
    for label, part in blend.parts.items():
        if part.weight:
            values, _ = part_scores(blend, label, population, places, num_items, memory_limit_mib)
            values *= np.float32(part.weight)
            total = values if total is None else np.add(total, values, out=total)
    assert total is not None
    return total


def standardized(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardize each row of scores [n, I], in place, to a mean of 0 and a standard deviation of 1.

    A row of equal scores becomes 0.

    Returns:
      The same array, and the original standard deviations of the rows [n].

    Raises:
      FloatingPointError: a score or its square is not finite.

    Example:
      >>> values, spread = standardized(np.array([[1.0, 3.0], [5.0, 5.0]], np.float32))
      >>> values.tolist(), spread.tolist()
      ([[-1.0, 1.0], [0.0, 0.0]], [1.0, 0.0])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        values -= values[:, :1].copy()  # equal scores are 0 from here on, exactly
        values -= values.mean(axis=1, keepdims=True)
        spread = np.sqrt(np.einsum("ui,ui->u", values, values) / np.float32(values.shape[1]))
    if not np.isfinite(spread).all():
        raise FloatingPointError("scores that are not finite")
    values /= np.where(spread > 0, spread, np.float32(1))[:, None]
    return values, spread


def ranked(
    system: System,
    population: Population,
    places: np.ndarray,
    num_items: int,
    k: int,
    *,
    seen: csr_array | None,
    allowed: np.ndarray | None = None,
    excluded: csr_array | None = None,
    candidates: csr_array | None = None,
    seed: int = 0,
    memory_limit_mib: int = 512,
) -> Ranking:
    """Rank all items for some users by their ``scores`` and return the best ``k``, as ``ranking.rank`` does on devices.

    Args:
      system: a scorer or a blend, or a model, for which ``ranking.rank.rank`` needs less memory.
      population: whose users they are.
      places: [n], of the users in the population.
      num_items: I.
      k: K; there are fewer recommendations than K only if I is less.
      seen: [users of the population, I], items that must not be recommended to them; None: everything may be.
      allowed: [I] bool, the items that may be recommended; None: all.
      excluded: [n, I], items that must not be recommended to a single user; None: none.
      candidates: [n, I], the only items that may be; None: all items.
      seed: see ``scores``.
      memory_limit_mib: limit of the tiles of users at work.

    Raises:
      InputError: see ``scores``.
    """
    k, workers = min(k, num_items), num_workers()
    items, best_scores = np.empty((len(places), k), np.int32), np.empty((len(places), k), np.float32)
    tile = int(np.clip((memory_limit_mib << 20) // (4 * workers * _COPIES * num_items), 1, _TILE))
    options: dict[str, Any] = {"seed": seed, "memory_limit_mib": memory_limit_mib // workers}

    def rank_from(start: int) -> None:
        rows = slice(start, start + tile)
        some = places[rows]
        values = scores(system, population, some, num_items, **options)
        for masked in (None if seen is None else seen[some], None if excluded is None else excluded[rows]):
            if masked is not None:
                values[masked.nonzero()] = -np.inf
        if allowed is not None:
            values[:, ~allowed] = -np.inf
        if candidates is not None:
            values[candidates[rows].toarray() == 0] = -np.inf
        best = best_items(values, k)
        best_scores[rows] = np.take_along_axis(values, best, axis=1)
        items[rows] = np.where(np.isneginf(best_scores[rows]), NO_ITEM, best)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(rank_from, range(0, len(places), tile)))
    return Ranking(items, best_scores)


def best_items(values: np.ndarray, k: int) -> np.ndarray:
    """Return the places [n, K] of the K largest values [n, I], the largest first; ties take the lower place first.

    The result is that of ``jax.lax.top_k``, without sorting all values.

    Example:
      >>> best_items(np.array([[1.0, 3.0, 1.0, 2.0]]), 3)
      array([[1, 3, 0]])
    """
    least = np.partition(values, -k, axis=1)[:, -k, None]
    above, equal = values > least, values == least
    wanted = k - above.sum(axis=1)
    tied = np.flatnonzero(equal.sum(axis=1) > wanted)
    equal[tied] &= np.cumsum(equal[tied], axis=1) <= wanted[tied, None]
    places = np.nonzero(above | equal)[1].reshape(len(values), k)
    order = np.argsort(-np.take_along_axis(values, places, axis=1), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)
