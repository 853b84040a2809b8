"""Reports refusals of the operating system in one line: a full disk, a limit of the process, a missing permission.

Polars, TensorStore, safetensors and XLA report them in words of their own, and Python often without the path. This
module turns all of them into an ``OSError`` with number and path.
"""

import contextlib
import errno
import os
import re
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from hlr_jax.errors import InputError

LEAST_ADDRESS_SPACE = 2**31  # bytes that JAX and Polars map at startup; most of them are never used

_SPACE = (errno.ENOSPC, errno.EDQUOT)
_TOLD = (
    *_SPACE, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOMEM,
    errno.EAGAIN,
)  # fmt: skip
_WORDS = {
    "failed to map segment": errno.ENOMEM,
    "bad_alloc": errno.ENOMEM,
    "out of memory": errno.ENOMEM,
    "unable to allocate": errno.ENOMEM,
    "memory allocation": errno.ENOMEM,
    "start new thread": errno.EAGAIN,
    "thread creation failed": errno.EAGAIN,
    "resource_exhausted": errno.ENOMEM,  # from XLA; TensorStore adds the system's own text
}
_UNWRITTEN_FOOTER = "Invalid thrift: transport error"  # of a Parquet file, from Polars; it has no number
_LIMITS = {
    errno.EFBIG: (resource.RLIMIT_FSIZE, "a file may have {:,} bytes in this process (ulimit -f)"),
    errno.EMFILE: (resource.RLIMIT_NOFILE, "this process may open {:,} (ulimit -n)"),
    errno.ENOMEM: (resource.RLIMIT_AS, "this process may have {:,} bytes (ulimit -v)"),
    errno.EAGAIN: (resource.RLIMIT_NPROC, "this user may have {:,} processes and threads (ulimit -u)"),
}


def number_of(problem: BaseException) -> int | None:
    """Return the number of the system error behind an exception; None: there is none.

    Example:
      >>> number_of(ValueError("write failed: No space left on device (os error 28)")) == errno.ENOSPC
      True
    """
    if isinstance(problem, InputError):
        return None
    if isinstance(problem, MemoryError):
        return errno.ENOMEM
    if isinstance(problem, OSError) and problem.errno is not None:
        return problem.errno
    text = str(problem)
    if match := re.search(r"\bos[_ ]error(?:_code=.|:)? ?(\d+)", text, re.IGNORECASE):
        return int(match[1])
    named = {os.strerror(number): number for number in _TOLD} | _WORDS
    return next((number for words, number in named.items() if words.lower() in text.lower()), None)


def is_refused(problem: BaseException) -> bool:
    """Return whether the system refused an operation: the file itself may be intact."""
    return number_of(problem) in _TOLD


@contextlib.contextmanager
def translated(path: Path, needed: int | None = None, *, reading: bool = False) -> Iterator[None]:
    """Turn refusals of the system in a block that writes or reads ``path`` into an ``OSError`` of that path.

    Args:
      path: the file or folder that is written.
      needed: its size in bytes, if known.
      reading: whether it is only read.

    Raises:
      OSError: names the free space, or the limit of the process.

    Example:
      >>> with translated(Path("lists.csv")):
      ...     raise ValueError("write failed (os error 28)")
      Traceback (most recent call last):
      OSError: [Errno 28] No space left on device: ...: 'lists.csv'
    """
    try:
        yield
    except BaseException as problem:  # a panic of Polars is not an Exception
        number = number_of(problem)
        if number is None and not reading and _UNWRITTEN_FOOTER in str(problem):
            limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
            number = errno.EFBIG if limited else errno.ENOSPC
        if number not in _TOLD or not _is_about(problem, path):
            raise
        raise OSError(number, _told(number, path, needed), str(path)) from None


def check_memory_limit() -> None:
    """Check that a limit of the process leaves room for the libraries: with less, they crash or hang.

    Raises:
      InputError: names the limit.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESS_SPACE:
        raise InputError(f"{_told(errno.ENOMEM, Path())}; it needs {LEAST_ADDRESS_SPACE:,}: raise or remove the limit")


def line_of(problem: BaseException) -> str | None:
    """Return the line to show for an exception; None: the system refused nothing."""
    number = number_of(problem)
    if isinstance(problem, OSError) and problem.filename is not None:
        name = os.fsdecode(problem.filename)
        if number in (errno.EACCES, errno.EPERM):
            return f"{name}: {problem.strerror}{_owner(Path(name))}"
        return f"{name}: {problem.strerror if number not in _LIMITS else _told(number, Path(name))}"
    causes = (cause for cause in (problem.__cause__, problem.__context__) if cause is not None)
    if number not in _TOLD:
        return next(filter(None, map(line_of, causes)), None)
    return _told(number, Path())


def _is_about(problem: BaseException, path: Path) -> bool:
    """Return whether an exception concerns a file, its temporary name, or a path below that."""
    name = getattr(problem, "filename", None)
    return name is None or os.fsdecode(name).startswith((str(path), str(path.with_name(f".{path.name}."))))


def _told(number: int, path: Path, needed: int | None = None) -> str:
    text = "not enough memory" if number == errno.ENOMEM else os.strerror(number)
    if number in _SPACE:
        folder = next(parent for parent in (path, *path.absolute().parents) if parent.is_dir())
        free = f"{shutil.disk_usage(folder).free:,} bytes are free; make room, and run again"
        return f"{text}: {free}" if needed is None else f"{text}: {needed:,} bytes are needed, {free}"
    if number in _LIMITS:
        kind, words = _LIMITS[number]
        limit = resource.getrlimit(kind)[0]
        if number == errno.EAGAIN and resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
            return _told(errno.ENOMEM, path)  # a thread needs memory for its stack
        return text if limit == resource.RLIM_INFINITY else f"{text}: {words.format(limit)}"
    return text


def _owner(path: Path) -> str:
    """Return the owner of a file without permission, as the end of a line; empty if unknown."""
    import pwd

    for place in (path, *path.absolute().parents):
        try:
            owner = place.stat().st_uid
        except OSError:
            continue
        if owner == os.geteuid():
            return ""
        try:
            return f"; {place} belongs to {pwd.getpwuid(owner).pw_name}"
        except KeyError:
            return f"; {place} belongs to user {owner}"
    return ""
