import dataclasses
import json

import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax import InputError
from hlr_jax.data.serialization import read_stored, store_dataset


@pytest.fixture
def titled(world):
    titles = pl.DataFrame({"title": [f"t{n}" for n in range(world.num_items - 1)] + [None], "genres": "Drama"})
    return dataclasses.replace(world, titles=titles, user_ids=world.user_ids.cast(pl.String))


def test_a_data_set_is_read_back_unchanged(titled, tmp_path):
    store_dataset(tmp_path / "dataset", titled)
    again = read_stored(tmp_path / "dataset")
    for name in ("train", "valid", "test"):
        for side in ("user", "item"):
            column, expected = (getattr(getattr(dataset, name), side) for dataset in (again, titled))
            np.testing.assert_array_equal(column, expected)
            assert column.dtype == np.int32
    assert again.titles.equals(titled.titles)
    assert again.user_ids.to_list() == titled.user_ids.to_list()
    assert again.item_ids.to_list() == titled.item_ids.to_list()
    assert (again.name, again.fingerprint, again.protocol) == (titled.name, titled.fingerprint, titled.protocol)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


@pytest.mark.parametrize("name", ["interactions.parquet", "users.parquet", "items.parquet", "dataset.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
def test_damage_is_one_line_that_names_the_file(titled, tmp_path, name, damage):
    store_dataset(tmp_path / "dataset", titled)
    path = tmp_path / "dataset" / name
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif name == "dataset.json":
        path.write_text(json.dumps({"name": "x"}))
    else:
        path.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
    with pytest.raises(InputError, match=f"{name}: .*; delete .*dataset; the data is then read") as problem:
        read_stored(tmp_path / "dataset")
    assert len(str(problem.value).splitlines()) == 1


def test_a_run_does_not_resume_with_a_changed_copy(tmp_path):
    config = {
        "dataset": {"name": "planted-60x50x900"}, "model": {"name": "cml", "embed_dim": 4},
        "train": {"num_epochs": 1, "batch_size": 200},
    }  # fmt: skip
    folder = tmp_path / "run[1]"  # a path is no pattern
    hlr_jax.run(config, folder, quiet=True, log=lambda _: None)
    path = folder / "dataset" / "interactions.parquet"
    pl.read_parquet(path, glob=False).reverse().write_parquet(path)
    with pytest.raises(InputError, match=r"interactions.parquet: damaged, it is not what was written"):
        hlr_jax.run(config, folder, quiet=True, log=lambda _: None)
