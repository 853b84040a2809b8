"""New users without retraining: p_u for people given by items alone, everything that was trained held fixed.

The objective is training's: triplets of an item of the user and n that they have not met, the positive left out of the
history that it is seen with. Only p_u moves: from the mean of the user's items, by Adam, in the model's ball. A factor
model has a closed form instead (Hu et al. 2008, eq. 4).
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from hlr_jax.data.csr import padded_row
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborSource, NeighborSources, neighbor_source
from hlr_jax.data.sampling import below, inverse_popularity
from hlr_jax.errors import InputError, check_range, check_seed, pick
from hlr_jax.losses import OBJECTIVES, LossParams
from hlr_jax.models.base import AlternatingLeastSquares, Model
from hlr_jax.models.identity import check_params
from hlr_jax.ranking.inputs import padded_rows, power_of_two
from hlr_jax.ranking.plan import num_workers
from hlr_jax.serving.population import ON_UNKNOWN, UNKNOWN, Population, known_interactions, places_of
from hlr_jax.sharding import mesh_of
from hlr_jax.systems import System
from hlr_jax.training.als import Grouped, solve_side
from hlr_jax.training.batches import BatchSource, Negatives, derive_rows
from hlr_jax.training.examples import sample_triplets, triplet_loss
from hlr_jax.training.gradients import batch_vectors, shared_vectors, weighted_loss
from hlr_jax.training.optimizer import ADAM
from hlr_jax.training.options import TrainOptions
from hlr_jax.types import CSR, Params

BLOCK = 8  # users that are solved for together: what they read stays in a CPU's cache (128: a third of the speed)


@dataclass(frozen=True)
class FoldInOptions:
    """How p_u is found, for a model that is trained with triplets.

    Attributes:
      num_steps: steps of Adam.
      positives: items of the user that each step draws, with replacement.
      learning_rate: of the first step; it falls to 0 along a cosine.

    Raises:
      InputError: a value out of range, by name.
    """

    num_steps: int = 30
    positives: int = 8
    learning_rate: float = 0.1

    def __post_init__(self) -> None:
        """Check every range."""
        check_range(
            "fold_in",
            num_steps=(self.num_steps, 0, 10**6),
            positives=(self.positives, 1, 65536),
            learning_rate=(self.learning_rate, 0.0, 10.0),
        )


def fold_in(
    model: System,
    params: Params,
    dataset: Dataset,
    histories: Mapping[object, Sequence[object]] | pl.DataFrame,
    *,
    training: TrainOptions | None = None,
    options: FoldInOptions | None = None,
    on_unknown: str = "error",
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> Population:
    """Return users who are given by items alone, ready for ``recommend`` and ``explain`` (``among=``).

    Items, keys, memories and the users of training stay as they are. The users of items are those of training. The
    time of a call grows with its users; thousands share one compilation, with the next call of as many too. A scorer
    knows users by their items alone, so that nothing is computed for it.

    Args:
      model: what was trained; a model or a scorer.
      params: its parameters, on one device.
      dataset: what it was trained on.
      histories: items by user, ``{"ann": ["i1", "i2"]}``, or a frame of ``user`` and ``item``; original item ids. A
        user whose id is known to ``dataset`` too is another user here.
      training: objective, its scales, and negatives; None: the defaults.
      options: of the steps; None: the defaults.
      on_unknown: what becomes of items that the data set lacks: ``error``, or ``skip`` (``popular`` too: a user who has
        no item left then has no place in the result, and ``recommend`` treats them as unknown).
      seed: of the draws.
      log: takes lines for people.

    Raises:
      InputError: an unknown item, no user with a known item, a user with all items, or parameters on a mesh.
    """
    pick(on_unknown, ON_UNKNOWN, "on_unknown")
    check_seed("fold_in.seed", seed)
    if mesh_of(params) is not None:
        raise InputError("fold_in runs on one device: load the run without a mesh")
    check_params(model, params, dataset.num_users, dataset.num_items)
    ids, met = _read(histories, dataset, on_unknown, log)
    if not isinstance(model, Model):
        return Population(params, ids, np.arange(len(ids)), met, None)
    first, num_items = len(params["user"]), dataset.num_items
    people, met = first + np.arange(len(ids)), Interactions(met.user + np.int32(first), met.item)
    total = first + max(BLOCK, power_of_two(len(ids)))  # calls of about as many users share what is compiled
    # Rows to come are in the tables from the start: what is compiled for them serves those too.
    params = params | {
        name: jnp.pad(array, [(0, total - first)] + [(0, 0)] * (array.ndim - 1))
        for name, array in model.on_axis(params, "user").items()
    }
    known = known_interactions(dataset)
    sources, rows = newcomer_sources(model, met, known, total, num_items), padded_rows(met, total)
    if model.solver is None:
        training, options = training or TrainOptions(), options or FoldInOptions()
        popularity = negatives_of(training, num_items).drawn_by(known, num_items)
        user = jnp.asarray(np.pad(met.user, (0, len(rows.items) - len(met))))  # that of padding is never read
        source = BatchSource((user,), rows, sources, rows, popularity, None, len(rows.items), num_items)
        solved = _descend(model, params, source, people, training, options, seed)
    else:
        solved = {"user": _solve_factors(model, params, rows, dataset, people)}
    params = params | {name: params[name].at[people].set(array) for name, array in solved.items()}
    return Population(params, ids, people, met, sources)


def _read(
    histories: Mapping[object, Sequence[object]] | pl.DataFrame,
    dataset: Dataset,
    on_unknown: str,
    log: Callable[[str], None],
) -> tuple[pl.Series, Interactions]:
    """Return the ids of users with a known item, in the order of their first row, and their items by place."""
    if not isinstance(histories, pl.DataFrame):
        rows = [(str(user), str(item)) for user, items in histories.items() for item in items]
        histories = pl.DataFrame(rows, schema={"user": pl.String, "item": pl.String}, orient="row")
    items = histories["item"].cast(pl.String)
    codes = pl.Series(places_of(dataset.item_ids, items), dtype=pl.Int32)
    unknown = items.filter(codes == UNKNOWN)
    if len(unknown):
        line = f'histories: {unknown.n_unique():,} items ({len(unknown):,} rows) are unknown, such as "{unknown[0]}"'
        if on_unknown == "error":
            raise InputError(f"{line}; leave them out")
        log(f"{line}: left out")
    given = histories.select("user", item=codes).with_row_index("first")
    given = given.with_columns(pl.col("first").min().over("user")).filter(pl.col("item") != UNKNOWN)
    given = given.unique().sort("first", "item")
    ids = given["user"].unique(maintain_order=True)
    lost = histories["user"].n_unique() - len(ids)
    if not len(ids):
        raise InputError("histories: no user has an item that the data set knows")
    if lost:
        log(f"histories: {lost:,} users have no known item")
    met = Interactions(given["first"].rank("dense").cast(pl.Int32).to_numpy() - np.int32(1), given["item"].to_numpy())
    degrees = met.degrees()
    if degrees.max() >= dataset.num_items:
        raise InputError(
            f"histories: user {ids[int(np.argmax(degrees))]} has all {dataset.num_items} items; leave it out"
        )
    return ids, met


def newcomer_sources(
    model: Model, met: Interactions, known: Interactions, total: int, num_items: int
) -> NeighborSources:
    """Return what neighbors are drawn from: histories from what newcomers met, the users of items from training.

    Histories by inverse popularity go by how popular an item was in training, too, whoever else is folded in. Owners
    are the rows of ``met``, of ``total`` that the table of users has.
    """
    derived = model.derived is not None
    by_item = known.transposed() if model.item_users.size or derived else known
    weighted = model.history.size and model.history.sampling == "inverse_popularity"
    history = NeighborSource(
        padded_rows(met, total) if model.history.size or derived else None,
        inverse_popularity(known.item_degrees(num_items)) if weighted else None,
        model.history,
    )
    return NeighborSources(history, neighbor_source(by_item, num_items, total, model.item_users, derived))


def negatives_of(training: TrainOptions, num_items: int) -> Negatives:
    """Return the negatives of training, for one positive at a time."""
    trained = Negatives.of(training)
    if trained.kind == "all":
        return Negatives("shared", num_items)
    return trained._replace(kind="per_triplet") if trained.kind == "per_user" else trained


def _descend(
    model: Model, params: Params, source: BatchSource, people: np.ndarray, training: TrainOptions,
    options: FoldInOptions, seed: int,
) -> Params:  # fmt: skip
    """Return the rows of users [people, ...] by gradient steps, a block of users at a time."""
    solve = block_solver(model, training, options, source.num_items, seed)
    first = jnp.int32(people[0])

    def block(start: int) -> Params:
        return solve(params, source, start + jnp.arange(BLOCK), first)

    with ThreadPoolExecutor(num_workers()) as pool:
        blocks = list(pool.map(block, people[::BLOCK].tolist()))
    return jax.tree.map(lambda *each: jnp.concatenate(each)[: len(people)], *blocks)


def block_solver(
    model: Model, training: TrainOptions, options: FoldInOptions, num_items: int, seed: int
) -> Callable[[Params, BatchSource, jax.Array, jax.Array], Params]:
    """Return the function that folds in a block of users [b] by gradient steps: their rows by name [b, ...].

    It takes parameters with a row for each of them, what their examples are drawn from, their rows, and the row of
    the first user who was not trained.
    """
    negatives = negatives_of(training, num_items)
    solve = _solver(model, training.objective, negatives, options.num_steps, options.positives)
    loss_params = LossParams(jnp.float32(training.margin), jnp.float32(training.temperature))
    settings = jax.random.key(seed), loss_params, jnp.float32(options.learning_rate)
    return lambda params, source, users, first: solve(params, source, users, first, *settings)


@lru_cache(maxsize=32)
def _solver(
    model: Model, objective: str, negatives: Negatives, num_steps: int, positives: int
) -> Callable[..., Params]:
    """Return the compiled function that folds in a block of users [b]: their rows by name [b, ...]."""

    @jax.jit
    def solve(
        params: Params, source: BatchSource, users: jax.Array, first: jax.Array, key: jax.Array,
        loss_params: LossParams, rate: jax.Array,
    ) -> Params:  # fmt: skip
        rows, table = source.known, params["item"]
        degrees = rows.degree(users)
        owner = jnp.repeat(jnp.arange(len(users)), positives)
        block_key = jax.random.fold_in(key, users[0])

        def mean_of(user: jax.Array, degree: jax.Array) -> jax.Array:
            items, mask = padded_row(rows, user, rows.longest)
            return jnp.sum(jnp.where(mask[:, None], table[items], 0), axis=0) / jnp.maximum(degree, 1)

        def mean_of_trained(array: jax.Array) -> jax.Array:
            trained = (jnp.arange(len(array)) < first).reshape(-1, *[1] * (array.ndim - 1))
            mean = jnp.sum(jnp.where(trained, array, 0), axis=0) / first
            return jnp.broadcast_to(mean, (len(users), *mean.shape))

        def example_loss(*example: Any) -> jax.Array:
            return triplet_loss(model, OBJECTIVES[objective], loss_params, *example)

        def loss(learned: Params, step_key: jax.Array) -> jax.Array:
            """Return the sum over users of their mean loss over the step's positives."""
            positive_key, triplet_key = jax.random.split(step_key)
            bits = jax.random.bits(positive_key, (len(users), positives))
            # Rows of padding users have no item; what they read is masked nowhere and kept nowhere.
            chosen = rows.start(users)[:, None] + below(bits, jnp.maximum(degrees, 1)[:, None])
            batch = sample_triplets(triplet_key, source, chosen.reshape(-1), jnp.ones(len(owner)), negatives)
            batch = derive_rows(model, params, source.neighbors, batch)
            vectors = batch_vectors(model, params, batch)
            vectors = replace(vectors, user={name: array[owner] for name, array in learned.items()})
            shared = shared_vectors(model, params, batch, by_pairs=True)
            return weighted_loss(example_loss, params, vectors, batch.examples(), shared) / positives

        def step(carry: tuple, index: jax.Array) -> tuple[tuple, None]:
            learned, state = carry
            slope = jax.grad(loss)(learned, jax.random.fold_in(block_key, index))
            updates, state = ADAM.update(slope, state, learned)
            falling = rate * 0.5 * (1 + jnp.cos(jnp.pi * index / num_steps))
            moved = model.project(params | jax.tree.map(lambda a, b: a - falling * b, learned, updates))
            return ({name: moved[name] for name in learned}, state), None

        start = {name: mean_of_trained(array) for name, array in model.on_axis(params, "user").items()}
        start["user"] = jax.lax.map(lambda inputs: mean_of(*inputs), (users, degrees))
        (learned, _), _ = jax.lax.scan(step, (start, ADAM.init(start)), jnp.arange(num_steps))
        return learned

    return solve


def _solve_factors(model: Model, params: Params, rows: CSR, dataset: Dataset, people: np.ndarray) -> jax.Array:
    """Return p_u [people, D] in closed form; each is solved for in a group of like length."""
    solver = model.solver
    assert solver is not None
    own = replace(rows, offsets=rows.offsets[people[0] :])
    degrees = np.diff(np.asarray(own.offsets))[: len(people)]
    # Every user is in the narrowest group that holds them; groups are filled up to whole blocks with their last user.
    width_of = np.array([max(32, power_of_two(int(degree))) for degree in degrees])
    widths = tuple(np.unique(width_of).tolist())
    members = [np.flatnonzero(width_of == width) for width in widths]
    members = [np.pad(group, (0, -len(group) % BLOCK), mode="edge") for group in members]
    side = Grouped(own, tuple(jnp.asarray(group, jnp.int32) for group in members), widths)
    return factor_solver(solver, dataset)(side, params["item"])[: len(people)]


def factor_solver(solver: AlternatingLeastSquares, dataset: Dataset) -> Callable[[Grouped, jax.Array], jax.Array]:
    """Return the function that solves for newcomers: who met what, and the items [I, D] -> their factors [R, D].

    Their regularization is scaled as that of the users of training is.
    """
    mean_weight = dataset.num_items + (solver.confidence - 1) * len(dataset.train) / dataset.num_users
    exact = solver._replace(method="cholesky")

    def solve(side: Grouped, items: jax.Array) -> jax.Array:
        return solve_side(exact, side, jnp.zeros((side.rows.num_rows, items.shape[1])), items, jnp.float32(mean_weight))

    return solve
