"""Files that can't be written: one line with the path, nothing half-written, and the same command goes on."""

import contextlib
import errno
import json
import os
import resource
import shutil
import subprocess
from collections import Counter

import polars as pl
import pytest
from command_line import command

from hlr_jax.errors import InputError
from hlr_jax.files import atomic_file, atomic_folder
from hlr_jax.system_errors import is_refused, line_of, number_of, translated

ENDINGS = (".csv", ".parquet", ".jsonl")


@contextlib.contextmanager
def files_of_at_most(size):
    """Let no file of this process grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.csv"
    rows = [(user, f"item {item}") for user in range(80) for item in range(40) if (user * item + user) % 7 < 3]
    pl.DataFrame(rows, schema=["user", "item"], orient="row").write_csv(path)
    return path


def train(log, folder):
    words = "train", "--config=popularity:own", f"--config.dataset.path={log}", f"--workdir={folder}", "--quiet"
    return command(*words)


@pytest.fixture(scope="module")
def run(log, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "popularity"
    assert train(log, folder).returncode == 0
    return folder


def temporaries(folder):
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def check_refused(done, folder, size):
    """Check that a command ended well, or in one line with file and limit, and left nothing half-written."""
    assert temporaries(folder) == []
    if done.returncode:
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert f"File too large: a file may have {size:,} bytes in this process (ulimit -f)" in done.stderr
        assert f"error: {folder}" in done.stderr
    return bool(done.returncode)


@pytest.mark.parametrize("size", [0, 100, 700, 1500, 20_000])
def test_training_goes_on_once_there_is_room(log, size, tmp_path, monkeypatch):
    monkeypatch.setenv("HLR_JAX_DATA", str(tmp_path / "cache"))
    with files_of_at_most(size):
        refused = check_refused(train(log, tmp_path / "run"), tmp_path, size)
    assert refused == (size < 20_000)
    assert train(log, tmp_path / "run").returncode == 0
    assert (tmp_path / "run" / "eval" / "test.json").is_file()


@pytest.mark.parametrize("size", [0, 500, 3000])
@pytest.mark.parametrize("ending", ENDINGS)
def test_lists_go_on_once_there_is_room(run, ending, size, tmp_path):
    output = tmp_path / f"lists{ending}"
    words = "recommend", f"--workdir={run}", "--users=all", f"--output={output}"
    with files_of_at_most(size):
        check_refused(command(*words), tmp_path, size)
    assert command(*words).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
    assert command(*words[:-1], f"--output={tmp_path / 'again'}{ending}").returncode == 0
    assert (tmp_path / f"again{ending}").read_bytes() == output.read_bytes()


@pytest.mark.parametrize("size", [0, 700, 3000])
def test_other_commands_leave_nothing_half_written(run, size, tmp_path):
    for words in (
        ("export", f"--output={tmp_path}/export"),
        ("report", f"--output={tmp_path}/page.html"),
        ("refit", f"--output={tmp_path}/refit"),
    ):
        with files_of_at_most(size):
            refused = check_refused(command(*words[:1], f"--workdir={run}", *words[1:]), tmp_path, size)
        assert refused
        assert command(*words[:1], f"--workdir={run}", *words[1:]).returncode == 0


@pytest.fixture
def disk(tmp_path):
    """A file system in memory: a folder, and a function that mounts it, or gives it another size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def sized(kib, options=""):
        words = ["mount", "-t", "tmpfs", "-o", f"{options}size={kib}k", "none", folder]
        return subprocess.run(words, capture_output=True).returncode == 0

    if not sized(4):
        pytest.skip("this process may mount nothing")
    yield folder, lambda kib: sized(kib, "remount,")
    while subprocess.run(["umount", folder], capture_output=True).returncode == 0:
        pass


def tried(words, folder, kib):
    """Return whether a disk of so many KiB was too small for a command; check that it says so, in one line."""
    done = command(*words)
    assert temporaries(folder) == []
    if done.returncode:
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), (words, kib, done.stderr)
        assert done.stderr.startswith(f"error: {folder}"), (words, kib, done.stderr)
        assert "No space left on device: " in done.stderr, (words, kib, done.stderr)
        assert " bytes are free; make room, and run again" in done.stderr, (words, kib, done.stderr)
    return bool(done.returncode)


def test_a_disk_that_fills(log, disk):
    folder, resize = disk
    assert resize(12)
    words = "train", "--config=popularity:own", f"--config.dataset.path={log}", f"--workdir={folder}/run", "--quiet"
    assert tried(words, folder, 12)
    assert resize(4096)
    assert not tried(words, folder, 4096)


@pytest.mark.skipif(os.environ.get("HLR_JAX_FAULTS") != "all", reason="takes minutes: HLR_JAX_FAULTS=all")
def test_every_command_on_disks_of_every_size(log, run, disk, tmp_path, monkeypatch):
    folder, resize = disk
    hlr, planted = tmp_path / "hlr", "--config.dataset.name=planted-300x200x6000"
    small = "--config.model.embed_dim=8", "--config.train.num_epochs=1", "--config.train.start=random", "--quiet"
    words = "train", "--config=hlr-paper:planted", planted, *small, f"--workdir={hlr}"
    assert command(*words).returncode == 0
    path = f"--config.dataset.path={log}"
    cases = {
        "train": ["train", *words[1:-1], f"--workdir={folder}/run"],
        "train EASE": ["train", "--config=ease:own", path, f"--workdir={folder}/run", "--quiet"],
        "export": ["export", f"--workdir={hlr}", f"--output={folder}/export"],
        "keys": ["keys", f"--workdir={hlr}", f"--output={folder}/keys"],
        "report": ["report", f"--workdir={hlr}", f"--output={folder}/page.html"],
        "refit": ["refit", f"--workdir={run}", f"--output={folder}/run", "--quiet"],
        "cache": ["train", "--config=popularity:own", path, f"--workdir={tmp_path}/cached", "--quiet"],
    }
    lists = "recommend", f"--workdir={hlr}", "--users=all", "--k=50"
    cases |= {f"recommend {ending}": [*lists, f"--output={folder}/lists{ending}"] for ending in ENDINGS}
    counts = Counter()
    for name, words in cases.items():
        for kib in (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048):
            assert resize(kib)
            monkeypatch.setenv("HLR_JAX_DATA", str(folder / "cache" if name == "cache" else tmp_path / "elsewhere"))
            refused = tried(words, folder, kib)
            counts["refused" if refused else "there was room"] += 1
            assert resize(65536)
            assert not tried(words, folder, 65536)
            shutil.rmtree(tmp_path / "cached", ignore_errors=True)
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    print(f"\n{counts.total()} attempts: {json.dumps(counts)}")
    assert counts["refused"] > counts.total() / 3


@pytest.mark.parametrize(
    ("problem", "number"),
    [
        (pl.exceptions.ComputeError("IO: No space left on device (os error 28)"), errno.ENOSPC),
        (ValueError("RESOURCE_EXHAUSTED: Error writing: No space left on device [os_error_code='28']"), errno.ENOSPC),
        (RuntimeError("I/O error: Disk quota exceeded (os error 122)"), errno.EDQUOT),
        (OSError(errno.EFBIG, "File too large"), errno.EFBIG),
        (ImportError("libz.so: cannot open shared object file: Too many open files"), errno.EMFILE),
        (ImportError("libz.so: failed to map segment from shared object"), errno.ENOMEM),
        (MemoryError(), errno.ENOMEM),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."), errno.ENOMEM),
        (RuntimeError("std::bad_alloc"), errno.ENOMEM),
        (RuntimeError("can't start new thread"), errno.EAGAIN),
    ],
)
def test_what_libraries_say_becomes_an_error_of_the_path(problem, number, tmp_path):
    path = tmp_path / "out"
    for atomic in (atomic_file, atomic_folder):
        with pytest.raises(OSError) as caught, atomic(path):  # noqa: PT011
            raise problem
        assert (caught.value.errno, caught.value.filename) == (number, str(path))
        assert line_of(caught.value).startswith(f"{path}: ")
        assert list(tmp_path.iterdir()) == []
    assert "\n" not in line_of(problem)


def test_a_footer_that_is_not_written(tmp_path):
    problem = pl.exceptions.ComputeError("parquet: File out of specification: Invalid thrift: transport error")
    with pytest.raises(OSError, match="No space left on device"), translated(tmp_path / "a.parquet"):
        raise problem
    with pytest.raises(pl.exceptions.ComputeError), translated(tmp_path / "a.parquet", reading=True):
        raise problem


def test_a_limit_is_named(tmp_path):
    assert f"this process may open {resource.getrlimit(resource.RLIMIT_NOFILE)[0]:,} (ulimit -n)" in line_of(
        OSError(errno.EMFILE, "Too many open files")
    )


def test_other_errors_stay_as_they_are(tmp_path):
    for problem in (ValueError("a defect"), InputError("No space left on device"), KeyError("x"), OSError("odd")):
        assert number_of(problem) is None
        assert not is_refused(problem)
        assert line_of(problem) is None
        with pytest.raises(type(problem)), translated(tmp_path / "out"):
            raise problem
    with pytest.raises(FileNotFoundError, match="other"), atomic_file(tmp_path / "out"):
        (tmp_path / "other").read_bytes()


def test_a_file_of_somebody_else_is_named_with_its_owner(tmp_path, monkeypatch):
    path = tmp_path / "theirs"
    path.touch()
    problem = PermissionError(errno.EACCES, "Permission denied", str(path))
    assert line_of(problem) == f"{path}: Permission denied"
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert f"{path}: Permission denied; {path} belongs to " in line_of(problem)
