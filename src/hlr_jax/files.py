"""Files that are either complete or absent: write to a temporary name in the same folder, then rename.

Their permissions follow the umask, whatever library wrote them: some libraries let only the owner read.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hlr_jax.ending import undone_by
from hlr_jax.errors import Damaged, InputError
from hlr_jax.system_errors import is_refused, translated


def expanded(path: str | Path) -> Path:
    """Return a path with the home directory for ``~``.

    Raises:
      InputError: there is no home directory.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{path}: the home directory is not known; set HOME, or pass the whole path") from None


def user_cache_folder() -> Path:
    """Return ``hlr_jax`` in the XDG cache folder.

    Raises:
      InputError: there is no home directory.
    """
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "hlr_jax"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_hash(path: Path, expected: str, again: str) -> None:
    """Check that a file is unchanged since it was written.

    Args:
      path: of the file.
      expected: the SHA-256 that was recorded.
      again: the end of the message: what to do if the file has changed.

    Raises:
      Damaged: it is missing, unreadable or changed.
    """
    try:
        digest = sha256(path)
    except FileNotFoundError:
        raise Damaged(f"{path}: no such file; {again}") from None
    except OSError as problem:
        if is_refused(problem):  # the file itself may be intact
            raise
        raise Damaged(f"{path}: {problem.strerror}; {again}") from None
    if digest != expected:
        raise Damaged(f"{path}: damaged, it is not what was written; {again}")


def sha256_of(value: Any) -> str:
    """Return the SHA-256 of a JSON-like value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


@contextlib.contextmanager
def atomic_file(path: Path, needed: int | None = None) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` if the block succeeds, and is removed if it does not.

    The permissions are those that ``open`` gives under the process's umask, 0644 under the usual one. ``needed`` is the
    size of the file in bytes, if known.

    Raises:
      OSError: for example, the disk is full, whatever the exception in the block was; see ``translated``.
    """
    with translated(path, needed), _in_place_of(path) as temporary:
        temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        temporary.unlink()
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path`` if the block succeeds.

    If another process puts a folder there in the meantime, that one is complete too, and stays. The permissions inside
    the folder follow the umask: 0755 for folders and 0644 for files under the usual one.

    Raises:
      OSError: see ``atomic_file``.
    """
    with translated(path), _in_place_of(path) as temporary:
        temporary.mkdir()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        for inside in temporary.rglob("*"):
            inside.chmod(mode if inside.is_dir() else mode & 0o666)
        try:
            os.replace(temporary, path)
        except OSError:
            if not path.is_dir():
                raise


@contextlib.contextmanager
def _in_place_of(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` that no other thread or process uses, and delete it after the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")

    def remove() -> None:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)

    with undone_by(remove):
        try:
            yield temporary
        finally:
            remove()


def short_names(folders: Sequence[Path]) -> list[str]:
    """Return names of folders that differ, short enough for a table.

    Example:
      >>> short_names([Path("/runs/auto"), Path("/runs/auto/parts/ease")])
      ['auto', 'parts/ease']
    """
    common = folders[0].parent if len(folders) == 1 else Path(os.path.commonpath(folders))
    return [folder.name if folder == common else folder.relative_to(common).as_posix() for folder in folders]
