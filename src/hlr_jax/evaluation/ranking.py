"""The best K items of every user among all they have not seen, a tile of users at a time."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from hlr_jax.compile_memory import planned
from hlr_jax.data.interactions import Interactions
from hlr_jax.evaluation.sharded_tiles import sharded_tile_ranker
from hlr_jax.evaluation.tiles import Known, TileRanker, known_of
from hlr_jax.evaluation.whole_tiles import whole_tile_ranker
from hlr_jax.models.base import Model
from hlr_jax.sharding import mesh_of, padded_size, replicate
from hlr_jax.types import Params

_MOST_USERS = 1024  # in a tile, of each device: larger ones are no faster


class Ranking(NamedTuple):
    """Lists of users: ``items`` [users, K] (``NO_ITEM`` where nothing unseen is left) and ``scores`` [users, K]."""

    items: np.ndarray
    scores: np.ndarray


def rank(
    model: Model,
    params: Params,
    users: np.ndarray,
    seen: Interactions,
    *,
    num_users: int,
    num_items: int,
    k: int,
    near: Interactions | None = None,
    memory_limit_mib: int = 512,
    seed: int = 0,
) -> Ranking:
    """Rank the whole catalogue for each of ``users`` and return their best ``k`` unseen items.

    With ``params`` on a mesh, its axis ``data`` divides the users and ``model`` the items, and every process returns
    all lists.

    Args:
      model: scores the pairs.
      params: its parameters.
      users: [users].
      seen: interactions that are masked.
      num_users: U.
      num_items: I; tables may have more rows (padding), which are never ranked.
      k: K; lists are shorter than K only where I is.
      near: interactions that neighbors are from; None: ``seen``.
      memory_limit_mib: MiB that the tiles may take of each device, beside the parameters and interactions.
      seed: of the draw of neighbors where there are more than the model reads; each user's and each item's draw depends
        on nothing else.
    """
    known = known_of(model, seen, seen if near is None else near, num_users, num_items, mesh_of(params))
    return rank_known(
        model, params, users, known, num_items=num_items, k=k, memory_limit_mib=memory_limit_mib, seed=seed
    )


def rank_known(
    model: Model,
    params: Params,
    users: np.ndarray,
    known: Known,
    *,
    num_items: int,
    k: int,
    memory_limit_mib: int = 512,
    seed: int = 0,
) -> Ranking:
    """Do what ``rank`` does with interactions that are prepared already, for those who rank users in pieces."""
    mesh, k, budget = mesh_of(params), min(k, num_items), memory_limit_mib << 20
    ranker = _ranker_of_known(model, params, len(users), known, num_items, k, budget, seed)
    tile, _ = tile_of(ranker, mesh, len(users), budget)

    def rank_from(start: int) -> tuple[np.ndarray, np.ndarray]:
        chunk = users[start : start + tile]
        padded = np.pad(chunk, (0, tile - len(chunk)), mode="edge").astype(np.int32)
        found, best = ranker.program(*ranker.arguments(replicate(padded, mesh)))
        return np.asarray(found)[: len(chunk)], np.asarray(best)[: len(chunk)]

    with ThreadPoolExecutor(ranker.workers) as pool:
        lists = list(pool.map(rank_from, range(0, len(users), tile)))
    nothing = np.empty((0, k), np.int32), np.empty((0, k), np.float32)
    items, scores = (np.concatenate(parts) for parts in zip(nothing, *lists, strict=True))
    return Ranking(items, scores)


def ranker_of(
    model: Model, params: Params, users: int, seen: Interactions, near: Interactions, num_users: int, num_items: int,
      k: int,
    budget: int, seed: int,
) -> TileRanker:  # fmt: skip
    """Return what ranks tiles of ``users`` users, in about ``budget`` bytes of each device; as ``rank`` does."""
    known = known_of(model, seen, near, num_users, num_items, mesh_of(params))
    return _ranker_of_known(model, params, users, known, num_items, k, budget, seed)


def _ranker_of_known(
    model: Model, params: Params, users: int, known: Known, num_items: int, k: int, budget: int, seed: int
) -> TileRanker:
    make = whole_tile_ranker if mesh_of(params) is None else sharded_tile_ranker
    return make(model, params, known, jax.random.key(seed), num_items, k, users, budget)


def tile_of(ranker: TileRanker, mesh: Mesh | None, users: int, budget: int) -> tuple[int, int]:
    """Return how many users a tile has, and the bytes that the tiles at work need by the compiler's plan.

    A tile has as many users as keep them within ``budget``.

    What a tile needs whatever its size (the parameters in float32, a part of the catalogue) may be more than that;
    then smaller tiles save nothing, and are not taken.
    """
    most, before = _MOST_USERS, 0
    while True:
        share = max(1, min(-(-users // (ranker.workers * ranker.shares)), most))
        # Tiles of nearly equal size: the last one is padded to the size of the others.
        tiles = max(1, -(-users // (share * ranker.shares)))
        tile = padded_size(-(-users // tiles), ranker.shares) or ranker.shares
        plan = planned(ranker.program, *ranker.arguments(replicate(np.zeros(tile, np.int32), mesh)))
        need = ranker.workers * (plan.temporary + plan.results)
        if need <= budget or share == 1 or (before and need > 0.9 * before):
            return tile, need
        most, before = max(1, share // 4), need
