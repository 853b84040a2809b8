import struct
import sys

import pytest

import hlr_jax
from hlr_jax import InputError
from hlr_jax.training.tensorboard import TensorBoardLogger


def points(folder):
    """Every scalar of a folder's event files, (tag, step, value): records framed as TFRecord, read by hand."""
    from tensorboardX.proto.event_pb2 import Event

    scalars = []
    for path in sorted(folder.glob("events.*")):
        data, place = path.read_bytes(), 0
        while place + 16 < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + length])
            place += 16 + length
            scalars += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return sorted(scalars)


def record(epoch, seed=0, loss=0.5, temperature=0.25):
    return {
        "epoch": epoch, "run": f"seed-{seed}", "seed": seed, "temperature": temperature, "train_loss": loss,
        "valid_ndcg@10": 0.25, "memory_distance": 0.75, "best_epoch": 1, "seconds": 2.0, "positives_per_s": 8.0,
    }  # fmt: skip


def test_each_epoch_stands_in_the_files_of_its_seed_as_soon_as_it_ends(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    assert not (tmp_path / "tensorboard").exists()
    logger(record(1))
    values = {"memory_distance": 0.75, "positives_per_s": 8.0, "train_loss": 0.5, "valid_ndcg_at_10": 0.25}
    first = [(tag, 1, value) for tag, value in values.items()]
    assert points(tmp_path / "tensorboard" / "seed-0") == first
    logger(record(1, seed=7))
    logger(record(2, seed=7, loss=0.125))
    assert points(tmp_path / "tensorboard" / "seed-0") == first
    second = [(tag, 2, value) for tag, value in (values | {"train_loss": 0.125}).items()]
    assert points(tmp_path / "tensorboard" / "seed-7") == sorted([*first, *second])


def test_of_several_temperatures_each_has_a_folder(tmp_path, world):
    options = hlr_jax.TrainOptions(num_epochs=1, batch_size=300, temperatures=(0.2, 1.0), objective="bpr", num_seeds=2)
    evaluation, model = hlr_jax.EvalOptions(monitor="ndcg"), hlr_jax.create_model("cml", embed_dim=3)
    records = []
    loggers = [TensorBoardLogger(tmp_path), records.append]
    hlr_jax.train_seeds(world, model, options, evaluation, loggers=loggers, quiet=True)
    names = [f"seed-{seed}-temperature-{temperature}" for seed in (0, 1) for temperature in ("0.2", "1")]
    assert [path.name for path in sorted((tmp_path / "tensorboard").glob("[!.]*"))] == names
    assert [record["run"] for record in records] == names
    shown = dict((tag, value) for tag, _, value in points(tmp_path / "tensorboard" / names[3]))
    assert shown["train_loss"] == pytest.approx(records[3]["train_loss"])
    assert [(record["seed"], record["temperature"]) for record in records] == [(0, 0.2), (0, 1), (1, 0.2), (1, 1)]
    assert len({record["train_loss"] for record in records}) == 4
    expected = {
        "epoch", "run", "seed", "learning_rate", "margin", "temperature", "train_loss", "valid_loss", "valid_ndcg@10",
        "best_epoch", "seconds", "positives_per_s",
    }  # fmt: skip
    assert all(set(record) == expected for record in records)


def test_a_continued_training_has_no_epoch_twice(tmp_path):
    folder, first = tmp_path / "tensorboard" / "seed-0", TensorBoardLogger(tmp_path)
    for line in (record(1), record(2, loss=0.75)):
        first(line)
    (folder / "notes.txt").write_text("not an event file")
    # Epoch 2 had no checkpoint: it is trained again.
    second = TensorBoardLogger(tmp_path)
    for line in (record(1), record(2), record(3)):
        second(line)
    losses = [(step, value) for tag, step, value in points(folder) if tag == "train_loss"]
    assert losses == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert (folder / "notes.txt").exists()


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r"pip install 'hlr_jax\[tb\]'"):
        TensorBoardLogger(tmp_path)
    assert not list(tmp_path.iterdir())
