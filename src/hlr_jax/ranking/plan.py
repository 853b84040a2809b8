"""How a ranking is divided into tiles of users and parts of the catalog, decided before anything runs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from hlr_jax.compile_memory import planned
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import power_of_two
from hlr_jax.scoring import CATALOGUE_TILE
from hlr_jax.sharding import grid_of, num_workers, padded_size
from hlr_jax.types import Params

_MOST_USERS = 1024  # in a tile, on each device: larger tiles are no faster
_MOST_BY_PAIRS = 4096  # the same on an accelerator, by pairs of items: each tile computes all pairs again
_MOST_ITEMS = 8192  # scored for a tile of users at a time
_CPU_USERS = 32  # scored by one product on a CPU


@dataclass(frozen=True)
class TilePlan:
    """How users are divided for ranking. The recommendations do not depend on it.

    Attributes:
      users: in a tile, on all devices.
      items: of the catalog, scored for a tile at a time; a mesh ignores this and uses the items of a shard.
      users_at_once: users of a tile that are scored at once; None: one after the other.
      by_pairs: whether scores are computed by ``Model.item_pairs``.
      workers: tiles that are ranked in parallel.
      bytes: needed by the tiles at work, from the compiler's plan; 0: not asked.
    """

    users: int
    items: int
    users_at_once: int | None = None
    by_pairs: bool = False
    workers: int = 1
    bytes: int = 0


Prepared = tuple[Any, Callable[[np.ndarray, np.ndarray], tuple]]
"""The compiled function of a tile, and the function from users [tile] and their places in the call to its arguments."""

Prepare = Callable[[TilePlan], Prepared]


def first_plan(model: Model, params: Params, num_users: int, num_items: int, limit: int) -> TilePlan:
    """Return the plan for ranking some users before asking the compiler: the largest tiles that are useful.

    Tiles may take ``limit`` bytes of each device.
    """
    shares, shards = grid_of(params)
    on_mesh = shares * shards > 1
    workers = 1 if on_mesh else num_workers()
    share = limit // workers
    items = num_items // shards if on_mesh else _items_per_part(model, params, num_items, share)
    by_pairs = shards == 1 and _pairs_pay(model, params, num_users, share)
    at_once = _users_at_once(model, params, items, share)
    users, at_once = _tile(num_users, workers, shares, _most_users(by_pairs), at_once)
    return TilePlan(users, items, at_once, by_pairs, workers)


def fitting_plan(plan: TilePlan, prepare: Prepare, num_users: int, limit: int, shares: int = 1) -> TilePlan:
    """Return the plan with as many users in a tile as keep the tiles at work within ``limit`` bytes.

    The fixed needs of a tile (a part of the catalog) may exceed the limit. Then smaller tiles save nothing, and are not
    used. A mesh divides the users of a tile into ``shares``.
    """
    most, before = _most_users(plan.by_pairs), 0
    while True:
        tile, at_once = _tile(num_users, plan.workers, shares, most, plan.users_at_once)
        plan, nobody = replace(plan, users=tile, users_at_once=at_once), np.zeros(tile, np.int32)
        program, arguments = prepare(plan)
        _, temporary, results = planned(program, *arguments(nobody, nobody))
        need, share = plan.workers * (temporary + results), tile // shares
        if need <= limit or share == 1 or (before and need > 0.9 * before):
            return replace(plan, bytes=need)
        most, before = max(1, share // 4), need


def _most_users(by_pairs: bool) -> int:
    return _MOST_BY_PAIRS if by_pairs and jax.default_backend() != "cpu" else _MOST_USERS


def _tile(num_users: int, workers: int, shares: int, most: int, at_once: int | None) -> tuple[int, int | None]:
    """Return the users of a tile, about ``most`` on each device, and how many of them are scored at once.

    Tiles have nearly the same size; the last one is padded to the size of the others. Few sizes occur, at most an
    eighth apart, so that validation and test share a compiled program. The users of a device are whole batches of
    nearly ``at_once`` users, because a smaller last batch would be compiled separately.
    """
    share = max(1, min(-(-num_users // (workers * shares)), most))
    tiles = max(1, -(-num_users // (share * shares)))
    share = max(1, -(-num_users // (tiles * shares)))
    share = min(padded_size(share, max(1, power_of_two(share) // 8)), most)
    if at_once is None:
        return shares * share, None
    batches = -(-share // at_once)
    at_once = -(-share // batches)
    return shares * batches * at_once, at_once


def _items_per_part(model: Model, params: Params, num_items: int, limit: int) -> int:
    """Return how many items fit in ``limit`` bytes, with the neighbors of each, for scoring a tile of users."""
    each = 4 * (params["item"].shape[1] * (1 + 2 * model.item_users.size) + 3)
    most = min(_MOST_ITEMS, max(CATALOGUE_TILE, limit // (2 * each)))
    if num_items <= most:
        return num_items
    # Parts of nearly equal size, of whole tiles: the last one is padded to the size of the others.
    even = -(-num_items // -(-num_items // most))
    return min(num_items, padded_size(even, CATALOGUE_TILE))


def _users_at_once(model: Model, params: Params, num_items: int, limit: int) -> int | None:
    """Return how many users of a tile are scored at once in ``limit`` bytes, each against ``num_items`` items.

    On a CPU a model that reads neighbors ranks one user after the other, each in cache: None. Without neighbors the
    scores of a few users are one matrix product (CML and MF-ALS: 4 to 6 times as fast). An accelerator takes as many as
    the limit allows. None and 1 differ: a batch of one turns each matrix product into a batched one, at half the speed.
    """
    if jax.default_backend() == "cpu":
        alone = model.history.size + model.item_users.size > 0
        return None if alone else max(1, min(_CPU_USERS, limit // (12 * num_items)))
    context, keys = model.history.size, params.get("keys")  # may be anything in models of other kinds
    memories, dim = (0, 0) if keys is None or keys.ndim != 2 else keys.shape
    attended = context * (dim + 3 * CATALOGUE_TILE) + 3 * CATALOGUE_TILE * model.item_users.size
    return max(1, limit // (4 * (3 * num_items + memories * attended)))


def _pairs_pay(model: Model, params: Params, num_users: int, limit: int) -> bool:
    """Return whether scores by pairs of items cost less than scores by users, and fit in the limit (bytes).

    Scores by pairs process each item once as a neighbor. Scores by users process every neighbor of every user.
    """
    table = params["item"]
    if model.item_pairs is None or num_users * model.history.size < len(table):
        return False
    tile = jax.ShapeDtypeStruct((min(CATALOGUE_TILE, len(table)), *table.shape[1:]), table.dtype)
    pairs = jax.eval_shape(model.item_pairs, params, table, tile)
    return 3 * pairs.size * pairs.dtype.itemsize <= limit
