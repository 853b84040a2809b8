"""Command lines, run in this process: what a shell would start, without the seconds that a new process takes."""

import contextlib
import importlib
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
    """Let scripts of ``experiments`` be imported as they import each other; flags and modules go afterwards."""
    before = set(sys.modules)
    with flagsaver.flagsaver(), mock.patch.object(sys, "path", [str(EXPERIMENTS), *sys.path]):
        try:
            yield
        finally:
            for name in set(sys.modules) - before:
                # Modules that define flags: with the flags, they are made anew for the next command.
                if name.startswith("hlr_jax.cli.") or str(sys.modules[name]).find(str(EXPERIMENTS)) > 0:
                    del sys.modules[name]


def _start(program):
    path = EXPERIMENTS / program
    if path.suffix == ".py":
        runpy.run_path(str(path), run_name="__main__")
    else:
        importlib.import_module("hlr_jax.cli.main").main(program)


def command(program, *arguments):
    """Run a command of ``hlr-jax``, or a script of ``experiments``; what is no mistake of the user's is raised here."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        scripts(),
        mock.patch.object(sys, "argv", [program, *map(str, arguments)]),
        # This process has had its devices for long.
        mock.patch.dict(os.environ, JAX_NUM_CPU_DEVICES="8"),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", DeprecationWarning)  # as Python does outside of tests
        try:
            _start(program)
        except SystemExit as end:
            status = end.code or 0
    return Ended(status, out.getvalue(), err.getvalue())


def shell(program, *arguments, **variables):
    """Run a command of ``hlr-jax`` as a shell does."""
    words = [sys.executable, "-m", "hlr_jax", program, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | variables)
