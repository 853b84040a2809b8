"""One process at a time in a folder: two real processes, and a file system without locks."""

import errno
import fcntl
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest
from command_line import command
from fabricated import fabricate

from hlr_jax import InputError, folders
from hlr_jax.json_files import checked
from hlr_jax.locks import LOCK, Lock

HOLD = """
import sys
from pathlib import Path
from hlr_jax.folders import claim
locks = [claim(Path(folder), kind) for folder, kind in zip(sys.argv[1::2], sys.argv[2::2])]
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(*folders_and_kinds):
    """Another process that holds folders, each of a kind, until the block ends; it loads no JAX."""
    words = [sys.executable, "-c", HOLD, *map(str, folders_and_kinds)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks."""

    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


def gone():
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_the_second_process_ends_in_a_line_that_names_the_first(tmp_path):
    folder = tmp_path / "run"
    with another_process(folder, "run") as process:
        line = f"{folder} is in use by process {process.pid} on {socket.gethostname()} since .*; wait for it"
        for take in (
            lambda: folders.claim(folder, "run"), lambda: folders.check(folder, "run"), lambda: folders.hold(folder),
        ):  # fmt: skip
            with pytest.raises(InputError, match=line):
                take()
        assert (folder / LOCK).exists()
    folders.claim(folder, "run").release()
    assert not (folder / LOCK).exists()


def test_the_lock_of_a_killed_process_needs_no_cleaning(tmp_path):
    with another_process(tmp_path, "run") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / LOCK).exists()
        with folders.claim(tmp_path, "run"):
            assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()


def test_a_process_holds_a_folder_as_often_as_it_likes_until_the_last_lets_go(tmp_path):
    first, second = Lock(tmp_path), Lock(tmp_path)
    first.release()
    first.release()  # counts once
    assert (tmp_path / LOCK).exists()
    del second
    gc.collect()
    assert not (tmp_path / LOCK).exists()


def test_a_folder_that_was_deleted_or_replaced_is_held_no_longer(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    lock = Lock(folder)
    folder.rename(tmp_path / "before")
    folder.mkdir()
    with another_process(folder, "run"):
        lock.release()
        assert (folder / LOCK).exists()  # is the other's
        with pytest.raises(InputError, match="is in use by process"):
            Lock(folder)


def test_commands_that_write_to_one_folder_end_in_one_line(tmp_path):
    run, sweep, table, auto = (tmp_path / name for name in ("run", "sweep", "table", "auto"))
    fabricate(run, 0.3)
    planted = ["--config=cml-paper:planted", "--config.dataset.name=planted-60x50x900"]
    with another_process(run, "run", sweep, "sweep", table, "runs", auto, "auto") as process:
        for folder, words in (
            (run, ["train", *planted, f"--workdir={run}"]),
            (run, ["evaluate", f"--workdir={run}"]),
            (sweep, ["sweep", *planted, "--grid=train.margin=0.5,1", f"--workdir={sweep}"]),
            (table, ["table2", f"--workdir={table}"]),
            (table, ["baselines", f"--workdir={table}"]),
            (auto, ["train", "--config=auto:planted", f"--workdir={auto}"]),
        ):
            done = command(*words)
            assert (done.returncode, done.stderr.count("\n")) == (2, 1), words
            assert f"{folder} is in use by process {process.pid} on " in done.stderr


def test_where_there_are_no_locks_the_file_is_a_lease(tmp_path, no_locks):
    path = tmp_path / LOCK
    with Lock(tmp_path):
        assert json.loads(path.read_text())["process"] == os.getpid()
    assert not path.exists()
    here, since = socket.gethostname(), "2026-01-01T00:00:00+00:00"
    # A process of this host that lives: this one's parent.
    path.write_text(json.dumps(checked({"host": here, "process": os.getppid(), "since": since})))
    with pytest.raises(InputError, match=rf"process {os.getppid()} on .* since 2026.*or delete .*{LOCK} if"):
        Lock(tmp_path)
    path.write_text(json.dumps(checked({"host": "elsewhere", "process": gone(), "since": since})))
    with pytest.raises(InputError, match="on elsewhere since"):
        Lock(tmp_path)
    path.write_text("")  # of one that is just taking it
    with pytest.raises(InputError, match="is in use by another process"):
        Lock(tmp_path)
    path.write_text(json.dumps(checked({"host": here, "process": gone(), "since": since})))
    with Lock(tmp_path):
        assert json.loads(path.read_text())["process"] == os.getpid()
    assert not path.exists()
