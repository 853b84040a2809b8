import struct
import sys

import pytest

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
        "epoch": epoch, "seed": seed, "temperature": temperature, "train_loss": loss, "valid_ndcg@10": 0.25,
        "best_epoch": 1, "seconds": 2.0, "positives_per_s": 8.0,
    }  # fmt: skip


def test_each_epoch_stands_in_the_files_of_its_seed_as_soon_as_it_ends(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    assert not (tmp_path / "tensorboard").exists()
    logger(record(1))
    first = [("positives_per_s", 1, 8.0), ("train_loss", 1, 0.5), ("valid_ndcg_at_10", 1, 0.25)]
    assert points(tmp_path / "tensorboard" / "seed-0") == first
    logger(record(1, seed=7))
    logger(record(2, seed=7, loss=0.125))
    assert points(tmp_path / "tensorboard" / "seed-0") == first
    second = [("positives_per_s", 2, 8.0), ("train_loss", 2, 0.125), ("valid_ndcg_at_10", 2, 0.25)]
    assert points(tmp_path / "tensorboard" / "seed-7") == sorted([*first, *second])


def test_of_several_temperatures_each_has_a_folder(tmp_path):
    logger = TensorBoardLogger(tmp_path, several=True)
    logger(record(1, temperature=0.2))
    logger(record(1, temperature=1.0))
    folders = [path.name for path in sorted((tmp_path / "tensorboard").iterdir())]
    assert folders == ["seed-0-temperature-0.2", "seed-0-temperature-1"]


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
