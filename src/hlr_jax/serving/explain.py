"""Why an item: what of a user's history moved them toward it, by the model's own weights."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.models.base import Model
from hlr_jax.serving.population import Population, codes_of, trained_population
from hlr_jax.serving.reasons import Reasons, check_reasons, reasons_of
from hlr_jax.types import Params


def reason_columns(
    dataset: Dataset, reasons: Reasons, kept: np.ndarray, explained: np.ndarray, titles: pl.Series
) -> pl.DataFrame:
    """Return the reasons of flattened pairs as columns of a list.

    Args:
      dataset: gives the ids of items.
      reasons: of users and their lists.
      kept: [users * K], which pairs stand in the list.
      explained: [pairs that are kept], false where there is no reason to tell: every column is null there.
      titles: of every item [I].

    Returns:
      ``reason``: a sentence; lists of equal length, largest weight first: ``reason_items`` (ids), ``reason_titles``,
      ``reason_weights`` (alpha), ``reason_keys`` and ``reason_key_weights`` (the key that this item and the recommended
      one address most, and how much); ``key``, ``key_weight`` (the key with the largest weight in the relation);
      ``distance_before`` |p_u - q_v|^2 and ``distance_after`` |p_u + r_uv - q_v|^2.
    """
    flat = Reasons(*(array.reshape(-1, *array.shape[2:])[kept] for array in reasons))
    pair, place = np.nonzero(flat.neighbors >= 0)
    ids = flat.neighbors[pair, place]
    has_keys = flat.key.size > 0 and (flat.key >= 0).any()
    nothing = pl.Series([None] * len(pair), dtype=pl.Int64)
    long = pl.DataFrame(
        {
            "pair": pair,
            "reason_items": dataset.item_ids.gather(ids),
            "reason_titles": titles.gather(ids),
            "reason_weights": flat.weights[pair, place],
            "reason_keys": pl.Series(flat.keys[pair, place], dtype=pl.Int64) if has_keys else nothing,
            "reason_key_weights": pl.Series(flat.key_weights[pair, place]) if has_keys else nothing.cast(pl.Float32),
        }
    )
    gathered = long.group_by("pair", maintain_order=True).agg(pl.all())
    key, key_weight = pl.Series(flat.key, dtype=pl.Int64), pl.Series(flat.key_weight, dtype=pl.Float32)
    frame = pl.DataFrame(
        {
            "pair": np.arange(len(flat.key)),
            "key": key if has_keys else pl.Series([None] * len(key), dtype=pl.Int64),
            "key_weight": key_weight if has_keys else pl.Series([None] * len(key), dtype=pl.Float32),
            "distance_before": flat.before.astype(np.float32),
            "distance_after": flat.after.astype(np.float32),
            "length": flat.length,
        }
    ).join(gathered, on="pair", how="left", maintain_order="left")
    frame = frame.with_columns(reason=_sentences(frame)).drop("pair", "length")
    first = ["reason", *(name for name in frame.columns if name.startswith("reason_"))]
    frame = frame.select(*first, "key", "key_weight", "distance_before", "distance_after")
    return frame.with_columns(pl.when(pl.Series(explained)).then(pl.all()))


def _sentences(frame: pl.DataFrame) -> pl.Series:
    """Return each row's reason in words."""
    sentences: list[str | None] = []
    columns = ("reason_titles", "reason_weights", "length", "key", "distance_before", "distance_after")
    for titles, weights, length, key, before, after in frame.select(columns).iter_rows():
        if titles is None:
            sentences.append("No item of a history speaks for it.")
            continue
        named = ", ".join(f"'{title}' ({weight:.0%})" for title, weight in zip(titles, weights, strict=True))
        more = f" and {length - len(titles)} more" if length > len(titles) else ""
        through = "" if key is None else f"; through key {key}"
        moved = "closer" if after < before else "no closer"
        sentences.append(f"Because of {named}{more}{through}; {moved}: {before:.2f} to {after:.2f}.")
    return pl.Series("reason", sentences, dtype=pl.String)


def explain(
    model: Model,
    params: Params,
    dataset: Dataset,
    user: object,
    items: Sequence[object],
    *,
    among: Population | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Return what of the user's history moved them toward each item, by the attention's own weights.

    Args:
      model: one that attends over the history.
      params: its parameters.
      dataset: the data set that the model was trained on.
      user: an original id.
      items: original ids.
      among: from ``fold_in``: users who were not trained in; None: those of ``dataset``.
      seed: as given to ``recommend``: it draws the same history.

    Returns:
      A frame of ``item``, ``title``, ``neighbor`` (an item of the history), ``neighbor_title``, ``neighbor_weight``
      (alpha; its sum over an item's neighbors is 1, less what the user's own vector takes in HLR's variant
      ``reference``), ``memory`` (the key that this neighbor and the item address most) and ``memory_weight``, both
      null for a model without memories; for each item the largest weight first. Then, the same for all neighbors of an
      item: ``key`` and ``key_weight``, the key with the largest weight in the relation; ``distance_before``
      |p_u - q_v|^2 and ``distance_after`` |p_u + r_uv - q_v|^2.

    Raises:
      InputError: an unknown id, or a model without history.
    """
    check_reasons(model)
    population = trained_population(model, params, dataset) if among is None else among
    rows = population.rows[codes_of(population.ids, [user], "users")]
    targets = codes_of(dataset.item_ids, items, "items")
    reasons = reasons_of(model, population, rows, targets[None], model.history.size, seed)
    has_keys = (reasons.key >= 0).any()
    neighbors = reasons.neighbors[0]
    target, place = np.nonzero(neighbors >= 0)
    shown, near = targets[target], neighbors[target, place]

    def per_item(array: np.ndarray) -> pl.Series:
        return pl.Series(array[0][target], dtype=pl.Float32)

    frame = pl.DataFrame(
        {
            "item": dataset.item_ids.gather(shown),
            "title": [dataset.title(int(item)) for item in shown],
            "neighbor": dataset.item_ids.gather(near),
            "neighbor_title": [dataset.title(int(item)) for item in near],
            "neighbor_weight": reasons.weights[0][target, place],
            "memory": pl.Series(reasons.keys[0][target, place], dtype=pl.Int64),
            "memory_weight": pl.Series(reasons.key_weights[0][target, place], dtype=pl.Float32),
            "key": pl.Series(reasons.key[0][target], dtype=pl.Int64),
            "key_weight": per_item(reasons.key_weight),
            "distance_before": per_item(reasons.before),
            "distance_after": per_item(reasons.after),
        }
    )
    if has_keys:
        return frame
    return frame.with_columns(
        pl.lit(None).cast(frame.schema[n]).alias(n) for n in ("memory", "memory_weight", "key", "key_weight")
    )
