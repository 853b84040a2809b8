"""One process at a time writes to a folder; another one ends with a line that names the first.

The operating system holds the lock on a file in the folder and releases it when the process dies, so a lock never needs
cleaning up. Where the file system has no locks, the file itself is a lease. A lease of a process of this host that no
longer runs is taken over.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import weakref
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hlr_jax.errors import Damaged, InputError
from hlr_jax.json_files import checked, read_json

LOCK = ".hlr_jax.lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_GUARD = threading.RLock()  # a finalizer may run while the same thread is in here


class _Holding:
    """The lock of this process on a folder, shared by several blocks of it."""

    def __init__(self, path: Path, descriptor: int):
        self.path, self.descriptor, self.count = path, descriptor, 0

    def stands(self) -> bool:
        """Return whether the file still exists: a folder that was deleted or replaced is no longer held."""
        return _is_at(self.descriptor, self.path)


_held: dict[Path, _Holding] = {}


class Lock:
    """A folder that this process holds, until the block ends or the object is deleted.

    The same process may hold a folder several times: a run, its training and its evaluation each hold it.

    Raises:
      InputError: another process holds it; names that process and its host.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder, Lock(Path(folder)), Lock(Path(folder)):
      ...     (Path(folder) / LOCK).exists()
      True
    """

    def __init__(self, folder: Path):
        """Take the lock of an existing folder."""
        path = folder.resolve() / LOCK
        with _GUARD:
            holding = _held.get(path)
            if holding is None or not holding.stands():
                holding = _held[path] = _Holding(path, _taken(path, folder))
            holding.count += 1
        self.release = weakref.finalize(self, _release, holding)
        """Release the folder; a second call does nothing."""

    def __enter__(self) -> "Lock":
        """Hold the folder for a block."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Release the folder."""
        self.release()


def _taken(path: Path, folder: Path) -> int:
    """Return the descriptor of a lock file that this process now holds.

    Raises:
      InputError: another process holds it.
    """
    while True:
        descriptor, is_new = _opened(path)
        try:
            if _is_ours(descriptor, is_new, path, folder):
                _write_holder(descriptor)
                return descriptor
        except OSError as problem:
            os.close(descriptor)
            problem.filename = problem.filename or str(path)
            raise
        except InputError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_ours(descriptor: int, is_new: bool, path: Path, folder: Path) -> bool:
    """Return whether this process now holds a file; False: it was deleted, and another one may be made.

    Raises:
      InputError: another process holds it.
    """
    try:
        if _locked(descriptor):
            return _is_at(descriptor, path)  # its holder deletes it when it ends, which may be now
    except BlockingIOError:
        raise InputError(f"{_in_use(folder, path)}; wait for it, or pass another folder") from None
    if not is_new:
        _check_gone(path)
        if _is_at(descriptor, path):  # no other process has taken the lease over
            path.unlink(missing_ok=True)
    return is_new


def _opened(path: Path) -> tuple[int, bool]:
    """Return the descriptor of a lock file, and whether this process made it."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666), False


def _locked(descriptor: int) -> bool:
    """Take the lock on a file; return False where the file system has no locks.

    Raises:
      BlockingIOError: another process has it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as problem:
        if problem.errno in _NO_LOCKS:
            return False
        raise
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether a path still refers to an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _write_holder(descriptor: int) -> None:
    """Write the holder of a file into it."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {"host": socket.gethostname(), "process": os.getpid(), "since": now}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(checked(holder)).encode(), 0)


def _holder(path: Path) -> dict[str, Any]:
    """Return the holder of a file; empty while it is being written."""
    try:
        return read_json(path, {"host": str, "process": int, "since": str}, "")
    except Damaged:
        return {}


def _in_use(folder: Path, path: Path) -> str:
    holder = _holder(path)
    who = f"process {holder['process']} on {holder['host']} since {holder['since']}" if holder else "another process"
    return f"{folder} is in use by {who}"


def _check_gone(path: Path) -> None:
    """Check that a lease is held by a process of this host that no longer runs.

    Raises:
      InputError: it is held by another process, as far as is known.
    """
    holder = _holder(path)
    if holder.get("host") == socket.gethostname():
        try:
            os.kill(holder["process"], 0)
        except ProcessLookupError:
            return
        except PermissionError:  # of another user
            pass
    raise InputError(f"{_in_use(path.parent, path)}; wait for it, or delete {path} if that process is gone")


def _release(holding: _Holding) -> None:
    with _GUARD:
        holding.count -= 1
        if holding.count:
            return
        if _held.get(holding.path) is holding:
            del _held[holding.path]
        # Delete the file before releasing the lock: a process that opens it in between sees that it is deleted.
        if holding.stands():
            with contextlib.suppress(OSError):
                holding.path.unlink()
        os.close(holding.descriptor)
