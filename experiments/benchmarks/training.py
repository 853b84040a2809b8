"""Training: whole epochs, the draws of an epoch apart, and several seeds against one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks.arithmetic import iteration_flops, ranking_flops, triplet_flops
from benchmarks.beside import Beside, beside_fields
from benchmarks.machine import gemm
from benchmarks.measuring import in_turn, ratio, speed_fields
from benchmarks.settings import Settings, create_model, shortened, train_options

from hlr_jax import Dataset
from hlr_jax.models.base import Model
from hlr_jax.training.als import sides
from hlr_jax.training.batch_sampling import draw_batch, training_triplets
from hlr_jax.training.batches import Negatives
from hlr_jax.training.learners import Learner, create_learner

_LEAST_ROUNDS = 5  # for a ratio


def epochs(learner: Learner) -> Callable[[], jax.Array]:
    """Return a function that runs the next epoch and returns its loss."""
    state, epoch = learner.init(), 0

    def work() -> jax.Array:
        nonlocal state, epoch
        epoch += 1
        state, loss = learner.run_epoch(state, epoch)
        return loss

    return work


def draws(dataset: Dataset, model: Model, batch_size: int, negatives: Negatives) -> Callable[[], jax.Array]:
    """Return a function that draws an epoch's batches (negatives and neighbors) and does nothing with them.

    What is drawn is added up, so that the compiler leaves none of it out. The order of the interactions is given.
    """
    source = training_triplets(dataset.train, dataset.num_users, dataset.num_items, model, negatives)
    count = source.count
    order = jax.random.permutation(jax.random.key(1), jnp.arange(-(-count // batch_size) * batch_size) % count)
    weight = jnp.ones(batch_size)

    @jax.jit
    def work(source: Any, order: jax.Array) -> jax.Array:
        def step(total: jax.Array, inputs: tuple) -> tuple[jax.Array, None]:
            index, rows = inputs
            batch = draw_batch(jax.random.fold_in(jax.random.key(0), index), source, rows, weight, negatives)
            return total + sum(leaf.sum().astype(jnp.int32) for leaf in jax.tree.leaves(batch)), None

        batches = order.reshape(-1, batch_size)
        return jax.lax.scan(step, jnp.int32(0), (jnp.arange(len(batches)), batches))[0]

    return lambda: work(source, order)


def _memory(learner: Learner) -> dict[str, float]:
    """Return what the compiler plans for an epoch, MiB."""
    assert learner.memory is not None
    plan = learner.memory(learner.init())
    return {"planned_temporary_mib": plan.temporary / 2**20, "planned_state_mib": plan.arguments / 2**20}


def bench_train(settings: Settings, dataset: Dataset, name: str) -> dict[str, Any]:
    """Time epochs of a model: sampling, gradients, Adam and projection in one compiled call; and sampling apart.

    The share of the matrix product's rate is of [H N, D] x [D, B] (H N at least 128), the size at which HLR's first
    attention would be one product.
    """
    model, options = create_model(name, settings), train_options(settings)
    used = shortened(dataset, settings.interactions, model)
    learner = create_learner(used, model, options, options.runs([0]))
    # D; context times memories, or what of them the model has.
    chosen = dict(model.options)
    context = max(128, max(1, model.history.size) * chosen.get("num_memories", 1))
    product, beside = gemm(context, chosen["embed_dim"], options.batch_size), Beside.of(settings)
    works: dict[str, Callable[[], Any]] = {"epoch": epochs(learner), "gemm": product.work}
    if model.solver is None:
        works["draws"] = draws(used, model, options.batch_size, options.drawn_negatives)
    if beside:
        works["beside"] = beside
    timings = in_turn(works, settings.repeats, settings.seconds)
    epoch, count = timings["epoch"], learner.triplets_per_epoch
    record: dict[str, Any] = {"what": "train", "model": name, "interactions": count}
    if model.solver is None:
        if options.negatives == "all":  # a user meets every item once
            users = int(np.count_nonzero(used.train.degrees(used.num_users)))
            flops = float(3 * users * ranking_flops(model, used.num_items))
        else:
            flops = count * float(triplet_flops(model, options.num_negatives))
        drawing = timings["draws"].steady_s
        record |= {
            "batch_size": options.batch_size, "triplets_per_s": count / epoch.steady_s,
            "draws_per_s": count / drawing, "draws_s": drawing, "draws_share": drawing / epoch.steady_s,
            "flops_per_triplet": flops / count,
        }  # fmt: skip
    else:
        flops = iteration_flops(model, *sides(used.train, used.num_users, used.num_items))
        record |= {"iteration_s": epoch.steady_s, "flops_per_iteration": flops}
    record |= epoch.fields() | speed_fields(flops, epoch, product, timings["gemm"])
    if beside:
        record |= beside_fields(beside, timings, "epoch", record.get("triplets_per_s"))
    if settings.isolated and model.solver is None:
        record["later"] = lambda: _memory(learner)  # once the peak of memory has been read
    return record


def bench_seeds(settings: Settings, dataset: Dataset, name: str) -> dict[str, Any]:
    """Time an epoch of several seeds at once and an epoch of one, in turn."""
    model, options = create_model(name, settings), train_options(settings)
    used = shortened(dataset, settings.interactions, model)
    works = {
        key: epochs(create_learner(used, model, options, options.runs(range(count))))
        for key, count in (("one", 1), ("all", settings.num_seeds))
    }
    timings = in_turn(works, max(settings.repeats, _LEAST_ROUNDS))
    return {
        "what": "seeds", "model": name, "num_seeds": settings.num_seeds, "interactions": len(used.train),
        "one_s": timings["one"].steady_s, **ratio(timings["all"], timings["one"]), **timings["all"].fields(),
        "runs_of_one_s": timings["one"].fields()["runs_s"],
    }  # fmt: skip
