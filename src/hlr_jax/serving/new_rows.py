"""Rows that join a trained model: vectors of new users or of new items, everything that was trained held fixed.

The objective is training's. What it says of one row is a sum over triplets (user, positive, negatives):

- of a user: over the user's items, each against n items that the user has not met;
- of an item v: over its users, for whom it is the positive; and over all interactions of users who have not met it,
  for whom it is a negative, as often as training would have drawn it. Without these nothing would push v away.

Only the row moves: from the mean of what it has met, by Adam, in the model's ball. A factor model has a closed form
instead, the same for both sides (Hu et al. 2008, eq. 4 and 5). A model that makes users from their items has no rows of
them to solve for. The source vector x_v of a new item comes from q_v by the best linear map of the trained items.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.blended_systems import Part
from hlr_jax.data.csr import padded_row
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborSources
from hlr_jax.errors import InputError
from hlr_jax.losses import OBJECTIVES, LossParams
from hlr_jax.models.base import AlternatingLeastSquares, Model
from hlr_jax.ranking.inputs import padded_rows, power_of_two
from hlr_jax.ranking.population import user_table
from hlr_jax.serving.new_examples import (
    Examples,
    as_negative,
    as_own,
    examples_of,
    negatives_of,
    sources_with,
)
from hlr_jax.settings import Settings, number
from hlr_jax.sharding import num_workers
from hlr_jax.training.als import solve_new_rows
from hlr_jax.training.batches import Batch, BatchSource, Negatives, derive_rows
from hlr_jax.training.examples import triplet_loss
from hlr_jax.training.gradients import Vectors, batch_vectors, shared_vectors, weighted_loss
from hlr_jax.training.optimizer import ADAM
from hlr_jax.training.options import TrainOptions
from hlr_jax.training.row_blocks import Side, new_side
from hlr_jax.types import Params

OTHER_AXIS = {"user": "item", "item": "user"}
BLOCK = 8  # rows that are solved for together: what they read stays in a CPU's cache (128: a third of the speed)


@dataclass(frozen=True)
class FoldInOptions(Settings):
    """How a new row is found, for a model that is trained with triplets.

    Attributes:
      num_steps: steps of Adam.
      positives: interactions of the row that each step draws, with replacement.
      others: of a new item: interactions of other users that each step draws, in which the item is a negative.
      learning_rate: of the first step; it falls to 0 along a cosine.

    Raises:
      InputError: a value out of range, by name.

    Example:
      >>> quick = hlr_jax.FoldInOptions(num_steps=10)
      >>> quick.num_steps, quick.learning_rate
      (10, 0.1)
    """

    section: ClassVar[str] = "fold_in"

    num_steps: int = number(30, 0, 10**6)
    positives: int = number(8, 1, 65536)
    others: int = number(64, 1, 65536)
    learning_rate: float = number(0.1, 0.0, 10.0)


class NewRows(NamedTuple):
    """A model that new users, or new items, have joined.

    Attributes:
      params: the model's, with the new rows, and rows of padding behind them, in the tables of that axis.
      rows: [new], their places in these tables.
      met: what they have met, by place.
      sources: what histories, and the users of items, are drawn from.
    """

    params: Params
    rows: np.ndarray
    met: Interactions
    sources: NeighborSources


def solve_rows(
    part: Part, params: Params, dataset: Dataset, axis: str, met: Interactions, options: FoldInOptions,
    like: np.ndarray | None = None,
) -> NewRows:  # fmt: skip
    """Solve for new users or new items of a model, alone or in a blend.

    Args:
      part: the model, the seed of the draws, and the settings of training, at the temperature that was kept; None for a
        model that is solved for.
      params: its parameters, on one device.
      dataset: what it was trained on.
      axis: ``user`` or ``item``: what is new.
      met: what each new row, 0, 1, ... (``met.user``), has met of the other axis (``met.item``).
      options: of the steps.
      like: [new], rows of the trained tables that new rows repeat in place of gradient steps; None: none is repeated.

    Raises:
      InputError: there is no ``training``, or it leaves open which of several temperatures was kept.
    """
    model = part.system
    assert isinstance(model, Model)
    first, count = dataset.num_users if axis == "user" else dataset.num_items, int(met.user[-1]) + 1
    rows, met = first + np.arange(count), Interactions(met.user + np.int32(first), met.item)
    total = first + max(BLOCK, power_of_two(count))  # calls of about as many rows share what is compiled
    trained = params
    # Rows to come are in the tables from the start: what is compiled for them serves those too.
    params = with_room(model, params, axis, total - first)
    sources = sources_with(model, axis, met, dataset.known, total, (dataset.num_users, dataset.num_items))
    owners = padded_rows(met, total)
    if axis == "user" and model.history_users is not None:
        return NewRows(params, rows, met, sources)
    if model.solver is not None:
        solved = {axis: _solve_factors(model, params, axis, met, dataset)}
    elif like is not None:
        solved = {name: array[like] for name, array in model.on_axis(params, axis).items()}
    else:
        training = _training_of(part)
        negatives = negatives_of(training, dataset.num_items)
        examples = examples_of(axis, met, owners, sources, negatives, dataset)
        solve = block_solver(model, axis, training, options, dataset.num_items, part.seed)
        given = params if axis == "user" else params | {"user": user_table(model, trained, dataset)}
        solved = _in_blocks(lambda block: solve(given, examples, block, jnp.int32(first)), rows)
        solved |= _source_rows(model, trained, solved)
    params = params | {name: params[name].at[rows].set(array) for name, array in solved.items()}
    return NewRows(params, rows, met, sources)


def _training_of(part: Part) -> TrainOptions:
    """Return the settings of training, which say what a good vector is."""
    training: TrainOptions | None = part.training
    if training is None:
        raise InputError(
            f"pass training=, the settings that {part.system.title} was trained with: its objective counts"
        )
    if training.objective not in OBJECTIVES:
        raise InputError(
            f"train.objective={training.objective} places no new items; train anew with them, or leave them out"
        )
    if training.temperatures:
        raise InputError("training has several train.temperatures; pass training.at(the one that the run has kept)")
    return training


def with_room(model: Model, params: Params, axis: str, count: int) -> Params:
    """Return parameters with ``count`` rows of zeros behind those of an axis."""

    def padded(array: jax.Array) -> jax.Array:
        return jnp.pad(array, [(0, count)] + [(0, 0)] * (array.ndim - 1))

    return params | {name: padded(array) for name, array in model.on_axis(params, axis).items()}


def _in_blocks(solve: Callable[[jax.Array], Params], rows: np.ndarray) -> Params:
    """Return what is solved for all rows [new, ...], a block of them at a time."""
    with ThreadPoolExecutor(num_workers()) as pool:
        blocks = list(pool.map(lambda start: solve(start + jnp.arange(BLOCK)), rows[::BLOCK].tolist()))
    return jax.tree.map(lambda *each: jnp.concatenate(each)[: len(rows)], *blocks)


def block_solver(
    model: Model, axis: str, training: TrainOptions, options: FoldInOptions, num_items: int, seed: int
) -> Callable[[Params, Examples, jax.Array, jax.Array], Params]:
    """Return the function that solves for a block of rows [b] by gradient steps: their arrays by name [b, ...].

    It takes parameters whose tables have these rows, their examples, the rows, and the first row that is not trained.
    """
    negatives = negatives_of(training, num_items)
    solve = _solver(model, axis, training.objective, negatives, replace(options, learning_rate=0.0))
    loss_params = LossParams(jnp.float32(training.margin), jnp.float32(training.temperature))
    settings = jax.random.key(seed), loss_params, jnp.float32(options.learning_rate)
    return lambda params, examples, rows, first: solve(params, examples, rows, first, *settings)


@lru_cache(maxsize=32)
def _solver(
    model: Model, axis: str, objective: str, negatives: Negatives, options: FoldInOptions
) -> Callable[..., Params]:
    """Return the compiled function that solves for a block of rows [b]: their arrays by name [b, ...]."""

    def mean_of_trained(array: jax.Array, first: jax.Array, count: int) -> jax.Array:
        trained = (jnp.arange(len(array)) < first).reshape(-1, *[1] * (array.ndim - 1))
        mean = jnp.sum(jnp.where(trained, array, 0), axis=0) / first
        return jnp.broadcast_to(mean, (count, *mean.shape))

    @jax.jit
    def solve(
        params: Params, examples: Examples, rows: jax.Array, first: jax.Array, key: jax.Array,
        loss_params: LossParams, rate: jax.Array,
    ) -> Params:  # fmt: skip
        owners, block_key = examples.owners, jax.random.fold_in(key, rows[0])

        def example_loss(*example: Any) -> jax.Array:
            return triplet_loss(model, OBJECTIVES[objective], loss_params, *example)

        def mean_of_met(row: jax.Array) -> jax.Array:
            ids, mask = padded_row(owners, row, owners.longest)
            met = jnp.where(mask[:, None], params[OTHER_AXIS[axis]][ids], 0)
            return jnp.sum(met, axis=0) / jnp.maximum(owners.degree(row), 1)

        def batch_loss(learned: Params, batch: Batch, source: BatchSource) -> jax.Array:
            """Return the weighted loss of as many examples of each row, with its learned arrays in their place."""
            batch = derive_rows(model, params, source.neighbors, batch)
            owner = jnp.repeat(jnp.arange(len(rows)), len(batch.user) // len(rows))
            vectors = _with_learned(batch_vectors(model, params, batch), batch, axis, rows, owner, learned)
            shared = shared_vectors(model, params, batch, by_pairs=True)
            return weighted_loss(example_loss, params, vectors, batch.examples(), shared)

        def loss(learned: Params, step_key: jax.Array) -> jax.Array:
            """Return the sum over rows of their mean loss over the step's positives, and what others add to it."""
            positive_key, triplet_key = jax.random.split(step_key)
            batch = as_own(positive_key, triplet_key, examples, rows, options.positives, negatives)
            value = batch_loss(learned, batch, examples.source) / options.positives
            if examples.others is None:
                return value
            batch = as_negative(jax.random.fold_in(step_key, 0), examples, rows, first, options.others, negatives)
            return value + batch_loss(learned, batch, examples.others) / options.others

        def step(carry: tuple, index: jax.Array) -> tuple[tuple, None]:
            learned, state = carry
            slope = jax.grad(loss)(learned, jax.random.fold_in(block_key, index))
            updates, state = ADAM.update(slope, state, learned)
            falling = rate * 0.5 * (1 + jnp.cos(jnp.pi * index / options.num_steps))
            moved = model.project(params | jax.tree.map(lambda a, b: a - falling * b, learned, updates))
            return ({name: moved[name] for name in learned}, state), None

        start = {name: mean_of_trained(array, first, len(rows)) for name, array in model.on_axis(params, axis).items()}
        start[axis] = jax.lax.map(mean_of_met, rows)
        (learned, _), _ = jax.lax.scan(step, (start, ADAM.init(start)), jnp.arange(options.num_steps))
        return learned

    return solve


def _source_rows(model: Model, trained: Params, solved: Params) -> Params:
    """Return the source vectors x_v of new items, if these have a table of their own: W q_v, W from all trained items.

    W is the least-squares fit of x_j by W q_j, a little regularized. At a start where x_j is linear in q_j it is exact.
    """
    if model.history_users is None or (name := model.history_users.source) == "item":
        return {}
    items, source = (np.asarray(trained[table], np.float64) for table in ("item", name))
    gram = items.T @ items
    weights = np.linalg.solve(gram + 1e-6 * np.trace(gram) * np.eye(len(gram)), items.T @ source)
    return {name: jnp.asarray(np.asarray(solved["item"], np.float64) @ weights, jnp.float32)}


def _with_learned(
    vectors: Vectors, batch: Batch, axis: str, rows: jax.Array, owner: jax.Array, learned: Params
) -> Vectors:
    """Return the vectors of examples with the learned arrays of each one's owner [B] where that row stands."""
    of_owner = {name: array[owner] for name, array in learned.items()}
    if axis == "user":
        return replace(vectors, user=of_owner)
    is_owner = batch.items == rows[owner][:, None]

    def put(present: jax.Array, own: jax.Array) -> jax.Array:
        return jnp.where(is_owner.reshape(*is_owner.shape, *[1] * (own.ndim - 1)), own[:, None], present)

    items = {name: put(vectors.items[name], own) for name, own in of_owner.items()}
    return replace(vectors, items=vectors.items | items)


def _solve_factors(model: Model, params: Params, axis: str, met: Interactions, dataset: Dataset) -> jax.Array:
    """Return vectors [new, D] in closed form, of rows that have met what ``met`` says, by their place in the tables."""
    assert model.solver is not None
    first, num_others = int(met.user[0]), len(params[OTHER_AXIS[axis]])
    own = Interactions(met.user - np.int32(first), met.item)
    solved = factor_solver(model.solver, axis, dataset)(new_side(own, num_others), params[OTHER_AXIS[axis]])
    return solved[: int(own.user[-1]) + 1]


def factor_solver(
    solver: AlternatingLeastSquares, axis: str, dataset: Dataset
) -> Callable[[Side, jax.Array], jax.Array]:
    """Return the function that solves for new rows: who met what, and the vectors [C, D] of the other axis -> [R, D].

    Their regularization is scaled as that of the trained rows is.
    """
    mean_weight = jnp.float32(mean_weight_of(solver, axis, dataset))
    return lambda side, other: solve_new_rows(solver, side, other, mean_weight)


def mean_weight_of(solver: AlternatingLeastSquares, axis: str, dataset: Dataset) -> float:
    """Return the mean weight of the trained rows of an axis, by which regularization is scaled."""
    counts = {"user": dataset.num_users, "item": dataset.num_items}
    return counts[OTHER_AXIS[axis]] + (solver.confidence - 1) * len(dataset.train) / counts[axis]
