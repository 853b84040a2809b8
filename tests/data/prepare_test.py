import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax.data.encoding import encode, k_core
from hlr_jax.data.options import DataOptions
from hlr_jax.data.splits import assign_splits, split_counts
from hlr_jax.errors import InputError
from hlr_jax.protocols import PROTOCOLS


def quiet(**options):
    return hlr_jax.load_dataset(**options, log=lambda _: None)


@pytest.fixture
def own_file(tmp_path, rng):
    """80 users x 40 items, string ids, ratings and times."""
    pairs = np.unique(rng.integers(0, [80, 40], (1500, 2)), axis=0)
    frame = pl.DataFrame(
        {
            "user": [f"u{u:03}" for u in pairs[:, 0]],
            "item": pairs[:, 1] + 1000,
            "rating": rng.integers(1, 6, len(pairs)),
            "timestamp": rng.permutation(len(pairs)),
        }
    )
    path = tmp_path / "own.csv"
    frame.write_csv(path)
    return path, frame


def triples(dataset):
    return {
        (dataset.user_ids[int(u)], dataset.item_ids[int(i)], split)
        for split in ("train", "valid", "test")
        for u, i in zip(getattr(dataset, split).user, getattr(dataset, split).item, strict=True)
    }


@pytest.mark.parametrize("split", ["random", "per-user", "time", "leave-last-out"])
@pytest.mark.parametrize("protocol", ["paper", "reference"])
def test_splits_divide_the_rows_above_the_threshold(own_file, split, protocol):
    path, frame = own_file
    dataset = quiet(path=str(path), threshold=3, split=split, protocol=protocol)
    prepared = triples(dataset)
    kept = frame.filter(pl.col("rating") >= 3)
    if split != "time":  # a cut in time may drop rows of users that train lacks
        assert {(u, i) for u, i, _ in prepared} == set(kept.select("user", "item").rows())
        assert len(prepared) == kept.height
    users = {part: {u for u, _, s in prepared if s == part} for part in ("train", "valid", "test")}
    assert users["valid"] | users["test"] <= users["train"]
    share = sum(s == "test" for *_, s in prepared) / len(prepared)
    if split in ("random", "per-user"):
        assert share == pytest.approx(PROTOCOLS[protocol].test_size, abs=0.03)
    times = dict(zip(kept.select("user", "item").rows(), kept["timestamp"], strict=True))
    if split == "time":
        assert max(times[u, i] for u, i, s in prepared if s == "train") < min(
            times[u, i] for u, i, s in prepared if s == "test"
        )
    if split == "leave-last-out":
        for user in users["test"]:
            own = {
                s: [times[u, i] for u, i, s2 in prepared if u == user and s2 == s] for s in ("train", "valid", "test")
            }
            assert max(own["train"]) < own["valid"][0] < own["test"][0]


def test_protocol_sizes():
    assert split_counts(1000, PROTOCOLS["paper"]) == (100, 100)
    assert split_counts(52764, PROTOCOLS["reference"]) == (10553, 4222)  # the authors' own sizes on MovieLens-100K


def test_rows_may_come_in_any_order_and_twice(own_file, tmp_path):
    path, frame = own_file
    other = tmp_path / "shuffled.csv"
    pl.concat([frame, frame.head(100)]).sample(fraction=1, shuffle=True, seed=1).write_csv(other)
    assert triples(quiet(path=str(path))) == triples(quiet(path=str(other)))


def test_the_cache_gives_the_same_and_follows_file_and_settings(own_file):
    path, frame = own_file
    fresh, cached = quiet(path=str(path), cache=False), quiet(path=str(path))
    again = quiet(path=str(path))
    assert triples(fresh) == triples(cached) == triples(again)
    assert fresh.fingerprint == again.fingerprint
    assert quiet(path=str(path), k_core=2).fingerprint == fresh.fingerprint  # it leaves out no user
    assert quiet(path=str(path), seed=1).fingerprint != fresh.fingerprint
    frame.head(800).write_csv(path)
    assert quiet(path=str(path)).fingerprint != fresh.fingerprint


def test_k_core_equals_brute_force(rng):
    pairs = np.unique(rng.integers(0, [60, 60], (400, 2)), axis=0).astype(np.int32)
    rows = pl.DataFrame(pairs, ["user", "item"])
    left = {tuple(pair) for pair in pairs.tolist()}
    while True:
        users, items = [u for u, _ in left], [i for _, i in left]
        smaller = {(u, i) for u, i in left if users.count(u) >= 4 and items.count(i) >= 4}
        if smaller == left:
            break
        left = smaller
    assert left
    assert set(k_core(rows, 4, "x").rows()) == left


def test_the_earliest_duplicate_is_kept():
    frame = pl.DataFrame({"user": [1, 1, 1], "item": [2, 2, 3], "timestamp": [9.0, 4.0, 5.0]})
    assert encode(frame, "x")[0]["timestamp"].to_list() == [4.0, 5.0]


def test_per_user_ratio_is_exact():
    user = np.repeat(np.arange(3, dtype=np.int32), [10, 20, 1])
    rows = pl.DataFrame({"user": user, "item": np.arange(31, dtype=np.int32)})
    ids = pl.Series(range(31))
    parts = assign_splits(rows, ids, ids, DataOptions(split="per-user", protocol="paper"), None, "x")
    assert [[int((parts[user == u] == p).sum()) for p in range(3)] for u in range(3)] == [
        [8, 1, 1],
        [16, 2, 2],
        [1, 0, 0],
    ]


def test_a_given_split_is_used_unchanged(tmp_path):
    path = tmp_path / "given.parquet"
    frame = pl.DataFrame(
        {"user": ["a", "a", "b", "b"], "item": [5, 6, 5, 7], "split": ["train", "test", "train", "valid"]}
    )
    frame.write_parquet(path)
    assert triples(quiet(path=str(path), split="given")) == set(frame.rows())


def given(tmp_path, *rows):
    path = tmp_path / "given.csv"
    path.write_text("user,item,split\n" + "".join(f"{row}\n" for row in rows))
    return {"path": str(path), "split": "given"}


def test_users_without_training_interactions(tmp_path):
    options = given(tmp_path, "a,1,train", "a,2,train", "c,1,test", "a,3,test")
    with pytest.raises(InputError, match=r"user c is in test but not in train \(1 such users\).*unknown_users=drop"):
        quiet(**options)
    assert len(quiet(**options, unknown_users="keep").test.user) == 2
    assert len(quiet(**options, unknown_users="drop").test.user) == 1


BAD_SETTINGS = {
    "nothing": ({}, "pass dataset.name"),
    "unknown data set": ({"name": "ml100k"}, 'did you mean "ml-100k"'),
    "missing file": ({"path": "nowhere.csv"}, "nowhere.csv: no such file"),
    "unknown protocol": ({"name": "ml-100k", "protocol": "papers"}, 'unknown dataset.protocol "papers" (did you mean'),
    "unknown split": ({"name": "ml-100k", "split": "randm"}, 'did you mean "random"'),
    "synthetic name": ({"name": "planted-10x20"}, "planted-USERSxITEMSxINTERACTIONS"),
    "synthetic size": ({"name": "planted-10x20x30"}, "must be at least 5 per user"),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_bad_settings(case):
    options, message = BAD_SETTINGS[case]
    with pytest.raises(InputError) as caught:
        quiet(**options)
    assert message in str(caught.value)


def test_bad_contents(own_file, tmp_path):
    path, _ = own_file
    for options, message in [
        ({"k_core": 60}, "no interaction is left after the 60-core"),
        ({"threshold": 9.0}, "no interactions with a rating of at least 9"),
        ({"k_core": 0}, "dataset.k_core must be at least 1"),
        ({"user_column": "usr"}, 'no column "usr" (did you mean "user"?)'),
        ({"format": "cvs"}, 'did you mean "csv"'),
        ({"split": "given"}, 'no column "split"'),
    ]:
        with pytest.raises(InputError) as caught:
            quiet(path=str(path), **options)
        assert message in str(caught.value)
    for rows, message in [
        (["a,1,trian"], 'holds "trian"; it must be one of train, valid, test'),
        (["a,1,test"], 'no row has split "train"'),
        (["a,1,train", "a,1,test"], "user a and item 1 is in two splits"),
        (["a,1,train", "a,2,valid"], "user a has interacted with all 2 items"),
    ]:
        with pytest.raises(InputError) as caught:
            quiet(**given(tmp_path, *rows))
        assert message in str(caught.value)


def test_a_synthetic_data_set_has_its_planted_relations():
    world = hlr_jax.synthetic_world(300, 200, 6000, num_relations=3, seed=4)
    keys = world.pairs.user.astype(int) * 200 + world.pairs.item
    assert len(np.unique(keys)) == 6000
    assert (np.diff(keys) > 0).all()
    assert np.bincount(world.pairs.user).min() >= 5
    np.testing.assert_allclose(world.user_relations.sum(axis=1), 1)
    # Each cluster has one successor for each relation type; that of type 0 is the cluster itself.
    assert ((world.relation_of >= 0).sum(axis=1) == 3).all()
    assert (np.diag(world.relation_of) == 0).all()
    # Items are in clusters that a taste of the user leads to, far more often than by chance.
    reach = (world.relation_of >= 0)[world.user_tastes].any(axis=1)
    within = reach[world.pairs.user, world.item_cluster[world.pairs.item]].mean()
    assert within > 0.95
    counts = np.sort(np.bincount(world.pairs.item, minlength=200))[::-1]
    assert counts[:20].sum() > 2 * counts[-100:].sum() / 5
    again = hlr_jax.synthetic_world(300, 200, 6000, num_relations=3, seed=4)
    np.testing.assert_array_equal(world.pairs.item, again.pairs.item)


@pytest.mark.parametrize("name", ["ml-100k", "lastfm-hetrec"])
def test_published_files_give_the_reference_sizes(shared_data, name):
    """Users, items and sizes in ../shared/reference, from the raw files."""
    path = {"ml-100k": "ml-100k/ml-100k.inter", "lastfm-hetrec": "lastfm-hetrec/user_artists.dat"}[name]
    format = "recbole" if name == "ml-100k" else "auto"
    dataset = quiet(name=name, path=str(shared_data / path), format=format)
    expected = {"ml-100k": (887, 822, 37989, 4222, 10553), "lastfm-hetrec": (1767, 1470, 43901, 4878, 12195)}[name]
    sizes = [len(getattr(dataset, split)) for split in ("train", "valid", "test")]
    assert (dataset.num_users, dataset.num_items, *sizes) == expected


@pytest.mark.parametrize("name", ["interactions.parquet", "users.parquet", "items.parquet", "dataset.json"])
def test_damaged_prepared_data_is_prepared_again_with_a_warning(own_file, tmp_path, monkeypatch, name):
    monkeypatch.setenv("HLR_JAX_DATA", str(tmp_path / "cache"))
    whole, lines = quiet(path=str(own_file[0])), []
    (path,) = (tmp_path / "cache" / "prepared").glob(f"*/{name}")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])
    again = hlr_jax.load_dataset(path=str(own_file[0]), log=lines.append)
    assert again.fingerprint == whole.fingerprint
    assert f"warning: {path}: damaged" in lines[0]
    assert lines[0].endswith("; preparing the data again")
    lines.clear()
    hlr_jax.load_dataset(path=str(own_file[0]), log=lines.append)  # from the repaired cache
    assert not any("warning" in line for line in lines)
