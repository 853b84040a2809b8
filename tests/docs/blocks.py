"""Finds the blocks of code of a page, and runs or checks them.

A comment before a block marks it: `<!-- slow -->`, `<!-- network -->`, `<!-- long -->` or `<!-- needs NAME -->`; see
docs/development/testing.md. Blocks of Python share a namespace. Blocks of commands are read by bash, which expands
loops and variables; its commands are then run, or checked, in this process.
"""

import contextlib
import importlib
import io
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from absl import flags
from command_line import command, scripts

ROOT = Path(__file__).resolve().parents[2]
RUN, CHECKED = "run", "checked"
_BLOCK = re.compile(
    r"(?:^[ ]*<!-- (?P<mark>.+?) -->\n)?^(?P<indent>[ ]*)```(?P<language>.*)\n(?P<code>(?s:.*?))^[ ]*```$", re.M
)
_STARTED = ("hlr-jax", "python", "python3.11", "pip", "uv", "make", "taskset", "bash", "git")  # what blocks may start
_SEPARATOR = "\x1f"


class Block(NamedTuple):
    """A block of code: its page, the line it begins at, its language, its mark and its lines."""

    page: Path
    line: int
    language: str
    mark: str
    code: str

    @property
    def name(self) -> str:
        """The page and the line."""
        return f"{os.path.relpath(self.page, ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        code = re.sub(rf"^{match['indent']}", "", match["code"], flags=re.M)
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(Block(page, line, match["language"], match["mark"] or "", code))
    return found


def fate(block: Block, everything: bool) -> str:
    """Return whether a block is ``run`` or ``checked``."""
    kind, _, name = block.mark.partition(" ")
    if kind in ("network", "long"):
        return CHECKED
    if kind in ("slow", "needs"):
        there = kind == "slow" or importlib.util.find_spec(name) is not None
        return RUN if everything and there else CHECKED
    if block.mark:
        raise ValueError(f"{block.name}: no such mark: {block.mark}")
    return RUN


def in_order(page: Path) -> list[Block]:
    """Return the blocks of a page that are code: Python and commands."""
    return [block for block in blocks(page) if block.language in ("python", "sh")]


def handle(block: Block, names: dict[str, Any], everything: bool = False) -> None:
    """Run a block in the current folder, or check it.

    Args:
      block: of Python or of commands.
      names: the namespace of its page.
      everything: whether blocks are run that are slow, or that need a package that is there.
    """
    if block.language == "python":
        code = compile("\n" * block.line + block.code, str(block.page), "exec", dont_inherit=True)
        if fate(block, everything) == RUN:
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # as Python does outside of tests
                exec(code, names)
        return
    for words in started(block.code):
        (run if fate(block, everything) == RUN else check)(words)


def started(code: str) -> list[list[str]]:
    """Return the commands that bash would start for a block, each as its words; none of ``_STARTED`` is started."""
    code = re.sub(r"[\w./-]+/bin/(?=\w)", "", code)  # programs of a virtual environment
    notes = "".join(f'{name}() {{ printf "%s\\x1f" {name} "$@"; echo; }}\n' for name in _STARTED)
    notes += 'taskset() { shift 2; "$@"; }\n'
    done = subprocess.run(
        ["bash", "-euc", notes + code], capture_output=True, text=True, check=False, env={"W": "W"} | os.environ
    )
    if done.returncode:
        raise AssertionError(f"bash: {done.stderr}")
    return [line.split(_SEPARATOR)[:-1] for line in done.stdout.splitlines() if _SEPARATOR in line]


def run(words: list[str]) -> None:
    """Run a command of ours in this process, and any other program in a process of its own.

    Raises:
      AssertionError: it fails.
    """
    program, *arguments = words
    done: Any
    if program == "hlr-jax" and not arguments[0].startswith("-"):
        done = command(*arguments)
    elif program == "python" and arguments[0].startswith("experiments/"):
        done = command(Path(arguments[0]).name, *arguments[1:])
    else:
        start = {"hlr-jax": [sys.executable, "-m", "hlr_jax"], "python": [sys.executable]}.get(program, [program])
        done = subprocess.run([*start, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"


def check(words: list[str]) -> None:
    """Check that a command exists, and takes these flags and settings, without running it.

    Raises:
      AssertionError: it does not; tells what is wrong.
      InputError: an unknown recipe or setting.
    """
    program, *arguments = words
    if program == "hlr-jax" and not arguments[0].startswith("-"):
        module = f"hlr_jax.cli.{arguments[0]}"
    elif program == "python" and arguments[0].startswith("experiments/"):
        assert (ROOT / arguments[0]).is_file(), f"no such file: {arguments[0]}"
        module = Path(arguments[0]).stem
    else:
        return
    if module == "curve":  # takes words, no flags
        return
    with scripts(), mock.patch.object(sys, "argv", arguments):
        importlib.import_module(module)
        from hlr_jax.cli.support import configs  # anew, as the module of the command is

        try:
            flags.FLAGS(configs.without_config(arguments))
        except flags.Error as problem:
            raise AssertionError(f"{' '.join(words)}: {problem}") from None
