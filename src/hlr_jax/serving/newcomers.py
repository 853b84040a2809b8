"""The program of an export that takes new users: it turns their histories into the inputs of the top-K program."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import SHORTEST, NeighborSources, capped
from hlr_jax.data.sampling import ItemPopularity
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import power_of_two, ranking_histories
from hlr_jax.serving.new_examples import examples_of_users, negatives_of, sources_with
from hlr_jax.serving.new_rows import BLOCK, FoldInOptions, block_solver, factor_solver, with_room
from hlr_jax.serving.programs import HISTORY, Arrays, Program, exported, in_tiles, padded_ids, shapes
from hlr_jax.training.batches import BatchSource
from hlr_jax.training.options import TrainOptions
from hlr_jax.training.row_blocks import side_of_histories
from hlr_jax.types import CSR, Params


def newcomers_program(
    model: Model, parameters: Arrays, dataset: Dataset, training: TrainOptions, options: FoldInOptions, seed: int
) -> tuple[Program, Arrays]:
    """Return the exported ``fold_in``, and the arrays that it reads in addition to the parameters.

    ``newcomers``: (arrays, histories [b, W] int32) -> the users that ``topk`` takes, for any b >= 1. A history has
    distinct items, padded with -1. W is the smallest power of two that holds the longest training history, and at least
    64. All blocks of users use the same random numbers, so a list does not depend on a user's position.

    Args:
      model: a trained model.
      parameters: its parameters, as stored.
      dataset: the data set that it was trained on.
      training: its objective and negatives.
      options: of the steps.
      seed: random seed.
    """
    known, first, num_items = dataset.known, dataset.num_users, dataset.num_items
    no_interactions = Interactions(np.empty(0, np.int32), np.empty(0, np.int32))
    sources = sources_with(model, "user", no_interactions, known, first + BLOCK, (first, num_items))
    popularity = negatives_of(training, num_items).drawn_by(known, num_items) if not model.solves_users else None
    read = {"item_users": sources.item_users, "weights": sources.history.weights, "popularity": popularity}
    paths, tree = jax.tree.flatten_with_path(read)
    arrays = {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in paths}
    width = history_width(dataset)
    new_rows = first + jnp.arange(BLOCK)

    def solve(
        params: Params, histories: jax.Array, rows: CSR, owner: jax.Array, near: NeighborSources,
        popularity: ItemPopularity | None,
    ) -> Params:  # fmt: skip
        if model.history_users is not None:
            return {}
        if model.solver is not None:
            side = side_of_histories(histories, num_items)
            return {"user": factor_solver(model.solver, "user", dataset)(side, params["item"])}
        source = BatchSource((owner,), rows, near, rows, popularity, None, BLOCK * width, num_items)
        solve_block = block_solver(model, "user", training, options, num_items, seed)
        return solve_block(params, examples_of_users(source), new_rows, jnp.int32(first))

    def block(given: Params, histories: jax.Array) -> Params:
        """Return the inputs of the top-K program for a block of users, given their histories [BLOCK, W]."""
        by_training = jax.tree.unflatten(tree, [given[name] for name in arrays])
        rows, owner = _rows(histories, first, num_items)
        history = replace(sources.history, weights=by_training["weights"])
        if history.rows is not None:
            history = replace(history, rows=rows, spec=capped(model.history, rows))
        near = NeighborSources(history, by_training["item_users"])
        params = with_room(model, {name: given[name] for name in parameters}, "user", BLOCK)
        solved = solve(params, histories, rows, owner, near, by_training["popularity"])
        if model.derived is not None:
            params |= {name: params[name].at[new_rows].set(array) for name, array in solved.items()}
            solved |= model.on_axis(model.derived(params, *near.both_sides, new_rows, jnp.zeros(1, jnp.int32)), "user")
        return solved | {HISTORY: padded_ids(ranking_histories(jax.random.key(seed), near.history, new_rows))}

    def newcomers(given: Params, histories: jax.Array) -> Params:
        return in_tiles(lambda tile: block(given, tile), histories, BLOCK, padding=-1)

    (count,) = export.symbolic_shape("b")
    reads = parameters | arrays
    given = shapes(reads, tuple(reads)), jax.ShapeDtypeStruct((count, width), jnp.int32)
    return Program(exported(newcomers, *given), tuple(reads)), arrays


def history_width(dataset: Dataset) -> int:
    """Return W, the smallest power of two that holds the longest training history, and at least 64."""
    longest = int(dataset.known.degrees(dataset.num_users).max(initial=0))
    return max(SHORTEST, power_of_two(longest))


def _rows(histories: jax.Array, first: int, num_items: int) -> tuple[CSR, jax.Array]:
    """Return histories [BLOCK, W] as rows from ``first`` on, and the row of each of their positions [BLOCK W]."""
    real, (block, width) = histories >= 0, histories.shape
    # One sort orders the items of each user and moves padding to the end.
    keys = jnp.where(real, jnp.arange(block)[:, None] * num_items + histories, block * num_items)
    keys = jnp.sort(keys.reshape(-1))
    offsets = jnp.concatenate([jnp.zeros(first + 1, jnp.int32), jnp.cumsum(real.sum(axis=1)).astype(jnp.int32)])
    items = jnp.append(keys % num_items, 0).astype(jnp.int32)
    return CSR(offsets, items, longest=width), first + jnp.minimum(keys // num_items, block - 1)
