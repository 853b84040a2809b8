"""What other users may read of what the package writes."""

import os
import stat
import tempfile

import pytest

from hlr_jax import files
from hlr_jax.json_files import write_json


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def write_privately(path):
    """Write as some libraries do: to a file of its owner's alone, which is renamed."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    os.close(descriptor)
    os.replace(name, path)


def test_a_file_may_be_read_by_whom_the_umask_allows(tmp_path, umask):
    with files.atomic_file(tmp_path / "lists.parquet") as temporary:
        write_privately(temporary)
        assert mode(temporary) == 0o600
    assert mode(tmp_path / "lists.parquet") == 0o666 & ~umask
    write_json(tmp_path / "facts.json", {})
    assert mode(tmp_path / "facts.json") == 0o666 & ~umask


def test_so_may_a_folder_and_all_that_is_in_it(tmp_path, umask):
    with files.atomic_folder(tmp_path / "exported") as temporary:
        (temporary / "deep").mkdir(mode=0o700)
        write_privately(temporary / "deep" / "arrays")
        write_privately(temporary / "arrays")
    assert mode(tmp_path / "exported") == mode(tmp_path / "exported" / "deep") == 0o777 & ~umask
    for path in ("arrays", "deep/arrays"):
        assert mode(tmp_path / "exported" / path) == 0o666 & ~umask
    assert [path.name for path in tmp_path.iterdir()] == ["exported"]


@pytest.mark.parametrize("atomic", [files.atomic_file, files.atomic_folder])
def test_a_block_that_fails_leaves_what_was_there_and_nothing_else(tmp_path, atomic):
    path = tmp_path / "lists"
    path.write_text("before")
    with pytest.raises(KeyError), atomic(path):
        raise KeyError
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["lists"]
