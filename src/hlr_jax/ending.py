"""How a command ends that is told to, by SIGINT (Ctrl-C) or SIGTERM: at once, in one line, with nothing half-written.

A thread waits for the signals, so that they are heard in the middle of an epoch too: there Python runs no handler.
What is written lies under a temporary name until it is whole, and the thread removes that.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

_SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_TIDYING, _FLUSHING = 5.0, 0.5  # seconds that they may take: what the main thread holds, such as a lock, it keeps

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
    """Let signals end the process from now on, its own end included: in one line on stderr, with status 130 or 143.

    Args:
      hint: returns what the line says after the word for the signal. It imports nothing: the main thread may stand
        still in the middle of an import.
    """
    if threading.current_thread() is not threading.main_thread():  # there Python takes no handlers
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in _SIGNALS:
        # A signal that is ignored stays so: a shell starts what it puts into the background like that.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stand_still)
    # What is registered first runs last: all that is left then is to take the libraries apart, which takes Python's
    # handlers away before some tenths of a second have passed.
    atexit.register(_ignore_signals)
    threading.Thread(target=_watch, args=(reading, hint), daemon=True).start()


def _watch(reading: int, hint: Callable[[], str]) -> None:
    """Wait for a signal, and end the process."""
    while True:
        number = os.read(reading, 1)[0]
        if number in _SIGNALS:
            _end(number, hint)


def _stand_still(*_: object) -> None:
    """Keep the main thread from going on: what it would fail by is that its files are taken away."""
    threading.Event().wait()


def _ignore_signals() -> None:
    """Let the command end as it has: everything is written, and a signal comes too late."""
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
