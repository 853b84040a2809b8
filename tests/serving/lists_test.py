import jax
import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax import InputError
from hlr_jax.sharding import create_mesh, pad_rows, shardings


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own.csv"
    rng = np.random.default_rng(1)
    pairs = np.unique(rng.integers(0, [30, 25], (250, 2)), axis=0)
    pl.DataFrame({"user": [f"u{u}" for u in pairs[:, 0]], "item": [f"i{i}" for i in pairs[:, 1]]}).write_csv(path)
    dataset = hlr_jax.load_dataset(path=str(path), cache=False, log=lambda _: None)
    model = hlr_jax.create_model("hlr", embed_dim=6, num_memories=3, max_history=4)
    return model, model.init(jax.random.key(0), dataset.num_users, dataset.num_items), dataset


def test_lists_carry_original_ids_and_leave_out_what_is_known(trained):
    frame = hlr_jax.recommend(*trained, ["u3", "u5"], k=4)
    assert frame["user"].to_list() == ["u3"] * 4 + ["u5"] * 4
    assert frame["rank"].to_list() == [1, 2, 3, 4] * 2
    dataset = trained[2]
    known = {
        (dataset.user_ids[int(u)], dataset.item_ids[int(i)])
        for part in (dataset.train, dataset.valid)
        for u, i in zip(part.user, part.item, strict=True)
    }
    assert not known & set(frame.select("user", "item").rows())
    assert (frame["score"].to_numpy()[:4] == np.sort(frame["score"].to_numpy()[:4])[::-1]).all()


def test_one_user_and_no_items(trained):
    assert hlr_jax.recommend(*trained, "u3", k=2)["user"].to_list() == ["u3", "u3"]
    assert hlr_jax.explain(*trained, "u3", []).is_empty()
    with pytest.raises(InputError, match=r"recommend\.k must be at least 1"):
        hlr_jax.recommend(*trained, ["u3"], k=-3)


def test_unknown_ids(trained):
    with pytest.raises(InputError, match='1 of 2 users are unknown, such as "u99"'):
        hlr_jax.recommend(*trained, ["u3", "u99"])
    with pytest.raises(InputError, match='1 of 1 items are unknown, such as "i99"'):
        hlr_jax.explain(*trained, "u3", ["i99"])


def test_candidates_exclusions_and_seen_items_on_one_device_and_on_a_mesh(trained):
    model, params, dataset = trained
    candidates, exclude = [f"i{n}" for n in range(3, 12)], ["i5", "i7"]
    options = {"k": 10, "candidates": candidates, "exclude": exclude, "include_seen": True}
    lists = hlr_jax.recommend(*trained, ["u3", "u5"], **options)
    for _, rows in lists.group_by("user"):
        assert sorted(rows["item"]) == sorted(set(candidates) - set(exclude))
    unseen = hlr_jax.recommend(*trained, ["u3"], k=10, candidates=candidates)
    met = dataset.train + dataset.valid
    code = dataset.user_ids.to_list().index("u3")
    known = {dataset.item_ids[int(item)] for item in met.item[met.user == code]}
    assert set(unseen["item"]) == set(candidates) - known
    mesh = create_mesh(data=2, model=4)
    padded = pad_rows(params, mesh)
    divided = jax.device_put(padded, shardings(padded, mesh))
    others = hlr_jax.recommend(model, divided, dataset, ["u3", "u5"], **options)
    assert others["item"].to_list() == lists["item"].to_list()
    np.testing.assert_allclose(others["score"], lists["score"], rtol=1e-5)
    with pytest.raises(InputError, match="no item is left to recommend"):
        hlr_jax.recommend(*trained, ["u3"], candidates=["i5"], exclude=["i5"])
    with pytest.raises(InputError, match="fold_in runs on one device"):
        hlr_jax.fold_in(model, divided, dataset, {"ann": ["i5"]}, training=hlr_jax.TrainOptions())
