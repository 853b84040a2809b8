"""Several trained seeds as one model: the product of their spaces."""

from collections.abc import Sequence
from functools import lru_cache, reduce
from typing import Any

import jax
import jax.numpy as jnp

from hlr_jax.errors import UserError
from hlr_jax.models.base import ItemPairs, Model, score_items
from hlr_jax.types import Neighbors, Padded, PairOutput, Params


def joined(members: Sequence[Params]) -> Params:
    """Return the parameters of an ensemble: each row of a table is the rows of its S members, one after the other."""
    return {name: jnp.concatenate([params[name] for params in members], axis=-1) for name in members[0]}


@lru_cache(maxsize=32)
def ensemble_of(model: Model, count: int) -> Model:
    """Return the model of ``count`` = S trained seeds together; its parameters are ``joined`` ones.

    A score is the sum of the members' scores: for a metric model minus the squared distance between points of S spaces
    side by side. So it is a metric model again, whose vectors have S D entries, and it is ranked, explained and
    exported as any other. Members differ by their seeds alone, and what each has by chance counts for less.

    Distances are S times as large: a margin or temperature that members were trained with goes with a mean.

    The relation is the members' side by side, so are their keys, each with a share 1 / S of the weights; weights of
    neighbors are means.

    Raises:
      UserError: a model that is solved for.
    """
    if model.solver is not None:
        raise UserError(f"model {model.name} is solved for, and has no ensemble")

    def part(tree: Any, index: int) -> Any:
        """Return one member's part of a tree: of arrays [..., S D] those [..., D]."""
        return jax.tree.map(lambda array: jnp.split(array, count, axis=-1)[index], tree)

    def near(neighbors: Neighbors, index: int) -> Neighbors:
        items, users = part((neighbors.items.vectors, neighbors.users.vectors), index)
        return Neighbors(Padded(items, neighbors.items.mask), Padded(users, neighbors.users.mask))

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        def output(one: int) -> PairOutput:
            p, u, v = part((params, user, item), one)
            return model.pair(p, u, v, near(neighbors, one))

        found = [output(one) for one in range(count)]
        return PairOutput(
            _sum([one.score for one in found]),
            jnp.concatenate([one.relation for one in found]),
            jnp.concatenate([one.memory_weights for one in found], axis=-1) / count,
            _sum([one.neighbor_weights for one in found]) / count,
        )

    def catalogue(params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
        def score(one: int) -> jax.Array:
            p, u, v = part((params, user, items), one)
            return score_items(model, p, u, v, near(neighbors, one))

        return _sum([score(one) for one in range(count)])

    def init(key: jax.Array, num_users: int, num_items: int) -> Params:
        return joined([model.init(one, num_users, num_items) for one in jax.random.split(key, count)])

    def project(params: Params) -> Params:
        return joined([model.project(part(params, one)) for one in range(count)])

    def item_pairs(form: ItemPairs) -> ItemPairs:
        def weights(params: Params, neighbors: jax.Array, items: jax.Array) -> jax.Array:
            each = [form.weights(*part((params, neighbors, items), one)) for one in range(count)]
            return jnp.concatenate(each, axis=1)

        def scores(
            params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors, weights: jax.Array
        ) -> jax.Array:
            shares = jnp.split(weights, count, axis=1)

            def score(one: int) -> jax.Array:
                p, u, v = part((params, user, items), one)
                return form.scores(p, u, v, near(neighbors, one), shares[one])

            return _sum([score(one) for one in range(count)])

        return ItemPairs(weights, scores)

    return model._replace(
        name=f"{count} x {model.name}",
        init=init,
        pair=pair,
        project=project,
        catalogue=catalogue,
        item_pairs=None if model.item_pairs is None else item_pairs(model.item_pairs),
        penalty=None,  # of training, which is over
        options=(*model.options, ("ensemble", count)),
    )


def _sum(arrays: Sequence[jax.Array]) -> jax.Array:
    return reduce(jnp.add, arrays)
