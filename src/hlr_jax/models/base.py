"""The interface of a model, what is derived from it, and the registry.

A model is written for one user-item pair, on vectors. Batches, catalogues and explanations are ``jax.vmap`` of that
one function, so the maths of a model stands once. A further model is one file in this package with a factory of the
file's own name.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from hlr_jax.errors import InputError, check_options, check_range, pick
from hlr_jax.kernels import memory_attention
from hlr_jax.kernels.distance import project_to_ball
from hlr_jax.types import Neighbors, NeighborSpec, Padded, PairOutput, Params

CATALOGUE_TILE = 128  # items whose scores are computed together; best of 64 to 2810 when measured on a CPU
SOLVER_METHODS = ("cholesky", "cg")


class PairFunction(Protocol):
    """One pair: shared parameters, p_u [D], q_v [D] and the neighbors of both."""

    def __call__(self, params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        """Score the pair."""


class CatalogueFunction(Protocol):
    """One user: shared parameters, p_u [D], items [T, D], the neighbors of the user [H, D] and of each item [T, A, D];
    scores [T].
    """

    def __call__(self, params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
        """Score every item for the user."""


class ItemPairs(NamedTuple):
    """A catalogue for many users, if part of a score depends on the neighbor and the candidate alone.

    Attributes:
      weights: (params, neighbors [J, D], items [T, D]) -> [J, M, T]: that part, made once for all users.
      scores: (params, p_u [D], items [T, D], neighbors, weights [H, M, T] of the user's neighbors) -> scores [T].
    """

    weights: Callable[[Params, jax.Array, jax.Array], jax.Array]
    scores: Callable[[Params, jax.Array, jax.Array, Neighbors, jax.Array], jax.Array]


class PenaltyFunction(Protocol):
    """One triplet: p_u [D], items [1 + n, D], the neighbors of the user [H, D] and of each item [1 + n, A, D]; and the
    distances [1 + n], the positive's first.
    """

    def __call__(self, user: jax.Array, items: jax.Array, neighbors: Neighbors, distances: jax.Array) -> jax.Array:
        """Return what is added to the triplet's loss: []."""


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
      history: the items of the user that ``pair`` reads.
      item_users: the users of the item that ``pair`` reads.
      share_relation: in training, whether the negatives are measured with the relation of the positive.
      penalty: optional: a term beside the objective, for one triplet.
      item_pairs: optional: a faster form of ``catalogue`` for many users at once; tested against it.
      solver: how the parameters are solved for; None: they are trained with triplets.
      options: every option of the factory with its value, as ``create_model`` sets them: what tells two models apart.
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
    item_pairs: ItemPairs | None = None
    solver: AlternatingLeastSquares | None = None
    options: tuple[tuple[str, Any], ...] = ()


def score_items(model: Model, params: Params, user: jax.Array, items: jax.Array, neighbors: Neighbors) -> jax.Array:
    """Return the scores [T] of items [T, D] for one user: the model's own fast form, or ``pair`` for each item."""
    if model.catalogue is not None:
        return model.catalogue(params, user, items, neighbors)
    pair = jax.vmap(lambda item, users: model.pair(params, user, item, Neighbors(neighbors.items, users)).score)
    return pair(items, neighbors.users)


def over_tiles(score: Callable[[jax.Array, Padded], jax.Array], items: jax.Array, item_users: Padded) -> jax.Array:
    """Return ``score`` of all items [I, D] with their neighbors [I, A, D], a tile of them at a time: [..., I].

    Args:
      score: (items [T, D], neighbors [T, A, D]) -> [..., T].
      items: the catalogue.
      item_users: each item's neighbors.
    """
    num_items = items.shape[0]
    tile = min(CATALOGUE_TILE, num_items)
    tiles = -(-num_items // tile)

    def tiled(array: jax.Array) -> jax.Array:
        padding = [(0, tiles * tile - num_items)] + [(0, 0)] * (array.ndim - 1)
        return jnp.pad(array, padding).reshape(tiles, tile, *array.shape[1:])

    scores = jax.lax.map(lambda inputs: score(*inputs), jax.tree.map(tiled, (items, item_users)))
    return jnp.moveaxis(scores, 0, -2).reshape(*scores.shape[1:-1], -1)[..., :num_items]


def score_catalogue(
    model: Model, params: Params, items: jax.Array, user: jax.Array, history: Padded, item_users: Padded
) -> jax.Array:
    """Return the scores [T] of a catalogue, or a part of it, for one user.

    Args:
      model: what scores.
      params: its parameters.
      items: [T, D], the candidates.
      user: [D], p_u.
      history: the user's neighbors [H, D].
      item_users: the neighbors of every candidate [T, A, D].
    """

    def score(items: jax.Array, users: Padded) -> jax.Array:
        return score_items(model, params, user, items, Neighbors(history, users))

    return over_tiles(score, items, item_users)


def score_catalogue_of_many(
    model: Model, params: Params, items: jax.Array, users: jax.Array, ids: jax.Array, mask: jax.Array,
    item_users: Padded, batch_size: int | None = None,
) -> jax.Array:  # fmt: skip
    """Return the scores [U', T] of a catalogue, or a part of it, for some users, through the model's ``item_pairs``.

    Args:
      model: what scores.
      params: its parameters.
      items: [T, D], the candidates.
      users: [U', D], each p_u.
      ids: [U', H], rows of the item table: the users' neighbors.
      mask: [U', H].
      item_users: the neighbors of every candidate [T, A, D].
      batch_size: users that are scored together; None: one after the other.
    """
    form, table = model.item_pairs, params["item"]
    assert form is not None

    def score(items: jax.Array, near: Padded) -> jax.Array:
        weights = form.weights(params, table, items)

        def one(inputs: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            user, places, real = inputs
            neighbors = Neighbors(Padded(table[places], real), near)
            return form.scores(params, user, items, neighbors, weights[places])

        return jax.lax.map(one, (users, ids, mask), batch_size=batch_size)

    return over_tiles(score, items, item_users)


def model_names() -> tuple[str, ...]:
    """Return the names of all models: the modules of this package."""
    folder = importlib.import_module("hlr_jax.models").__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(folder) if m.name != "base"))


def create_model(name: str, **options: Any) -> Model:
    """Make a model by name; ``options`` are its factory's keyword arguments.

    Raises:
      InputError: an unknown model, an option that the model does not have, or a value out of range.
    """
    pick(name, model_names(), "model")
    factory = getattr(importlib.import_module(f"hlr_jax.models.{name}"), name)
    check_options(factory, options, "model")
    chosen = {name: options.get(name, option.default) for name, option in inspect.signature(factory).parameters.items()}
    return factory(**options)._replace(options=tuple(sorted(chosen.items())))


def attended(what: str, size: int, sampling: str) -> NeighborSpec:
    """Return the neighbors that an attention reads; ``what`` is ``history`` or ``item_users``.

    Raises:
      InputError: ``model.max_WHAT`` or ``model.WHAT_sampling`` is out of range.
    """
    check_range("model", **{f"max_{what}": (size, 1, 65536)})
    return NeighborSpec(size, pick(sampling, ("uniform", "inverse_popularity"), f"model.{what}_sampling"))


def attention_kernel(name: str) -> Callable[..., jax.Array]:
    """Return the function ``memory_mixture`` that the option ``kernel`` names.

    ``xla`` is ``memory_attention``. ``pallas`` is ``pallas_attention``, for GPUs, which keeps the attention weights out
    of device memory; it has never run on one, so whether it is faster is not known, and it is not the default.
    Ranking by pairs of items (``item_pairs``) uses neither.

    Raises:
      InputError: another name, or ``pallas`` without a GPU.
    """
    if pick(name, ("xla", "pallas"), "model.kernel") == "xla":
        return memory_attention.memory_mixture
    backend = jax.default_backend()
    if backend != "gpu":
        raise InputError(f'model.kernel "pallas" needs a GPU, and JAX computes on a {backend} here; set it to "xla"')
    return importlib.import_module("hlr_jax.kernels.pallas_attention").memory_mixture


def item_memory_weights(params: Params, neighbors: jax.Array, items: jax.Array) -> jax.Array:
    """Return the memory weights [J, N, T] of neighbors [J, D] and items [T, D]: the ``weights`` of ``ItemPairs``."""
    return memory_attention.item_weights(neighbors, items, params["keys"])


def tables(embed_dim: int, num_memories: int | None = None) -> Callable[[jax.Array, int, int], Params]:
    """Return the ``init`` of users and items and, for a model that has them, of keys and memories.

    Entries are N(0, 1/D): rows of length about 1, as in the authors' code.

    Raises:
      InputError: ``model.embed_dim`` or ``model.num_memories`` is out of range.
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


def ball_projection(project_memories: bool = False, memory_radius: float | None = None) -> Callable[[Params], Params]:
    """Return the ``project`` that keeps users and items in the unit ball, and keys and memories too if asked.

    Memories may have a ball of their own: a relation is a mean of memories, so ``memory_radius`` bounds how far it can
    move a user. With 0 nobody moves.

    Raises:
      InputError: ``model.memory_radius`` is out of range.
    """
    radii = dict.fromkeys(("user", "item", "keys", "memories") if project_memories else ("user", "item"), 1.0)
    if memory_radius is not None:
        check_range("model", memory_radius=(memory_radius, 0.0, 1e6))
        radii["memories"] = memory_radius
    return lambda params: params | {name: project_to_ball(params[name], radius) for name, radius in radii.items()}
