"""Reports user mistakes and operating system errors in one line. Needs no other package."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from hlr_jax import system_errors
from hlr_jax.errors import InputError, OtherProcessError
from hlr_jax.terminal import shown, with_short_words

T = TypeVar("T")

USAGE_STATUS = 2


def guarded(act: Callable[[], T]) -> T:
    """Return the result of ``act``; a user mistake ends the process with one line on stderr and exit status 2.

    So does an operating system error: a full disk, a limit, a missing permission, an invalid path.
    """
    try:
        return act()
    except OtherProcessError:
        sys.exit(USAGE_STATUS)  # the process with the mistake reports it
    except InputError as problem:
        fail(str(problem))
    except (BrokenPipeError, SystemExit):  # the output is closed, or it is not an error
        raise
    except KeyboardInterrupt:  # where ``ending`` does not handle it
        fail("interrupted", status=128 + signal.SIGINT)
    except BaseException as problem:  # a panic of Polars is not an Exception
        line = system_errors.line_of(problem)
        if line is None:
            raise
        if system_errors.number_of(problem) in (errno.ENOMEM, errno.EAGAIN):
            print(f"error: {line}", file=sys.stderr, flush=True)
            os._exit(USAGE_STATUS)  # a library may wait for threads that could not be started
        fail(line)


def fail(message: str, status: int = USAGE_STATUS) -> NoReturn:
    """End the process with one line on stderr."""
    print(f"error: {with_short_words(shown(message))}", file=sys.stderr)
    sys.exit(status)
