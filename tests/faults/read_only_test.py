"""Folders in which this process may write nothing, and files that it may not read: used, or told of in one line."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from command_line import command

import hlr_jax

NOBODY = 65534
AS_NOBODY = "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"


@pytest.fixture(scope="module")
def run(tmp_path_factory, world):
    folder = tmp_path_factory.mktemp("runs") / "ease"
    hlr_jax.fit(world, "ease", model={"regularization": (30.0,)}, workdir=folder, quiet=True)
    return folder


def tree(folder):
    return {path: (path.is_file() and path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.fixture
def mounted(run, tmp_path):
    """The run, in a file system that nothing can be written to."""
    place = tmp_path / "mounted"
    place.mkdir()
    if subprocess.run(["mount", "--bind", run, place], capture_output=True).returncode:
        pytest.skip("this process may mount nothing")
    try:
        if subprocess.run(["mount", "-o", "remount,bind,ro", place], capture_output=True).returncode:
            pytest.skip("this process may mount nothing read-only")
        yield place
    finally:
        subprocess.run(["umount", place], check=False)


def test_what_only_reads_needs_no_right_to_write(mounted, tmp_path):
    before = tree(mounted)
    for words in (
        ["recommend", "--users=all", f"--output={tmp_path}/lists.csv"],
        ["recommend", "--users=1,2"],
        ["explain", "--user=1"],
        ["report", f"--output={tmp_path}/page.html"],
        ["export", f"--output={tmp_path}/export"],
        ["evaluate", "--k=3"],
        ["refit", f"--output={tmp_path}/refit", "--quiet"],
    ):
        done = command(words[0], f"--workdir={mounted}", *words[1:])
        assert (done.returncode, done.stderr) == (0, ""), words
    assert tree(mounted) == before
    for words in (["evaluate"], ["train", "--config=ease", "--config.dataset.name=planted-60x50x900"]):
        done = command(words[0], f"--workdir={mounted}", *words[1:])
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert done.stderr.startswith(f"error: {mounted}/.hlr_jax.lock: Read-only file system")


@pytest.fixture
def open_folder():
    """A folder that everyone may enter: those of pytest are this user's alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


READING = """
import sys
from hlr_jax.recommender.recommender import Recommender
from hlr_jax.system_errors import line_of
for folder in sys.argv[1:]:
    try:
        Recommender.load(folder)
    except OSError as problem:
        print(line_of(problem))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, to be another user")
def test_a_file_of_somebody_else_that_may_not_be_read_is_named(run, open_folder):
    closed = []
    for name in ("config.json", "result/scorer.json", "result/state.safetensors", "dataset/users.parquet"):
        folder = shutil.copytree(run, open_folder / f"without {len(closed)}")
        (folder / name).chmod(0)
        closed.append(folder / name)
    folders = [open_folder / f"without {number}" for number in range(len(closed))]
    variables = os.environ | {"HOME": "/", "JAX_COMPILATION_CACHE_DIR": ""}
    words = [*AS_NOBODY, sys.executable, "-c", READING, *folders]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=variables)
    expected = [f"{path}: Permission denied; {path} belongs to root" for path in closed]
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")
