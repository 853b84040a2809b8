"""Every setting with every kind of wrong value, and configs that are wrong elsewhere: one line each."""

import dataclasses
import json
import math
from functools import partial

import numpy as np
import pytest
from refusals import check_all, fault_of

import hlr_jax
from hlr_jax import EvalOptions, FoldInOptions, IndexOptions, TrainOptions
from hlr_jax.auto_options import AutoOptions
from hlr_jax.configs import recipes
from hlr_jax.data.options import DataOptions
from hlr_jax.mesh import MeshOptions
from hlr_jax.models.options import MODEL_OPTIONS
from hlr_jax.scorers.ease import Ease
from hlr_jax.scorers.item_knn import ItemKNN
from hlr_jax.sweeps.points import read_space

SETTINGS = [
    TrainOptions, DataOptions, EvalOptions, MeshOptions, AutoOptions, IndexOptions, FoldInOptions, Ease, ItemKNN,
    *MODEL_OPTIONS.values(),
]  # fmt: skip


def of_ranges(lowest, highest):
    """What is no number from the lowest to the highest."""
    wrong = {"below": lowest - 1 if lowest > -1e9 else lowest * 2, "above": highest * 2 + 1, "NaN": math.nan}
    wrong |= {"infinite": math.inf, "text": "many", "empty": "", "true": True}
    return wrong | ({"a fraction": lowest + 0.5} if isinstance(lowest, int) and isinstance(highest, int) else {})


def wrong_values(field):
    """What a setting can't be, by what is wrong with it."""
    wrong = {"an object": {"a": 1}, "lists of lists": [[1], [2]]}
    if field.default is not None:
        wrong["null"] = None
    is_list = isinstance(field.default, tuple)
    if "range" in field.metadata:
        lowest, highest = field.metadata["range"]
        of_one = of_ranges(lowest, highest)
        wrong |= {name: (value,) for name, value in of_one.items()} if is_list else of_one | {"several": [lowest] * 2}
    elif "known" in field.metadata:
        word = next(filter(None, field.metadata["known"]))
        wrong |= {"unknown": "nope", "near": f"{word[:-1]}q", "a number": 3, "true": True, "megabytes": "x" * 10**6}
        wrong |= {} if is_list else {"several": [word, word]}
    elif isinstance(field.default, bool):
        wrong |= {"text": "maybe", "a number": 3}
    else:
        wrong |= {"a number": 3, "true": True}
    return wrong


def test_every_setting_with_every_wrong_value():
    tried = check_all(
        (f"{kind.__name__}.{field.name}, {what}", fault_of(partial(kind, **{field.name: value}), named=field.name))
        for kind in SETTINGS
        for field in dataclasses.fields(kind)
        for what, value in wrong_values(field).items()
    )
    assert tried > 1300


def test_every_key_that_is_nearly_one():
    """By the config of each recipe: a letter too many, a section that is no section."""
    tried = {}
    for name in ("hlr", "hlrpp-paper", "cml", "ease", "mf_als"):
        config = recipes.get_config(name).to_dict()
        for section, values in config.items():
            for key in values if isinstance(values, dict) else ():
                changed = config | {section: values | {f"{key}s": 1}}
                tried[f"{name}: {section}.{key}s"] = fault_of(partial(hlr_jax.run, changed, None), named=f"{key}s")
            for wrong in (3, [1], "x", None) if isinstance(values, dict) else ():
                call = partial(hlr_jax.run, config | {section: wrong}, None)
                tried[f"{name}: {section}={wrong}"] = fault_of(call, named=section)
    assert check_all(tried.items()) > 150


CML = {"name": "cml", "embed_dim": 4}
CONFIGS = {
    "no model": {}, "a list": [], "nothing": None, "a text": "x", "a section that is none": {"model": CML, "nope": {}},
    "no name": {"model": {}}, "a name that is nearly one": {"model": {"name": "hlrr"}},
    "a name that is null": {"model": {"name": None}}, "a name that is a list": {"model": {"name": ["cml"]}},
    "a name of bytes": {"model": {"name": b"cml"}}, "seed -1": {"model": CML, "seed": -1},
    "seed text": {"model": CML, "seed": "x"}, "seed null": {"model": CML, "seed": None},
    "seed 1.5": {"model": CML, "seed": 1.5}, "seed 2^32": {"model": CML, "seed": 2**32},
    "seed true": {"model": CML, "seed": True}, "an object": {"model": CML | {"embed_dim": object()}},
    "a function": {"model": CML | {"embed_dim": print}}, "a complex number": {"model": CML | {"embed_dim": 1j}},
    "a set": {"model": CML, "train": {"temperatures": {1, 2}}}, "NumPy's NaN": {"train": {"margin": np.float32("nan")}},
    "an array": {"model": CML, "train": {"margin": np.ones(3)}}, "a scorer with train": {
        "model": {"name": "ease"}, "train": {"margin": 1}},
    "a scorer on a mesh": {"model": {"name": "ease"}, "mesh": {"data": 2}}, "auto": {"model": {"name": "auto"}},
    "a blend": {"model": {"name": "blend", "parts": {}}}, "a number as a section": {3: {}}, "no section name": {"": {}},
    "a file that is not there": {"model": CML, "dataset": {"path": "/nowhere/no.csv"}},
    "an unknown data set": {"model": CML, "dataset": {"name": "nope"}}, "no data": {"model": CML, "dataset": {}},
    "no planted users": {"model": CML, "dataset": {"name": "planted-0x0x0"}},
    "planted letters": {"model": CML, "dataset": {"name": "planted-axbxc"}},
    "planted too densely": {"model": CML, "dataset": {"name": "planted-3x3x100"}},
    "more devices than there are": {"model": CML, "mesh": {"data": 3000}},
    "a start that is not there": {"model": CML, "train": {"start": "/nowhere"}},
}  # fmt: skip


def test_configs_that_are_wrong_elsewhere(tmp_path):
    for wrong in CONFIGS.values():
        if isinstance(wrong, dict) and "dataset" not in wrong:
            wrong["dataset"] = {"name": "planted-60x50x900"}
    check_all(
        (name, fault_of(partial(hlr_jax.run, config, tmp_path / "run", quiet=True))) for name, config in CONFIGS.items()
    )
    assert list(tmp_path.iterdir()) == []


GRIDS = {
    "an unknown key": {"train.margn": [1]}, "no value": {"train.margin": []}, "a number": {"train.margin": 1},
    "null": {"train.margin": None}, "a value twice": {"train.margin": [1, 1.0]}, "data": {"dataset.k_core": [1]},
    "seeds": {"train.num_seeds": [1, 2]}, "the seed": {"seed": [1, 2]}, "eval": {"eval.k": [5]},
    "a range from high to low": {"train.margin": "2..1"}, "a range of one": {"train.margin": "1..1"},
    "a logarithmic range from 0": {"train.margin": "log:0..1"}, "a range of letters": {"train.margin": "a..b"},
    "a word": {"train.margin": "x"}, "a section": {"train": [1]}, "an object": {"train": {"margin": {"a": [1]}}},
    "an unread key": {"train.temperature": [1, 2]}, "a list at the top": [1], "a number at the top": 3,
    "a text at the top": "x", "null at the top": None, "nothing": {}, "an empty key": {"": [1]},
}  # fmt: skip
GRID_TEXTS = {"empty": "", "cut": '{"train.margin": [1', "bytes": b"\xff\xfe\x00", "deep": "[" * 10**5, "NUL": "\x00"}


def test_grid_files(tmp_path):
    config, tried = recipes.get_config("cml-paper:planted").to_dict(), {}
    texts = {name: json.dumps(grid) for name, grid in GRIDS.items()} | GRID_TEXTS
    for name, text in texts.items():
        for suffix in (".json", ".toml"):
            path = tmp_path / f"grid{suffix}"
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            tried[name, suffix] = fault_of(partial(read_space, [], str(path), config))
    for entry in ("nope", "=1", "train.margin", "train.margin=", "papr", "train.margin=1,1", "x" * 10**5, "a=b=c"):
        tried[entry[:20]] = fault_of(partial(read_space, [entry], None, config))
    tried["twice"] = fault_of(partial(read_space, ["train.margin=1", "train.margin=2"], None, config))
    tried["no file"] = fault_of(partial(read_space, [], str(tmp_path / "none.json"), config))
    tried["a folder"] = fault_of(partial(read_space, [], str(tmp_path), config))
    check_all(tried.items())


@pytest.mark.parametrize("text", ["x" * 10**6, "/" + "x" * 4000])
def test_what_is_no_name_is_shortened(text):
    with pytest.raises(hlr_jax.InputError, match=r"x\.\.\.x") as caught:
        raise hlr_jax.InputError(f"{text}: no such file; pass another")
    assert len(str(caught.value)) < 150
    assert str(caught.value).endswith(": no such file; pass another")
