"""Yesterday's run and today's rows."""

import json
import re

import numpy as np
import polars as pl
import pytest
from command_line import command

import hlr_jax
from hlr_jax import InputError
from hlr_jax.fitting.start import start_of

OPTIONS = {"quiet": True, "log": lambda line: None}
ROWS = [("u3", "i100", 5), ("u5", "i100", 4), ("u60", "i1", 5), ("u60", "i2", 5), ("u60", "i100", 5), ("u8", "i9", 1)]


def frame(rows):
    return pl.DataFrame(rows, schema=["who", "item", "rating"], orient="row")


@pytest.fixture(scope="module")
def yesterday(world, tmp_path_factory):
    """A run of two seeds and two temperatures on a file with columns of its own, and its workdir."""
    folder = tmp_path_factory.mktemp("update")
    pairs = pl.concat([
        pl.DataFrame({"who": part.user, "item": part.item, "split": name}) for name, part in world.splits.items()
    ])  # fmt: skip
    named = pairs.with_columns(pl.format("u{}", "who").alias("who"), pl.format("i{}", "item").alias("item"), rating=5)
    named.write_parquet(folder / "rows.parquet")
    config = {
        "dataset": {"path": str(folder / "rows.parquet"), "user_column": "who", "threshold": 4, "split": "given"},
        "model": {"name": "cml", "embed_dim": 6},
        "train": {
            "num_epochs": 3, "batch_size": 200, "learning_rate": 0.05, "objective": "sampled_softmax", "num_seeds": 2,
            "temperatures": [0.1, 0.5], "prune_after": 2, "patience": 2,
        },
        "eval": {"monitor": "ndcg", "k": 5}, "seed": 3,
    }  # fmt: skip
    return hlr_jax.run(config, folder / "yesterday", **OPTIONS), folder / "yesterday"


def test_an_update_continues_from_yesterday_with_the_new_rows_in_training(yesterday, tmp_path):
    done, folder = yesterday
    data, said = done.parts.dataset, []
    held = [(data.user_ids[int(part.user[0])], data.item_ids[int(part.item[0])]) for part in (data.valid, data.test)]
    rows = frame([*ROWS, *((user, item, 5) for user, item in held)])
    after = hlr_jax.update(folder, rows, tmp_path, num_epochs=2, quiet=True, log=said.append)
    assert said[0] == "5 new interactions, 1 new users, 1 new items"
    grown = after.parts.dataset
    assert len(grown.train) == len(data.train) + 5  # one row is below the threshold, two are held out
    assert (len(grown.valid), len(grown.test)) == (len(data.valid), len(data.test))
    assert (grown.user_ids[60], grown.item_ids[50]) == ("u60", "i100")
    assert set(after.metrics) == {"valid", "test"}
    temperatures = [fit.run.temperature for fit in done.fits]
    train = after.parts.train
    assert train.temperature == max(temperatures, key=temperatures.count)
    assert (train.temperatures, train.num_epochs, train.patience, train.start) == ((), 2, 0, str(folder))
    # What it starts from is yesterday's result: with a learning rate of 0 it stays that.
    start, _ = start_of(train, after.parts.model, None)
    params = start(grown, train.runs([3, 4]), lambda line: None)
    for place, fit in enumerate(done.fits):
        np.testing.assert_array_equal(params["user"][place, :60], fit.params["user"])
    assert [record["epoch"] for record in after.fits[1].history] == [0, 1, 2]
    # It is a run like any other, and the same call does nothing more.
    loaded = hlr_jax.load_run(tmp_path, log=OPTIONS["log"])
    lists = hlr_jax.recommend(loaded.parts.model, loaded.params[0], loaded.parts.dataset, users=["u60"], k=3)
    assert not set(lists["item"]) & {"i1", "i2", "i100"}
    lines = (tmp_path / "metrics.jsonl").read_bytes()
    hlr_jax.update(folder, rows, tmp_path, num_epochs=2, **OPTIONS)
    assert (tmp_path / "metrics.jsonl").read_bytes() == lines


def test_rows_come_from_files_of_any_format_and_the_command_updates(yesterday, tmp_path):
    _, folder = yesterday
    frame(ROWS[:3]).write_csv(tmp_path / "a.csv")
    frame(ROWS[2:]).write_parquet(tmp_path / "b.parquet")
    done = command(
        "update", f"--workdir={folder}", f"--data={tmp_path / 'a.csv'},{tmp_path / 'b.parquet'}",
        f"--output={tmp_path / 'run'}", "--num_epochs=1", "--quiet",
    )  # fmt: skip
    out = done.stdout
    assert done.returncode == 0, done.stderr
    assert "5 new interactions, 1 new users, 1 new items" in out
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["num_epochs"] == 1
    assert re.search(rf"best epoch [01], [01]; everything is in {tmp_path / 'run'}", out)
    # Tomorrow goes on from today.
    frame([("u61", "i3", 5)]).write_ndjson(tmp_path / "c.ndjson")
    again = hlr_jax.update(tmp_path / "run", tmp_path / "c.ndjson", tmp_path / "next", num_epochs=1, **OPTIONS)
    assert again.parts.dataset.user_ids[-1] == "u61"
    wrong = command("update", f"--workdir={folder}", "--data=no.csv", f"--output={tmp_path / 'x'}")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
    assert "no.csv: no such file" in wrong.stderr


def test_mistakes_are_one_line(yesterday, tmp_path):
    done, folder = yesterday
    data = done.parts.dataset
    known = [(data.user_ids[int(data.train.user[0])], data.item_ids[int(data.train.item[0])], 5)]
    for rows, message in (
        (frame(known), "no new row: the run has all, or its threshold"),
        (frame(ROWS).rename({"who": "person"}), 'new rows: no column "who"'),
        (frame(ROWS).drop("rating"), 'new rows: no column "rating"'),
    ):
        with pytest.raises(InputError, match=message) as caught:
            hlr_jax.update(folder, rows, tmp_path / "run", **OPTIONS)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="is the run to start from; pass another folder"):
        hlr_jax.update(folder, frame(ROWS), f"{folder}/", **OPTIONS)
    with pytest.raises(InputError, match="is not a workdir"):
        hlr_jax.update(tmp_path, frame(ROWS), tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists()


def test_a_scorer_is_refitted_to_all_rows(world, tmp_path):
    config = {"dataset": {"name": "planted-60x50x900"}, "model": {"name": "ease", "regularization": [30.0, 300.0]}}
    before = hlr_jax.run(config, tmp_path / "before", **OPTIONS)
    rows = pl.DataFrame({"user": [60, 60], "item": [1, 2]})
    after = hlr_jax.update(tmp_path / "before", rows, tmp_path / "after", **OPTIONS)
    assert after.parts.model.options == before.parts.model.options  # the value that was chosen
    assert after.parts.dataset.num_users == 61
    lists = hlr_jax.recommend(after.parts.model, after.fits[0].params, after.parts.dataset, users=[60], k=5)
    assert not {1, 2} & set(lists["item"].to_list())
