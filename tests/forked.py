"""Command lines in processes of their own, stopped by a signal at any moment, without the seconds that imports take.

A server imports the package once and starts each command as a copy of itself (``fork``). It computes nothing itself, so
it has no threads that a copy would lack.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HUNG = 120  # seconds after which a process is killed that should have ended
ENDING = signal.SIGINT, signal.SIGTERM


class Stopped(NamedTuple):
    """How a command ended: its status, negative after a signal that nothing handled; the seconds of its work."""

    status: int
    seconds: float
    stdout: str
    stderr: str


class Server:
    """Starts commands of ``hlr-jax``, one at a time."""

    def __init__(self, folder):
        """Start it; ``folder`` takes what commands print."""
        self._folder = folder
        variables = os.environ | {"OPENBLAS_NUM_THREADS": "1", "JAX_NUM_CPU_DEVICES": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables
        )

    def __call__(self, *words, number=0, after=None):
        """Run a command; send it the signal ``number`` after so many seconds, if it has not ended by then."""
        self._process.stdin.write(json.dumps([list(map(str, words)), int(number), after]) + "\n")
        self._process.stdin.flush()
        status, seconds = json.loads(self._process.stdout.readline())
        return Stopped(status, seconds, *((self._folder / name).read_text() for name in ("stdout", "stderr")))

    def close(self):
        """End the server."""
        with self._process as process:
            process.stdin.close()


def serve(folder):
    """Run the commands that lines of standard input ask for; this returns in the copies, each of which is one."""
    import hlr_jax.runs
    import hlr_jax.serving.export
    import hlr_jax.serving.stream
    import hlr_jax.sweeps.sweep
    import hlr_jax.table2  # noqa: F401
    from hlr_jax.cli import main

    end_by_signals = main.end_by_signals

    def heard(hint):
        end_by_signals(hint)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    for line in sys.stdin:
        words, number, after = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # a signal before it is handled would wait
        (folder / "done").write_text("")
        start, child = time.monotonic(), os.fork()
        if not child:
            for descriptor, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
            sys.argv, main.end_by_signals = ["hlr-jax", *words], heard
            try:
                main.main()
            finally:  # Python takes libraries apart for as long again
                (folder / "done").write_text(str(time.monotonic()))
            return
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        status = _waited(child, number, after)
        done = float((folder / "done").read_text() or time.monotonic())
        print(json.dumps([status, done - start]), flush=True)


def _waited(child, number, after):
    """Return how a process ends that gets a signal after so many seconds."""
    ended = os.pidfd_open(child)
    waits = [(number, after)] if after is not None else []
    for each, seconds in (*waits, (signal.SIGKILL, HUNG)):
        if select.select([ended], [], [], seconds)[0]:
            break
        os.kill(child, each)
    os.close(ended)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
