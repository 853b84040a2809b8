"""Computes metrics of top-K lists: one path for models and baselines."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError, pick
from hlr_jax.evaluation.metrics import catalog_metrics, cohort_statistics, find_hits, per_user_metrics
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.evaluation.results import At, Metrics
from hlr_jax.models.base import Model
from hlr_jax.parameters import check_params
from hlr_jax.ranking.inputs import RankingInputs, power_of_two, ranking_inputs
from hlr_jax.ranking.population import trained_population
from hlr_jax.ranking.rank import plan_ranking, rank
from hlr_jax.ranking.scores import ranked
from hlr_jax.scorers.base import histories_of
from hlr_jax.systems import System
from hlr_jax.types import Params, Ranking


class Evaluation(NamedTuple):
    """The metrics of a trained model on one split.

    Attributes:
      metrics: means over users, and metrics of the catalog.
      per_user: for each K a row per user: ``user`` (the original id), ``k``, ``relevant`` (the number of its relevant
        items), and each metric.
      ranking: the lists, as long as the largest K, in the order of the users.

    Example:
      >>> found = hlr_jax.evaluate(model, params, data, split="test")
      >>> found.metrics.users, found.per_user.columns[:4]
      (52, ['user', 'k', 'relevant', 'ndcg'])
    """

    metrics: Metrics
    per_user: pl.DataFrame
    ranking: Ranking


Ranker = Callable[[np.ndarray, Interactions, Interactions], Ranking]
"""(users [users], seen interactions to leave out, interactions that scores may read) -> their lists."""


def relevant_of(dataset: Dataset, split: str) -> Interactions:
    """Return the relevant interactions of a split.

    Raises:
      InputError: an unknown split, or one without interactions.
    """
    pick(split, ("valid", "test"), "split to evaluate")
    relevant: Interactions = getattr(dataset, split)
    if not len(relevant):
        raise InputError(f"data set {dataset.name} has no {split} interactions to evaluate on")
    return relevant


def interactions_at(dataset: Dataset, split: str, at_test: str = "train+valid") -> Interactions:
    """Return the known interactions when a split is ranked: train for validation, and ``at_test`` for test."""
    return dataset.known if split == "test" and at_test == "train+valid" else dataset.train


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
      dataset: prepared interactions.
      split: ``valid`` or ``test``.
      options: of evaluation.
      seed: for sampling cohorts.
      mask: what is left out of the lists at test: ``train+valid`` or ``train``.
      users: the users to rank for; None: all with an interaction in the split.

    Raises:
      InputError: the split has no interactions.
    """
    relevant, seen = relevant_of(dataset, split), interactions_at(dataset, split, mask)
    near = interactions_at(dataset, split, dataset.protocol.test_neighbors)
    users = np.flatnonzero(relevant.degrees()) if users is None else users
    start = time.perf_counter()
    ranking = ranker(users, seen, near)
    seconds = time.perf_counter() - start
    hits, counts = find_hits(ranking.items, users, relevant, dataset.num_items)
    popularity, ids = dataset.train.item_degrees(dataset.num_items), dataset.user_ids.gather(users)
    frames: list[pl.DataFrame] = []
    values: dict[At, tuple[float, ...]] = {}
    cohorts: dict[At, tuple[tuple[float, float], ...]] = {}
    for k in options.ks:
        per_user = per_user_metrics(hits[:, :k], counts, k)
        frames.append(pl.DataFrame({"user": ids, "relevant": counts} | per_user).insert_column(1, pl.lit(k).alias("k")))
        means = {name: float(value.mean()) for name, value in per_user.items()}
        means |= catalog_metrics(ranking.items[:, :k], popularity)
        values |= {(name, k): (value,) for name, value in means.items()}
        if options.num_cohorts > 1:
            statistics = cohort_statistics(per_user, options.num_cohorts, seed)
            cohorts |= {(name, k): (spread,) for name, spread in statistics.items()}
    protocol = dataset.protocol
    metrics = Metrics(
        split, len(users), dataset.num_items, dataset.fingerprint[:16], protocol.name, protocol.hash,
        protocol.metric_names(), seconds, options.ks, (seed,), (None,), values, cohorts,
    )  # fmt: skip
    return Evaluation(metrics, pl.concat(frames), ranking)


def model_ranker(
    model: Model, params: Params, dataset: Dataset, split: str, options: EvalOptions, seed: int,
    inputs: RankingInputs | None = None,
) -> Ranker:  # fmt: skip
    """Return the ranker of a model; ``seed`` samples the neighbors it reads.

    It reads ``inputs`` in place of the interactions; None: the result of ``evaluation_inputs``.
    """

    def ranker(users: np.ndarray, seen: Interactions, near: Interactions) -> Ranking:
        given = evaluation_inputs(model, params, dataset, split, options, seed) if inputs is None else inputs
        return rank(model, params, users, given, options.longest, options.memory_limit_mib)

    return ranker


def host_ranker(system: System, params: Params, dataset: Dataset, options: EvalOptions, seed: int) -> Ranker:
    """Return the ranker of a scorer or a blend."""

    def ranker(users: np.ndarray, seen: Interactions, near: Interactions) -> Ranking:
        population = trained_population(system, params, dataset, near)
        return ranked(
            system, population, users, dataset.num_items, options.longest,
            seen=histories_of(seen, dataset.num_users, dataset.num_items), seed=seed,
            memory_limit_mib=options.memory_limit_mib,
        )  # fmt: skip

    return ranker


def evaluate(
    model: System,
    params: Params,
    dataset: Dataset,
    *,
    split: str = "test",
    options: EvalOptions | None = None,
    seed: int = 0,
    users: np.ndarray | None = None,
    inputs: RankingInputs | None = None,
) -> Evaluation:
    """Evaluate a trained model, a fitted scorer or a blend on ``valid`` or ``test`` by full ranking, seen items masked.

    Args:
      model: makes the lists.
      params: its parameters; the state of a scorer; for a blend, those of its parts by label.
      dataset: prepared interactions.
      split: ``valid`` or ``test``.
      options: of evaluation; None: the defaults.
      seed: for sampling neighbors and cohorts.
      users: the users to rank for, each with an interaction in the split; None: all who have one.
      inputs: for a model, the result of ``evaluation_inputs``; None: they are computed.

    Raises:
      InputError: the split has no interactions, or the parameters are of another model or data set.

    Example:
      >>> found = hlr_jax.evaluate(model, params, data, split="test", options=hlr_jax.EvalOptions(k=(5, 10)))
      >>> found.metrics.k, found.metrics.value("recall", 10) >= found.metrics.value("recall", 5)
      ((5, 10), True)
    """
    chosen = options or EvalOptions()
    check_params(model, params, dataset.num_users, dataset.num_items)
    if isinstance(model, Model):
        ranker = model_ranker(model, params, dataset, split, chosen, seed, inputs)
    else:
        ranker = host_ranker(model, params, dataset, chosen, seed)
    return evaluate_ranker(ranker, dataset, split, chosen, seed, _mask(model, dataset, chosen), users)


def _mask(model: System, dataset: Dataset, options: EvalOptions) -> str:
    """Return what is left out of lists at test; only MF-ALS differs, since the released code masks it differently."""
    if isinstance(model, Model) and model.solver is not None:
        return options.solver_mask or dataset.protocol.solver_mask
    return "train+valid"


def evaluation_inputs(
    model: Model, params: Params, dataset: Dataset, split: str, options: EvalOptions, seed: int = 0
) -> RankingInputs:
    """Return the inputs with which ``evaluate`` ranks a split, to reuse in several calls; they are where params are."""
    seen = interactions_at(dataset, split, _mask(model, dataset, options))
    near = interactions_at(dataset, split, dataset.protocol.test_neighbors)
    inputs = ranking_inputs(model, seen, near, (dataset.num_users, dataset.num_items), seed, params)
    # Masks of validation are as long as those of test, so that both share a compiled program.
    known = dataset.train.degrees(dataset.num_users) + dataset.valid.degrees(dataset.num_users)
    return replace(inputs, seen=replace(inputs.seen, longest=power_of_two(int(known.max()))))


def memory_to_rank(model: Model, params: Params, dataset: Dataset, options: EvalOptions) -> int:
    """Return the bytes that ranking all users will need beyond the parameters and interactions."""
    near, sizes = interactions_at(dataset, "test"), (dataset.num_users, dataset.num_items)
    inputs = ranking_inputs(model, near, near, sizes, params=params)
    return plan_ranking(model, params, dataset.num_users, inputs, options.longest, options.memory_limit_mib).bytes


def validation_users(dataset: Dataset, options: EvalOptions) -> np.ndarray | None:
    """Return the users to rank for in validation, sampled equally for every run; None for all."""
    everyone = np.flatnonzero(dataset.valid.degrees())
    if not 0 < options.num_valid_users < len(everyone):
        return None
    return np.sort(np.random.default_rng(0).permutation(everyone)[: options.num_valid_users])


def values_on_valid(system: System, params: Params, dataset: Dataset, options: EvalOptions) -> np.ndarray:
    """Return the monitored metric of each user's list on validation [n]; ``options`` are ``EvalOptions.of_lists``."""
    name, k = options.monitored
    users, at_k = validation_users(dataset, options), replace(options, k=k)
    measured = evaluate(system, params, dataset, split="valid", options=at_k, users=users)
    return measured.per_user[name].to_numpy()


def evaluate_seeds(
    model: System,
    params: list[Params],
    dataset: Dataset,
    split: str,
    options: EvalOptions,
    seeds: Sequence[int],
    users: np.ndarray | None = None,
) -> list[Evaluation]:
    """Evaluate the parameters of each seed, in parallel if they are on different devices."""

    def evaluate_run(index: int) -> Evaluation:
        return evaluate(model, params[index], dataset, split=split, options=options, seed=seeds[index], users=users)

    if not isinstance(model, Model):
        return list(map(evaluate_run, range(len(params))))
    devices = {frozenset(next(iter(each.values())).devices()) for each in params}
    # Only programs of one device each may run in parallel: those of a mesh would wait for each other.
    alone = all(len(group) == 1 for group in devices)
    with ThreadPoolExecutor(len(devices) if alone else 1) as pool:
        return list(pool.map(evaluate_run, range(len(params))))
