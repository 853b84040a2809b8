"""Several trained seeds as one model: the product of their spaces."""

import math
from collections.abc import Sequence
from functools import lru_cache, reduce

import jax
import jax.numpy as jnp

from hlr_jax.errors import InputError
from hlr_jax.models.base import ItemPairFunction, Model, PenaltyFunction
from hlr_jax.models.identity import derived_shapes
from hlr_jax.scoring import score_items
from hlr_jax.types import CSR, Neighbors, Padded, PairOutput, Params


def ensemble_params(model: Model, members: Sequence[Params]) -> Params:
    """Return the parameters of an ensemble: rows of the S members side by side, over sqrt(S); scalars [..., S].

    Members may lie on different devices; the result is where the first one is.

    Args:
      model: the members'.
      members: S sets of parameters.
    """
    place = members[0]["item"].sharding
    return _Members(model, len(members)).join([jax.device_put(params, place) for params in members])


class _Members:
    """Joins the arrays of S members, and takes them apart again."""

    def __init__(self, model: Model, count: int):
        self.model, self.count = model, count
        params = jax.eval_shape(lambda: model.init(jax.random.key(0), 2, 2))
        params |= derived_shapes(model, params)
        # What has a row for each user or item, and one number in it, is a scalar of a pair.
        self.scalars = {name for name, array in params.items() if array.ndim == (model.axis_of(name) != "shared")}

    def join(self, members: Sequence[Params]) -> Params:
        """Return arrays side by side along the last axis, and scalars [..., S]."""
        scale = math.sqrt(self.count)
        return {
            name: jnp.stack([params[name] for params in members], axis=-1)
            if name in self.scalars
            else jnp.concatenate([params[name] for params in members], axis=-1) / scale
            for name in members[0]
        }

    def part(self, params: Params, index: int) -> Params:
        """Return one member's arrays."""
        return {
            name: array[..., index] if name in self.scalars else self.vectors(array, index)
            for name, array in params.items()
        }

    def vectors(self, array: jax.Array, index: int) -> jax.Array:
        """Return one member's part [..., D] of vectors [..., S D]."""
        return math.sqrt(self.count) * jnp.split(array, self.count, axis=-1)[index]

    def neighbors(self, neighbors: Neighbors, index: int) -> Neighbors:
        """Return the neighbors in one member's space."""
        items, users = neighbors.items, neighbors.users
        return Neighbors(
            Padded(self.vectors(items.vectors, index), items.mask),
            Padded(self.vectors(users.vectors, index), users.mask),
        )


@lru_cache(maxsize=32)
def ensemble_of(model: Model, count: int) -> Model:
    """Return the model of ``count`` = S trained seeds at once; its parameters are those of ``ensemble_params``.

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
    members = _Members(model, count)

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        outputs = [
            model.pair(
                members.part(params, index), members.vectors(user, index), members.vectors(item, index),
                members.neighbors(neighbors, index),
            )
            for index in range(count)
        ]  # fmt: skip
        alphas = jnp.stack([output.neighbor_weights for output in outputs])
        shares = alphas / jnp.maximum(alphas.sum(axis=0), jnp.finfo(alphas.dtype).tiny)
        memory_weights = [share[:, None] * output.memory_weights for share, output in zip(shares, outputs, strict=True)]
        return PairOutput(
            _mean([output.score for output in outputs]),
            jnp.concatenate([output.relation for output in outputs]) / math.sqrt(count),
            jnp.concatenate(memory_weights, axis=-1),
            alphas.mean(axis=0),
        )

    def catalogue(
        params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors, weights: jax.Array | None = None
    ) -> jax.Array:
        def score(index: int, weights: jax.Array | None) -> jax.Array:
            own, near = members.part(params, index), members.neighbors(neighbors, index)
            users = model.on_axis(own, "user") | {"user": members.vectors(user, index)}
            rows = model.on_axis(own, "item") | {"item": members.vectors(items, index)}
            return score_items(model, own, users, rows, near, weights)

        shares = [None] * count if weights is None else jnp.split(count * weights, count, axis=1)
        return _mean([score(index, share) for index, share in enumerate(shares)])

    def init(key: jax.Array, num_users: int, num_items: int) -> Params:
        return members.join([model.init(each, num_users, num_items) for each in jax.random.split(key, count)])

    def project(params: Params) -> Params:
        return members.join([model.project(members.part(params, index)) for index in range(count)])

    def derived(params: Params, user_items: CSR, item_users: CSR, users: jax.Array, items: jax.Array) -> Params:
        assert model.derived is not None
        rows = user_items, item_users
        return members.join([model.derived(members.part(params, index), *rows, users, items) for index in range(count)])

    return model._replace(
        name=f"{count} x {model.name}",
        label=f"{count} x {model.title}",
        init=init,
        pair=pair,
        project=project,
        catalogue=catalogue,
        derived=None if model.derived is None else derived,
        item_pairs=None if model.item_pairs is None else _item_pairs(members, model.item_pairs),
        penalty=None if model.penalty is None else _penalty(members, model.penalty),
        options=(*model.options, ("ensemble", count)),
        flops=(0, 0),
    )


def _item_pairs(members: _Members, form: ItemPairFunction) -> ItemPairFunction:
    def weights(params: Params, neighbors: jax.Array, items: jax.Array) -> jax.Array:
        each = [
            form(members.part(params, index), members.vectors(neighbors, index), members.vectors(items, index))
            for index in range(members.count)
        ]
        return jnp.concatenate(each, axis=1) / members.count

    return weights


def _penalty(members: _Members, penalty: PenaltyFunction) -> PenaltyFunction:
    def mean_penalty(
        params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors, distances: jax.Array
    ) -> jax.Array:
        return _mean(
            [
                penalty(
                    members.part(params, index), members.vectors(user, index), members.vectors(items, index),
                    members.neighbors(neighbors, index), distances,
                )
                for index in range(members.count)
            ]
        )  # fmt: skip

    return mean_penalty


def _mean(arrays: Sequence[jax.Array]) -> jax.Array:
    return reduce(jnp.add, arrays) / len(arrays)
