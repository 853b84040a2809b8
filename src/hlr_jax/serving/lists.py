"""The best unseen items of users, as frames with the ids and titles of the source."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from hlr_jax.data.interactions import Dataset, Pairs
from hlr_jax.errors import UserError, check_range
from hlr_jax.evaluation.ranking import rank
from hlr_jax.models.base import Model
from hlr_jax.types import Params


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
    ranking = rank(
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
