import json
import struct
import sys
import time

import pytest

from hlr_jax import InputError
from hlr_jax.training import event_files as module
from hlr_jax.training.event_files import EventFiles, event_files


def points(folder):
    """Every scalar of a folder's event files, (tag, step, value): records framed as TFRecord, read by hand."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir()):
        data, place = path.read_bytes(), 0
        while place + 16 < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            if place + 16 + length > len(data):
                break  # it is being written
            event = Event.FromString(data[place + 12 : place + 12 + length])
            place += 16 + length
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return sorted(found)


def record(epoch, seed=0, loss=0.5):
    return {"epoch": epoch, "seed": seed, "train_loss": loss, "valid_ndcg@10": 0.25, "best_epoch": 1, "seconds": 2.0}


def write(path, *records, tail=""):
    path.write_text("".join(json.dumps(one) + "\n" for one in records) + tail)


def test_each_epoch_stands_once_in_the_files_of_its_seed(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    files = EventFiles(tmp_path)
    files.update()  # nothing is there yet
    assert not (tmp_path / "tensorboard").exists()
    write(metrics, record(1), record(1, seed=7), tail='{"epoch": 2, "se')
    files.update()
    write(metrics, record(1), record(1, seed=7), record(2), record(2, seed=7, loss=0.125))
    files.update()
    files.update()
    files.close()
    both = [("valid_ndcg_at_10", 1, 0.25), ("valid_ndcg_at_10", 2, 0.25)]
    assert points(tmp_path / "tensorboard" / "seed-0") == [("train_loss", 1, 0.5), ("train_loss", 2, 0.5), *both]
    assert points(tmp_path / "tensorboard" / "seed-7") == [("train_loss", 1, 0.5), ("train_loss", 2, 0.125), *both]


def test_a_continued_run_has_no_epoch_twice(tmp_path):
    metrics, folder = tmp_path / "metrics.jsonl", tmp_path / "tensorboard" / "seed-0"
    write(metrics, record(1), record(2, loss=0.75))
    first = EventFiles(tmp_path)
    first.update()
    first.close()
    (folder / "notes.txt").write_text("not an event file")
    second = EventFiles(tmp_path)
    second.update()
    write(metrics, record(1))  # epoch 2 had no checkpoint: it is trained again
    second.update()
    write(metrics, record(1), record(2), record(3))
    second.update()
    second.close()
    assert (folder / "notes.txt").exists()
    (folder / "notes.txt").unlink()
    assert [(step, value) for tag, step, value in points(folder) if tag == "train_loss"] == [
        (1, 0.5),
        (2, 0.5),
        (3, 0.5),
    ]


def test_files_follow_the_run_and_are_complete_when_it_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS", 0.01)
    folder = tmp_path / "tensorboard" / "seed-0"

    def train():
        write(tmp_path / "metrics.jsonl", record(1))
        limit = time.monotonic() + 20
        while not (folder.exists() and len(points(folder)) == 2):
            assert time.monotonic() < limit
            time.sleep(0.01)
        write(tmp_path / "metrics.jsonl", record(1), record(2))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), event_files(tmp_path):
        train()
    assert len(points(folder)) == 4


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r"pip install 'hlr_jax\[tb\]'"), event_files(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
