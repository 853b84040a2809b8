"""The best K items of users, a tile of them at a time."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import RankingInputs
from hlr_jax.ranking.plan import Prepare, TilePlan, first_plan, fitting_plan
from hlr_jax.ranking.sharded import mesh_program
from hlr_jax.ranking.single import single_device_program
from hlr_jax.sharding import grid_of, mesh_of
from hlr_jax.types import Params, Ranking


def rank(
    model: Model,
    params: Params,
    users: np.ndarray,
    inputs: RankingInputs,
    k: int,
    memory_limit_mib: int = 512,
    plan: TilePlan | None = None,
) -> Ranking:
    """Rank the whole catalog for each of ``users`` and return their best ``k`` unseen items, [users, K].

    With ``params`` on a mesh, its axis ``data`` divides the users and ``model`` the items. Every process returns the
    recommendations of all users.

    Args:
      model: scores the pairs.
      params: its parameters.
      users: [users].
      inputs: from ``ranking_inputs``.
      k: K; there are fewer recommendations than K only if I is less.
      memory_limit_mib: limit of the tiles' memory on each device, beside the parameters and interactions.
      plan: how users are divided; None: from ``plan_ranking``.
    """
    k = min(k, inputs.num_items)
    plan = plan_ranking(model, params, len(users), inputs, k, memory_limit_mib) if plan is None else plan
    program, arguments = _prepare(model, params, inputs, k)(plan)

    def rank_from(start: int) -> tuple[np.ndarray, np.ndarray]:
        # The last tile is padded with the last user.
        places = np.arange(start, start + plan.users, dtype=np.int32).clip(max=len(users) - 1)
        items, scores = program(*arguments(users[places].astype(np.int32), places))
        real = slice(len(users) - start)
        return np.asarray(items)[real], np.asarray(scores)[real]

    starts = range(0, len(users), plan.users)
    if len(starts) == 1:
        lists = [rank_from(0)]
    else:
        with ThreadPoolExecutor(plan.workers) as pool:
            lists = list(pool.map(rank_from, starts))
    nothing = np.empty((0, k), np.int32), np.empty((0, k), np.float32)
    return Ranking(*(np.concatenate(parts) for parts in zip(nothing, *lists, strict=True)))


def plan_ranking(
    model: Model, params: Params, num_users: int, inputs: RankingInputs, k: int, memory_limit_mib: int = 512
) -> TilePlan:
    """Return how ``rank`` divides this many users; nothing runs, but the program is compiled."""
    limit = memory_limit_mib << 20
    first = first_plan(model, params, num_users, inputs.num_items, limit)
    prepare = _prepare(model, params, inputs, min(k, inputs.num_items))
    return fitting_plan(first, prepare, num_users, limit, grid_of(params)[0])


def _prepare(model: Model, params: Params, inputs: RankingInputs, k: int) -> Prepare:
    make = single_device_program if mesh_of(params) is None else mesh_program
    return partial(make, model, params, inputs, k)
