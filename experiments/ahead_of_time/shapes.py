"""Sizes of data, and the shapes of all that a program reads of them. Nothing is allocated."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax import Model
from hlr_jax.data.neighbor_sampling import NeighborSource, NeighborSources, capped
from hlr_jax.ranking.inputs import RankingInputs, power_of_two, rounded_size
from hlr_jax.training.batches import BatchSource, group_widths
from hlr_jax.training.row_blocks import Side, side_shapes
from hlr_jax.types import CSR

_USER_SPREAD, _ITEM_SPREAD = 1.2, 1.5  # standard deviations of the logs of degrees; items differ more


@dataclass(frozen=True)
class Size:
    """A size of data: U, I and the interactions that are trained on."""

    users: int
    items: int
    interactions: int


SIZES = {
    "movielens-1m": Size(5_949, 2_810, 457_225),
    "paper": Size(129_757, 11_508, 7_920_000),
    "web": Size(100_000_000, 10_000_000, 1_000_000_000),
    "web-5g": Size(100_000_000, 10_000_000, 5_000_000_000),
}


def degrees_of(rows: int, interactions: int, others: int, spread: float) -> np.ndarray:
    """Return the interactions of each row [R]: quantiles of a log-normal distribution with the right mean, falling."""
    at = np.linspace(0.5 / rows, 1 - 0.5 / rows, min(rows, 100_000))
    quantiles = np.array([NormalDist(0, spread).inv_cdf(q) for q in at])
    values = np.exp(np.interp(np.linspace(0, 1, rows), np.linspace(0, 1, len(at)), quantiles))
    degrees = np.clip(np.rint(values * (interactions / values.sum())), 1, others).astype(np.int64)
    return degrees[::-1]


def of_users(size: Size) -> np.ndarray:
    """Return the interactions of each user [U]."""
    return degrees_of(size.users, size.interactions, size.items, _USER_SPREAD)


def of_items(size: Size) -> np.ndarray:
    """Return the interactions of each item [I]."""
    return degrees_of(size.items, size.interactions, size.users, _ITEM_SPREAD)


def ints(*shape: int) -> Any:
    """Return the shape of an array of int32."""
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def rows_shape(rows: int, interactions: int, longest: int) -> CSR:
    """Return the shapes of compressed rows."""
    return CSR(ints(rows + 1), ints(interactions + 1), longest)


def placed_rows_shape(degrees: np.ndarray) -> CSR:
    """Return the shapes of rows with these degrees after ``ranking.inputs.placed_rows``."""
    rows = rows_shape(len(degrees), int(degrees.sum()), power_of_two(int(degrees.max())))
    return rows.replace(items=ints(rounded_size(rows.items.size)))  # type: ignore[attr-defined]


def _source_shape(rows: CSR, spec: Any, others: int) -> NeighborSource:
    if not spec.size:
        return NeighborSource(None, None, spec)
    weighted = spec.sampling == "inverse_popularity"
    weights = jax.ShapeDtypeStruct((others,), jnp.float32) if weighted else None
    return NeighborSource(rows, weights, capped(spec, rows))  # type: ignore[arg-type]


def neighbors_shape(model: Model, user_rows: CSR, item_rows: CSR) -> NeighborSources:
    """Return the shapes of ``scoring.neighbor_sources``."""
    users, items = user_rows.num_rows, item_rows.num_rows
    return NeighborSources(
        _source_shape(user_rows, model.history, items), _source_shape(item_rows, model.item_users, users)
    )


def source_shape(model: Model, users: np.ndarray, items: np.ndarray, batch: str, negatives: int) -> BatchSource:
    """Return the shapes of ``batches.batch_source`` for the training interactions, with uniform negatives.

    Args:
      model: what is trained.
      users: the interactions of each user [U].
      items: the interactions of each item [I].
      batch: ``triplets`` or ``users``.
      negatives: n.
    """
    count = int(users.sum())
    rows = rows_shape(len(users), count, int(users.max()))
    by_item = rows_shape(len(items), count, int(items.max()))
    widths, groups = None, (ints(count),)
    if batch == "users":
        widths = group_widths(users, negatives)
        sizes = np.bincount(np.searchsorted(widths, users[users > 0]), minlength=len(widths))
        groups = tuple(ints(int(size)) for size in sizes)
    return BatchSource(groups, rows, neighbors_shape(model, rows, by_item), rows, None, widths, count, len(items))


def ranking_shape(model: Model, users: np.ndarray, items: np.ndarray) -> RankingInputs:
    """Return the shapes of ``ranking.inputs.ranking_inputs`` where the training interactions are masked."""
    rows, by_item = placed_rows_shape(users), placed_rows_shape(items)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return RankingInputs(rows, neighbors_shape(model, rows, by_item), key, len(items))


def solver_shapes(users: np.ndarray, items: np.ndarray, loops: int) -> tuple[Side, Side]:
    """Return the shapes of ``row_blocks.sides``."""
    return side_shapes(users, len(items), loops), side_shapes(items, len(users), loops)
