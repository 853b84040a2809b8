"""``hlr-jax COMMAND``: finds the command, shows help, and runs it."""

import errno
import importlib
import io
import os
import shlex
import sys

from hlr_jax.cli.support.guard import guarded
from hlr_jax.ending import end_by_signals
from hlr_jax.errors import pick
from hlr_jax.system_errors import check_memory_limit

COMMANDS = {
    "Train": {
        "train": "train a model, and evaluate its best epoch",
        "sweep": "train a grid of settings, and rank them by validation",
        "refit": "train again with the chosen settings, on validation too",
        "update": "train a run further on new rows",
        "blend": "combine several runs into one recommender",
    },
    "Measure": {
        "evaluate": "evaluate a run again, for example at other K",
        "compare": "compare runs, with paired tests over users and seeds",
        "baselines": "fit Popularity, ItemKNN, EASE and MF-ALS",
        "table2": "reproduce the paper's Table 2",
        "report": "write an HTML report about runs: metrics, curves, sample users",
    },
    "Use": {
        "recommend": "recommend items to known or new users",
        "explain": "show which items of a history support an item",
        "similar": "show similar items or users",
        "keys": "inspect the memory keys of HLR and HLR++",
        "export": "export a run to files that work without hlr_jax",
    },
    "Look up": {
        "list": "list models, objectives, data sets, recipes or metrics",
        "formats": "list the file formats that can be read",
    },
}
_CONTINUED = ("train", "sweep", "refit", "update", "baselines", "table2")
"""Commands that resume when they are rerun; ``recommend`` does if it writes a file."""

_HELP = ("--help", "-h", "-help", "--helpfull", "--helpshort", "help")


def main(command: str | None = None) -> None:
    """Run ``command``, or the one that the first argument names, with the other arguments.

    Characters that the terminal's encoding lacks are shown as ``?``. If the reader closes the output (``| head``), the
    command ends with status 1. Without ``command`` this is the whole process: SIGINT and SIGTERM end it with one line
    and status 130 and 143.
    """
    if command is None:
        words = sys.argv[1:]
        end_by_signals(lambda: _how_to_resume(words))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            guarded(lambda: _run(command))
        finally:
            _flush()
    except OSError as problem:
        if problem.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes again at exit
        sys.exit(1 if problem.errno == errno.EPIPE else f"error: standard output: {problem.strerror}")


def _how_to_resume(words: list[str]) -> str:
    """Return how to resume a stopped command line; empty if it cannot resume."""
    name = words[0] if words else ""
    writes_lists = name == "recommend" and any(word.lstrip("-").startswith("output") for word in words)
    return f"; to resume: {shlex.join(['hlr-jax', *words])}" if name in _CONTINUED or writes_lists else ""


def _flush() -> None:
    if sys.stdout is not None:  # a process may have none
        sys.stdout.flush()


def _run(command: str | None) -> None:
    words = sys.argv[1:]
    if command is None:
        if words in (["--version"], ["-version"]):
            from importlib.metadata import version

            print(f"hlr-jax {version('hlr_jax')}")
            return
        if not words or (words[0] in _HELP and len(words) == 1):
            print(_overview())
            return
        command, *words = words
        if command in _HELP:
            command, *words = (*words, "--help")
    check_memory_limit()
    name = pick(command, [name for group in COMMANDS.values() for name in group], "command")
    sys.argv = [f"hlr-jax {name}", *words]
    module = importlib.import_module(f"hlr_jax.cli.{name}")
    if any(word in _HELP for word in words):
        from hlr_jax.cli.support.help import command_help

        print(command_help(module))
        return
    from hlr_jax.cli.support.launch import launch

    launch(module.main)


def _overview() -> str:
    lines = ["hlr-jax: relational collaborative metric learning in JAX", "", "hlr-jax COMMAND --flag=value ...", ""]
    for title, commands in COMMANDS.items():
        lines += [f"{title}:", *(f"  {name:<10} {meaning}" for name, meaning in commands.items()), ""]
    for line, meaning in (
        ("hlr-jax COMMAND --help", "what a command does, and its flags"),
        ("hlr-jax train --config=hlr --help", "all settings of a recipe"),
        ("hlr-jax list recipes", "values of --config"),
        ("hlr-jax --version", "the version"),
    ):
        lines.append(f"{line:<34} {meaning}")
    return "\n".join(lines)
