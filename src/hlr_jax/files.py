"""Files that are either whole or absent: write to a temporary name in the same folder, then rename.

Whatever wrote them, they may be read by whom the umask allows: some libraries give files to their owner alone.
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

from hlr_jax.errors import Damaged


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_hash(path: Path, expected: str, again: str) -> None:
    """Check that a file is what was written.

    Args:
      path: of the file.
      expected: the SHA-256 that was recorded.
      again: what to do where it is not, for the message.

    Raises:
      Damaged: it is missing, unreadable or another.
    """
    try:
        digest = sha256(path)
    except FileNotFoundError:
        raise Damaged(f"{path}: no such file; {again}") from None
    except OSError as problem:
        raise Damaged(f"{path}: {problem.strerror}; {again}") from None
    if digest != expected:
        raise Damaged(f"{path}: damaged, it is not what was written; {again}")


def sha256_of(value: Any) -> str:
    """Return the SHA-256 of a JSON-like value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` if the block ends well, and is removed if it does not.

    The permissions are those that ``open`` gives under the process's umask, 0644 under the usual one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        temporary.unlink()
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path`` if the block ends well.

    A folder that another process put there in the meantime is whole too, and stays. The permissions of all that is in
    the folder are those that the umask gives, 0755 for folders and 0644 for files under the usual one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
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
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: Path) -> Path:
    """Return a name beside ``path`` that no other thread or process uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def short_names(folders: Sequence[Path]) -> list[str]:
    """Return what tells folders apart, short enough for a table.

    Example:
      >>> short_names([Path("/runs/auto"), Path("/runs/auto/parts/ease")])
      ['auto', 'parts/ease']
    """
    common = folders[0].parent if len(folders) == 1 else Path(os.path.commonpath(folders))
    return [folder.name if folder == common else folder.relative_to(common).as_posix() for folder in folders]
