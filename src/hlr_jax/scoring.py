"""Scores of many items for one or many users, derived from a model's functions for one pair."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborIds, NeighborSources, neighbor_source, sample_neighbors
from hlr_jax.models.base import Model
from hlr_jax.types import Neighbors, Padded, PairOutput, Params

CATALOGUE_TILE = 128  # items that are scored in one step; the fastest of 64 to 2810 on a CPU


def neighbor_sources(model: Model, near: Interactions, sizes: tuple[int, int]) -> NeighborSources:
    """Return what a model's neighbors are sampled from, given the interactions of neighbors and ``sizes`` (U, I)."""
    (num_users, num_items), derived = sizes, model.derived is not None
    # Sorting by item takes time and memory, and most models don't need it.
    by_item = near.transposed() if model.item_users.size or derived else near
    return NeighborSources(
        neighbor_source(near, num_users, num_items, model.history, derived),
        neighbor_source(by_item, num_items, num_users, model.item_users, derived),
    )


def with_derived(model: Model, params: Params, sources: NeighborSources) -> Params:
    """Return the parameters with the arrays that the model derives, for all users and items."""
    if model.derived is None:
        return params
    users, items = (jnp.arange(rows.num_rows) for rows in sources.both_sides)
    return params | model.derived(params, *sources.both_sides, users, items)


@partial(jax.jit, static_argnums=0)
def user_vectors(model: Model, params: Params, sources: NeighborSources) -> jax.Array:
    """Return p_u of all users of the sources: [U, D]."""
    return with_derived(model, params, sources)["user"]


def pair_params(model: Model, shared: Params, user: Params, items: Params) -> Params:
    """Return the ``params`` of ``pair`` and ``catalogue``: all arrays except the vectors of the user and items."""
    rows = {name: array for name, array in (user | items).items() if name not in ("user", "item")}
    return model.on_axis(shared, "shared") | rows


def interaction_output(
    model: Model, everything: Params, sources: NeighborSources, key: jax.Array, number: jax.Array, user: jax.Array,
    item: jax.Array,
) -> tuple[NeighborIds, PairOutput]:  # fmt: skip
    """Return the history [H] of an interaction, without the item itself, and the model's output for the pair.

    Neighbors are sampled as in training, by the key and the interaction's ``number`` []. ``everything`` is the result
    of ``with_derived``.
    """
    words = sources.history.num_bits
    bits = jax.random.bits(jax.random.fold_in(key, number), (words + sources.item_users.num_bits,))
    history = sample_neighbors(bits[:words], sources.history, user, item)
    item_users = sample_neighbors(bits[words:], sources.item_users, item, user)
    near = Neighbors(history.vectors(everything["item"]), item_users.vectors(model.neighbor_table(everything)))
    own, candidate = model.rows(everything, "user", user), model.rows(everything, "item", item)
    given = pair_params(model, everything, own, candidate)
    return history, model.pair(given, own["user"], candidate["item"], near)


def score_items(
    model: Model, shared: Params, user: Params, items: Params, neighbors: Neighbors, weights: jax.Array | None = None
) -> jax.Array:
    """Return the scores [T] of items for one user, with ``Model.catalogue`` if the model has it, else with ``pair``.

    Args:
      model: the model.
      shared: arrays by name; only the shared ones are used.
      user: the user's rows, including ``user`` [D].
      items: the items' rows, including ``item`` [T, D].
      neighbors: of the user [H, D], with a mask [H] or [T, H]; and of every item [T, A, D].
      weights: optional precomputed ``Model.item_pairs`` of the user's neighbors and the items [H, M, T].
    """
    if model.catalogue is not None:
        given = pair_params(model, shared, user, items), user["user"], items["item"], neighbors
        return model.catalogue(*given) if weights is None else model.catalogue(*given, weights)
    history = neighbors.items

    def pair(item: Params, mask: jax.Array, users: Padded) -> jax.Array:
        near = Neighbors(Padded(history.vectors, mask), users)
        return model.pair(pair_params(model, shared, user, item), user["user"], item["item"], near).score

    by_item = 0 if history.mask.ndim > 1 else None
    return jax.vmap(pair, in_axes=(0, by_item, 0))(items, history.mask, neighbors.users)


def map_item_tiles(score: Callable[[Params, Padded], jax.Array], items: Params, item_users: Padded) -> jax.Array:
    """Return ``score`` of all items' rows [I, ...] and neighbors [I, A, D], computed tile by tile: [..., I].

    Args:
      score: (rows [T, ...], neighbors [T, A, D]) -> [..., T].
      items: the rows of a catalogue.
      item_users: each item's neighbors.
    """
    num_items = items["item"].shape[0]
    tile = min(CATALOGUE_TILE, num_items)

    def score_from(first: jax.Array) -> jax.Array:
        rows = jax.tree.map(lambda array: jax.lax.dynamic_slice_in_dim(array, first, tile), (items, item_users))
        return score(*rows)

    return joined_parts(jax.lax.map(score_from, part_starts(num_items, tile)), num_items)


def part_starts(count: int, size: int) -> jax.Array:
    """Return where parts of ``size`` of the first ``count`` numbers start. The last part may overlap the one before.

    So a table is never padded to whole parts, which would be a copy of it.

    Example:
      >>> part_starts(10, 4).tolist()
      [0, 4, 6]
    """
    return jnp.minimum(jnp.arange(0, count, size), count - size)


def joined_parts(parts: jax.Array, count: int) -> jax.Array:
    """Return values by part [parts, ..., size] as [..., count], for parts that start at ``part_starts``.

    Example:
      >>> joined_parts(jnp.array([[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]), 10).tolist()
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    size = parts.shape[-1]
    whole = jnp.moveaxis(parts[:-1], 0, -2).reshape(*parts.shape[1:-1], -1)
    return jnp.concatenate([whole, parts[-1][..., whole.shape[-1] + size - count :]], axis=-1)


def score_catalogue(
    model: Model, shared: Params, user: Params, items: Params, history: Padded, item_users: Padded
) -> jax.Array:
    """Return the scores [T] of a catalogue, or of a part, for one user; arguments as in ``score_items``."""
    return map_item_tiles(
        lambda items, users: score_items(model, shared, user, items, Neighbors(history, users)), items, item_users
    )


def score_catalogue_of_many(
    model: Model, params: Params, users: Params, items: Params, history: NeighborIds, item_users: Padded,
    batch_size: int | None = None,
) -> jax.Array:  # fmt: skip
    """Return the scores [U', T] of a catalogue, or of a part, for some users, with the model's ``item_pairs``.

    Args:
      model: the model.
      params: all arrays.
      users: the rows of the users [U', ...].
      items: the rows of the candidates [T, ...].
      history: the users' neighbors [U', H], as row numbers of the item table.
      item_users: the neighbors of every candidate [T, A, D].
      batch_size: number of users to score at once; None: one after the other.
    """
    form, table = model.item_pairs, params["item"]
    assert form is not None

    def score(items: Params, near: Padded) -> jax.Array:
        weights = form(params, table, items["item"])

        def score_user(inputs: tuple[Params, NeighborIds]) -> jax.Array:
            user, ids = inputs
            return score_items(model, params, user, items, Neighbors(ids.vectors(table), near), weights[ids.ids])

        return jax.lax.map(score_user, (users, history), batch_size=batch_size)

    return map_item_tiles(score, items, item_users)
