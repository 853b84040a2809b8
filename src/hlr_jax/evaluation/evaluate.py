"""Lists of users to figures: one path for models and yardsticks."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from hlr_jax.data.interactions import Dataset, Pairs
from hlr_jax.errors import UserError, pick
from hlr_jax.evaluation.metrics import catalogue_metrics, cohort_statistics, find_hits, per_user_metrics
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.evaluation.ranking import Ranking, rank
from hlr_jax.models.base import Model
from hlr_jax.types import Params


class Evaluation(NamedTuple):
    """Figures of one split.

    Attributes:
      metrics: ``ndcg@10`` and so on, ``users``, ``users_per_s``, ``protocol``, and with cohorts ``cohorts``.
      per_user: a row per user: its original id, its number of relevant items, and each metric.
      ranking: the lists behind the figures, in the order of ``per_user``.
    """

    metrics: dict[str, Any]
    per_user: pl.DataFrame
    ranking: Ranking


Ranker = Callable[[np.ndarray, Pairs], Ranking]
"""(users [users], seen interactions) -> their lists."""


def split_of(dataset: Dataset, split: str) -> tuple[Pairs, Pairs]:
    """Return (relevant, seen) of a split: at test, train and validation items are seen; at validation, train items.

    Raises:
      UserError: an unknown split, or one without interactions.
    """
    pick(split, ("valid", "test"), "split to evaluate")
    relevant: Pairs = getattr(dataset, split)
    if not len(relevant.user):
        raise UserError(f"data set {dataset.name} has no {split} interactions to evaluate on")
    return relevant, dataset.train + dataset.valid if split == "test" else dataset.train


def evaluate_ranker(ranker: Ranker, dataset: Dataset, split: str, options: EvalOptions, seed: int = 0) -> Evaluation:
    """Rank for every user with an interaction in ``split`` and measure the lists.

    Raises:
      UserError: the split has no interactions.
    """
    relevant, seen = split_of(dataset, split)
    users = np.unique(relevant.user)
    start = time.perf_counter()
    ranking = ranker(users, seen)
    seconds = time.perf_counter() - start
    k = options.k
    hits, counts = find_hits(ranking.items, users, relevant, dataset.num_items)
    per_user = per_user_metrics(hits, counts, k)
    popularity = np.bincount(dataset.train.item, minlength=dataset.num_items)
    means = {name: float(values.mean()) for name, values in per_user.items()}
    means |= catalogue_metrics(ranking.items, popularity)
    metrics: dict[str, Any] = {f"{name}@{k}": value for name, value in means.items()}
    metrics |= {"users": len(users), "seconds": seconds, "users_per_s": len(users) / seconds}
    metrics |= {"split": split, "protocol": dataset.protocol, "data": dataset.fingerprint[:16]}
    if options.num_cohorts > 1:
        statistics = cohort_statistics(per_user, options.num_cohorts, seed)
        metrics["cohorts"] = {f"{name}@{k}": value for name, value in statistics.items()}
    frame = pl.DataFrame({"user": dataset.user_ids.gather(users), "relevant": counts} | per_user)
    return Evaluation(metrics, frame, ranking)


def evaluate(
    model: Model,
    params: Params,
    dataset: Dataset,
    *,
    split: str = "test",
    options: EvalOptions | None = None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a trained model on ``valid`` or ``test`` by full ranking, seen items masked.

    Raises:
      UserError: the split has no interactions.
    """
    chosen = options or EvalOptions()

    def ranker(users: np.ndarray, seen: Pairs) -> Ranking:
        return rank(
            model, params, users, seen, num_users=dataset.num_users, num_items=dataset.num_items, k=chosen.k,
            memory_budget=chosen.memory_budget, seed=seed,
        )  # fmt: skip

    return evaluate_ranker(ranker, dataset, split, chosen, seed)
