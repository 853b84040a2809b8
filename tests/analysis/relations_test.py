"""Nearest relations, the matching probability, and what keys recover of a planted world, on vectors made by hand."""

import dataclasses
from math import log

import jax
import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax import InputError
from hlr_jax.analysis.attention import Attended, attend, item_pairs
from hlr_jax.analysis.relations import (
    key_by_type,
    matching_probability,
    nearest_relations,
    normalized_mutual_information,
    planted_types,
    principal_component,
    relation_recovery,
)
from hlr_jax.data.synthetic import synthetic_world_of


def interactions(user, item, relation):
    none = np.zeros((len(user), 0))
    return Attended(
        np.array(user), np.array(item), none.astype(int), none.astype(bool), none[..., None], none, relation
    )


def test_nearest_relations_by_hand(world):
    relation = np.array([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    sample = interactions([0, 0, 1, 2, 3], [4, 5, 6, 4, 7], relation)
    frame = nearest_relations(sample, world, k=1)
    # 0 shares its user with 1 and its item with 3; of 2 and 4, the angle to 4 is smaller.
    assert frame["other_user"].to_list() == [3, 2, 3, 0, 0]
    assert frame["cosine"].to_list()[:2] == pytest.approx([0.5**0.5, 2 / (4.01**0.5)])
    free = nearest_relations(sample, world, k=2, apart=False)
    assert free.filter(pl.col("place") == 0)["other_user"].to_list() == [2, 0]
    assert free["rank"].to_list() == [1, 2] * 5


def test_zero_relations_are_named(world):
    with pytest.raises(InputError, match="all relation vectors are zero"):
        nearest_relations(interactions([0, 1], [0, 1], np.zeros((2, 3))), world)


def genres_of(world, genre):
    titles = pl.DataFrame({"title": [""] * world.num_items, "genres": [genre(i) for i in range(world.num_items)]})
    return dataclasses.replace(world, titles=titles)


def test_relations_that_follow_a_genre_match_and_random_ones_do_not(world, rng):
    dataset = genres_of(world, lambda item: ("even", "odd")[item % 2])
    user, item = rng.integers(0, 60, 300), rng.integers(0, 50, 300)
    angle = (item % 2) * 2.0 + rng.normal(0, 0.3, 300)
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    row = matching_probability(interactions(user, item, along), dataset, resamples=200).row(0, named=True)
    assert row["nearest"] > 0.95
    assert row["low"] <= row["nearest"] <= row["high"]
    assert row["p"] == pytest.approx(1 / 201)
    same = np.mean([np.mean((item % 2)[(user != u) & (item != i)] == i % 2) for u, i in zip(user, item, strict=True)])
    assert row["random"] == pytest.approx(same, abs=0.01)  # 200 draws of 300: a standard error of 0.002
    chance = interactions(user, item, rng.normal(size=(300, 2)))
    row = matching_probability(chance, dataset, resamples=200).row(0, named=True)
    assert row["random_low"] - 0.05 < row["nearest"] < row["random_high"] + 0.05
    row = matching_probability(chance, dataset, vectors=along, resamples=200).row(0, named=True)
    assert row["nearest"] > 0.95


def test_the_same_item_may_match_itself_only_if_asked(world):
    dataset = genres_of(world, lambda item: f"g{item}")
    sample = interactions([0, 1, 2, 3], [4, 4, 5, 5], np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]))
    assert matching_probability(sample, dataset, apart=False, resamples=10)["nearest"][0] == 1
    assert matching_probability(sample, dataset, resamples=10)["nearest"][0] == 0


def test_items_without_a_category_take_no_part(world):
    dataset = genres_of(world, lambda item: "x" if item < 2 else "")
    sample = interactions([0, 1, 2], [0, 1, 9], np.ones((3, 2)))
    row = matching_probability(sample, dataset, resamples=10).row(0, named=True)
    assert (row["interactions"], row["nearest"], row["random"]) == (2, 1.0, 1.0)
    with pytest.raises(InputError, match="no two interactions can be compared"):
        matching_probability(interactions([0, 0], [0, 1], np.ones((2, 2))), dataset, resamples=10)
    with pytest.raises(InputError, match="no category"):
        matching_probability(sample, world)


def test_the_principal_component_of_points_near_a_line(rng):
    along, across = np.array([3.0, -4.0]) / 5, np.array([4.0, 3.0]) / 5
    places = rng.normal(size=40)
    line = places[:, None] * along + np.array([7.0, 1.0])
    coordinate, share = principal_component(line)
    assert share == pytest.approx(1, abs=1e-9)
    # The largest loading, that of the second axis, counts as positive.
    np.testing.assert_allclose(coordinate, places.mean() - places, atol=1e-9)
    # Points at the corners of a rectangle whose sides are 2 and 1: the longer side has 4/5 of the variance.
    corners = np.array([2 * x * along + y * across for x in (-0.5, 0.5) for y in (-0.5, 0.5)])
    assert principal_component(corners)[1] == pytest.approx(0.8)


def test_normalized_mutual_information_by_hand():
    a, b = np.array([0, 0, 1, 1]), np.array([5, 5, 5, 9])
    # Joint: 1/2 (0, 5), 1/4 (1, 5), 1/4 (1, 9); margins 1/2, 1/2 and 3/4, 1/4.
    information = 0.5 * log(0.5 / 0.375) + 0.25 * log(0.25 / 0.375) + 0.25 * log(0.25 / 0.125)
    mean = (log(2) - 0.75 * log(0.75) - 0.25 * log(0.25)) / 2
    assert normalized_mutual_information(a, b) == pytest.approx(information / mean)
    assert normalized_mutual_information(b, a) == pytest.approx(information / mean)
    assert normalized_mutual_information(a, 7 - a) == pytest.approx(1)
    assert normalized_mutual_information(a, np.array([0, 1, 0, 1])) == pytest.approx(0, abs=1e-12)
    assert normalized_mutual_information(a, np.zeros(4)) == 0


@pytest.fixture(scope="module")
def planted():
    dataset = hlr_jax.load_dataset("planted-60x50x900", log=lambda _: None)
    model = hlr_jax.create_model("hlr", embed_dim=6, num_memories=4, max_history=4)
    params = model.init(jax.random.key(0), dataset.num_users, dataset.num_items)
    return attend(model, params, dataset, interactions=300), synthetic_world_of(dataset.name, 2021)


def test_the_world_of_a_data_set_is_the_one_it_was_made_from(world):
    pairs = synthetic_world_of(world.name, 2021).pairs
    everything = world.train + world.valid + world.test
    assert (everything.user == pairs.user).all()
    assert (everything.item == pairs.item).all()


def test_types_of_pairs_count_in_both_directions(planted):
    _, world = planted
    items = np.arange(50)
    first, second = (array.ravel() for array in np.meshgrid(items, items))
    types = planted_types(world, world.item_cluster, first, second)
    assert (types == planted_types(world, world.item_cluster, second, first)).all()
    for a, b, kind in zip(first, second, types, strict=True):
        here, back = (int(world.relation_of[world.item_cluster[x], world.item_cluster[y]]) for x, y in ((a, b), (b, a)))
        assert kind == (min(here, back) if min(here, back) >= 0 else max(here, back))
    assert (types[world.item_cluster[first] == world.item_cluster[second]] == 0).all()


def test_keys_that_follow_the_types_recover_them_and_untrained_ones_do_not(planted):
    sample, world = planted
    untrained = relation_recovery(sample, world, permutations=100).row(0, named=True)
    assert untrained["nmi"] < 0.1
    assert untrained["chance"] < 0.1
    # Weights that put each pair on the key of its type.
    candidate = np.broadcast_to(sample.item[:, None], sample.mask.shape)
    types = planted_types(world, world.item_cluster, candidate, sample.neighbors)
    by_type = sample._replace(memory_weights=np.eye(4)[np.maximum(types, 0)])
    row = relation_recovery(by_type, world, permutations=100).row(0, named=True)
    assert row["nmi"] == pytest.approx(1)
    assert row["p"] == pytest.approx(1 / 101)
    assert row["chance"] < 0.2
    pairs = item_pairs(by_type)
    kinds = planted_types(world, world.item_cluster, pairs.first, pairs.second)
    frame = key_by_type(by_type, world)
    for kind in range(4):
        rows = frame.filter(pl.col("type") == kind).sort("key")
        assert rows["pairs"].to_list() == [int((kinds == kind).sum()) * (key == kind) for key in range(4)]
        assert rows["mean_weight"].to_list() == pytest.approx([float(key == kind) for key in range(4)])


def test_another_world_is_refused(planted):
    with pytest.raises(InputError, match="the synthetic data set has 20 items, the sample has more"):
        relation_recovery(planted[0], synthetic_world_of("planted-60x20x400", 2021))
    with pytest.raises(InputError, match="a planted world is called"):
        synthetic_world_of("ml-100k", 0)
