"""The interface of a model, and the parts that several models share.

A model is written for one user-item pair, on vectors. Batches, catalogues and explanations are ``jax.vmap`` of that
one function (``hlr_jax.scoring``), so the maths of a model stands once.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hlr_jax.kernels.distance import project_to_ball
from hlr_jax.kernels.row_means import row_sums
from hlr_jax.models.options import MetricOptions
from hlr_jax.types import CSR, Neighbors, NeighborSpec, PairOutput, Params

PairFunction = Callable[[Params, jax.Array, jax.Array, Neighbors], PairOutput]
"""(parameters, p_u [D], q_v [D], the neighbors of both); parameters are the shared arrays and this pair's rows."""

CatalogueFunction = Callable[..., jax.Array]
"""(parameters, p_u [D], items [T, D], the neighbors of the user [H, D] and of each item [T, A, D]) -> scores [T].

The mask of the user's neighbors is [H], or [T, H] where each item leaves out another one. Parameters are the shared
arrays, the user's row, and the items' rows [T, ...]. Of a model with ``item_pairs`` it also takes weights [H, M, T].
"""

ItemPairFunction = Callable[[Params, jax.Array, jax.Array], jax.Array]
"""(parameters, neighbors [J, D], items [T, D]) -> the part of a score [J, M, T] that no user has a share in."""

PenaltyFunction = Callable[[Params, jax.Array, jax.Array, Neighbors, jax.Array], jax.Array]
"""(parameters, p_u [D], items [1 + n, D], neighbors, distances [1 + n]) -> what is added to the loss of a triplet [].

The positive is the first item; parameters and neighbors are as for ``CatalogueFunction``.
"""

DerivedFunction = Callable[[Params, CSR, CSR, jax.Array, jax.Array], Params]
"""(parameters, items of all users, users of all items, some users [O], some items [O']) -> row-wise arrays by name.

They are [O, ...] for the axis ``user`` and [O', ...] for ``item``, and have no gradient.
"""


class HistoryUsers(NamedTuple):
    """Users who are made from their items alone: a model with them has no table of users.

    Attributes:
      source: the array of the items' rows x_j [I, D] that users are made from: ``item``, or one of ``Model.arrays``.
      pool: (the sum of the rows of some items [..., D], how many they are [...]) -> p_u [..., D]; 0 of nothing, and
        linear in the sum. With the sum and number of all items but one it leaves that one out.

    Example:
      >>> users = hlr_jax.create_model("cml", embed_dim=4, user="history").history_users
      >>> users.source, users.pool(jnp.array([2.0, 4.0]), jnp.array(2)).tolist()  # the mean of two rows
      ('source', [1.0, 2.0])
    """

    source: str
    pool: Callable[[jax.Array, jax.Array], jax.Array]

    def derived(self, params: Params, user_items: CSR, item_users: CSR, users: jax.Array, items: jax.Array) -> Params:
        """Return p_u of some users, as ``Model.derived`` does."""
        del item_users, items
        rows = jax.lax.stop_gradient(params[self.source])
        return {"user": self.pool(row_sums(rows, user_items, users), user_items.degree(users))}


class AlternatingLeastSquares(NamedTuple):
    """The settings of a model that is solved for, not trained by gradients; ``mf_als`` explains and checks them."""

    confidence: float
    regularization: float
    frequency_exponent: float
    method: str
    cg_steps: int


class ArraySpec(NamedTuple):
    """What an array of a model is.

    Attributes:
      name: in ``Params``.
      axis: ``user`` or ``item``: it has a row for each of them; ``shared``: it has none.
      meaning: for people who read an export.

    Example:
      >>> hlr_jax.ArraySpec("bias", axis="item", meaning="added to the score of the item").axis
      'item'
    """

    name: str
    axis: str = "shared"
    meaning: str = ""


class Model(NamedTuple):
    """A recommender as pure functions over a small dict of arrays of any shape.

    Attributes:
      name: as in the registry.
      init: (key, num_users, num_items) -> params: ``user`` [U, D] (but with ``history_users``), ``item`` [I, D] and
        whatever ``arrays`` names.
      pair: the model's maths, for one pair.
      project: params -> params, after every step; the unit ball, or the identity.
      catalogue: optional: a faster form of ``pair``'s scores over many items; tested against it.
      history: the items of the user that ``pair`` reads.
      item_users: the users of the item that ``pair`` reads.
      share_relation: in training, whether the negatives are measured with the relation of the positive.
      penalty: optional: a term beside the objective, for one triplet.
      derived: optional: row-wise arrays that are computed, not learned; ``arrays`` names them too.
      history_users: optional: users are made from their items, and ``HistoryUsers.derived`` is ``derived``; None:
        users have a table.
      item_pairs: optional: what ``catalogue`` can take instead of making it, once for many users; tested against it.
      solver: how the parameters are solved for; None: they are trained by gradients.
      options: every option of the factory with its value, as ``create_model`` sets them: what tells two models apart.
      label: the name for people; empty: ``name``.
      arrays: what the arrays beside ``user`` and ``item`` are; one that is not named is shared.
      plain: whether a score is -|p_u - q_v|^2 and nothing else, which lets training over all items multiply matrices;
        ``history_users`` need it.
      similarity: how vectors of items are compared: ``euclidean``, or ``cosine``.
      flops: float operations of scoring a pair, and of a pair within a catalogue; 0 where nobody has counted them.

    Example:
      >>> hlr = hlr_jax.create_model("hlr", embed_dim=4, num_memories=3)
      >>> hlr.title, [array.name for array in hlr.arrays]
      ('HLR', ['keys', 'memories'])
    """

    name: str
    init: Callable[[jax.Array, int, int], Params]
    pair: PairFunction
    project: Callable[[Params], Params]
    catalogue: CatalogueFunction | None = None
    history: NeighborSpec = NeighborSpec()
    item_users: NeighborSpec = NeighborSpec()
    share_relation: bool = False
    penalty: PenaltyFunction | None = None
    derived: DerivedFunction | None = None
    history_users: HistoryUsers | None = None
    item_pairs: ItemPairFunction | None = None
    solver: AlternatingLeastSquares | None = None
    options: tuple[tuple[str, Any], ...] = ()
    label: str = ""
    arrays: tuple[ArraySpec, ...] = ()
    plain: bool = False
    similarity: str = "euclidean"
    flops: tuple[int, int] = (0, 0)

    @property
    def title(self) -> str:
        """The name for people."""
        return self.label or self.name

    def axis_of(self, name: str) -> str:
        """Return the axis of an array, ``user``, ``item`` or ``shared``."""
        if name in ("user", "item"):
            return name
        return next((spec.axis for spec in self.arrays if spec.name == name), "shared")

    def on_axis(self, params: Params, axis: str) -> Params:
        """Return the arrays of one axis."""
        return {name: array for name, array in params.items() if self.axis_of(name) == axis}

    def rows(self, params: Params, axis: str, ids: jax.Array) -> Params:
        """Return the rows [..., *] of some users or items in each array of the axis."""
        return {name: array[ids] for name, array in self.on_axis(params, axis).items()}

    @property
    def as_scored(self) -> "Model":
        """The model without its solver and options: models that score alike are equal and share compiled programs."""
        return self._replace(solver=None, options=())

    @property
    def solves_users(self) -> bool:
        """Whether new users need no gradient steps: they are made from their items, or solved for."""
        return self.solver is not None or self.history_users is not None

    def num_rows(self, params: Params, axis: str) -> int:
        """Return how many rows the arrays of an axis have; 0 where there is none."""
        return max((len(array) for array in self.on_axis(params, axis).values()), default=0)

    def scored(self, params: Params) -> Params:
        """Return the arrays that scores are made from: all but rows of items that only users are made from."""
        unread = None if self.history_users is None else self.history_users.source
        return {name: array for name, array in params.items() if name == "item" or name != unread}

    def neighbor_table(self, params: Params) -> jax.Array:
        """Return the table that neighbors of items are rows of: of a model that reads none, any table."""
        return params["user" if self.item_users.size else "item"]


@cache
def tables(embed_dim: int, num_memories: int | None = None) -> Callable[[jax.Array, int, int], Params]:
    """Return the ``init`` of users and items and, for a model that has them, of keys and memories.

    Entries are N(0, 1/D): rows of length about 1, as in the authors' code. It is one function for all models of these
    sizes, so that what is compiled for one serves the others.
    """

    def init(key: jax.Array, num_users: int, num_items: int) -> Params:
        counts = [num_users, num_items] + ([] if num_memories is None else [num_memories, num_memories])
        keys, scale = jax.random.split(key, len(counts)), 1 / jnp.sqrt(embed_dim)
        arrays = [scale * jax.random.normal(k, (count, embed_dim)) for k, count in zip(keys, counts, strict=True)]
        return dict(zip(("user", "item", "keys", "memories"), arrays, strict=False))

    return init


def ball_projection(options: MetricOptions) -> Callable[[Params], Params]:
    """Return the ``project`` that keeps users and items in their balls.

    A radius of 0 is no ball of users or of items, and there may be no table of users.
    """
    radii = {name: radius for name, radius in (("user", options.user_radius), ("item", options.radius)) if radius}

    def project(params: Params) -> Params:
        kept = {name: project_to_ball(params[name], radius) for name, radius in radii.items() if name in params}
        return params | kept

    return project
