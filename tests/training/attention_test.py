"""What is told of attentions after each epoch: figures against the equations, and collapses."""

import itertools

import jax
import numpy as np
import pytest
from compilations import compilations
from oracles import float64, softmax

import hlr_jax
from hlr_jax import TrainOptions
from hlr_jax.scoring import neighbor_sources
from hlr_jax.training.attention import AttentionSample, CollapseWatch, attention_figures, has_memories
from hlr_jax.training.history import ATTENTION


def figures_of(model, world):
    """The figures of parameters that are no start, with the parameters and the sample."""
    sources = neighbor_sources(model, world.train, (world.num_users, world.num_items))
    params = jax.tree.map(lambda array: 2 * array, model.init(jax.random.key(3), world.num_users, world.num_items))
    sample = AttentionSample.of(world.train)
    figures = jax.jit(attention_figures, static_argnums=0)(model, sources, sample, params)
    return figures, float64(params), list(zip(sample.user.tolist(), sample.item.tolist(), strict=True))


def entropy(weights):
    return -sum(w * np.log(w) for w in weights if w > 0) / np.log(len(weights))


def mean_distance(memories):
    return np.mean([np.linalg.norm(a - b) for a, b in itertools.combinations(memories, 2)])


def test_figures_are_those_of_the_equations(world):
    # The history is all that a user has met, so that nothing is drawn. The user's own vector is no item of it.
    options = {"max_history": 50, "variant": "reference", "key_scale": 3.0, "attention_scale": 2.0}
    figures, p, pairs = figures_of(hlr_jax.create_model("hlr", embed_dim=6, num_memories=3, **options), world)
    known = set(zip(world.train.user.tolist(), world.train.item.tolist(), strict=True))
    assert set(pairs) <= known
    by_key, by_neighbor = [], []
    for user, item in pairs:
        history = [j for u, j in known if u == user and j != item]
        weights = [softmax(3 * p["keys"] @ (p["item"][item] * p["item"][j])) for j in history]
        by_key += map(entropy, weights)
        if len(history) > 1:
            by_neighbor.append(entropy(softmax(2 * np.array(weights) @ p["memories"] @ p["user"][user])))
    assert float(figures["memory_entropy"]) == pytest.approx(np.mean(by_key), rel=1e-4)
    assert float(figures["neighbor_entropy"]) == pytest.approx(np.mean(by_neighbor), rel=1e-4)
    assert float(figures["memory_distance"]) == pytest.approx(mean_distance(p["memories"]), rel=1e-5)
    assert max(np.mean(by_key), np.mean(by_neighbor)) < 0.95


def test_lrml_has_memories_and_no_history(world):
    figures, p, pairs = figures_of(hlr_jax.create_model("lrml", embed_dim=6, num_memories=3), world)
    by_key = [entropy(softmax(p["keys"] @ (p["user"][user] * p["item"][item]))) for user, item in pairs]
    assert float(figures["memory_entropy"]) == pytest.approx(np.mean(by_key), rel=1e-4)
    assert figures.keys() == {"memory_entropy", "memory_distance"}


def test_models_without_two_memories_have_none():
    models = [("cml", {}), ("adacml", {}), ("mf_als", {}), ("hlr", {"num_memories": 1}), ("hlrpp", {})]
    assert [has_memories(hlr_jax.create_model(name, **options)) for name, options in models] == [False] * 4 + [True]


def test_a_training_records_its_attentions_and_tells_once_of_a_collapse(world, tmp_path, capsys):
    # In a ball so small no memory is far from another, and no logit of the attention from 0.
    model = hlr_jax.create_model("hlr", embed_dim=6, num_memories=2, max_history=3, memory_radius=1e-4, key_scale=9.0)
    options = {"batch_size": 300, "objective": "sampled_softmax"}

    def train(epochs, seed=3, workdir=tmp_path):
        result = hlr_jax.train_model(
            world, model, TrainOptions(**options, num_epochs=epochs), seed=seed, workdir=workdir
        )
        return result, [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]

    result, told = train(1)
    (record,) = result.history
    memories = np.asarray(result.params["memories"])
    assert record["memory_distance"] == pytest.approx(mean_distance(memories), rel=1e-4)
    assert 0 < record["memory_entropy"] < 0.99
    assert told == [
        f"epoch 1: the memories are one point (mean distance {record['memory_distance']:.1g}): the relation is the "
        "same for all pairs",
        "epoch 1: the attention over the history is uniform (entropy 1.0000 of 1): all items of it have the "
        "same weight",
    ]
    result, told = train(2)
    assert told == []
    assert [set(ATTENTION) <= record.keys() for record in result.history] == [True, True]
    with compilations() as made:
        train(1, seed=4, workdir=None)
    assert len(made) <= 1  # the random start's; another seed compiles nothing else


def record(epoch, run="seed-0", **figures):
    return {"epoch": epoch, "run": run, **figures}


def test_each_run_is_told_of_once_and_a_start_never():
    watch = CollapseWatch(several=True)
    assert watch.lines([record(0, memory_distance=0.0, neighbor_entropy=1.0), record(0, "seed-1")]) == []
    runs = [record(1, memory_distance=2e-4, memory_entropy=0.9), record(1, "seed-1", memory_distance=0.1)]
    (line,) = watch.lines(runs)
    assert line.startswith("epoch 1, seed-0: the memories are one point (mean distance 0.0002)")
    later = [record(2, run, memory_distance=d, neighbor_entropy=0.9995) for run, d in (("seed-0", 0), ("seed-1", 0.1))]
    (line,) = watch.lines(later)
    assert line.startswith("epoch 2, seed-0 and seed-1: the attention over the history is uniform (entropy 0.9995 of")
    (line,) = watch.lines([record(3, memory_distance=0.0, memory_entropy=0.9991, neighbor_entropy=1.0)])
    assert line.startswith("epoch 3, seed-0: all memories have the same weight (entropy 0.9991 of 1): the relation is")
    both = [record(4, run, memory_distance=d) for run, d in (("seed-1", 5e-5), ("seed-2", 3e-4))]
    (line,) = watch.lines(both)
    assert line.startswith("epoch 4, seed-1 and seed-2: the memories are one point (mean distance 5e-05 to 0.0003)")
    assert watch.lines(both) == []
