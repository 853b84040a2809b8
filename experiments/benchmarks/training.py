"""Training: whole epochs, the sampling of an epoch alone, and several seeds compared with one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from benchmarks.arithmetic import iteration_flops
from benchmarks.beside import Beside, beside_fields
from benchmarks.machine import gemm
from benchmarks.measuring import ratio, speed_fields, time_in_turn
from benchmarks.settings import Settings, create_model, embed_dim, shortened, train_options

from hlr_jax import Dataset, TrainOptions
from hlr_jax.training import many_runs
from hlr_jax.training.batches import Batch, BatchSource, padding_of
from hlr_jax.training.learner import GradientLearner

_LEAST_ROUNDS = 5  # for a ratio


def epochs(learner: many_runs.Learner) -> Callable[[], jax.Array]:
    """Return a function that runs the next epoch and returns its loss."""
    state, epoch = learner.init(), 0

    def work() -> jax.Array:
        nonlocal state, epoch
        epoch += 1
        state, loss = learner.run_epoch(state, epoch)
        return loss

    return work


def sampling(learner: GradientLearner, source: BatchSource) -> Callable[[], jax.Array]:
    """Return a function that samples an epoch's batches (negatives and neighbors) without using them.

    The samples are added up, so that the compiler cannot remove them.
    """

    @jax.jit
    def work(source: Any) -> jax.Array:
        def add(total: jax.Array, batch: Batch) -> jax.Array:
            return total + sum(leaf.sum().astype(jnp.int32) for leaf in jax.tree.leaves(batch))

        return learner.scan_batches(source, jnp.int32(1), jax.random.key(0), add, jnp.int32(0))

    return lambda: work(source)


def pairs_per_epoch(source: BatchSource, options: TrainOptions) -> int:
    """Return how many pairs of user and item an epoch scores, padding left out.

    A triplet scores its positive and its negatives; a user's negatives are scored once for all its positives.
    """
    number = {"in_batch": options.batch_size, "all": source.num_items}.get(options.negatives, options.num_negatives)
    if source.widths is not None:
        return source.num_positives + sum(len(users) for users in source.groups) * number
    return source.num_positives * (1 + number)


def _memory(learner: many_runs.Learner) -> dict[str, float]:
    """Return the memory that the compiler plans for an epoch, MiB."""
    assert learner.memory is not None
    arguments, temporary, _ = learner.memory(learner.init())
    return {"planned_temporary_mib": temporary / 2**20, "planned_state_mib": arguments / 2**20}


def bench_train(settings: Settings, dataset: Dataset, name: str) -> dict[str, Any]:
    """Time epochs of a model: sampling, gradients, Adam and projection in one compiled call; and sampling apart.

    The share of the matrix product's rate is of [H N, D] x [D, B] (H N at least 128), the size at which HLR's first
    attention would be one product.
    """
    model, options = create_model(name, settings), train_options(settings)
    used = shortened(dataset, settings.interactions, model)
    learner = many_runs.create_learner(used, model, options, options.runs([0]))
    # D; context times memories, as far as the model has them.
    chosen = dict(model.options)
    context = max(128, max(1, model.history.size) * chosen.get("num_memories", 1))
    product, besides = gemm(context, embed_dim(model), options.batch_size), Beside.of(settings)
    works: dict[str, Callable[[], Any]] = {"epoch": epochs(learner), "gemm": product.work} | besides
    source: BatchSource | None = None
    if model.solver is None:
        sampler = GradientLearner(model, options, (used.num_users, used.num_items))
        source = sampler.source(used.train, used.train, used.train)
        works["draws"] = sampling(sampler, source)
    timings = time_in_turn(works, settings.repeats, settings.seconds)
    epoch, count = timings["epoch"], learner.positives_per_epoch
    record: dict[str, Any] = {"what": "train", "model": name, "interactions": count}
    if source is not None:
        # A gradient takes two products for each of the forward pass, one for each factor.
        flops = 3.0 * pairs_per_epoch(source, options) * model.flops[0]
        draws_s = timings["draws"].steady_s
        record |= {
            "batch": options.batch, "batch_size": options.batch_size, "positives_per_s": count / epoch.steady_s,
            "draws_per_s": count / draws_s, "draws_s": draws_s, "draws_share": draws_s / epoch.steady_s,
            "flops_per_positive": flops / count,
        }  # fmt: skip
        if source.widths:
            record["padding"] = padding_of(source.widths, used.train.degrees(), options.num_negatives)
    else:
        flops = iteration_flops(model, used.num_users, used.num_items, len(used.train))
        record |= {"iteration_s": epoch.steady_s, "flops_per_iteration": flops}
    record |= epoch.fields() | speed_fields(flops, epoch, product, timings["gemm"])
    # For a solver, the command's rate is in iterations.
    record |= beside_fields(besides, timings, "epoch", record.get("positives_per_s", 1 / epoch.steady_s))
    if settings.isolated and model.solver is None:
        record["later"] = lambda: _memory(learner)  # once the peak of memory has been read
    return record


def bench_seeds(settings: Settings, dataset: Dataset, name: str) -> dict[str, Any]:
    """Time an epoch of several seeds at once and an epoch of one, in turn."""
    model, options = create_model(name, settings), train_options(settings)
    used = shortened(dataset, settings.interactions, model)
    works = {
        key: epochs(many_runs.create_learner(used, model, options, options.runs(range(count))))
        for key, count in (("one", 1), ("all", settings.num_seeds))
    }
    timings = time_in_turn(works, max(settings.repeats, _LEAST_ROUNDS))
    return {
        "what": "seeds", "model": name, "num_seeds": settings.num_seeds, "interactions": len(used.train),
        "one_s": timings["one"].steady_s, **ratio(timings["all"], timings["one"]), **timings["all"].fields(),
        "runs_of_one_s": timings["one"].fields()["runs_s"],
    }  # fmt: skip
