"""The programs of an exported scorer: lists, and all scores, of users who are represented by their items."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from hlr_jax.errors import InputError
from hlr_jax.scorers.base import Scorer
from hlr_jax.scorers.ease import Ease
from hlr_jax.scorers.item_knn import ALL, ItemKNN
from hlr_jax.scorers.popularity import Popularity
from hlr_jax.serving.programs import Arrays, Program, best_places, exported, over_users, shapes
from hlr_jax.types import Params

MET = "met"
"""The input of a user in place of vectors: the user's items [b, W] int32, padded with -1."""

MEANINGS = {
    "weights": "B, row by row: what a history item adds to the score of each item",
    "similarities": "s_ij, row by row: what a history item may add to the score of each item",
    "counts": "training users of each item, which are the scores of every user",
}


def _ease(ease: Ease, given: Params, history: jax.Array) -> jax.Array:
    del ease
    return _sums(given["weights"], history)


def _item_knn(knn: ItemKNN, given: Params, history: jax.Array) -> jax.Array:
    (best,), matrix = knn.best_matches, given["similarities"]
    if best == ALL:
        return _sums(matrix, history)

    def merged(place: jax.Array, largest: jax.Array) -> jax.Array:
        row = matrix[history[place]]
        below = jnp.maximum(largest[1:], jnp.minimum(largest[:-1], row))
        return jnp.concatenate([jnp.maximum(largest[:1], row), below])

    largest = jnp.zeros((best, len(matrix)))  # in decreasing order, as in sum_of_largest
    return jnp.sum(jax.lax.fori_loop(0, jnp.sum(history >= 0), merged, largest), axis=0)


def _sums(matrix: jax.Array, history: jax.Array) -> jax.Array:
    """Return the sum of the rows of a user's items: [I]."""
    count = jnp.sum(history >= 0)
    return jax.lax.fori_loop(0, count, lambda place, total: total + matrix[history[place]], jnp.zeros(len(matrix)))


def _popularity(popularity: Popularity, given: Params, history: jax.Array) -> jax.Array:
    del popularity, history
    return given["counts"]


_FORMS: dict[type[Scorer], Callable[..., jax.Array]] = {Ease: _ease, ItemKNN: _item_knn, Popularity: _popularity}


def check_exportable(scorer: Scorer) -> None:
    """Raise ``InputError`` for a scorer that is not of this package, whose ``scores`` only Python computes."""
    if type(scorer) not in _FORMS:
        names = " and ".join(", ".join(form.title for form in _FORMS).rsplit(", ", 1))
        raise InputError(f"{scorer.title} is not a scorer of this package; export takes models, {names}")


def scorer_programs(scorer: Scorer, arrays: Arrays, k: int, num_items: int, width: int) -> dict[str, Program]:
    """Return the exported functions of a scorer, each for any number b >= 1 of users.

    - ``topk``: (arrays, {``met``: [b, W]}, allowed [b, I] bool) -> (items [b, K] int32, scores [b, K] float32).
    - ``scores``: (arrays, {``met``: [b, W]}) -> the scores of all items [b, I] float32.

    Args:
      scorer: EASE, ItemKNN or Popularity.
      arrays: its state.
      k: K, at most I.
      num_items: I.
      width: W, the largest number of items that a user may have.
    """
    form, reads = partial(_FORMS[type(scorer)], scorer), tuple(arrays)
    (count,) = export.symbolic_shape("b")
    given = shapes(arrays, reads), {MET: jax.ShapeDtypeStruct((count, width), jnp.int32)}

    def topk(given: Params) -> Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]:
        return lambda user, allowed: best_places(form(given, user[MET]), allowed, k)

    def scores(given: Params) -> Callable[[Params], jax.Array]:
        return lambda user: form(given, user[MET])

    def program(of_one: Callable[..., Any], *last: jax.ShapeDtypeStruct) -> Program:
        return Program(exported(over_users(of_one), *given, *last), reads, (MET,))

    allowed = jax.ShapeDtypeStruct((count, num_items), jnp.bool_)
    return {"topk": program(topk, allowed), "scores": program(scores)}
