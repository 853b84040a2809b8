"""Why an item: what of a user's history moved them toward it, by the model's own weights."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from hlr_jax.blended_systems import Blend
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.neighbor_sampling import NeighborIds, NeighborSources
from hlr_jax.errors import InputError
from hlr_jax.kernels.distance import squared_distance
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import draw_key, filled_up, power_of_two, ranking_item_users, ranking_neighbors
from hlr_jax.ranking.population import Population, codes_of, population_of
from hlr_jax.scoring import pair_params, with_derived
from hlr_jax.serving.blend_reasons import blended_reasons, part_shares
from hlr_jax.serving.history_reasons import history_reasoner
from hlr_jax.serving.scorer_reasons import scorer_reasons
from hlr_jax.sharding import mesh_of
from hlr_jax.systems import System
from hlr_jax.types import Neighbors, Padded, PairOutput, Params

MOST_REASONS = 65536  # that one item may have
_BLOCK = 256  # users that are explained by one call of the compiled function
_REASON_COLUMNS = {
    "neighbor": "reason_items", "neighbor_title": "reason_titles", "neighbor_weight": "reason_weights",
    "memory": "reason_keys", "memory_weight": "reason_key_weights",
}  # fmt: skip


def explain(
    model: System,
    params: Params,
    dataset: Dataset,
    user: object,
    items: Any,
    *,
    among: Population | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Return what of the user's history moved them toward each item, by the attention's own weights.

    Of a scorer it is what raised the item's score, by its share of all that did; it has no memories and no distances.
    Of a model whose users are made from their items it is what brought p_u closer to the item, by its share of all that
    did; ``distance_before`` is then that of an item as long in the mean direction (``history_reasons``).
    Of a blend it is all of these, by each part's share of the item's score.

    Args:
      model: one that attends over the history or makes users from it, a scorer that explains itself, such as EASE, or
        a blend.
      params: its parameters, or its state; of a blend, those of its parts by label.
      dataset: the data set that the model was trained on.
      user: an original id.
      items: original ids, or one.
      among: from ``fold_in``: users who were not trained in; None: those of ``dataset``.
      seed: as given to ``recommend``: it draws the same history.

    Returns:
      A frame of ``item``, ``title``, ``neighbor`` (an item of the history), ``neighbor_title``, ``neighbor_weight``
      (alpha; its sum over an item's neighbors is 1, less what the user's own vector takes in HLR's variant
      ``reference``), ``memory`` (the key that this neighbor and the item address most) and ``memory_weight``, both
      null for what has no memories; for each item the largest weight first. Then, the same for all neighbors of an
      item: ``key`` and ``key_weight``, the key with the largest weight in the relation; ``distance_before``
      |p_u - q_v|^2 and ``distance_after`` |p_u + r_uv - q_v|^2. Of a blend also ``parts`` and ``part_shares``: the
      labels of the parts that raise the item's score, and what each has of that; an item that no history speaks for has
      a row without a neighbor.

    Raises:
      InputError: an unknown id, a model that gives no reasons, or parameters of another model or data set.
    """
    check_reasons(model, params, dataset)
    population = population_of(model, params, dataset, among)
    rows = population.rows[codes_of(population.index, [user], "users")]
    targets = codes_of(dataset.item_index, items, "items")
    reasons = reasons_of(model, population, dataset, rows, filled_up(targets)[None], most_reasons(model, dataset), seed)
    reasons = reasons.filter(pl.col("pair") < len(targets))
    if not isinstance(model, Blend):
        reasons = reasons.drop_nulls("neighbor")
    reasons = reasons.explode(list(_REASON_COLUMNS))
    shown = targets[reasons["pair"].to_numpy()]
    names = {"item": dataset.item_ids.gather(shown), "title": dataset.item_titles.gather(shown)}
    return pl.DataFrame(names).hstack(reasons.drop("pair", "length"))


def most_reasons(model: System, dataset: Dataset) -> int:
    """Return how many items of a history a reason can name, at most; 0: the model gives no reasons."""
    if isinstance(model, Model) and model.history_users is None:
        return model.history.size
    if isinstance(model, Blend):  # its parts have shares, whether or not they read histories
        return max(1, *(most_reasons(part.system, dataset) for part in model.parts.values()))
    return min(dataset.num_items, MOST_REASONS) if isinstance(model, Model) or model.explains else 0


def check_reasons(model: System, params: Params, dataset: Dataset) -> None:
    """Raise ``InputError`` if a model gives no reasons, or its parameters lie on a mesh."""
    if not most_reasons(model, dataset):
        why = "attends over no history" if isinstance(model, Model) else "reads no history"
        raise InputError(f"model {model.name} {why}, so it gives no reasons")
    if isinstance(model, Model) and mesh_of(params) is not None:
        raise InputError("reasons are given on one device: load the run without a mesh")


def reason_columns(reasons: pl.DataFrame) -> pl.DataFrame:
    """Return ``reasons_of`` pairs as columns of a list.

    Returns:
      ``reason``: a sentence; lists of equal length, largest weight first: ``reason_items`` (ids), ``reason_titles``,
      ``reason_weights`` (alpha), ``reason_keys`` and ``reason_key_weights`` (the key that this item and the recommended
      one address most, and how much); ``key``, ``key_weight`` (the key with the largest weight in the relation);
      ``distance_before`` |p_u - q_v|^2 and ``distance_after`` |p_u + r_uv - q_v|^2; of a blend ``parts`` and
      ``part_shares``.
    """
    sentences = []
    columns = ["neighbor_title", "neighbor_weight", "length", "key", "distance_before", "distance_after"]
    columns += [name for name in ("parts", "part_shares") if name in reasons.columns]
    for titles, weights, length, key, before, after, *of_parts in reasons.select(columns).iter_rows():
        by = ", ".join(f"{label} ({share:.0%})" for label, share in zip(*of_parts, strict=True)) if of_parts else ""
        by = f"; by {by}" if by else ""
        if titles is None:
            sentences.append(f"No item of a history speaks for it{by}.")
            continue
        named = ", ".join(f"'{title}' ({weight:.0%})" for title, weight in zip(titles, weights, strict=True))
        more = f" and {length - len(titles)} more" if length > len(titles) else ""
        through = "" if key is None else f"; through key {key}"
        moved = ""  # a scorer has no distances
        if before is not None:
            moved = f"; {'closer' if after < before else 'no closer'}: {before:.2f} to {after:.2f}"
        sentences.append(f"Because of {named}{more}{through}{moved}{by}.")
    frame = reasons.drop("pair", "length").rename(_REASON_COLUMNS)
    return frame.insert_column(0, pl.Series("reason", sentences, dtype=pl.String))


def reasons_of(
    model: System, population: Population, dataset: Dataset, rows: np.ndarray, items: np.ndarray, most: int, seed: int
) -> pl.DataFrame:
    """Return why ``items`` [users, T] (codes) for the users in ``rows`` [users]: a row for each pair, in their order.

    ``seed`` is that of the lists: it draws the same histories.

    Returns:
      ``pair``, from 0; the columns of ``explain``, those of neighbors as lists of at most ``most`` (null where there
      are none); and ``length``: how many items of the history were read.
    """
    if isinstance(model, Blend):
        shares = part_shares(model, population, rows, items, dataset.num_items)
        each = {}
        for label, part in model.parts.items():
            if whole := most_reasons(part.system, dataset):
                people = population.parts[label]
                each[label] = reasons_of(part.system, people, dataset, people.rows[rows], items, whole, part.seed)
        return blended_reasons(shares, each, dataset, most)
    if not isinstance(model, Model):
        return scorer_reasons(model, population, dataset, rows, items, most)
    reasoner = _reasoner if model.history_users is None else history_reasoner
    program, key = reasoner(model, min(most, most_reasons(model, dataset))), draw_key(seed)
    size, sources = min(_BLOCK, power_of_two(len(rows))), population.placed[1]
    blocks = []
    for start in range(0, len(rows), size):
        users, targets = rows[start : start + size], items[start : start + size]
        missing = size - len(users)
        padded = np.pad(users, (0, missing), mode="edge"), np.pad(targets, ((0, missing), (0, 0)), mode="edge")
        block = program(population.params, sources, key, *(array.astype(np.int32) for array in padded))
        blocks.append([np.asarray(array)[: len(users)].reshape(-1, *array.shape[2:]) for array in block])
    ids, alpha, memory, memory_weight, *of_pairs = map(np.concatenate, zip(*blocks, strict=True))
    pair, place = np.nonzero(ids >= 0)
    near = ids[pair, place]
    neighbors = {
        "pair": pair,
        "neighbor": dataset.item_ids.gather(near),
        "neighbor_title": dataset.item_titles.gather(near),
        "neighbor_weight": alpha[pair, place],
        "memory": memory[pair, place].astype(np.int64),
        "memory_weight": memory_weight[pair, place],
    }
    lists = _without_missing(pl.DataFrame(neighbors), "memory").group_by("pair", maintain_order=True).agg(pl.all())
    names = ("key", "key_weight", "distance_before", "distance_after", "length")
    pairs = pl.DataFrame({"pair": np.arange(len(ids)), **dict(zip(names, of_pairs, strict=True))})
    pairs = _without_missing(pairs.cast({"key": pl.Int64}), "key").join(lists, "pair", "left", maintain_order="left")
    return pairs.select("pair", *_REASON_COLUMNS, *names)


def _without_missing(frame: pl.DataFrame, key: str) -> pl.DataFrame:
    """Return a frame with null for a key of -1, and for its weight."""
    return frame.with_columns(pl.when(pl.col(key) >= 0).then(pl.col(key, f"{key}_weight")))


@lru_cache(maxsize=32)
def _reasoner(model: Model, most: int) -> Callable[..., tuple]:
    """Return the compiled function from users [b] and items [b, T] to arrays: of ``most`` neighbors, then of the pair.

    Ids are -1 where a history has fewer neighbors, keys are -1 of a model without memories.
    """

    @jax.jit
    def reasons(params: Params, sources: NeighborSources, key: jax.Array, users: jax.Array, items: jax.Array) -> tuple:
        everything = with_derived(model, params, sources)

        def of_user(inputs: tuple[jax.Array, jax.Array]) -> tuple:
            user, targets = inputs
            drawn, outputs = pair_outputs(model, everything, sources, key, user, targets)
            vector = params["user"][user]

            def of_item(q: jax.Array, output: PairOutput) -> tuple:
                # Behind the history may stand the user's own vector, which is no item.
                alpha = jnp.where(drawn.mask, output.neighbor_weights[: len(drawn.mask)], -1.0)
                best, places = jax.lax.top_k(alpha, most)
                real, memory_weights = best >= 0, output.memory_weights
                keys, strengths, main, main_weight = jnp.full(most, -1), jnp.zeros(most), jnp.int32(-1), jnp.float32(0)
                if memory_weights.shape[-1]:
                    keys, strengths = memory_weights[places].argmax(axis=-1), memory_weights[places].max(axis=-1)
                    mixture = output.neighbor_weights @ memory_weights
                    main, main_weight = mixture.argmax(), mixture.max()
                return (
                    jnp.where(real, drawn.ids[places], -1), jnp.maximum(best, 0), jnp.where(real, keys, -1), strengths,
                    main, main_weight, squared_distance(vector, q), squared_distance(vector + output.relation, q),
                    drawn.mask.sum(),
                )  # fmt: skip

            return jax.vmap(of_item)(params["item"][targets], outputs)

        return jax.lax.map(of_user, (users, items))

    return reasons


def pair_outputs(
    model: Model, everything: Params, sources: NeighborSources, key: jax.Array, user: jax.Array, items: jax.Array
) -> tuple[NeighborIds, PairOutput]:
    """Return the history [H] that a user is ranked with, and the model's outputs for the user and each of items [T].

    ``everything`` is the parameters ``with_derived``.
    """
    drawn, row = ranking_neighbors(key, sources.history, user), model.rows(everything, "user", user)
    history = drawn.vectors(everything["item"])

    def pair(item: Params, users: Padded) -> PairOutput:
        given = pair_params(model, everything, row, item)
        return model.pair(given, row["user"], item["item"], Neighbors(history, users))

    item_users = ranking_item_users(key, sources.item_users, items).vectors(model.neighbor_table(everything))
    return drawn, jax.vmap(pair)(model.rows(everything, "item", items), item_users)
