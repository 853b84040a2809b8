"""The programs of an export: functions of arrays that ``jax`` runs without hlr_jax.

They take their arrays as arguments instead of holding them as constants: each number stands on disk once, in a file
that other programs read too, and XLA compiles a program of some kilobytes.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from hlr_jax.data.csr import csr_of
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.neighbor_sampling import NeighborIds, NeighborSource, NeighborSources
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import ranking_histories, ranking_inputs, ranking_item_users
from hlr_jax.ranking.lists import NO_ITEM
from hlr_jax.scoring import CATALOGUE_TILE, pair_params, score_catalogue, with_derived
from hlr_jax.types import Neighbors, Padded, Params

PLATFORMS = ("cpu", "cuda", "tpu")
HISTORY, ITEM_USERS = "history", "item_users"
_TOGETHER = 64  # users that an accelerator ranks at once
_DRAWN_TOGETHER = 1024

Arrays: TypeAlias = dict[str, Any]
"""NumPy arrays by name."""


class Program(NamedTuple):
    """An exported function.

    Attributes:
      exported: what is written.
      reads: the names of the arrays in its first argument.
      people: of a list: the names of the arrays with a row for each person, in its second argument.
    """

    exported: export.Exported
    reads: tuple[str, ...]
    people: tuple[str, ...] = ()


def interaction_arrays(model: Model, parameters: Arrays, dataset: Dataset, seed: int) -> Arrays:
    """Return what a list depends on beside the parameters: neighbors as ``rank`` draws them, and items already met.

    Returns:
      ``history`` [U, H] and ``item_users`` [I, A], int32, -1 for none; ``seen_offsets`` [U + 1] and ``seen_items``
      int32; and what the model derives for all users and items.
    """
    known = dataset.known
    inputs = ranking_inputs(model, known, known, (dataset.num_users, dataset.num_items), seed)

    @jax.jit
    def read_by_lists(params: Params, sources: NeighborSources) -> Params:
        def drawn(source: NeighborSource, count: int, draw: Callable[..., NeighborIds]) -> jax.Array:
            if not source.spec.size:
                return jnp.zeros((count, 0), jnp.int32)
            ids = jax.lax.map(
                lambda owner: padded_ids(draw(inputs.key, source, owner[None])),
                jnp.arange(count),
                batch_size=_DRAWN_TOGETHER,
            )
            return ids[:, 0]

        everything = with_derived(model, params, sources)
        return {
            HISTORY: drawn(sources.history, dataset.num_users, ranking_histories),
            ITEM_USERS: drawn(sources.item_users, dataset.num_items, ranking_item_users),
        } | {name: array for name, array in everything.items() if name not in parameters}

    arrays = read_by_lists(jax.tree.map(jnp.asarray, parameters), inputs.sources)
    return {name: np.asarray(array) for name, array in arrays.items()} | seen_arrays(dataset)


def seen_arrays(dataset: Dataset) -> Arrays:
    """Return ``seen_offsets`` [U + 1] and ``seen_items``: what each user has met, in training and validation."""
    rows = csr_of(dataset.known, dataset.num_users)
    return {"seen_offsets": np.asarray(rows.offsets), "seen_items": np.asarray(rows.items)}


def padded_ids(neighbors: NeighborIds) -> jax.Array:
    """Return the ids of neighbors with -1 for padding."""
    return jnp.where(neighbors.mask, neighbors.ids, NO_ITEM)


def _neighbors(ids: jax.Array) -> NeighborIds:
    """Return ids with -1 for padding as ids and mask."""
    return NeighborIds(jnp.maximum(ids, 0), ids >= 0)


def list_programs(
    model: Model, arrays: Arrays, k: int, num_candidates: int | None = None, scores: bool = False
) -> dict[str, Program]:
    """Return the exported functions that make lists, by name, each of any number b of people from 1 on.

    - ``topk``: (arrays, people, allowed [b, I] bool) -> (items [b, K] int32, scores [b, K] float32). Where nothing is
      left, items are -1 and scores minus infinity.
    - ``among``, with C candidates: the same of candidates [b, C] int32, -1 for none, in the place of ``allowed``.
    - ``query``, with candidates and of a model that moves users: (arrays, people) -> [b, D], near which to look for
      candidates: p_u + the mean relation with items from all over the catalogue.
    - ``scores``, if asked for: (arrays, people) -> the scores of all items [b, I] float32.

    Args:
      model: scores the pairs.
      arrays: the parameters, and those of ``interaction_arrays``.
      k: K, at most I.
      num_candidates: C; None: only ``topk``.
      scores: whether there is a program of all scores.
    """
    lists = _Lists(model, k)
    people = (HISTORY, *model.on_axis(arrays, "user"))
    others = [name for name in model.scored(arrays) if name not in (*people, ITEM_USERS, "seen_offsets", "seen_items")]
    reads = (*others, ITEM_USERS, "user") if model.item_users.size else tuple(others)
    (count,) = export.symbolic_shape("b")
    given = (
        shapes(arrays, reads),
        {name: jax.ShapeDtypeStruct((count, *arrays[name].shape[1:]), _computed(arrays[name])) for name in people},
    )

    def program(of_one: Callable[..., Any], *last: jax.ShapeDtypeStruct) -> Program:
        return Program(exported(over_people(of_one), *given, *last), reads, people)

    programs = {"topk": program(lists.topk, jax.ShapeDtypeStruct((count, len(arrays["item"])), jnp.bool_))}
    if scores:
        programs["scores"] = program(lists.scores)
    if num_candidates is not None:
        programs["among"] = program(lists.among, jax.ShapeDtypeStruct((count, num_candidates), jnp.int32))
        if _moves(lists, arrays, people):
            programs["query"] = program(lists.query)
    return programs


class _Lists(NamedTuple):
    """Each method takes arrays and returns a function of one person: (the person's rows, ...)."""

    model: Model
    k: int

    def topk(self, given: Params) -> Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]:
        """Return the ranking of all items that are allowed [I]."""
        rows, users = self.model.on_axis(given, "item"), self._users_of(given, self._near(given))

        def ranked(person: Params, allowed: jax.Array) -> tuple[jax.Array, jax.Array]:
            return best_places(self._scores(given, person, rows, users), allowed, self.k)

        return ranked

    def among(self, given: Params) -> Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]:
        """Return the ranking of candidates [C]."""
        near = self._near(given)

        def ranked(person: Params, candidates: jax.Array) -> tuple[jax.Array, jax.Array]:
            ids = jnp.maximum(candidates, 0)
            rows, users = self.model.rows(given, "item", ids), self._users_of(given, near[ids])
            places, best = best_places(self._scores(given, person, rows, users), candidates >= 0, self.k)
            return jnp.where(jnp.isneginf(best), NO_ITEM, candidates[places]), best

        return ranked

    def scores(self, given: Params) -> Callable[[Params], jax.Array]:
        """Return the scores of all items [I]."""
        rows, users = self.model.on_axis(given, "item"), self._users_of(given, self._near(given))
        return lambda person: self._scores(given, person, rows, users)

    def query(self, given: Params) -> Callable[[Params], jax.Array]:
        """Return p_u + the mean relation with some items."""
        num_items = given["item"].shape[0]
        ids = jnp.asarray(np.linspace(0, num_items - 1, min(num_items, CATALOGUE_TILE)).round().astype(np.int32))
        rows, users = self.model.rows(given, "item", ids), self._users_of(given, self._near(given)[ids])

        def moved(person: Params) -> jax.Array:
            def relation(item: Params, users: Padded) -> jax.Array:
                params = pair_params(self.model, given, self.model.on_axis(person, "user"), item)
                near = Neighbors(_history_of(given, person), users)
                return self.model.pair(params, person["user"], item["item"], near).relation

            return person["user"] + jax.vmap(relation)(rows, users).mean(axis=0)

        return moved

    def _near(self, given: Params) -> jax.Array:
        """Return the users that items are ranked with [I, A]."""
        return given.get(ITEM_USERS, jnp.zeros((given["item"].shape[0], 0), jnp.int32))

    def _users_of(self, given: Params, near: jax.Array) -> Padded:
        """Return the vectors of users that some items are ranked with."""
        table = given["user" if ITEM_USERS in given else "item"]  # where items are ranked with nobody, any does
        return _neighbors(near).vectors(table)

    def _scores(self, given: Params, person: Params, items: Params, users: Padded) -> jax.Array:
        """Return the scores of some items' rows."""
        person_rows, history = self.model.on_axis(person, "user"), _history_of(given, person)
        return score_catalogue(self.model, given, person_rows, items, history, users)


def best_places(scores: jax.Array, real: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """Return the places [K] int32 of the best scores [T] that are real, -1 where none is left, and these scores [K]."""
    best, places = jax.lax.top_k(jnp.where(real, scores, -jnp.inf), k)
    return jnp.where(jnp.isneginf(best), NO_ITEM, places.astype(jnp.int32)), best


def _history_of(given: Params, person: Params) -> Padded:
    return _neighbors(person[HISTORY]).vectors(given["item"])


def _moves(lists: _Lists, arrays: Arrays, people: tuple[str, ...]) -> bool:
    """Return whether the model has relations: where it has none, lists are the items next to p_u."""
    given = {name: array.astype(_computed(array)) for name, array in arrays.items()}
    some = {name: given[name][:_DRAWN_TOGETHER] for name in people}
    queries = jax.jit(lambda given, some: jax.lax.map(lists.query(given), some))(given, some)
    return not np.array_equal(queries, some["user"])


def _computed(array: Any) -> np.dtype:
    """Return the type that an array is computed with: float32 for whatever floats are stored."""
    return np.dtype(np.int32 if np.issubdtype(array.dtype, np.integer) else np.float32)


def shapes(arrays: Arrays, names: tuple[str, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes and types of some arrays by name."""
    return {name: jax.ShapeDtypeStruct(arrays[name].shape, arrays[name].dtype) for name in names}


def exported(function: Callable[..., Any], *shapes: Any) -> export.Exported:
    """Return a function of dicts of arrays, computed in float32, lowered for ``PLATFORMS``.

    The program does not name the Python files that it was traced from: they are this machine's alone, and the same
    program has the same bytes on another one.
    """

    def computed(given: Params, *others: Any) -> Any:
        return function({name: array.astype(_computed(array)) for name, array in given.items()}, *others)

    with _no_locations():
        return export.export(jax.jit(computed), platforms=PLATFORMS)(*shapes)


@contextlib.contextmanager
def _no_locations() -> Iterator[None]:
    """Let JAX write no Python file or line into what it lowers."""
    name = "jax_traceback_in_locations_limit"
    before = jax.config.values[name]
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


def over_people(of_one: Callable[[Params], Callable[..., Any]]) -> Callable[..., Any]:
    """Return what ``of_one`` makes of one person for many at once: (arrays, people {[b, ...]}, ... [b, ...])."""

    def of_all(given: Params, *people: Any) -> Any:
        function = of_one(given)

        def one(person: tuple) -> Any:
            return function(*person)

        # As in `rank`: a CPU ranks one user after the other, each in cache, an accelerator many at once.
        return jax.lax.platform_dependent(
            people,
            cpu=lambda people: jax.lax.map(one, people),
            default=lambda people: in_tiles(jax.vmap(one), people, _TOGETHER),
        )

    return of_all


def in_tiles(function: Callable[..., Any], people: Any, size: int, padding: int = 0) -> Any:
    """Return a function of tiles of people [size, ...], of all [b, ...]: ``lax.map(batch_size=...)`` needs b.

    The last tile is filled up with ``padding``.
    """
    count = jax.tree.leaves(people)[0].shape[0]
    tiles = (count + size - 1) // size

    def tiled(array: jax.Array) -> jax.Array:
        rows = [(0, tiles * size - count)] + [(0, 0)] * (array.ndim - 1)
        return jnp.pad(array, rows, constant_values=padding).reshape(tiles, size, *array.shape[1:])

    results = jax.lax.map(function, jax.tree.map(tiled, people))
    return jax.tree.map(lambda array: array.reshape(tiles * size, *array.shape[2:])[:count], results)
