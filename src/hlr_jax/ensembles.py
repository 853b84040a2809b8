"""Several trained seeds as one model: the product of their spaces."""

import math
from collections.abc import Sequence
from functools import lru_cache, reduce
from typing import Any

import jax
import jax.numpy as jnp

from hlr_jax.errors import InputError
from hlr_jax.models.base import ItemPairs, Model, score_items
from hlr_jax.types import Neighbors, Padded, PairOutput, Params


def joined(members: Sequence[Params]) -> Params:
    """Return the parameters of an ensemble: its rows are the rows of the S members side by side, over sqrt(S).

    Members may lie on different devices; the result is where the first one is.
    """
    place = members[0]["item"].sharding
    return _side_by_side([jax.device_put(params, place) for params in members])


def _side_by_side(members: Sequence[Params]) -> Params:
    scale = math.sqrt(len(members))
    return {name: jnp.concatenate([params[name] for params in members], axis=-1) / scale for name in members[0]}


@lru_cache(maxsize=32)
def ensemble_of(model: Model, count: int) -> Model:
    """Return the model of ``count`` = S trained seeds together; its parameters are ``joined`` ones.

    A score is the mean of the members' scores: for a metric model minus the squared distance between points of S spaces
    side by side. So it is a metric model again, whose vectors have S D entries, and it is ranked, folded in, explained
    and exported as any other, with the margin and temperature of its members. What each has by chance counts for less.

    The relation is the members' side by side. Weights of neighbors are the members' means. Key n of member s has the
    number s N + n, and memory weights such that w = sum_h alpha[h] a[h] is the members' w side by side, over S.

    Raises:
      InputError: a model that is solved for.
    """
    if model.solver is not None:
        raise InputError(f"model {model.name} is solved for, and has no ensemble")

    def part(tree: Any, index: int) -> Any:
        """Return one member's part of a tree: of arrays [..., S D] those [..., D]."""
        return jax.tree.map(lambda array: math.sqrt(count) * jnp.split(array, count, axis=-1)[index], tree)

    def near(neighbors: Neighbors, index: int) -> Neighbors:
        items, users = part((neighbors.items.vectors, neighbors.users.vectors), index)
        return Neighbors(Padded(items, neighbors.items.mask), Padded(users, neighbors.users.mask))

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        def output(one: int) -> PairOutput:
            p, u, v = part((params, user, item), one)
            return model.pair(p, u, v, near(neighbors, one))

        found = [output(one) for one in range(count)]
        alphas = jnp.stack([one.neighbor_weights for one in found])
        shares = alphas / jnp.maximum(alphas.sum(axis=0), jnp.finfo(alphas.dtype).tiny)
        return PairOutput(
            _mean([one.score for one in found]),
            jnp.concatenate([one.relation for one in found]) / math.sqrt(count),
            jnp.concatenate([w[:, None] * one.memory_weights for w, one in zip(shares, found, strict=True)], axis=-1),
            alphas.mean(axis=0),
        )

    def catalogue(params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
        def score(one: int) -> jax.Array:
            p, u, v = part((params, user, items), one)
            return score_items(model, p, u, v, near(neighbors, one))

        return _mean([score(one) for one in range(count)])

    def init(key: jax.Array, num_users: int, num_items: int) -> Params:
        return _side_by_side([model.init(one, num_users, num_items) for one in jax.random.split(key, count)])

    def project(params: Params) -> Params:
        return _side_by_side([model.project(part(params, one)) for one in range(count)])

    def item_pairs(form: ItemPairs) -> ItemPairs:
        def weights(params: Params, neighbors: jax.Array, items: jax.Array) -> jax.Array:
            each = [form.weights(*part((params, neighbors, items), one)) for one in range(count)]
            return jnp.concatenate(each, axis=1) / count

        def scores(
            params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors, weights: jax.Array
        ) -> jax.Array:
            shares = jnp.split(count * weights, count, axis=1)

            def score(one: int) -> jax.Array:
                p, u, v = part((params, user, items), one)
                return form.scores(p, u, v, near(neighbors, one), shares[one])

            return _mean([score(one) for one in range(count)])

        return ItemPairs(weights, scores)

    return model._replace(
        name=f"{count} x {model.name}",
        init=init,
        pair=pair,
        project=project,
        catalogue=catalogue,
        item_pairs=None if model.item_pairs is None else item_pairs(model.item_pairs),
        options=(*model.options, ("ensemble", count)),
    )


def _mean(arrays: Sequence[jax.Array]) -> jax.Array:
    return reduce(jnp.add, arrays) / len(arrays)
