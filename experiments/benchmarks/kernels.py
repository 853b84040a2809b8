"""The hierarchical relation in its forms: the direct one, the factored one and, on a GPU, a kernel for it if there is.

``naive_relation`` is eq. 2-6 as they stand in ``hlr_jax.kernels.memory_attention``: it makes the relation r_vh [H, D]
of every neighbor, where the factored form makes none.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from benchmarks.measuring import Timing, in_turn, ratio
from benchmarks.ranking import rankings, some_users
from benchmarks.settings import Settings, create_model

from hlr_jax import Dataset
from hlr_jax.kernels.distance import squared_distance
from hlr_jax.kernels.memory_attention import memory_attention
from hlr_jax.models.base import Model
from hlr_jax.types import Neighbors, PairOutput, Params

Relation = Callable[..., jax.Array]
"""(target [D], neighbors [H, D], anchor [D], keys [N, D], memories [N, D], where [H]) -> relation [D]."""

_PIECE = 25  # pairs at once, so that the work stays in a CPU's cache: about what training takes at these sizes
_FEW_USERS = 20  # whom the naive form ranks


class Inputs(NamedTuple):
    """B pairs: ``user`` and ``item`` [B, D], ``history`` [B, H, D] and its ``mask`` [B, H]."""

    user: jax.Array
    item: jax.Array
    history: jax.Array
    mask: jax.Array


class Shared(NamedTuple):
    """What all pairs share: ``keys`` and ``memories`` [N, D]."""

    keys: jax.Array
    memories: jax.Array


def naive_relation(
    target: jax.Array, neighbors: jax.Array, anchor: jax.Array, keys: jax.Array, memories: jax.Array, where: jax.Array
) -> jax.Array:
    """Return r_uv [D] by way of every r_vh [H, D]."""
    memory_weights = jax.nn.softmax((target * neighbors) @ keys.T, axis=-1)
    relations = memory_weights @ memories
    return jax.nn.softmax(relations @ anchor, where=where) @ relations


def factored_relation(
    target: jax.Array, neighbors: jax.Array, anchor: jax.Array, keys: jax.Array, memories: jax.Array, where: jax.Array
) -> jax.Array:
    """Return r_uv [D] by the package's kernel."""
    return memory_attention(target, neighbors, anchor, keys, memories, where=where).mixture @ memories


FORMS: dict[str, Relation] = {"naive": naive_relation, "factored": factored_relation}


def inputs(batch: int, heads: int, memories: int, dim: int) -> tuple[Inputs, Shared]:
    """Return random pairs with vectors as long as trained ones; a quarter of the neighbors is padding."""
    keys = jax.random.split(jax.random.key(0), 6)

    def rows(key: jax.Array, *shape: int) -> jax.Array:
        return jax.random.normal(key, (*shape, dim)) / jnp.sqrt(dim)

    mask = jax.random.uniform(keys[5], (batch, heads)) < 0.75
    pairs = Inputs(rows(keys[0], batch), rows(keys[1], batch), rows(keys[2], batch, heads), mask)
    return pairs, Shared(rows(keys[3], memories), rows(keys[4], memories))


def scores(relation: Relation, pairs: Inputs, shared: Shared) -> jax.Array:
    """Return the scores [B] of pairs, with one form of the relation."""
    one = jax.vmap(relation, in_axes=(0, 0, 0, None, None, 0))
    relations = one(pairs.item, pairs.history, pairs.user, shared.keys, shared.memories, pairs.mask)
    return -squared_distance(pairs.user + relations, pairs.item)


def forward(relation: Relation, piece: int) -> Callable[[Inputs, Shared], jax.Array]:
    """Return the function from pairs to their scores [B], ``piece`` of them at a time."""

    def work(pairs: Inputs, shared: Shared) -> jax.Array:
        return jax.lax.map(lambda part: scores(relation, part, shared), _cut(pairs, piece)).reshape(-1)

    return work


def gradient(relation: Relation, piece: int) -> Callable[[Inputs, Shared], tuple[Any, Shared]]:
    """Return the function from pairs to the gradient of the sum of their scores: by what is a pair's, piece by piece
    ([B / piece, piece, ...]), and by what is shared.
    """

    def work(pairs: Inputs, shared: Shared) -> tuple[Any, Shared]:
        def add(total: Shared, part: Inputs) -> tuple[Shared, Any]:
            def loss(vectors: tuple[jax.Array, ...], shared: Shared) -> jax.Array:
                user, item, history = vectors
                return scores(relation, Inputs(user, item, history, part.mask), shared).sum()

            by_pair, by_shared = jax.grad(loss, argnums=(0, 1))((part.user, part.item, part.history), shared)
            return jax.tree.map(jnp.add, total, by_shared), by_pair

        total, by_pair = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, shared), _cut(pairs, piece))
        return by_pair, total

    return work


def _cut(pairs: Inputs, piece: int) -> Inputs:
    return jax.tree.map(lambda array: array.reshape(-1, piece, *array.shape[1:]), pairs)


def naive_hlr(model: Model) -> Model:
    """Return HLR with pairs scored by ``naive_relation``, in training and ranking alike."""
    reference = dict(model.options)["variant"] == "reference"

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        heads = neighbors.items.joined(user) if reference else neighbors.items
        relation = naive_relation(item, heads.vectors, user, params["keys"], params["memories"], heads.mask)
        nothing = jnp.zeros((0,), user.dtype)
        return PairOutput(-squared_distance(user + relation, item), relation, nothing[None], nothing)

    return model._replace(name="hlr, naive", pair=pair, catalogue=None)


def _fields(timings: dict[str, Timing], form: str) -> dict[str, Any]:
    against = {f"time_{name}_over_factored": v for name, v in ratio(timings[form], timings["factored"]).items()}
    return timings[form].fields() | against


def _bench_pairs(settings: Settings, batch: int, piece: int) -> Iterator[dict[str, Any]]:
    options = dict(create_model("hlr", settings).options)
    sizes = {"H": options["max_history"], "N": options["num_memories"], "D": options["embed_dim"]}
    given = inputs(batch, *sizes.values())
    for direction, make in (("forward", forward), ("gradient", gradient)):
        compiled = {form: jax.jit(make(relation, piece)).lower(*given).compile() for form, relation in FORMS.items()}
        works = {form: partial(call, *given) for form, call in compiled.items()}
        timings = in_turn(works, settings.repeats, settings.seconds)
        for form, call in compiled.items():
            plan = call.memory_analysis()
            yield {
                "what": "kernels", "form": form, "direction": direction, "pairs_at_once": piece, "B": batch, **sizes,
                "pairs_per_s": batch / timings[form].steady_s, **_fields(timings, form),
                "planned_temporary_mib": None if plan is None else plan.temp_size_in_bytes / 2**20,
            }  # fmt: skip


def _bench_ranking(settings: Settings, dataset: Dataset) -> Iterator[dict[str, Any]]:
    model, users = create_model("hlr", settings), some_users(dataset, min(_FEW_USERS, settings.users))
    models = {"naive": naive_hlr(model), "by pair": model._replace(catalogue=None), "factored": model}
    works = {form: rankings(dataset, one, users) for form, one in models.items()}
    timings = in_turn(works, settings.repeats, settings.seconds)
    for form in models:
        yield {
            "what": "kernels", "form": form, "direction": "ranking", "pairs_at_once": None,
            "pairs_per_s": len(users) * dataset.num_items / timings[form].steady_s, **_fields(timings, form),
        }  # fmt: skip


def bench_kernels(
    settings: Settings, dataset: Dataset, batch: int = 1000, pieces: Sequence[int] = (_PIECE, 1000)
) -> Iterator[dict[str, Any]]:
    """Time the forms of HLR's relation: scores, their gradient, and rankings; all forms in turn.

    Scores and gradients of B pairs, in pieces: such as stay in cache, and all at once. They are compiled ahead, so
    their compile time is 0. Rankings ``by pair`` are of HLR's pair function without its form for a catalogue.
    """
    for piece in pieces:
        yield from _bench_pairs(settings, batch, piece)
    yield from _bench_ranking(settings, dataset)
