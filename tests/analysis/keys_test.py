"""Keys, pairs and categories, on attention weights made by hand and on a small model."""

import dataclasses

import jax
import numpy as np
import polars as pl
import pytest
from oracles import float64, softmax

import hlr_jax
from hlr_jax import InputError
from hlr_jax.analysis.attention import Attended, attend, check_keys, item_pairs, top_pairs
from hlr_jax.analysis.categories import item_categories, key_categories, read_categories
from hlr_jax.analysis.keys import attention_summary, key_cards, key_pairs, key_table, key_usage, vector_similarity


@pytest.fixture(scope="module")
def trained(world):
    model = hlr_jax.create_model("hlr", embed_dim=6, num_memories=3, max_history=4)
    params = model.init(jax.random.key(3), world.num_users, world.num_items)
    return model, params | {"keys": 8 * params["keys"]}, world


@pytest.fixture(scope="module")
def sample(trained):
    return attend(*trained, interactions=150)


def test_a_sample_repeats_the_equations_and_leaves_the_item_out(trained, sample):
    _, params, world = trained
    p = float64(params)
    known = set(zip(world.train.user.tolist(), world.train.item.tolist(), strict=True))
    assert len(sample.user) == 150
    for b in range(len(sample.user)):
        real = sample.mask[b]
        neighbors = sample.neighbors[b][real].tolist()
        assert sample.item[b] not in neighbors
        assert {(int(sample.user[b]), j) for j in neighbors} | {(int(sample.user[b]), int(sample.item[b]))} <= known
        weights = np.array([softmax(p["keys"] @ (p["item"][sample.item[b]] * p["item"][j])) for j in neighbors])
        alpha = softmax(weights @ p["memories"] @ p["user"][sample.user[b]])
        np.testing.assert_allclose(sample.memory_weights[b][real], weights, atol=1e-5)
        np.testing.assert_allclose(sample.neighbor_weights[b][real], alpha, atol=1e-5)
        np.testing.assert_allclose(sample.relation[b], alpha @ weights @ p["memories"], atol=1e-5)
    assert sample.neighbor_weights[~sample.mask].sum() == 0


def test_the_same_seed_gives_the_same_sample_and_another_another(trained, sample):
    again, other = attend(*trained, interactions=150), attend(*trained, interactions=150, seed=1)
    assert (again.item == sample.item).all()
    assert (again.neighbors == sample.neighbors).all()
    assert (other.user != sample.user).any()


def test_neighbors_of_test_interactions_are_those_of_ranking(trained):
    world = trained[2]
    sample = attend(*trained, split="test", interactions=10**6)
    assert len(sample.user) == len(world.test)
    known = world.train + world.valid
    known = set(zip(known.user.tolist(), known.item.tolist(), strict=True))
    for user, neighbors, mask in zip(sample.user, sample.neighbors, sample.mask, strict=True):
        assert {(int(user), int(j)) for j in neighbors[mask]} <= known


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("hlr", {"variant": "reference", "num_memories": 3}, (4, 3)),
        ("hlrpp", {"num_memories": 3, "max_item_users": 2}, (4, 3)),
        ("adacml", {}, (4, 0)),
        ("lrml", {"num_memories": 3}, (0, 3)),
        ("transcf", {}, (0, 0)),
    ],
)
def test_samples_of_other_models(world, name, options, shape):
    if name in ("hlr", "hlrpp", "adacml"):
        options = options | {"max_history": 4}
    model = hlr_jax.create_model(name, embed_dim=6, **options)
    sample = attend(model, model.init(jax.random.key(0), world.num_users, world.num_items), world, interactions=20)
    assert sample.memory_weights.shape == (20, *shape)
    assert sample.neighbors.shape == sample.mask.shape == sample.neighbor_weights.shape == (20, shape[0])
    assert sample.relation.shape == (20, 6)


def by_hand():
    """Two interactions: item 0 seen with items 1 and 2, item 1 seen with item 0; the last place is padding."""
    a, b = [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]
    return Attended(
        user=np.array([0, 1]),
        item=np.array([0, 1]),
        neighbors=np.array([[1, 2], [0, 7]]),
        mask=np.array([[True, True], [True, False]]),
        memory_weights=np.array([[a, b], [a, [9.0, 9.0, 9.0]]]),
        neighbor_weights=np.array([[0.25, 0.75], [1.0, 0.0]]),
        relation=np.zeros((2, 6)),
    )


def test_pairs_are_unordered_and_counted():
    pairs = item_pairs(by_hand())
    assert (pairs.first.tolist(), pairs.second.tolist(), pairs.times.tolist()) == ([0, 0], [1, 2], [2, 1])
    assert pairs.weights.tolist() == [[0.5, 0.5, 0.0], [0.25, 0.25, 0.5]]
    assert top_pairs(pairs, 0.5).tolist() == [[0], [0], [1]]


def test_a_pair_has_the_same_weights_whichever_item_is_the_candidate(sample):
    weights = {}
    for b, h in np.argwhere(sample.mask):
        pair = frozenset((int(sample.item[b]), int(sample.neighbors[b, h])))
        weights.setdefault(pair, []).append(sample.memory_weights[b, h])
    assert max(map(len, weights.values())) > 1
    for rows in weights.values():
        np.testing.assert_allclose(rows, [rows[0]] * len(rows), atol=1e-5)


def test_usage_by_hand():
    memories = np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    frame = key_usage(by_hand(), {"keys": memories, "memories": memories})
    # Interaction 0: 0.25 a + 0.75 b, interaction 1: a.
    first = 0.25 * 0.5 + 0.75 * 0.25
    assert frame["usage"].to_list() == pytest.approx([(first + 0.5) / 2, (first + 0.5) / 2, 0.75 * 0.5 / 2])
    assert frame["usage"].sum() == pytest.approx(1)
    assert frame["mean_weight"].to_list() == pytest.approx([1.25 / 3, 1.25 / 3, 0.5 / 3])
    assert frame["first"].to_list() == pytest.approx([2 / 3, 0, 1 / 3])
    assert frame["largest"].to_list() == [0.5, 0.5, 0.5]
    # Key 0 has 2/3 and 1/3 of its weight on the two pairs; key 2 is addressed by one alone.
    two = -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)) / np.log(2)
    assert frame["entropy"].to_list() == pytest.approx([two, two, 0.0])
    assert frame["key_norm"].to_list() == [5.0, 0.0, 1.0]
    assert not frame["dead"].any()


def test_a_key_below_a_tenth_of_its_share_is_dead():
    sample = by_hand()
    weights = np.broadcast_to(np.array([0.5, 0.47, 0.03]), sample.memory_weights.shape)
    frame = key_usage(sample._replace(memory_weights=weights), {"keys": np.ones((3, 2)), "memories": np.ones((3, 2))})
    assert frame["dead"].to_list() == [False, False, True]


def test_summary_by_hand():
    row = attention_summary(by_hand()).row(0, named=True)
    even, uneven = np.log(2) / np.log(3), -(0.5 * np.log(0.25) + 0.5 * np.log(0.5)) / np.log(3)
    mean = np.array([1.25, 1.25, 0.5]) / 3
    over_all = -(mean * np.log(mean)).sum() / np.log(3)
    assert row["memory_entropy"] == pytest.approx((2 * even + uneven) / 3)
    assert row["usage_entropy"] == pytest.approx(over_all)
    assert row["selectivity"] == pytest.approx(over_all - (2 * even + uneven) / 3)
    assert row["neighbor_entropy"] == pytest.approx(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)) / np.log(2))


def test_pairs_of_a_key_are_the_largest_weights(trained, sample):
    world = trained[2]
    frame = key_pairs(sample, world, top=3)
    assert frame["key"].to_list() == [0] * 3 + [1] * 3 + [2] * 3
    assert frame["rank"].to_list() == [1, 2, 3] * 3
    pairs = item_pairs(sample)
    for key in range(3):
        rows = frame.filter(pl.col("key") == key)
        best = np.sort(pairs.weights[:, key])[::-1]
        assert rows["weight"].to_list() == pytest.approx(best[:3].tolist())
        assert rows["ratio"].to_list() == pytest.approx((best[:3] / pairs.weights[:, key].mean()).tolist())
    with pytest.raises(InputError, match=r"analysis\.top must be at least 1"):
        key_pairs(sample, world, top=0)


def test_similarity_is_the_cosine():
    keys = np.array([[1.0, 0.0], [1.0, 1.0]])
    frame = vector_similarity({"keys": keys, "memories": -keys[::-1]})
    assert frame.select("key", "other").rows() == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert frame["keys"].to_list() == pytest.approx([1, 0.5**0.5, 0.5**0.5, 1])


def planted_genres(world, sample):
    """Genre ``mine``: the items that most often stand in the top pairs of key 0; ``other``: every third item."""
    pairs = item_pairs(sample)
    places = top_pairs(pairs)[0]
    mine = set(np.concatenate([pairs.first[places], pairs.second[places]]).tolist())
    genres = [" ".join(["mine"] * (i in mine) + ["other"] * (i % 3 == 0)) for i in range(world.num_items)]
    titles = pl.DataFrame({"title": [f"Item {i}" for i in range(world.num_items)], "genres": genres})
    return dataclasses.replace(world, titles=titles), mine


def test_a_genre_that_one_key_collects_is_found_and_a_random_one_is_not(trained, sample, world):
    dataset, mine = planted_genres(world, sample)
    frame = key_categories(sample, dataset, permutations=200, least=1)
    row = frame.row(by_predicate=(pl.col("key") == 0) & (pl.col("category") == "mine"), named=True)
    pairs = item_pairs(sample)
    places = 2 * len(top_pairs(pairs)[0])
    everywhere = np.concatenate([pairs.first, pairs.second])
    expected = places * np.isin(everywhere, list(mine)).mean()
    assert row["count"] == places
    assert row["expected"] == pytest.approx(expected)
    assert row["lift"] == pytest.approx((places + 10) / (expected + 10))
    assert row["p_adjusted"] == pytest.approx(1 / 201)
    assert frame.filter(pl.col("category") == "other")["p_adjusted"].min() > 0.05
    assert key_table(sample, trained[1], dataset, permutations=1)["shared"][0] == 1.0


def test_chance_alone_rarely_finds_a_genre(sample, world):
    """Over 40 random assignments of genres, the smallest adjusted p is below 0.1 about one time in ten."""
    rng = np.random.default_rng(0)
    smallest = []
    for _ in range(40):
        genres = [" ".join(np.array(["a", "b", "c", "d"])[rng.random(4) < 0.3]) for _ in range(world.num_items)]
        titles = pl.DataFrame({"title": [""] * world.num_items, "genres": genres})
        frame = key_categories(sample, dataclasses.replace(world, titles=titles), permutations=100, least=0)
        smallest.append(frame["p_adjusted"].min())
    assert np.mean(np.array(smallest) < 0.1) < 0.3
    assert np.mean(np.array(smallest) < 0.6) > 0.3


def test_a_table_and_its_cards(trained, sample):
    _, params, world = trained
    dataset, _ = planted_genres(world, sample)
    table = key_table(sample, params, dataset, top=2, permutations=50)
    assert table["key"].to_list() == [0, 1, 2]
    assert table["pairs"].list.len().to_list() == [2, 2, 2]
    cards = key_cards(table)
    assert "mine (" in cards[0]
    for card, row in zip(cards, table.iter_rows(named=True), strict=True):
        assert card.startswith(f"### Key {row['key']}: ")
        relative = row["usage"] * 3 - 1
        shown = f"{abs(relative):.1%} {'above' if relative > 0 else 'below'} the equal share of 33.3%."
        assert f"Usage: {row['usage']:.1%} of the weight, {shown}" in card
        assert f"- {row['pairs'][0]['title']} & {row['pairs'][0]['neighbor_title']} (" in card
    # A data set without categories has cards too, with ids for titles.
    plain = key_cards(key_table(sample, params, world))
    assert not any("category" in card for card in plain)
    assert key_cards(table.with_columns(dead=pl.lit(True)))[1].startswith("### Key 1: dead")


def test_models_without_keys_of_items_are_refused(world):
    for name in ("cml", "lrml", "adacml"):
        model = hlr_jax.create_model(name, embed_dim=6)
        params = model.init(jax.random.key(0), world.num_users, world.num_items)
        with pytest.raises(InputError, match=f"pairs of items address no keys in model {name}"):
            check_keys(model, params)
        with pytest.raises(InputError, match="pairs of items address no keys in the model of this sample"):
            key_table(attend(model, params, world), params, world)


def test_mistakes_are_one_line(trained, sample, world, tmp_path):
    with pytest.raises(InputError, match='unknown split "tset"'):
        attend(*trained, split="tset")
    with pytest.raises(InputError, match=r"analysis\.interactions must be at least 1"):
        attend(*trained, interactions=0)
    alone = sample._replace(mask=np.zeros_like(sample.mask))
    for look in (attention_summary, item_pairs):
        with pytest.raises(InputError, match="no user of the sample has a second item"):
            look(alone)
    with pytest.raises(InputError, match="no category has 5 items or more"):
        key_categories(sample, world)
    with pytest.raises(InputError, match=r"tags\.csv: no such file"):
        read_categories(tmp_path / "tags.csv")
    with pytest.raises(InputError, match="unknown file extension"):
        read_categories(tmp_path / "tags.dat")
    (tmp_path / "tags.csv").write_text("item,tag\n1,a\n")
    with pytest.raises(InputError, match=r'tags\.csv: no column "category"'):
        read_categories(tmp_path / "tags.csv")


def test_categories_from_a_file_go_by_original_ids(world, tmp_path):
    path = tmp_path / "tags.tsv"
    path.write_text("item\tcategory\n" + "".join(f"{i}\trock music\n{i}\trock music\n" for i in (3, 5, 8, 99)))
    names, member = item_categories(world, read_categories(path), least=3)
    assert names == ("rock music",)
    assert np.flatnonzero(member[:, 0]).tolist() == [3, 5, 8]
