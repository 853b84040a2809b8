"""SIGINT and SIGTERM at any moment: one line, status 130 or 143, nothing half-written."""

import shlex
import signal
import subprocess
import sys
import time

import pytest

LINES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
WRITING = """
import sys, time
from pathlib import Path
from hlr_jax.ending import end_by_signals
from hlr_jax.files import atomic_file, atomic_folder

folder = Path(sys.argv[1])
atomic = atomic_file(folder / "file"), atomic_folder(folder / "folder")
end_by_signals(lambda: "; a hint")
with atomic[0] as file, atomic[1] as new:
    file.write_text("half")
    (new / "part").write_text("half")
    print("ready", flush=True)
    WAIT
"""
WAITS = {
    "in Python": "while True: pass",
    "in C, which no handler of Python's interrupts": "import ctypes; ctypes.CDLL(None).sleep(60)",
    "in code that catches everything": """
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
""",
}


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("number", LINES)
def test_what_is_half_written_goes(number, wait, tmp_path):
    words = [sys.executable, "-c", WRITING.replace("WAIT", WAITS[wait].strip()), tmp_path]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout.readline() == "ready\n"
        assert len(list(tmp_path.iterdir())) == 2
        started.send_signal(number)
        _, err = started.communicate(timeout=30)
    assert (started.returncode, err) == (128 + number, f"{LINES[number]}; a hint\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["train", "--config=cml:planted-60x50x900"], "; to resume: hlr-jax train --config=cml:planted-60x50x900 "),
        (["keys"], ""),
    ],
)
def test_a_command_says_how_to_go_on_if_it_can(words, hint, tmp_path):
    words = [*words, f"--workdir={tmp_path}/a run"]
    code = f"""
import os, signal, sys
from hlr_jax.cli import main
sys.argv = ["hlr-jax", *{words!r}]
real = main.guarded
def guarded(act):
    os.kill(os.getpid(), signal.SIGTERM)
    return real(act)
main.guarded = guarded
main.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    shown = hint + shlex.quote(words[-1]) if hint else ""
    assert (done.returncode, done.stderr) == (143, f"terminated{shown}\n")
    assert not (tmp_path / "a run").exists()


def test_a_training_ends_in_the_middle_of_an_epoch(tmp_path):
    words = [sys.executable, "-m", "hlr_jax", "train", "--config=cml:planted-60x50x900", f"--workdir={tmp_path}/run"]
    words += ["--config.train.num_epochs=100000", "--config.train.patience=100000", "--quiet"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as started:
        while not (tmp_path / "run" / "checkpoints").is_dir() and started.poll() is None:
            time.sleep(0.05)
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=30)
    assert started.returncode == 130
    assert err.startswith("interrupted; to resume: hlr-jax train --config=cml:planted-60x50x900 --workdir=")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("before", "after"), [("signal.SIG_IGN", 0), ("signal.SIG_DFL", 130)])
def test_an_ignored_signal_stays_ignored(before, after):
    code = f"""
import os, signal
from hlr_jax.ending import end_by_signals
signal.signal(signal.SIGINT, {before})
end_by_signals(lambda: "")
os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == after


def test_signals_are_heard_in_imports_and_at_the_end_of_the_process(tmp_path):
    (tmp_path / "slow.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    code = f"""
import atexit, sys
from hlr_jax.ending import end_by_signals
end_by_signals(lambda: "; a hint")
sys.path.insert(0, {str(tmp_path)!r})
PLACE
"""
    for place in (
        "import slow",
        "atexit.register(lambda: __import__('slow'))",
        "import _imp; _imp.acquire_lock(); import slow",
    ):
        words = [sys.executable, "-c", code.replace("PLACE", place)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
            assert started.stdout.readline() == "ready\n"
            started.send_signal(signal.SIGTERM)
            _, err = started.communicate(timeout=30)
        assert (started.returncode, err) == (143, "terminated; a hint\n")
