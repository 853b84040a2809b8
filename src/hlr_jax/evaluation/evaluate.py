"""Lists of users to metrics: one path for models and baselines."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError, pick
from hlr_jax.evaluation.metrics import catalogue_metrics, cohort_statistics, find_hits, per_user_metrics
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import ranking_inputs
from hlr_jax.ranking.rank import Ranking, plan_ranking, rank
from hlr_jax.sharding import mesh_of
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


Ranker = Callable[[np.ndarray, Interactions, Interactions], Ranking]
"""(users [users], interactions that are left out, interactions that scores may read) -> their lists."""


def relevant_of(dataset: Dataset, split: str) -> Interactions:
    """Return what is to be found in a split.

    Raises:
      InputError: an unknown split, or one without interactions.
    """
    pick(split, ("valid", "test"), "split to evaluate")
    relevant: Interactions = getattr(dataset, split)
    if not len(relevant):
        raise InputError(f"data set {dataset.name} has no {split} interactions to evaluate on")
    return relevant


def interactions_at(dataset: Dataset, split: str, at_test: str = "train+valid") -> Interactions:
    """Return what is known when a split is ranked: train at validation, and at test what ``at_test`` says."""
    return dataset.train + dataset.valid if split == "test" and at_test == "train+valid" else dataset.train


def evaluate_ranker(
    ranker: Ranker,
    dataset: Dataset,
    split: str,
    options: EvalOptions,
    seed: int = 0,
    mask: str = "train+valid",
    users: np.ndarray | None = None,
) -> Evaluation:
    """Rank for every user with an interaction in ``split`` and measure the lists.

    Args:
      ranker: makes the lists.
      dataset: what to rank.
      split: ``valid`` or ``test``.
      options: of the measurement.
      seed: of the draw of cohorts.
      mask: what is left out of the lists at test: ``train+valid`` or ``train``.
      users: whose lists are made; None: all who have an interaction in the split.

    Raises:
      InputError: the split has no interactions.
    """
    relevant, seen = relevant_of(dataset, split), interactions_at(dataset, split, mask)
    at_test = dataset.protocol.test_neighbors
    near = seen if at_test == mask else interactions_at(dataset, split, at_test)
    users = np.flatnonzero(relevant.degrees()) if users is None else users
    start = time.perf_counter()
    ranking = ranker(users, seen, near)
    seconds = time.perf_counter() - start
    k = options.k
    hits, counts = find_hits(ranking.items, users, relevant, dataset.num_items)
    per_user = per_user_metrics(hits, counts, k)
    popularity = dataset.train.item_degrees(dataset.num_items)
    means = {name: float(values.mean()) for name, values in per_user.items()}
    means |= catalogue_metrics(ranking.items, popularity)
    metrics: dict[str, Any] = {f"{name}@{k}": value for name, value in means.items()}
    metrics |= {"users": len(users), "items": dataset.num_items}
    metrics |= {"seconds": seconds, "users_per_s": len(users) / seconds, "split": split}
    metrics |= {"data": dataset.fingerprint[:16], "protocol": dataset.protocol.name}
    metrics |= {"protocol_hash": dataset.protocol.hash, "figures": dataset.protocol.figures()}
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
    users: np.ndarray | None = None,
) -> Evaluation:
    """Evaluate a trained model on ``valid`` or ``test`` by full ranking, seen items masked.

    ``users`` are those whose lists are made, each with an interaction in the split; None: all who have one.

    Raises:
      InputError: the split has no interactions.
    """
    chosen = options or EvalOptions()

    def ranker(users: np.ndarray, seen: Interactions, near: Interactions) -> Ranking:
        inputs = ranking_inputs(model, seen, near, (dataset.num_users, dataset.num_items), seed, mesh_of(params))
        return rank(model, params, users, inputs, chosen.k, chosen.memory_limit_mib)

    # Only MF-ALS is masked otherwise by the released code.
    mask = "train+valid" if model.solver is None else dataset.protocol.solver_mask
    return evaluate_ranker(ranker, dataset, split, chosen, seed, mask, users)


def memory_to_rank(model: Model, params: Params, dataset: Dataset, options: EvalOptions) -> int:
    """Return the bytes that ranking all users needs beside the parameters and interactions, before it is done."""
    near, sizes = interactions_at(dataset, "test"), (dataset.num_users, dataset.num_items)
    inputs = ranking_inputs(model, near, near, sizes, mesh=mesh_of(params))
    return plan_ranking(model, params, dataset.num_users, inputs, options.k, options.memory_limit_mib).bytes


def validation_users(dataset: Dataset, options: EvalOptions) -> np.ndarray | None:
    """Return the users whose validation lists are made, drawn the same for every run; None for all."""
    everyone = np.flatnonzero(dataset.valid.degrees())
    if not 0 < options.num_valid_users < len(everyone):
        return None
    return np.sort(np.random.default_rng(0).permutation(everyone)[: options.num_valid_users])


def evaluate_seeds(
    model: Model,
    params: list[Params],
    dataset: Dataset,
    split: str,
    options: EvalOptions,
    seeds: Sequence[int],
    users: np.ndarray | None = None,
) -> list[Evaluation]:
    """Evaluate each run's parameters, trained with its seed, at the same time where they lie on different devices."""

    def evaluate_run(index: int) -> Evaluation:
        return evaluate(model, params[index], dataset, split=split, options=options, seed=seeds[index], users=users)

    devices = {frozenset(next(iter(each.values())).devices()) for each in params}
    # Only programs of one device each may run side by side: those of a mesh would wait for each other.
    alone = all(len(group) == 1 for group in devices)
    with ThreadPoolExecutor(len(devices) if alone else 1) as pool:
        return list(pool.map(evaluate_run, range(len(params))))


def over_runs(evaluations: list[Evaluation], seeds: list[int], best_epochs: list[int]) -> dict[str, Any]:
    """Return the figures of one model trained with several seeds: each metric's mean, under ``std`` its standard
    deviation (of a sample; absent for one seed), and under ``seeds`` each run's own figures.
    """
    runs = [evaluation.metrics for evaluation in evaluations]
    names = [name for name in runs[0] if "@" in name]
    merged = runs[0] | {name: float(np.mean([run[name] for run in runs])) for name in (*names, "users_per_s")}
    merged["seconds"] = float(np.sum([run["seconds"] for run in runs]))
    merged.pop("cohorts", None)
    if len(runs) > 1:
        merged["std"] = {name: float(np.std([run[name] for run in runs], ddof=1)) for name in names}
    merged["seeds"] = [
        {"seed": seed, "best_epoch": best, **{name: run[name] for name in (*names, "cohorts") if name in run}}
        for seed, best, run in zip(seeds, best_epochs, runs, strict=True)
    ]
    return merged
