"""Ends a command on SIGINT (Ctrl-C) or SIGTERM: at once, with one line, and with nothing half-written.

A thread waits for the signals, because Python runs no handler during an epoch. Files are written under a temporary name
until they are complete, and the thread removes these.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

_SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_TIDYING, _FLUSHING = 5.0, 0.5  # limits in seconds: a lock held by the main thread is never released

_undone: dict[object, Callable[[], object]] = {}


@contextlib.contextmanager
def undone_by(act: Callable[[], object]) -> Iterator[None]:
    """Call ``act`` if a signal ends the process within the block."""
    key = object()
    _undone[key] = act
    try:
        yield
    finally:
        _undone.pop(key, None)


def end_by_signals(hint: Callable[[], str]) -> None:
    """Let signals end the process from now on, even while it exits: one line on stderr, and status 130 or 143.

    Args:
      hint: returns the end of the line, after the word for the signal. It must import nothing: the main thread may be
        suspended in the middle of an import.
    """
    if threading.current_thread() is not threading.main_thread():  # Python allows no handlers there
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in _SIGNALS:
        # Leave an ignored signal ignored: a shell starts background commands that way.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stand_still)
    # Registered first, so it runs last. Only the libraries are unloaded after it, which removes Python's handlers some
    # tenths of a second before the process ends.
    atexit.register(_ignore_signals)
    threading.Thread(target=_watch, args=(reading, hint), daemon=True).start()


def _watch(reading: int, hint: Callable[[], str]) -> None:
    """Wait for a signal, and end the process."""
    while True:
        number = os.read(reading, 1)[0]
        if number in _SIGNALS:
            _end(number, hint)


def _stand_still(*_: object) -> None:
    """Suspend the main thread: it would fail because its temporary files are removed."""
    threading.Event().wait()


def _ignore_signals() -> None:
    """Ignore signals from now on: everything is written, so the command ends as it has."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _end(number: int, hint: Callable[[], str]) -> None:
    for act, seconds in ((_tidy, _TIDYING), (_flush, _FLUSHING)):
        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        thread.join(seconds)
    with contextlib.suppress(OSError):
        os.write(2, f"{_SIGNALS[signal.Signals(number)]}{hint()}\n".encode(errors="replace"))
    os._exit(128 + number)


def _tidy() -> None:
    for act in reversed(list(_undone.values())):
        with contextlib.suppress(Exception):
            act()


def _flush() -> None:
    if sys.stdout is not None:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
