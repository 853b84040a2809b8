"""All scores of some users by a model, as an array that a blend standardizes."""

from functools import lru_cache
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from hlr_jax.data.neighbor_sampling import SHORTEST, NeighborIds, NeighborSources
from hlr_jax.models.base import Model
from hlr_jax.models.identity import derived_shapes
from hlr_jax.ranking.inputs import RankingInputs, draw_key, filled_up
from hlr_jax.ranking.plan import first_plan
from hlr_jax.ranking.single import Tile
from hlr_jax.scoring import joined_parts, part_starts, score_items
from hlr_jax.types import CSR, Neighbors, Padded, Params

_MANY = 1024  # users and items of the shapes on which ``is_product`` traces a model


def score_everything(
    model: Model, params: Params, users: np.ndarray, sources: NeighborSources, num_items: int, seed: int = 0,
    memory_limit_mib: int = 512,
) -> np.ndarray:  # fmt: skip
    """Return the scores [n, I] of all items for some users, as a new array of NumPy, float32.

    The scores are those that ``rank`` sorts, up to rounding. If a model's scores of many users and items are a matrix
    product, they are computed as one; otherwise, one user after the other.

    Args:
      model: scores the pairs.
      params: its parameters, on one device.
      users: [n].
      sources: what neighbors are sampled from, with lengths from ``placed_rows``.
      num_items: I.
      seed: for sampling neighbors.
      memory_limit_mib: limit of the memory for scoring on the device, beside the scores.
    """
    at_once = filled_up(users)
    plan = first_plan(model, params, len(at_once), num_items, memory_limit_mib << 20)
    product = is_product(model, params)
    how = (num_items, None, False) if product else (plan.items, plan.users_at_once, plan.by_pairs)
    program = _program(model.as_scored, *how, product)
    nothing = CSR(jnp.zeros(2, jnp.int32), jnp.zeros(1, jnp.int32), 1)  # no item is masked
    values = program(params, at_once, RankingInputs(nothing, sources, draw_key(seed), num_items))
    return np.array(values)[: len(users)]


@lru_cache(maxsize=32)
def _program(model: Model, part: int, users_at_once: int | None, by_pairs: bool, product: bool) -> Any:
    """Return the compiled function of a tile of users [U'] to scores [U', I]."""

    @jax.jit
    def scores(params: Params, users: jax.Array, inputs: RankingInputs) -> jax.Array:
        tile = Tile.of(model, params, users, inputs, part)

        def of_part(first: jax.Array | int) -> jax.Array:
            _, items, item_users = tile.items_from(jnp.asarray(first))

            def of_user(given: tuple[Params, NeighborIds]) -> jax.Array:
                return tile.score(*given, items, item_users)

            def product_of_user(row: Params, near: NeighborIds) -> jax.Array:
                neighbors = Neighbors(near.vectors(tile.params["item"]), item_users)
                return score_items(model, tile.params, row, items, neighbors)

            if product:
                return jax.vmap(product_of_user)(tile.users, tile.histories)
            if by_pairs:
                return tile.score_by_pairs(items, item_users, users_at_once)
            return jax.lax.map(of_user, (tile.users, tile.histories), batch_size=users_at_once)

        if part == inputs.num_items:
            return of_part(0)
        return joined_parts(jax.lax.map(of_part, part_starts(inputs.num_items, part)), inputs.num_items)

    return scores


def is_product(model: Model, params: Params) -> bool:
    """Return whether a model scores many users and items without an array that is larger than the scores.

    CML and MF-ALS do: their scores are a matrix product and sums of rows. A model with a relation or an attention of
    each pair does not.
    """
    return _is_product(model, tuple((name, array.shape) for name, array in sorted(params.items())))


@lru_cache(maxsize=64)
def _is_product(model: Model, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> bool:
    def of(*shape: int, dtype: Any = jnp.float32) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype)

    params: Params = {name: of(*shape) for name, shape in shapes}
    dim = params["item"].shape[1]
    everything, many = params | derived_shapes(model, params), max(_MANY, dim)

    def rows(axis: str) -> Params:
        return {name: of(many, *array.shape[1:]) for name, array in model.on_axis(everything, axis).items()}

    def near(size: int) -> Padded:
        return Padded(of(many, size, dim), of(many, size, dtype=jnp.bool_))

    def scores(shared: Params, users: Params, items: Params, histories: Padded, item_users: Padded) -> jax.Array:
        def of_user(user: Params, history: Padded) -> jax.Array:
            return score_items(model, shared, user, items, Neighbors(history, item_users))

        return jax.vmap(of_user)(users, histories)

    given = model.on_axis(params, "shared"), rows("user"), rows("item")
    sizes = (min(spec.size, SHORTEST) for spec in (model.history, model.item_users))  # more gives the same answer
    traced = jax.make_jaxpr(scores)(*given, *map(near, sizes))
    return _widest(traced) <= many * many


def _widest(program: ClosedJaxpr | Jaxpr) -> int:
    """Return the size of the largest array in a program."""
    widest, steps = 0, (program.jaxpr if isinstance(program, ClosedJaxpr) else program).eqns
    for step in steps:
        inside = (x for x in jax.tree.leaves(list(step.params.values())) if isinstance(x, ClosedJaxpr | Jaxpr))
        widest = max(widest, *(prod(getattr(out.aval, "shape", ())) for out in step.outvars), *map(_widest, inside))
    return widest
