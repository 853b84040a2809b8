"""Ranking: all items for some users, with masking and top-K."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from benchmarks.beside import Beside, beside_fields
from benchmarks.machine import gemm
from benchmarks.measuring import speed_fields, time_in_turn
from benchmarks.settings import Settings, create_model, embed_dim

from hlr_jax import Dataset, Model
from hlr_jax.evaluation.evaluate import interactions_at
from hlr_jax.ranking.inputs import ranking_inputs
from hlr_jax.ranking.rank import rank

TOP = 10


def some_users(dataset: Dataset, count: int) -> np.ndarray:
    """Return a random sample of users."""
    return np.sort(np.random.default_rng(0).permutation(dataset.num_users)[:count])


def rankings(dataset: Dataset, model: Model, users: np.ndarray) -> Callable[[], Any]:
    """Return a function that ranks all items for the users, as the evaluation on ``test`` does.

    The interactions are on the device already: they are put there once, however many users are ranked.
    """
    sizes = dataset.num_users, dataset.num_items
    params, seen = model.init(jax.random.key(0), *sizes), interactions_at(dataset, "test")
    inputs = ranking_inputs(model, seen, seen, sizes)
    return lambda: rank(model, params, users, inputs, TOP)


def bench_rank(settings: Settings, dataset: Dataset, name: str) -> dict[str, Any]:
    """Time the ranking of all items for some users, top-K and masking included.

    The share of the matrix product's rate is of [H N, D] x [D, I] (H N at least 128): for HLR its own product.
    """
    model, users = create_model(name, settings), some_users(dataset, settings.users)
    chosen = dict(model.options)
    context = max(128, max(1, model.history.size) * chosen.get("num_memories", 1))
    product, besides = gemm(context, embed_dim(model), dataset.num_items), Beside.of(settings)
    works: dict[str, Callable[[], Any]] = {"rank": rankings(dataset, model, users), "gemm": product.work} | besides
    timings = time_in_turn(works, settings.repeats, settings.seconds)
    ranked, flops = timings["rank"], float(len(users) * dataset.num_items * model.flops[1])
    record = {
        "what": "rank", "model": name, "users": len(users), "items": dataset.num_items, "k": TOP,
        "users_per_s": len(users) / ranked.steady_s, "ms_per_user": 1e3 * ranked.steady_s / len(users),
        "flops_per_user": flops / len(users),
        **ranked.fields(), **speed_fields(flops, ranked, product, timings["gemm"]),
    }  # fmt: skip
    return record | beside_fields(besides, timings, "rank", record["users_per_s"])
