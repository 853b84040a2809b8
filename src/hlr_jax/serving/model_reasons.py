"""The contribution of each history item to the scores of a model: compiled programs, and a closed form for MF-ALS.

Every contribution is relative to the mean item of the catalog: what a history item adds to all scores equally does
not change a ranking.

- **Users made from their items.** p_u = sum x'_j, where x'_j is what item j adds (x_j / n^a). With m, the mean of q:

      |p_u|^2 + |q_v|^2 - 2 p_u . m - |p_u - q_v|^2 = sum_j 2 x'_j . (q_v - m).

  The left side is how much closer v is than an item of the same length in the mean direction. It is exact.
- **Factors that are solved for** (Hu et al. 2008, section 5). p_u = sum_j A_u^-1 c y_j with A_u = Y^T Y +
  (c - 1) sum_j y_j y_j^T + lambda_u I, so that j adds (y_v - m) . A_u^-1 c y_j. It is exact if p_u is solved exactly.
- **Any other model.** What the score loses when j is removed from the history. p_u does not change if the model has a
  table of users, and what is derived from the history is derived again. Such parts need not add up to the score.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import cho_factor, cho_solve

from hlr_jax.data.csr import padded_row, position_in_row
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import NeighborIds, NeighborSources
from hlr_jax.kernels.distance import squared_distance
from hlr_jax.models.base import AlternatingLeastSquares, Model
from hlr_jax.ranking.inputs import draw_key, power_of_two, ranking_item_users, ranking_neighbors
from hlr_jax.ranking.population import Population
from hlr_jax.scoring import pair_params, with_derived
from hlr_jax.serving.new_rows import mean_weight_of
from hlr_jax.training.als import row_regularization
from hlr_jax.types import CSR, Neighbors, Padded, PairOutput, Params

_MOST_IN_MEAN = 256  # items that represent the catalog if each needs a pass of the model
_DELETIONS_AT_ONCE = 64

Arrays = dict[str, np.ndarray]
"""For one user: ``items`` [H], codes, and ``values`` [H, T]. A model that attends over the history adds ``alpha``,
``memory`` and ``memory_weight`` [H, T], and ``key``, ``key_weight``, ``distance_before`` and ``distance_after`` [T].
Memories and keys are -1 if the model has none."""


def model_contributions(
    model: Model, population: Population, dataset: Dataset, places: np.ndarray, targets: np.ndarray, seed: int
) -> list[Arrays]:
    """Return what each history item of users [n] adds to the scores of ``targets`` [n, T], for each user.

    Args:
      model: one for which ``reads_history`` is true.
      population: the population of the users.
      dataset: the data set that the model was trained on.
      places: [n], rows of the users in the population.
      targets: codes of items.
      seed: for sampling histories longer than the model reads.
    """
    if model.solver is not None:
        return factor_contributions(model.solver, population, dataset, places, targets)
    rows, sources, key = population.rows[places], population.placed[1], draw_key(seed)
    size = power_of_two(len(rows))  # calls of similar sizes share one compilation
    missing = size - len(rows)
    padded = np.pad(rows, (0, missing), mode="edge"), np.pad(targets, ((0, missing), (0, 0)), mode="edge")
    found = _program(model)(population.params, sources, key, *(array.astype(np.int32) for array in padded))
    arrays = {name: np.asarray(array) for name, array in found.items()}
    return [_without_padding({name: array[place] for name, array in arrays.items()}) for place in range(len(rows))]


def _without_padding(arrays: Arrays) -> Arrays:
    real = arrays["items"] >= 0
    of_items = ("items", "values", "alpha", "memory", "memory_weight")
    return {name: array[real] if name in of_items else array for name, array in arrays.items()}


def reads_history(model: Model) -> bool:
    """Return whether a model's scores depend on a user's history, apart from a trained table."""
    return bool(model.history.size) or model.derived is not None or model.solver is not None


def factor_contributions(
    solver: AlternatingLeastSquares, population: Population, dataset: Dataset, places: np.ndarray, targets: np.ndarray
) -> list[Arrays]:
    """Return the contributions in MF-ALS: one Cholesky factor [D, D] per user, in float64."""
    table = np.asarray(population.params["item"])
    gram, mean = (table.T @ table).astype(np.float64), table.mean(axis=0, dtype=np.float64)
    mean_weight = mean_weight_of(solver, "user", dataset)
    numbers = solver.confidence, solver.regularization, solver.frequency_exponent

    def of_user(items: np.ndarray, wanted: np.ndarray) -> Arrays:
        met = table[items].astype(np.float64)
        strength = row_regularization(numbers, len(items), len(table), mean_weight)
        matrix = gram + (solver.confidence - 1) * met.T @ met + strength * np.eye(len(gram))
        added = cho_solve(cho_factor(matrix, lower=True), solver.confidence * met.T)
        return {"items": items, "values": ((table[wanted] - mean) @ added).T}

    histories = histories_in(population.learned, population.rows[places])
    return [of_user(items, wanted) for items, wanted in zip(histories, targets, strict=True)]


def histories_in(interactions: Interactions, rows: np.ndarray) -> list[np.ndarray]:
    """Return the items [H] of each user."""
    own = interactions.of_users(rows)
    return np.split(own.item, np.cumsum(own.degrees(len(rows)))[:-1]) if len(rows) else []


_OfUser = Callable[[jax.Array, jax.Array], Params]
"""(user [], items [T]) -> ``Arrays``, padded: ``items`` is -1 for padding."""


@lru_cache(maxsize=32)
def _program(model: Model) -> Callable[..., Params]:
    """Return the compiled program, from users [b] and items [b, T], of a model that is trained by gradients."""
    form = _deletions if model.history_users is None else _shares_of_vectors

    @jax.jit
    def contributions(
        params: Params, sources: NeighborSources, key: jax.Array, users: jax.Array, items: jax.Array
    ) -> Params:
        of_user = form(model, params, sources, key)
        return jax.lax.map(lambda row: of_user(*row), (users, items))

    return contributions


def _shares_of_vectors(model: Model, params: Params, sources: NeighborSources, key: jax.Array) -> _OfUser:
    """Return the contributions for a model that makes users from their items."""
    del key  # nothing is sampled: a user is made from all its items
    history, made = sources.history.rows, model.history_users
    assert history is not None
    assert made is not None
    mean = params["item"].mean(axis=0)

    def of_user(user: jax.Array, targets: jax.Array) -> Params:
        ids, mask = padded_row(history, user, history.longest)
        each = made.pool(jnp.where(mask[:, None], params[made.source][ids], 0), mask.sum())
        return {"items": jnp.where(mask, ids, -1), "values": 2 * each @ (params["item"][targets] - mean).T}

    return of_user


def _deletions(model: Model, params: Params, sources: NeighborSources, key: jax.Array) -> _OfUser:
    """Return the contributions for a model that reads the history, for the items that it reads."""
    everything = with_derived(model, params, sources)
    count = params["item"].shape[0]
    sample = jnp.asarray(np.linspace(0, count - 1, min(count, _MOST_IN_MEAN)).round().astype(np.int32))

    def of_user(user: jax.Array, targets: jax.Array) -> Params:
        number, all_items = len(targets), jnp.concatenate([targets, sample])
        sampled, outputs = pair_outputs(model, everything, sources, key, user, all_items)
        read, variants = _variants(model, params, sources, user, sampled)

        def score_without(inputs: tuple[jax.Array, Params]) -> jax.Array:
            item, row = inputs
            rest = NeighborIds(sampled.ids, sampled.mask & (sampled.ids != item))
            return pair_outputs(model, everything, sources, key, user, all_items, rest, row)[1].score

        rests = jax.lax.map(score_without, (read.ids, variants), batch_size=_DELETIONS_AT_ONCE)
        lost = outputs.score - rests
        found = {
            "items": jnp.where(read.mask, read.ids, -1),
            "values": lost[:, :number] - lost[:, number:].mean(axis=1, keepdims=True),
        }
        if not model.history.size:
            return found
        of_targets = jax.tree.map(lambda array: array[:number], outputs)
        return found | _attention(params["user"][user], params["item"][targets], of_targets, len(read.ids))

    return of_user


def _variants(
    model: Model, params: Params, sources: NeighborSources, user: jax.Array, sampled: NeighborIds
) -> tuple[NeighborIds, Params]:
    """Return the history items [H] that a model reads, and what it derives for the user without each [H, ...]."""
    if model.derived is None:
        return sampled, {}
    rows, of_items = sources.both_sides
    ids, mask = padded_row(rows, user, rows.longest)
    read = sampled if model.history.size else NeighborIds(ids, mask)
    left = jnp.maximum(rows.degree(user) - 1, 0)
    taken = jax.vmap(lambda item: position_in_row(rows, user, item))(read.ids)
    # One row of remaining items for each removed item.
    row, place = jnp.divmod(jnp.arange(len(taken) * len(ids)), jnp.maximum(left, 1))
    without = CSR(jnp.arange(len(taken) + 1) * left, ids[place + (place >= taken[row])], len(ids))
    made = model.derived(params, without, of_items, jnp.arange(len(taken)), jnp.zeros(1, jnp.int32))
    return read, model.on_axis(made, "user")


def _attention(user: jax.Array, items: jax.Array, outputs: PairOutput, count: int) -> Params:
    """Return the attention for ``count`` neighbors and some items [T, D]; see ``Arrays``."""
    # The user's own vector may come after the history; it is not an item.
    alpha, memory_weights = outputs.neighbor_weights, outputs.memory_weights
    none, nothing = jnp.full((count, len(items)), -1), jnp.zeros((count, len(items)))
    keys = {"memory": none, "memory_weight": nothing, "key": none[0], "key_weight": nothing[0]}
    if memory_weights.shape[-1]:
        of_neighbors = jnp.moveaxis(memory_weights[:, :count], 0, 1)
        mixture = jax.vmap(jnp.matmul)(alpha, memory_weights)
        keys = {
            "memory": of_neighbors.argmax(axis=-1), "memory_weight": of_neighbors.max(axis=-1),
            "key": mixture.argmax(axis=-1), "key_weight": mixture.max(axis=-1),
        }  # fmt: skip
    return keys | {
        "alpha": alpha[:, :count].T,
        "distance_before": squared_distance(user, items),
        "distance_after": squared_distance(user + outputs.relation, items),
    }


def pair_outputs(
    model: Model, everything: Params, sources: NeighborSources, key: jax.Array, user: jax.Array, items: jax.Array,
    history: NeighborIds | None = None, instead: Any = None,
) -> tuple[NeighborIds, PairOutput]:  # fmt: skip
    """Return the history [H] of a user, and the model's outputs for the user and each of items [T].

    Args:
      model: scores the pairs.
      everything: the parameters ``with_derived``.
      sources: what neighbors are sampled from.
      key: random key.
      user: [].
      items: [T].
      history: used in place of the sampled history.
      instead: arrays of the user by name, used in place of those of ``everything``.
    """
    row = model.rows(everything, "user", user) | (instead or {})
    sampled = ranking_neighbors(key, sources.history, user) if history is None else history
    vectors = sampled.vectors(everything["item"])

    def pair(item: Params, users: Padded) -> PairOutput:
        given = pair_params(model, everything, row, item)
        return model.pair(given, row["user"], item["item"], Neighbors(vectors, users))

    item_users = ranking_item_users(key, sources.item_users, items).vectors(model.neighbor_table(everything))
    return sampled, jax.vmap(pair)(model.rows(everything, "item", items), item_users)
