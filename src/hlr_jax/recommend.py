"""The best unseen items of users, and the reasons that the model's own weights give."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from hlr_jax.data.interactions import Dataset, Pairs
from hlr_jax.data.neighborhoods import look_up, neighbor_tables, sides_of
from hlr_jax.errors import UserError, check_range
from hlr_jax.evaluation.ranking import audiences, drawn_for_ranking, rank
from hlr_jax.evaluation.sharded_ranking import rank_on_mesh
from hlr_jax.models.base import Model
from hlr_jax.sharding import mesh_of
from hlr_jax.storage import widened
from hlr_jax.types import Neighbors, Padded, PairOutput, Params


def known_interactions(dataset: Dataset) -> Pairs:
    """Return what may be known when recommending: train and validation items."""
    return dataset.train + dataset.valid


def codes_of(ids: pl.Series, wanted: Sequence[object], what: str) -> np.ndarray:
    """Return the codes [wanted] of original ids, which may be given as they are or as text.

    Raises:
      UserError: names the first id that is unknown.
    """
    texts = pl.Series([str(one) for one in wanted], dtype=pl.String)
    numbers = np.arange(len(ids))
    codes = texts.replace_strict(ids.cast(pl.String), numbers, default=None, return_dtype=pl.Int64)
    if codes.null_count():
        unknown = texts.filter(codes.is_null())
        raise UserError(f'{len(unknown)} of {len(texts)} {what} are unknown, such as "{unknown[0]}"')
    return codes.to_numpy()


def recommend(
    model: Model,
    params: Params,
    dataset: Dataset,
    users: Sequence[object],
    *,
    k: int = 10,
    memory_budget: int = 512,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the best ``k`` items that each user has not met.

    Args:
      model: scores the pairs.
      params: its parameters.
      dataset: gives ids, titles and what the users have met (train and validation items).
      users: original ids.
      k: K.
      memory_budget: MiB for a tile of users.
      seed: of the draw of histories longer than the model reads.

    Returns:
      A frame of ``user``, ``rank`` (from 1), ``item``, ``title``, ``score``; ids as in the source.

    Raises:
      UserError: a user that is not in the data set.
    """
    check_range("recommend", k=(k, 1, 10**6))
    codes = codes_of(dataset.user_ids, [users] if isinstance(users, str) else users, "users")
    make = rank if mesh_of(params) is None else rank_on_mesh
    ranking = make(
        model, params, codes, known_interactions(dataset), num_users=dataset.num_users, num_items=dataset.num_items,
        k=k, memory_budget=memory_budget, seed=seed,
    )  # fmt: skip
    length = ranking.items.shape[1]
    items = ranking.items.ravel()
    frame = pl.DataFrame(
        {
            "user": dataset.user_ids.gather(np.repeat(codes, length)),
            "rank": np.tile(np.arange(1, length + 1), len(codes)),
            "item": dataset.item_ids.gather(np.maximum(items, 0)),
            "title": [dataset.title(int(item)) if item >= 0 else "" for item in items],
            "score": ranking.scores.ravel(),
        }
    )
    return frame.filter(pl.Series(items >= 0))


def explain(
    model: Model, params: Params, dataset: Dataset, user: object, items: Sequence[object], *, seed: int = 0
) -> pl.DataFrame:
    """Return what of the user's history moved them toward each item, by the attention's own weights.

    Args:
      model: one that attends over the history.
      params: its parameters.
      dataset: the data set that the model was trained on.
      user: an original id.
      items: original ids.
      seed: as given to ``recommend``: it draws the same history.

    Returns:
      A frame of ``item``, ``title``, ``neighbor`` (an item of the history), ``neighbor_title``, ``neighbor_weight``
      (alpha; its sum over an item's neighbors is 1, less what the user's own vector takes in HLR's variant
      ``reference``), ``memory`` (the key that this neighbor and the item address most) and ``memory_weight``, both
      null for a model without memories; for each item the largest weight first.

    Raises:
      UserError: an unknown id, or a model without history.
    """
    if not model.history.drawn:
        raise UserError(f"model {model.name} attends over no history, so it gives no reasons")
    params = widened(params)
    code = jnp.asarray(codes_of(dataset.user_ids, [user], "users")[0])
    targets = jnp.asarray(codes_of(dataset.item_ids, items, "items"), jnp.int32)
    near = known_interactions(dataset)
    sides = sides_of(near, dataset.num_users, dataset.num_items, model.history, model.audience)
    key = jax.random.key(seed)
    drawn = drawn_for_ranking(key, sides.history, code)
    history = look_up(params["item"], drawn)
    audience = audiences(key, neighbor_tables(params, sides).users, sides.audience, targets)

    @jax.jit
    @partial(jax.vmap, in_axes=(0, 0))
    def explained(item: jax.Array, users: Padded) -> PairOutput:
        return model.pair(params, params["user"][code], params["item"][item], Neighbors(history, users))

    output = explained(targets, audience)
    real = np.flatnonzero(np.asarray(drawn.mask))
    neighbors = np.asarray(drawn.ids)[real]
    alpha, weights = np.asarray(output.neighbor_weights)[:, real], np.asarray(output.memory_weights)[:, real]
    memory = weight = [None] * alpha.size
    if weights.shape[-1]:
        memory, weight = weights.argmax(axis=-1).ravel(), weights.max(axis=-1).ravel()
    count = len(real)
    frame = pl.DataFrame(
        {
            "order": np.repeat(np.arange(len(items)), count),
            "item": dataset.item_ids.gather(np.repeat(np.asarray(targets), count)),
            "title": [dataset.title(int(item)) for item in np.repeat(np.asarray(targets), count)],
            "neighbor": dataset.item_ids.gather(np.tile(neighbors, len(items))),
            "neighbor_title": [dataset.title(int(item)) for item in np.tile(neighbors, len(items))],
            "neighbor_weight": alpha.ravel(),
            "memory": pl.Series(memory, dtype=pl.Int64),
            "memory_weight": pl.Series(weight, dtype=pl.Float32),
        }
    )
    return frame.sort(["order", "neighbor_weight"], descending=[False, True], maintain_order=True).drop("order")
