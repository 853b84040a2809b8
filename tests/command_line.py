"""The command lines, run in this process: what a shell would start, without the seconds that a new process takes."""

import contextlib
import io
import os
import runpy
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from absl import app
from absl.testing import flagsaver

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = ROOT / "experiments"

app.define_help_flags()  # flags of absl's own, which stay


class Ended(NamedTuple):
    """What a command leaves behind, by the names of ``subprocess.CompletedProcess``."""

    returncode: int
    stdout: str
    stderr: str


@contextlib.contextmanager
def scripts():
    """Let the modules of ``experiments`` be imported as its commands import them; flags and modules go afterwards."""
    before = set(sys.modules)
    with flagsaver.flagsaver(), mock.patch.object(sys, "path", [str(EXPERIMENTS), *sys.path]):
        try:
            yield
        finally:
            for name in set(sys.modules) - before:
                if str(getattr(sys.modules[name], "__file__", None)).startswith(str(EXPERIMENTS)):
                    del sys.modules[name]


def command(script, *arguments):
    """Run a script of ``experiments`` with arguments; whatever is no mistake of the user's is raised here."""
    path, out, err, status = EXPERIMENTS / script, io.StringIO(), io.StringIO(), 0
    with (
        scripts(),
        mock.patch.object(sys, "argv", [str(path), *map(str, arguments)]),
        # This process has had its devices for long.
        mock.patch.dict(os.environ, JAX_NUM_CPU_DEVICES="8"),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", DeprecationWarning)  # as Python does outside of tests
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            status = end.code or 0
    return Ended(status, out.getvalue(), err.getvalue())


def shell(script, *arguments, **variables):
    """Run a script of ``experiments`` as a shell does."""
    words = [sys.executable, EXPERIMENTS / script, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | variables)
