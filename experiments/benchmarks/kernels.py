"""Times the forms of the hierarchical relation: direct (naive), factored, and on a GPU the Pallas kernel, if present.

The form ``naive`` is eq. 2-6 as written in ``hlr_jax.kernels.memory_attention``. It computes the relation r_vh [H, D]
of every neighbor; the factored forms compute none. The form ``by pair`` is the package's for one pair. The package
trains and ranks with ``factored``, for all items of a user together.
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from benchmarks.measuring import Timing, ratio, time_in_turn
from benchmarks.ranking import rankings, some_users
from benchmarks.settings import Settings, create_model

from hlr_jax import Dataset, Model, Neighbors, PairOutput, Params
from hlr_jax.kernels import memory_attention
from hlr_jax.kernels.distance import squared_distance

Relation = Callable[..., jax.Array]
"""(targets [T, D], neighbors [H, D], anchor [D], keys [N, D], memories [N, D], where=[H]) -> relations [T, D]."""

_PALLAS = "hlr_jax.kernels.pallas_attention"
_PIECE = 25  # triplets at once, so that the work stays in a CPU's cache: about what training takes at these sizes
_FEW_USERS = 60  # whom all forms rank; with H = 50 enough that `rank` takes pairs of items for 2,810 items


class Inputs(NamedTuple):
    """B triplets: ``user`` [B, D], ``items`` [B, 2, D], ``history`` [B, H, D] and its ``mask`` [B, H]."""

    user: jax.Array
    items: jax.Array
    history: jax.Array
    mask: jax.Array


class Shared(NamedTuple):
    """What all triplets share: ``keys`` and ``memories`` [N, D]."""

    keys: jax.Array
    memories: jax.Array


def naive_relation(
    target: jax.Array,
    neighbors: jax.Array,
    anchor: jax.Array,
    keys: jax.Array,
    memories: jax.Array,
    *,
    where: jax.Array,
) -> jax.Array:
    """Return r_uv [D] of one target [D], by way of every r_vh [H, D]."""
    memory_weights = jax.nn.softmax((target * neighbors) @ keys.T, axis=-1)
    relations = memory_weights @ memories
    return jax.nn.softmax(relations @ anchor, where=where) @ relations


def _naive(targets: jax.Array, *others: jax.Array, where: jax.Array) -> jax.Array:
    return jax.vmap(lambda target: naive_relation(target, *others, where=where))(targets)


def _by_pair(targets: jax.Array, *others: jax.Array, where: jax.Array) -> jax.Array:
    mixture = jax.vmap(lambda target: memory_attention.memory_attention(target, *others, where=where).mixture)
    return mixture(targets) @ others[-1]


def _factored(targets: jax.Array, *others: jax.Array, where: jax.Array) -> jax.Array:
    return memory_attention.memory_mixture(targets, *others, where=where) @ others[-1]


def forms() -> dict[str, Relation]:
    """Return the forms that this machine can compute."""
    here: dict[str, Relation] = {"naive": _naive, "by pair": _by_pair, "factored": _factored}
    if jax.default_backend() == "gpu" and importlib.util.find_spec(_PALLAS):
        kernel = importlib.import_module(_PALLAS).memory_mixture
        here["pallas"] = lambda *given, where: kernel(*given, where=where) @ given[-1]
    return here


def inputs(batch: int, context: int, memories: int, dim: int) -> tuple[Inputs, Shared]:
    """Return random triplets with vectors as long as trained ones; a quarter of the neighbors is padding."""
    keys = jax.random.split(jax.random.key(0), 6)

    def rows(key: jax.Array, *shape: int) -> jax.Array:
        return jax.random.normal(key, (*shape, dim)) / jnp.sqrt(dim)

    mask = jax.random.uniform(keys[5], (batch, context)) < 0.75
    triplets = Inputs(rows(keys[0], batch), rows(keys[1], batch, 2), rows(keys[2], batch, context), mask)
    return triplets, Shared(rows(keys[3], memories), rows(keys[4], memories))


def scores(relation: Relation, given: Inputs, shared: Shared) -> jax.Array:
    """Return the scores [B, 2] of triplets, with one form of the relation."""

    def of_triplet(given: Inputs) -> jax.Array:
        relations = relation(given.items, given.history, given.user, *shared, where=given.mask)
        return -squared_distance(given.user + relations, given.items)

    return jax.vmap(of_triplet)(given)


def forward(relation: Relation, piece: int) -> Callable[[Inputs, Shared], jax.Array]:
    """Return the function from triplets to their scores, ``piece`` triplets at a time."""
    return lambda given, shared: jax.lax.map(lambda part: scores(relation, part, shared), _cut(given, piece))


def gradient(relation: Relation, piece: int) -> Callable[[Inputs, Shared], tuple[Any, Shared]]:
    """Return the function from triplets to the gradient of the sum of their scores: by what is a triplet's, piece by
    piece ([B / piece, piece, ...]), and by what is shared.
    """

    def work(given: Inputs, shared: Shared) -> tuple[Any, Shared]:
        def add(total: Shared, part: Inputs) -> tuple[Shared, Any]:
            def loss(vectors: tuple[jax.Array, ...], shared: Shared) -> jax.Array:
                user, items, history = vectors
                return scores(relation, Inputs(user, items, history, part.mask), shared).sum()

            by_triplet, by_shared = jax.grad(loss, argnums=(0, 1))((part.user, part.items, part.history), shared)
            return jax.tree.map(jnp.add, total, by_shared), by_triplet

        total, by_triplet = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, shared), _cut(given, piece))
        return by_triplet, total

    return work


def _cut(given: Inputs, piece: int) -> Inputs:
    return jax.tree.map(lambda array: array.reshape(-1, piece, *array.shape[1:]), given)


def naive_hlr(model: Model) -> Model:
    """Return HLR with pairs scored by ``naive_relation``, in training and ranking alike."""
    reference = dict(model.options)["variant"] == "reference"

    def pair(params: Params, user: jax.Array, item: jax.Array, neighbors: Neighbors) -> PairOutput:
        context = neighbors.items.appended(user) if reference else neighbors.items
        relation = naive_relation(item, context.vectors, user, params["keys"], params["memories"], where=context.mask)
        nothing = jnp.zeros((0,), user.dtype)
        return PairOutput(-squared_distance(user + relation, item), relation, nothing[None], nothing)

    return model._replace(name="hlr, naive", pair=pair, catalogue=None, item_pairs=None)


def _fields(timings: dict[str, Timing], form: str) -> dict[str, Any]:
    against = {f"time_{name}_over_factored": v for name, v in ratio(timings[form], timings["factored"]).items()}
    return timings[form].fields() | against


def _bench_triplets(settings: Settings, batch: int, piece: int) -> Iterator[dict[str, Any]]:
    options = dict(create_model("hlr", settings).options)
    sizes = {"H": options["max_history"], "N": options["num_memories"], "D": options["embed_dim"]}
    given = inputs(batch, *sizes.values())
    for direction, make in (("forward", forward), ("gradient", gradient)):
        compiled = {form: jax.jit(make(relation, piece)).lower(*given).compile() for form, relation in forms().items()}
        works = {form: partial(call, *given) for form, call in compiled.items()}
        timings = time_in_turn(works, settings.repeats, settings.seconds)
        for form, call in compiled.items():
            plan = call.memory_analysis()
            yield {
                "what": "kernels", "form": form, "direction": direction, "triplets_at_once": piece, "B": batch, **sizes,
                "pairs_per_s": 2 * batch / timings[form].steady_s, **_fields(timings, form),
                "planned_temporary_mib": None if plan is None else plan.temp_size_in_bytes / 2**20,
            }  # fmt: skip


def _bench_ranking(settings: Settings, dataset: Dataset) -> Iterator[dict[str, Any]]:
    model, users = create_model("hlr", settings), some_users(dataset, min(_FEW_USERS, settings.users))
    by_user = model._replace(item_pairs=None)
    models = {"naive": naive_hlr(model), "by pair": by_user._replace(catalogue=None), "factored": by_user}
    models["as ranked"] = model
    if "pallas" in forms() and "kernel" in dict(model.options):
        models["pallas"] = create_model("hlr", settings, kernel="pallas")._replace(item_pairs=None)
    works = {form: rankings(dataset, ranked, users) for form, ranked in models.items()}
    timings = time_in_turn(works, settings.repeats, settings.seconds)
    for form in models:
        yield {
            "what": "kernels", "form": form, "direction": "ranking", "triplets_at_once": None,
            "pairs_per_s": len(users) * dataset.num_items / timings[form].steady_s, **_fields(timings, form),
        }  # fmt: skip


def bench_kernels(
    settings: Settings, dataset: Dataset, batch: int = 1000, pieces: Sequence[int] = (_PIECE, 1000)
) -> Iterator[dict[str, Any]]:
    """Time the forms of HLR's relation: scores, their gradient, and rankings; all forms in turn.

    Scores and gradients of B triplets, in pieces: such as stay in cache, and all at once. They are compiled ahead, so
    their compile time is 0. Rankings ``by pair`` are of HLR's pair function alone, ``factored`` of its form for the
    catalog of one user; ``as ranked`` is what ``rank`` chooses for so many users.
    """
    for piece in pieces:
        yield from _bench_triplets(settings, batch, piece)
    yield from _bench_ranking(settings, dataset)
