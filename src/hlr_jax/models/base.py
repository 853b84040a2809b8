"""The interface of a model, what is derived from it, and the registry.

A model is written for one user-item pair, on vectors. Batches, catalogues and explanations are ``jax.vmap`` of that
one function, so the maths of a model stands once. A further model is one file in this package with a factory of the
file's own name.
"""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from hlr_jax.errors import check_options, check_range, pick
from hlr_jax.kernels.distance import project_to_ball
from hlr_jax.types import Neighbors, PairOutput, Params

CATALOGUE_TILE = 128  # items whose scores are computed together; best of 64 to 2810 when measured on a CPU
HISTORY_SAMPLINGS = ("uniform", "inverse_popularity")
SOLVER_METHODS = ("cholesky", "cg")


class PairFunction(Protocol):
    """One pair: shared parameters, p_u [D], q_v [D] and the padded neighbors."""

    def __call__(self, params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        """Score the pair."""


class CatalogueFunction(Protocol):
    """One user: shared parameters, p_u [D], items [T, D] and the user's padded neighbors; scores [T]."""

    def __call__(self, params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
        """Score every item for the user."""


class History(NamedTuple):
    """Which items of the user a model attends over: at most ``size``, drawn by ``sampling``; none for size 0."""

    size: int = 0
    sampling: str = "uniform"


class AlternatingLeastSquares(NamedTuple):
    """The settings of a model that is solved for, not trained with triplets; ``mf_als`` explains and checks them."""

    confidence: float
    regularization: float
    frequency_exponent: float
    method: str
    cg_steps: int


class Model(NamedTuple):
    """A recommender as pure functions over a small pytree of arrays.

    Attributes:
      name: as in the registry.
      init: (key, num_users, num_items) -> params.
      pair: the model's maths, for one pair.
      project: params -> params, after every step; the unit ball, or the identity.
      catalogue: optional: a faster form of ``pair``'s scores over many items; tested against it.
      history: the neighbors that ``pair`` wants.
      solver: how the parameters are solved for; None: they are trained with triplets.
    """

    name: str
    init: Callable[[jax.Array, int, int], Params]
    pair: PairFunction
    project: Callable[[Params], Params]
    catalogue: CatalogueFunction | None = None
    history: History = History()
    solver: AlternatingLeastSquares | None = None


def apply(
    model: Model, params: Params, user: jax.Array, item: jax.Array, history: jax.Array, mask: jax.Array
) -> PairOutput:
    """Look one pair up and score it: ids of a user [], an item [] and the history [H] with its mask [H]."""
    neighbors = Neighbors(params["item"][history], mask)
    return model.pair(params, params["user"][user], params["item"][item], neighbors)


def score_catalogue(
    model: Model, params: Params, user: jax.Array, history: jax.Array, mask: jax.Array, *, tile: int = CATALOGUE_TILE
) -> jax.Array:
    """Return the scores [I] of one user's whole catalogue, ``tile`` items at a time, so that a tile stays in cache."""
    items = params["item"]
    num_items, dim = items.shape
    tile = min(tile, num_items)
    padded = jnp.pad(items, ((0, -num_items % tile), (0, 0))).reshape(-1, tile, dim)
    vector, neighbors = params["user"][user], Neighbors(items[history], mask)

    def score_tile(rows: jax.Array) -> jax.Array:
        if model.catalogue is not None:
            return model.catalogue(params, vector, rows, neighbors)
        return jax.vmap(lambda row: model.pair(params, vector, row, neighbors).score)(rows)

    return jax.lax.map(score_tile, padded).reshape(-1)[:num_items]


def model_names() -> tuple[str, ...]:
    """Return the names of all models: the modules of this package."""
    folder = importlib.import_module("hlr_jax.models").__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(folder) if m.name != "base"))


def create_model(name: str, **options: Any) -> Model:
    """Make a model by name; ``options`` are its factory's keyword arguments.

    Raises:
      UserError: an unknown model, an option that the model does not have, or a value out of range.
    """
    pick(name, model_names(), "model")
    factory = getattr(importlib.import_module(f"hlr_jax.models.{name}"), name)
    check_options(factory, options, "model")
    return factory(**options)


def attended_history(max_history: int, history_sampling: str) -> History:
    """Return the history that an attention reads.

    Raises:
      UserError: ``model.max_history`` or ``model.history_sampling`` is out of range.
    """
    check_range("model", max_history=(max_history, 1, 65536))
    return History(max_history, pick(history_sampling, HISTORY_SAMPLINGS, "model.history_sampling"))


def tables(embed_dim: int, num_memories: int | None = None) -> Callable[[jax.Array, int, int], Params]:
    """Return the ``init`` of users and items and, for a model that has them, of keys and memories.

    Entries are N(0, 1/D): rows of length about 1, as in the authors' code.

    Raises:
      UserError: ``model.embed_dim`` or ``model.num_memories`` is out of range.
    """
    check_range("model", embed_dim=(embed_dim, 1, 65536))
    if num_memories is not None:
        check_range("model", num_memories=(num_memories, 1, 65536))

    def init(key: jax.Array, num_users: int, num_items: int) -> Params:
        rows = {"user": num_users, "item": num_items}
        if num_memories is not None:
            rows |= {"keys": num_memories, "memories": num_memories}
        keys = jax.random.split(key, len(rows))
        scale = 1 / jnp.sqrt(embed_dim)
        return {
            name: scale * jax.random.normal(k, (count, embed_dim))
            for k, (name, count) in zip(keys, rows.items(), strict=True)
        }

    return init


def in_the_ball(project_memories: bool = False) -> Callable[[Params], Params]:
    """Return the ``project`` that keeps users and items in the unit ball, and keys and memories too if asked."""
    names = ("user", "item", "keys", "memories") if project_memories else ("user", "item")
    return lambda params: params | {name: project_to_ball(params[name]) for name in names}
