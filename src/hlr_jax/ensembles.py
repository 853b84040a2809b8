"""Several trained seeds as one model: the product of their spaces."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, reduce
from typing import Any

import jax
import jax.numpy as jnp

from hlr_jax.errors import InputError
from hlr_jax.models.base import ItemPairFunction, Model, PairFunction, PenaltyFunction
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
    return _Members(model, len(members)).join(jax.device_put(list(members), members[0]["item"].sharding))


class _Members:
    """Joins the arrays of S members, and takes them apart again."""

    def __init__(self, model: Model, count: int):
        self.count = count
        params = jax.eval_shape(lambda: model.init(jax.random.key(0), 2, 2))
        params |= derived_shapes(model, params)
        # What has a row for each user or item, and one number in it, is a scalar of a pair.
        self._scalars = {name for name, array in params.items() if array.ndim == (model.axis_of(name) != "shared")}

    def join(self, members: Sequence[Params]) -> Params:
        """Return arrays side by side along the last axis, and scalars [..., S]."""
        scale = math.sqrt(self.count)
        return {
            name: jnp.stack([params[name] for params in members], axis=-1)
            if name in self._scalars
            else jnp.concatenate([params[name] for params in members], axis=-1) / scale
            for name in members[0]
        }

    def parts(self, *joined: Params | Neighbors | jax.Array) -> Iterator[list[Any]]:
        """Yield each member's part of parameters, of neighbors, and of vectors: [..., D] of [..., S D]."""
        for index in range(self.count):
            yield [self._part(each, index) for each in joined]

    def _part(self, joined: Params | Neighbors | jax.Array, index: int) -> Any:
        if isinstance(joined, dict):
            return {
                name: array[..., index] if name in self._scalars else self._part(array, index)
                for name, array in joined.items()
            }
        if isinstance(joined, Neighbors):
            items, users = (Padded(self._part(x.vectors, index), x.mask) for x in (joined.items, joined.users))
            return Neighbors(items, users)
        return math.sqrt(self.count) * jnp.split(joined, self.count, axis=-1)[index]


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

    def catalogue(
        params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors, weights: jax.Array | None = None
    ) -> jax.Array:
        def score(share: jax.Array | None, own: Params, p: jax.Array, q: jax.Array, near: Neighbors) -> jax.Array:
            user, items = model.on_axis(own, "user") | {"user": p}, model.on_axis(own, "item") | {"item": q}
            return score_items(model, own, user, items, near, share)

        shares = [None] * count if weights is None else jnp.split(count * weights, count, axis=1)
        parts = members.parts(params, user, items, neighbors)
        return _mean([score(share, *part) for share, part in zip(shares, parts, strict=True)])

    def init(key: jax.Array, num_users: int, num_items: int) -> Params:
        return members.join([model.init(each, num_users, num_items) for each in jax.random.split(key, count)])

    def project(params: Params) -> Params:
        return members.join([model.project(*part) for part in members.parts(params)])

    def derived(params: Params, user_items: CSR, item_users: CSR, users: jax.Array, items: jax.Array) -> Params:
        assert model.derived is not None
        rows = user_items, item_users
        return members.join([model.derived(own, *rows, users, items) for (own,) in members.parts(params)])

    return model._replace(
        name=f"{count} x {model.name}",
        label=f"{count} x {model.title}",
        init=init,
        pair=_pair(members, model.pair),
        project=project,
        catalogue=catalogue,
        derived=None if model.derived is None else derived,
        item_pairs=None if model.item_pairs is None else _item_pairs(members, model.item_pairs),
        penalty=None if model.penalty is None else _penalty(members, model.penalty),
        options=(*model.options, ("ensemble", count)),
        flops=(0, 0),
    )


def _pair(members: _Members, member_pair: PairFunction) -> PairFunction:
    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        outputs = [member_pair(*parts) for parts in members.parts(params, user, item, neighbors)]
        alphas = jnp.stack([output.neighbor_weights for output in outputs])
        shares = alphas / jnp.maximum(alphas.sum(axis=0), jnp.finfo(alphas.dtype).tiny)
        memory_weights = [share[:, None] * output.memory_weights for share, output in zip(shares, outputs, strict=True)]
        relation = jnp.concatenate([output.relation for output in outputs]) / math.sqrt(members.count)
        score = _mean([output.score for output in outputs])
        return PairOutput(score, relation, jnp.concatenate(memory_weights, axis=-1), alphas.mean(axis=0))

    return pair


def _item_pairs(members: _Members, member_weights: ItemPairFunction) -> ItemPairFunction:
    def weights(params: Params, neighbors: jax.Array, items: jax.Array) -> jax.Array:
        each = [member_weights(*parts) for parts in members.parts(params, neighbors, items)]
        return jnp.concatenate(each, axis=1) / members.count

    return weights


def _penalty(members: _Members, penalty: PenaltyFunction) -> PenaltyFunction:
    def mean_penalty(
        params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors, distances: jax.Array
    ) -> jax.Array:
        parts = members.parts(params, user, items, neighbors)
        return _mean([penalty(own, p, q, near, distances) for own, p, q, near in parts])

    return mean_penalty


def _mean(arrays: Sequence[jax.Array]) -> jax.Array:
    return reduce(jnp.add, arrays) / len(arrays)
