"""Frames, matrices and arguments of a recommender's methods that are wrong in any way: one line each."""

from functools import partial

import jax
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from refusals import check_all, fault_of

import hlr_jax
from hlr_jax import Dataset, Recommender

NAN = float("nan")
ROWS = {
    "user": ["a", "b"] * 6, "item": [1, 2, 3] * 4, "rating": [5.0] * 12, "timestamp": list(range(12)),
    "split": ["train"] * 6 + ["test"] * 6,
}  # fmt: skip
MATRIX = sp.csr_array(np.eye(4))


def quiet(line):
    """Say nothing."""


def frame(*without, **others):
    """A frame that is well, but for these columns."""
    return pl.DataFrame({name: values for name, values in (ROWS | others).items() if name not in without}, strict=False)


FRAMES = {
    "nothing": None, "a number": 3, "a text": "log.csv", "a list": [1, 2], "a dict": ROWS, "an array": np.zeros((3, 2)),
    "a column": pl.Series([1]), "no rows": frame().clear(), "no columns": pl.DataFrame(), "no users": frame("user"),
    "no items": frame("item"), "a missing user": frame(user=[None, *ROWS["user"][1:]]),
    "a missing item": frame(item=[None, *ROWS["item"][1:]]), "all missing": frame(user=[None] * 12),
    "NaN": frame(item=[NAN] * 12), "fractions": frame(item=[1.5] * 12), "infinite": frame(item=[float("inf")] * 12),
    "a blank": frame(user=["", *ROWS["user"][1:]]), "lists": frame(item=[[1]] * 12),
    "objects of JSON": frame(item=[{"a": 1}] * 12), "bytes": frame(user=[b"\xff"] * 12),
    "objects": pl.DataFrame({"user": pl.Series([object()] * 3, dtype=pl.Object), "item": [1, 2, 3]}),
    "dates": frame().with_columns(item=pl.date(2020, 1, 1)),
    "a broken plan": frame().lazy().with_columns(pl.col("nope")),
    "a name twice": pd.DataFrame([["a", "b", 1]], columns=["user", "user", "item"]),
    "objects of pandas": pd.DataFrame({"user": [object()] * 3, "item": [1, 2, 3]}),
}  # fmt: skip
OPTIONS = {
    "a column that is not there": {"user": "who"}, "a column that is a number": {"user": 3},
    "another name of the setting": {"user_column": "who"}, "a threshold above all": {"threshold": 9},
    "a threshold that is NaN": {"threshold": NAN}, "a threshold that is text": {"threshold": "3"},
    "no k-core": {"k_core": 100}, "k-core 0": {"k_core": 0}, "a k-core that is text": {"k_core": "2"},
    "a split": {"split": "nope"}, "a split that is a number": {"split": 3},
    "a moment that is none": {"split": "time", "test_from": "never"}, "a path": {"path": "x"},
    "valid without test": {"split": "time", "valid_from": "3"}, "a format": {"format": "csv"},
    "nearly a setting": {"treshold": 3}, "a protocol": {"protocol": "x"}, "seed -1": {"seed": -1},
    "a seed that is text": {"seed": "x"}, "missing ids": {"missing_ids": "x"}, "unknown users": {"unknown_users": "x"},
    "splits of training": {"train_splits": "test"},
}  # fmt: skip
COLUMNS = {
    "no ratings": (["rating"], {}, {"threshold": 3}),
    "texts for ratings": ([], {"rating": ["x"] * 12}, {"threshold": 3}),
    "NaN for ratings": ([], {"rating": [NAN] * 12}, {"threshold": 3}),
    "missing ratings": ([], {"rating": [None] * 12}, {"threshold": 3}),
    "no split": (["split"], {}, {"split": "given"}), "odd splits": ([], {"split": ["a"] * 12}, {"split": "given"}),
    "missing splits": ([], {"split": [None] * 12}, {"split": "given"}),
    "no times": (["timestamp"], {}, {"split": "time"}),
    "odd times": ([], {"timestamp": ["x"] * 12}, {"split": "time"}),
    "missing times": ([], {"timestamp": [None] * 12}, {"split": "time"}),
}  # fmt: skip
MATRICES = {
    "dense": (np.eye(3), {}), "nothing": (None, {}), "few ids": (MATRIX, {"user_ids": ["a"]}),
    "an id twice": (MATRIX, {"user_ids": ["a"] * 4}), "a text of ids": (MATRIX, {"user_ids": "abcd"}),
    "a missing id": (MATRIX, {"user_ids": ["a", None, "c", "d"]}), "a dict of ids": (MATRIX, {"item_ids": {"a": 1}}),
    "a table of ids": (MATRIX, {"item_ids": np.zeros((4, 2))}), "no entry": (sp.csr_array((4, 4)), {}),
    "no row": (sp.csr_array((0, 0)), {}), "NaN": (sp.csr_array(np.eye(4) * NAN), {"threshold": 1}),
}  # fmt: skip
ARRAYS = {
    "lengths": ([1, 2], [1], {}), "nothing": (None, None, {}), "texts": ("ab", "cd", {}), "numbers": (1, 2, {}),
    "tables": (np.zeros((2, 2)), [1, 2], {}), "empty": ([], [], {}), "missing": ([None], [None], {}),
    "nested": ([[1]], [[2]], {}), "objects": ([object()], [1], {}), "no ratings": ([1], [2], {"threshold": 1}),
    "no times": ([1], [2], {"split": "time"}), "beyond 64 bits": ([10**30], [1], {}), "fractions": ([-1.5], [1], {}),
    "sets": ({1}, {2}, {}),
}  # fmt: skip


def test_data_in_memory():
    made = partial(Dataset.from_frame, log=quiet)
    tried = {name: fault_of(partial(made, given)) for name, given in FRAMES.items()}
    tried |= {name: fault_of(partial(made, frame(), **options)) for name, options in OPTIONS.items()}
    for name, (without, others, options) in COLUMNS.items():
        tried[name, "in a frame"] = fault_of(partial(made, frame(*without, **others), **options))
    for name, (matrix, options) in MATRICES.items():
        tried[name, "in a matrix"] = fault_of(partial(Dataset.from_csr, matrix, log=quiet, **options))
    for name, (users, items, options) in ARRAYS.items():
        tried[name, "in arrays"] = fault_of(partial(Dataset.from_arrays, users, items, log=quiet, **options))
    assert check_all(tried.items()) > 80


NO_COUNT = {"0": 0, "-1": -1, "text": "5", "a fraction": 2.5, "null": None, "a list": [5], "NaN": NAN, "true": True}
NO_IDS = {
    "unknown": "zz", "one of two unknown": [1, "zz"], "NaN": NAN, "a dict": {"a": 1}, "an object": object(),
    "bytes": b"x", "nested": [[1]], "missing": [None], "a fraction": 1.5, "true": True,
    "a frame": pl.DataFrame({"user": [1]}), "a table": np.zeros((2, 2)),
}  # fmt: skip
NO_HISTORIES = {
    "nobody": {}, "no item": [], "unknown": ["zz"], "all of one unknown": {"a": ["zz"]}, "missing": {"a": None},
    "another frame": pl.DataFrame({"x": [1]}), "an object": object(), "nested": [[1]], "NaN": [NAN],
    "a missing user": {None: [1]}, "a table": np.zeros((2, 2)),
}  # fmt: skip
NO_CHOICE = {
    "unknown": ["zz"], "a fraction": 3.5, "nested": [[1]], "of an unknown user": {"zz": [1]},
    "a dict of fractions": {1: 3.5}, "another frame": pl.DataFrame({"x": [1]}), "an object": object(),
}  # fmt: skip
NO_WORD = {"nope": "nope", "a number": 3, "a list": ["error"], "null": None}
NO_FOLDER = {"empty": "", "blank": " ", "null": None, "a file": __file__, "a number": 3}


def but(wrong, name):
    """All of these but one, which is right there."""
    return {other: value for other, value in wrong.items() if other != name}


def of_methods(own, folder):
    """Calls of a recommender's methods, each with what its last argument can't be."""
    first, index = own.dataset.user_ids[0], hlr_jax.IndexOptions(candidates=1)
    return {
        "recommend": (own.recommend, NO_IDS), "recommend k": (lambda k: own.recommend([first], k=k), NO_COUNT),
        "recommend num_reasons": (lambda n: own.recommend([first], num_reasons=n), but(NO_COUNT, "0")),
        "recommend on_unknown": (lambda word: own.recommend([first], on_unknown=word), NO_WORD),
        "recommend exclude": (lambda ids: own.recommend([first], exclude=ids), NO_CHOICE | {"all": range(50)}),
        "recommend candidates": (lambda ids: own.recommend([first], candidates=ids), NO_CHOICE | {"none": []}),
        "recommend histories": (lambda given: own.recommend(histories=given), NO_HISTORIES),
        "fold_in": (own.fold_in, NO_HISTORIES | {"null": None}),
        "fold_in on_unknown": (lambda word: own.fold_in([1], on_unknown=word), NO_WORD),
        "fold_in options": (lambda given: own.fold_in([1], options=given), {"a number": 3, "a dict": {"num_steps": 3}}),
        "explain": (lambda user: own.explain(user, [1]), NO_IDS | {"null": None}),
        "explain items": (lambda ids: own.explain(first, ids), NO_IDS | {"null": None}),
        "evaluate": (own.evaluate, NO_WORD | {"train": "train"}),
        "evaluate k": (lambda k: own.evaluate("test", k), but(NO_COUNT, "a list") | {"(5, 5)": (5, 5), "()": ()}),
        "similar_items": (own.similar_items, NO_IDS), "similar_users": (own.similar_users, NO_IDS),
        "similar_items k": (lambda k: own.similar_items(first, k=k), NO_COUNT),
        "similar_items part": (lambda part: own.similar_items(first, part=part), but(NO_WORD, "null")),
        "nearest_keys": (own.nearest_keys, NO_IDS),
        "nearest_keys k": (lambda k: own.nearest_keys(first, k=k), NO_COUNT),
        "nearest_keys other": (lambda other: own.nearest_keys(first, other=other), NO_IDS),
        "nearest_keys user": (lambda user: own.nearest_keys(first, user=user), NO_IDS),
        "keys interactions": (lambda count: own.keys(interactions=count), NO_COUNT),
        "keys categories": (lambda given: own.keys(categories=given), {"a frame": pl.DataFrame({"x": [1]}), "3": 3}),
        "keys seed": (lambda seed: own.keys(seed=seed), but(NO_COUNT, "0")),
        "export": (own.export, NO_FOLDER), "export k": (lambda k: own.export(folder, k=k), but(NO_COUNT, "null")),
        "export dtype": (lambda dtype: own.export(folder, dtype=dtype), NO_WORD),
        "export index": (lambda given: own.export(folder, index=given), {"text": "hnsw", "few candidates": index}),
        "save": (own.save, NO_FOLDER), "load": (Recommender.load, NO_FOLDER),
        "of_seed": (own.of_seed, but(NO_COUNT, "0")),
    }  # fmt: skip


@pytest.fixture(scope="module", params=["ease", "hlr"])
def recommender(request, world):
    """A recommender that reads histories, as it is before training."""
    ease = hlr_jax.fit(world, "ease", model={"regularization": (30.0,)}, quiet=True)
    if request.param == "ease":
        return ease
    model = hlr_jax.create_model("hlr", embed_dim=4, num_memories=3, max_history=8)
    params = model.init(jax.random.key(0), world.num_users, world.num_items)
    run, _ = ease.served
    parts = run.parts._replace(model=model, train=hlr_jax.TrainOptions())
    return Recommender(run._replace(parts=parts, params=[params]), {"model": {"name": "hlr"}})


def test_methods_of_a_recommender(recommender, tmp_path):
    tried = {
        (method, name): fault_of(partial(call, value))
        for method, (call, wrong) in of_methods(recommender, tmp_path / "export").items()
        for name, value in wrong.items()
    }
    assert check_all(tried.items()) > 200
    assert list(tmp_path.iterdir()) == []


def test_functions(world, tmp_path):
    none, new = tmp_path / "none", tmp_path / "new"
    calls = {
        "fit": (lambda data: hlr_jax.fit(data, "ease"), [None, 3, "ml-100k", pl.DataFrame()]),
        "fit system": (lambda system: hlr_jax.fit(world, system), [None, 3, "nope", "hlr-nope", ["ease"]]),
        "fit model": (lambda given: hlr_jax.fit(world, "cml", model=given), [3, [1], "x", {"x": 1}, {"embed_dim": 0}]),
        "fit train": (lambda given: hlr_jax.fit(world, "cml", train=given), [3, [1], "x", {"x": 1}]),
        "fit eval": (lambda given: hlr_jax.fit(world, "ease", eval=given), [3, [1], "x", {"k": 0}, {"monitor": "x"}]),
        "fit seed": (lambda seed: hlr_jax.fit(world, "cml", seed=seed), [-1, "x", None, 1.5, 2**32]),
        "fit workdir": (lambda folder: hlr_jax.fit(world, "ease", workdir=folder), ["", " ", __file__, 3]),
        "create_model": (hlr_jax.create_model, ["nope", 3, None]),
        "load_dataset": (hlr_jax.load_dataset, ["nope", 3, None, "", "planted-1x", "planted-2x2x99"]),
        "load_dataset path": (lambda path: hlr_jax.load_dataset(path=path), [3, [], [3], "", str(none), None]),
        "load_run": (hlr_jax.load_run, [none, tmp_path, __file__]),
        "refit": (lambda folder: hlr_jax.refit(folder, new), [none, tmp_path, __file__]),
        "update": (lambda folder: hlr_jax.update(folder, [], new), [none, tmp_path, __file__]),
        "blend": (hlr_jax.blend, [{}, [], 3, [3], {"a": 3}, None]),
        "register_dataset": (hlr_jax.register_dataset, ["ml-100k"]),
        "register_metric": (lambda name: hlr_jax.register_metric(name, print), ["ndcg"]),
        "register_model": (lambda name: hlr_jax.register_model(name, print), ["cml"]),
    }  # fmt: skip
    check_all(
        (f"{name} {str(value)[:40]}", fault_of(partial(call, value)))
        for name, (call, values) in calls.items()
        for value in values
    )
    assert list(tmp_path.iterdir()) == []
