"""What was chosen on validation, trained once more with its interactions."""

import dataclasses
import json
import shutil

import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError
from hlr_jax.json_files import write_json
from hlr_jax.workdir import check_settings, read_config

MODEL = {"embed_dim": 6}
TRAIN = {
    "batch_size": 200, "learning_rate": 0.05, "objective": "sampled_softmax", "num_negatives": 3, "ema_decay": 0.5,
}  # fmt: skip
EVAL = {"monitor": "ndcg", "k": 5}


def silent(_):
    pass


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """A run of two seeds and two temperatures on the world, and its workdir."""
    folder = tmp_path_factory.mktemp("refit") / "run"
    train = TRAIN | {"num_epochs": 5, "patience": 2, "num_seeds": 2, "temperatures": [0.1, 0.5]}
    config = {
        "dataset": {"name": "planted-60x50x900"}, "model": {"name": "cml", **MODEL}, "train": train, "eval": EVAL,
        "seed": 3,
    }  # fmt: skip
    return hlr_jax.run(config, folder, quiet=True, log=silent), folder


def union(*splits):
    """Return the interactions of disjoint splits in the order of users and items, by Python's own sort."""
    rows = sorted(pair for split in splits for pair in zip(split.user.tolist(), split.item.tolist(), strict=True))
    user, item = np.array(rows, np.int32).T
    return Interactions(user, item)


def test_a_refit_is_the_chosen_training_on_train_and_validation(chosen, tmp_path):
    done, folder = chosen
    data = done.parts.dataset
    again = hlr_jax.refit(folder, tmp_path, quiet=True, log=silent)
    kept = [fit.run.temperature for fit in done.fits]
    temperature = max(kept, key=kept.count)  # the first of equals
    epochs = round(np.mean([fit.best_epoch for fit in done.fits if fit.run.temperature == temperature]))
    nothing = Interactions(*np.zeros((2, 0), np.int32))
    both = dataclasses.replace(data, train=union(data.train, data.valid), valid=nothing)
    model, options = hlr_jax.create_model("cml", **MODEL), hlr_jax.EvalOptions(**EVAL)
    for seed, fit in zip((3, 4), again.fits, strict=True):
        training = hlr_jax.TrainOptions(**TRAIN, num_epochs=epochs, temperature=temperature)
        alone = hlr_jax.train_model(both, model, training, options, seed=seed, quiet=True)
        assert (fit.best_epoch, fit.run.temperature) == (epochs, temperature)
        np.testing.assert_allclose(fit.params["user"], alone.params["user"], rtol=1e-5, atol=1e-7)
    assert set(again.metrics) == {"test"}
    # The lists at test leave the same items out as before, and are found by the same users.
    before, after = done.evaluations["test"][0], again.evaluations["test"][0]
    assert after.per_user["user"].to_list() == before.per_user["user"].to_list()
    assert after.metrics.data != before.metrics.data
    met = set(zip(both.train.user.tolist(), both.train.item.tolist(), strict=True))
    users = np.flatnonzero(data.test.degrees())
    shown = {
        (user, item) for user, row in zip(users.tolist(), after.ranking.items.tolist(), strict=True) for item in row
    }
    assert not shown & met
    # It is a run like any other, and the same call continues it.
    loaded = hlr_jax.load_run(tmp_path, log=silent)
    assert loaded.best_epochs == [epochs] * 2
    assert len(loaded.parts.dataset.valid) == 0
    lines = (tmp_path / "metrics.jsonl").read_bytes()
    step = max(tmp_path.glob("checkpoints/[0-9]*"))
    made = step.stat().st_mtime_ns
    once_more = hlr_jax.refit(folder, tmp_path, quiet=True, log=silent)
    assert once_more.metrics["test"].values == again.metrics["test"].values
    assert (tmp_path / "metrics.jsonl").read_bytes() == lines
    assert step.stat().st_mtime_ns == made


def test_a_model_to_serve_is_trained_on_everything_and_not_measured(chosen, tmp_path):
    done, folder = chosen
    data = done.parts.dataset
    served = hlr_jax.refit(folder, tmp_path, train_splits="train+valid+test", quiet=True, log=silent)
    everything = union(data.train, data.valid, data.test)
    np.testing.assert_array_equal(served.parts.dataset.train.item, everything.item)
    assert served.metrics == {}
    assert not (tmp_path / "eval").exists()
    user = data.user_ids[int(everything.user[0])]
    lists = hlr_jax.recommend(
        served.parts.model, served.fits[0].params, served.parts.dataset, users=[user], k=data.num_items
    )
    known = {data.item_ids[int(item)] for item in everything.item[everything.user == everything.user[0]]}
    assert set(lists["item"]) == set(data.item_ids) - known


def test_a_model_to_serve_knows_the_customers_of_the_test_period(tmp_path):
    rows = [(f"u{n % 20:02}", (n % 20 + 2 * (n // 20)) % 30) for n in range(300)]
    rows += [(f"new{n % 4}", 30 + n % 5) for n in range(20)]
    frame = pl.DataFrame(rows, schema=["user", "item"], orient="row").with_row_index("timestamp")
    frame.write_csv(tmp_path / "log.csv")
    config = {
        "dataset": {"path": str(tmp_path / "log.csv"), "split": "time"}, "model": {"name": "cml", **MODEL},
        "train": TRAIN | {"num_epochs": 1}, "eval": EVAL,
    }  # fmt: skip
    done = hlr_jax.run(config, tmp_path / "run", quiet=True, log=silent)
    assert not any(user.startswith("new") for user in done.parts.dataset.user_ids)
    (tmp_path / "log.csv").unlink()
    lines = []
    served = hlr_jax.refit(
        tmp_path / "run", tmp_path / "all", train_splits="train+valid+test", quiet=True, log=lines.append
    )
    data = served.parts.dataset
    assert lines[2:4] == ["log: 320 rows read, left out: none", data.summary()]
    assert set(data.to_frame().rows()) == {(user, item, "train") for user, item in rows}
    assert hlr_jax.load_run(tmp_path / "all", log=silent).parts.dataset.fingerprint == data.fingerprint
    lists = hlr_jax.recommend(served.parts.model, served.fits[0].params, data, users=["new0"], k=3)
    assert lists["user"].to_list() == ["new0"] * 3


def test_data_may_be_trained_on_validation_from_the_start(chosen):
    done, _ = chosen
    data = hlr_jax.load_dataset("planted-60x50x900", train_splits="train+valid", log=silent)
    assert (
        data.fingerprint == done.parts.dataset.trained_on("train+valid").fingerprint != done.parts.dataset.fingerprint
    )
    np.testing.assert_array_equal(data.train.item, union(done.parts.dataset.train, done.parts.dataset.valid).item)
    assert len(data.test) == len(done.parts.dataset.test)
    assert done.parts.dataset.trained_on("train") is done.parts.dataset


def test_a_run_that_is_not_done_has_chosen_nothing(chosen, tmp_path):
    _, folder = chosen
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("result"))
    with pytest.raises(
        InputError, match=r"run: its training has not ended; continue it by the command that started it"
    ):
        hlr_jax.refit(tmp_path / "run", tmp_path / "refit", log=silent)
    assert not (tmp_path / "refit").exists()


def test_a_refit_may_run_on_a_mesh(chosen, tmp_path):
    _, folder = chosen
    runs = [
        hlr_jax.refit(folder, tmp_path / name, mesh=mesh, quiet=True, log=silent)
        for name, mesh in (("one", None), ("many", {"data": 2, "model": 2}))
    ]
    single, many = (np.asarray(run.fits[1].params["item"])[:50] for run in runs)
    np.testing.assert_allclose(single, many, rtol=1e-3, atol=1e-5)


def test_a_run_may_go_on_longer_and_on_other_devices_but_not_with_other_settings(chosen, tmp_path):
    _, folder = chosen
    config = read_config(folder)
    write_json(tmp_path / "config.json", config)
    config["train"] |= {"num_epochs": 50, "patience": 9, "checkpoint_every": 5}
    check_settings(tmp_path, config | {"mesh": {"data": 2}})
    config["dataset"]["train_splits"] = "train+valid"
    with pytest.raises(InputError, match=r"dataset\.train_splits is None there and 'train\+valid' here; pass another"):
        check_settings(tmp_path, config)


def test_mistakes_are_one_line(chosen, tmp_path):
    done, folder = chosen
    hlr_jax.refit(folder, tmp_path / "one", quiet=True, log=silent)
    data = done.parts.dataset
    mistakes = {
        "is not a workdir": lambda: hlr_jax.refit(tmp_path / "none", tmp_path / "two"),
        "is the run to start from; pass another folder as --output": lambda: hlr_jax.refit(folder, folder),
        "holds a run with other settings: dataset.train_splits": lambda: hlr_jax.refit(
            folder, tmp_path / "one", train_splits="train+valid+test"
        ),
        "no valid interactions for dataset.train_splits=train": lambda: hlr_jax.refit(
            tmp_path / "one", tmp_path / "two"
        ),
        'unknown train_splits "train"': lambda: hlr_jax.refit(folder, tmp_path / "two", train_splits="train"),
        'unknown dataset.train_splits "all"': lambda: data.trained_on("all"),
        "user 0 has interacted with all 2 items": lambda: dataclasses.replace(
            data, train=Interactions(*np.zeros((2, 1), np.int32)), valid=Interactions(np.zeros(1, np.int32), np.ones(1,
            np.int32)), item_ids=data.item_ids[:2],
        ).trained_on("train+valid"),
    }  # fmt: skip
    for message, wrong in mistakes.items():
        with pytest.raises(InputError) as caught:
            wrong()
        assert message in str(caught.value), caught.value
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "two").exists()
    assert json.loads((folder / "config.json").read_text())["train"]["num_epochs"] == 5
