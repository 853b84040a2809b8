"""Batches of positives with their negatives and neighbors, drawn on the device."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, PartitionSpec

from hlr_jax.data.neighborhoods import (
    Drawn,
    NeighborTables,
    Sides,
    draw_neighbors,
    neighbor_bits,
    owns,
    sides_of,
    tables_of_met,
)
from hlr_jax.data.neighbors import Rows, own_share, place_of, rows_on, specs_of_shares
from hlr_jax.data.pairs import Pairs
from hlr_jax.data.sampling import Popularity, draw_negatives, draw_popular, popularity_of, shuffled
from hlr_jax.models.base import Model
from hlr_jax.sharding import ALL_DEVICES, from_owner, replicate, shard_batch, shares
from hlr_jax.types import Params

NEGATIVES = ("own", "shared", "in_batch")


class Negatives(NamedTuple):
    """Which negatives a positive is measured against; an item that the user knows never counts.

    Attributes:
      kind: ``own``: each triplet draws its own; ``shared``: all triplets of a batch share them, so that they cost one
        product of matrices; ``in_batch``: the positives of the whole batch, which are drawn by popularity.
      number: n, how many are drawn; without meaning for ``in_batch``.
      popularity: b; items are drawn in proportion to their popularity to the power of b, 0 for uniformly.
    """

    kind: str = "own"
    number: int = 1
    popularity: float = 0.0

    @property
    def own(self) -> int:
        """How many each triplet draws for itself."""
        return self.number if self.kind == "own" else 0


@struct.dataclass
class Triplets:
    """A source of triplets, on one device or in shares on a mesh.

    Attributes:
      user, item: the positive pairs [count], or their shares [P, ...] of equal lengths.
      near: what neighbors are drawn from.
      known: what negatives must avoid.
      popularity: what popular negatives are drawn by; None where they are uniform.
      count: how many positive pairs there are (static).
      num_items: I (static).
    """

    user: jax.Array
    item: jax.Array
    near: Sides
    known: Rows
    popularity: Popularity | None
    count: int = struct.field(pytree_node=False)
    num_items: int = struct.field(pytree_node=False)


@struct.dataclass
class Common:
    """S negatives that all triplets of a batch share: ``items`` [S], ``audience`` [S, A], ``log_expected`` [S]."""

    items: jax.Array
    audience: Drawn
    log_expected: jax.Array


@struct.dataclass
class Batch:
    """B positives with n negatives each, and S negatives for all.

    Attributes:
      user: [B].
      items: [B, 1 + n], the positive first.
      known: [B, n + S], true for negatives that do not count; the common ones come last.
      log_expected: [B, n], the log of how often a negative is expected among the n.
      history: neighbors of the user [B, H].
      audience: neighbors of each item [B, 1 + n, A].
      weight: [B].
      common: the shared negatives, where there are some.
    """

    user: jax.Array
    items: jax.Array
    known: jax.Array
    log_expected: jax.Array
    history: Drawn
    audience: Drawn
    weight: jax.Array
    common: Common | None


def training_triplets(
    train: Pairs, num_users: int, num_items: int, model: Model, negatives: Negatives, mesh: Mesh | None = None
) -> Triplets:
    """Return the source for training: neighbors and forbidden negatives are from the training interactions."""
    return _source(train, train, train, num_users, num_items, model, negatives, mesh)


def validation_triplets(
    train: Pairs, valid: Pairs, num_users: int, num_items: int, model: Model, negatives: Negatives,
    mesh: Mesh | None = None,
) -> Triplets:  # fmt: skip
    """Return the source for validation: neighbors are from training; negatives avoid train and valid items."""
    return _source(valid, train, train + valid, num_users, num_items, model, negatives, mesh)


def _source(
    pairs: Pairs, near: Pairs, known: Pairs, num_users: int, num_items: int, model: Model, negatives: Negatives,
    mesh: Mesh | None,
) -> Triplets:  # fmt: skip
    def positives(column: str) -> jax.Array:
        if mesh is None:
            return jnp.asarray(getattr(pairs, column), jnp.int32)
        share = -(-len(pairs) // mesh.size)

        def of_device(device: int) -> np.ndarray:
            first, last = (min(end * share, len(pairs)) for end in (device, device + 1))
            own = getattr(pairs.between(first, last), column)
            return np.pad(own, (0, share - len(own)))

        return shares(of_device, (share,), mesh)

    sides = sides_of(near, num_users, num_items, model.history, model.audience, mesh)
    # One copy on the device where it is the same rows.
    rows = sides.history.rows if known is near and (mesh is None or model.history.drawn) else None
    rows = rows_on(known, num_users, mesh) if rows is None else rows
    popularity = replicate(popularity_for(near, num_items, negatives), mesh)
    return Triplets(positives("user"), positives("item"), sides, rows, popularity, len(pairs), num_items)


def popularity_for(near: Pairs, num_items: int, negatives: Negatives) -> Popularity | None:
    """Return what the negatives are drawn by, given the interactions of training; None: uniformly."""
    exponent = 1.0 if negatives.kind == "in_batch" else negatives.popularity
    return popularity_of(near.item_degrees(num_items), exponent) if exponent else None


def draw_batch(
    key: jax.Array, source: Triplets, rows: jax.Array, weight: jax.Array, negatives: Negatives,
    mesh: Mesh | None = None,
) -> Batch:  # fmt: skip
    """Draw negatives and neighbors for the positives at ``rows`` [B] with ``weight`` [B].

    On a mesh each device draws for the whole batch from its own share of the interactions, with the same bits, and of
    each entry the one counts whose share has its row. The batch is cut over the mesh's ``data`` axis, but for what all
    triplets share.
    """
    if mesh is None:
        everyone = jnp.ones(rows.shape, bool)
        return _draw(key, source, rows, everyone, weight, negatives, lambda drawn, mine: drawn)

    def on_device(key: jax.Array, source: Triplets, rows: jax.Array, weight: jax.Array) -> Batch:
        source = replace(own_share(source), user=source.user[0], item=source.item[0])
        place = rows - jax.lax.axis_index(mesh.axis_names) * len(source.user)
        mine = (place >= 0) & (place < len(source.user))
        return _draw(key, source, place, mine, weight, negatives, from_owner)

    whole = PartitionSpec()
    columns: Any = {"user": ALL_DEVICES, "item": ALL_DEVICES}
    of_source = replace(specs_of_shares(source), **columns)
    batch = jax.shard_map(
        on_device, mesh=mesh, in_specs=(whole, of_source, whole, whole), out_specs=whole, check_vma=False
    )(key, source, rows, weight)  # fmt: skip
    return replace(shard_batch(replace(batch, common=None), mesh), common=batch.common)


def tables_of_batch(
    params: Params, near: Sides, batch: Batch, mesh: Mesh | None = None
) -> tuple[NeighborTables, Batch]:
    """Return what the neighbors of a batch point into, means of its own owners alone, and the batch that does."""
    audiences = [batch.audience] if batch.common is None else [batch.audience, batch.common.audience]
    tables, (history,), (audience, *others) = tables_of_met(params, near, [batch.history], audiences, mesh)
    common = None if batch.common is None else replace(batch.common, audience=others[0])
    return tables, replace(batch, history=history, audience=audience, common=common)


def _draw(
    key: jax.Array, source: Triplets, places: jax.Array, mine: jax.Array, weight: jax.Array, negatives: Negatives,
    agree: Callable[[Any, jax.Array | None], Any],
) -> Batch:  # fmt: skip
    """Draw a batch; ``agree(drawn, mine)`` returns what the owners of the rows have drawn."""
    near, n = source.near, negatives.own
    of_history, of_audience = neighbor_bits(near.history), neighbor_bits(near.audience)
    bits = jax.random.bits(key, (len(places), n + of_history + (1 + n) * of_audience))
    for_negatives, for_history, for_audience = jnp.split(bits, [n, n + of_history], axis=1)
    user, positive = agree((source.user[places], source.item[places]), mine)
    own, log_expected = _own_negatives(for_negatives, source, user, agree)
    items = jnp.concatenate([positive[:, None], own], axis=1)
    draw_histories = jax.vmap(draw_neighbors, in_axes=(0, None, 0, 0))
    history = agree(draw_histories(for_history, near.history, user, positive), owns(near.history, user))
    draw_audiences = jax.vmap(jax.vmap(draw_neighbors, in_axes=(0, None, 0, None)), in_axes=(0, None, 0, 0))
    for_audience = for_audience.reshape(*items.shape, of_audience)
    audience = agree(draw_audiences(for_audience, near.audience, items, user), owns(near.audience, items))
    common = _common_negatives(jax.random.fold_in(key, 0), source, positive, weight, negatives, agree)
    known = jnp.zeros(own.shape, bool)
    if source.popularity is not None:
        known = agree(jax.vmap(lambda user, items: _known(source, user, items))(user, own), source.known.owns(user))
    if common is not None:
        others_known = agree(_all_known(source, user, common.items), source.known.owns(user))
        if negatives.kind == "in_batch":
            others_known |= weight == 0  # what fills up the last batch is no draw
        known = jnp.concatenate([known, others_known], axis=1)
    return Batch(user, items, known, log_expected, history, audience, weight, common)


def _own_negatives(
    bits: jax.Array, source: Triplets, user: jax.Array, agree: Callable[[Any, jax.Array | None], Any]
) -> tuple[jax.Array, jax.Array]:
    """Return the negatives [B, n] that triplets draw for themselves, and the log of their expected counts."""
    n = bits.shape[1]
    if source.popularity is None:
        draw = jax.vmap(lambda bits, user: draw_negatives(bits, source.known, user, source.num_items))
        degree = jax.vmap(source.known.degree)
        drawn, degrees = agree((draw(bits, user), degree(user)), source.known.owns(user))
        log_expected = jnp.log(max(n, 1) / (source.num_items - degrees).astype(jnp.float32))
        return drawn, jnp.broadcast_to(log_expected[:, None], bits.shape)
    drawn = draw_popular(bits, source.popularity)
    return drawn, source.popularity.log_share[drawn] + math.log(max(n, 1))


def _common_negatives(
    key: jax.Array, source: Triplets, positive: jax.Array, weight: jax.Array, negatives: Negatives,
    agree: Callable[[Any, jax.Array | None], Any],
) -> Common | None:  # fmt: skip
    """Return the negatives that a batch shares: distinct items, items by popularity, or the batch's own positives."""
    if negatives.kind == "own":
        return None
    for_items, for_audience = jax.random.split(key)
    if negatives.kind == "in_batch":
        assert source.popularity is not None
        items, others = positive, jnp.maximum(jnp.sum(weight) - 1, 1)
        log_expected = jnp.log(others) + source.popularity.log_share[items]
    elif source.popularity is None:
        count = min(negatives.number, source.num_items)
        items = shuffled(for_items, jnp.arange(count), source.num_items)
        log_expected = jnp.full(count, math.log(count / source.num_items))
    else:
        items = draw_popular(jax.random.bits(for_items, (negatives.number,)), source.popularity)
        log_expected = source.popularity.log_share[items] + math.log(negatives.number)
    side = source.near.audience
    bits = jax.random.bits(for_audience, (len(items), neighbor_bits(side)))
    audience = jax.vmap(draw_neighbors, in_axes=(0, None, 0))(bits, side, items)
    return Common(items, agree(audience, owns(side, items)), log_expected)


def _known(source: Triplets, user: jax.Array, items: jax.Array) -> jax.Array:
    """Return whether a user knows each of some items: [], [n] -> [n]."""
    rows = source.known
    return jax.vmap(lambda item: place_of(rows, user, item) < rows.degree(user))(items)


def _all_known(source: Triplets, users: jax.Array, items: jax.Array) -> jax.Array:
    """Return whether users know each of the same items: [B], [S] -> [B, S].

    On a CPU one walk through a user's row is far less work than a bisection for each item. A walk of many users at once
    would go on to the longest row of them all.
    """
    rows, count = source.known, len(items)
    if jax.default_backend() != "cpu":
        return jax.vmap(lambda user: _known(source, user, items))(users)
    # An item that stands twice among them has one place of the two.
    places = jnp.full(source.num_items, count).at[items].set(jnp.arange(count))

    def one(user: jax.Array) -> jax.Array:
        start = rows.start(user)

        def mark(index: jax.Array, known: jax.Array) -> jax.Array:
            return known.at[places[rows.items[start + index]]].set(True, mode="drop")

        return jax.lax.fori_loop(0, rows.degree(user), mark, jnp.zeros(count, bool))

    return jax.lax.map(one, users)[:, places[items]]
