"""Makes the pages of the site that follow from the code: commands, settings and names; copies the notebooks.

They are written to `docs/_generated` and `docs/notebooks`, which git ignores, and pages include them.
"""

import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from absl.testing import flagsaver

from hlr_jax.auto_options import NAME as AUTO
from hlr_jax.cli import formats
from hlr_jax.cli import list as names
from hlr_jax.cli.main import COMMANDS
from hlr_jax.cli.support.help import command_flags
from hlr_jax.data.options import DataOptions
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.mesh import MeshOptions
from hlr_jax.settings import describe
from hlr_jax.systems import options_of, system_names, system_title
from hlr_jax.training.options import TrainOptions

SECTIONS = {"dataset": DataOptions, "train": TrainOptions, "eval": EvalOptions, "mesh": MeshOptions}


def package_version() -> str:
    """Return the version of the package."""
    return importlib.import_module("importlib.metadata").version("hlr_jax")


def write_all(docs: Path) -> None:
    """Write what is generated, and copy the notebooks, below the folder ``docs``."""
    pages = {"commands": commands(), "settings": settings(), "names": lists_of_names()}
    (docs / "_generated").mkdir(exist_ok=True)
    for name, lines in pages.items():
        _write(docs / "_generated" / f"{name}.md", "\n".join(lines) + "\n")
    (docs / "notebooks").mkdir(exist_ok=True)
    for notebook in sorted((docs.parent / "notebooks").glob("*.ipynb")):
        _write(docs / "notebooks" / notebook.name, notebook.read_text(encoding="utf-8"))


def commands() -> Iterator[str]:
    """Yield a section for each command: what it does, and its flags."""
    for title, group in COMMANDS.items():
        yield from (f"## {title}", "")
        for name in group:
            doc, flags = _command(name)
            yield from (f"### hlr-jax {name}", "")
            yield from _paragraphs(doc)
            rows = [(f"`{flag.usage}`", _text(flag.meaning), _code(flag.default.strip("'"))) for flag in flags]
            yield from _table(("flag", "meaning", "default"), rows)


def settings() -> Iterator[str]:
    """Yield a section for each section of a config, and for the options of each model."""
    for section, options in SECTIONS.items():
        yield from (f"## {section}", "", _first_line(options), "")
        yield from _settings(section, options)
    yield from ("## model", "", "The options behind `model.name`, which names one of the systems below.", "")
    for name in (*system_names(), AUTO):
        yield from (f"### model.name={name}", "", f"{_first_line(options_of(name))} {system_title(name)}.", "")
        yield from _settings("model", options_of(name))


def lists_of_names() -> Iterator[str]:
    """Yield a table for each kind of names that ``hlr-jax list`` shows, and for the formats of files."""
    for kind, (title, rows) in names.LISTS.items():
        yield from (f"## {kind.capitalize()}", "")
        yield from _table(title, [(_code(row[0]), *map(_text, row[1:])) for row in rows()])
    yield from ("## Formats", "")
    yield from _table(formats.TITLE, [(_code(row[0]), *map(_text, row[1:])) for row in formats.rows()])


def _command(name: str) -> tuple[str, list[Any]]:
    """Return the docstring and the flags of a command, and leave neither its flags nor its module behind."""
    before = set(sys.modules)
    with flagsaver.flagsaver(), mock.patch.object(sys, "argv", [f"hlr-jax {name}"]):
        module = importlib.import_module(f"hlr_jax.cli.{name}")
        found = str(module.__doc__), list(command_flags())
    for imported in set(sys.modules) - before:
        if imported.startswith("hlr_jax.cli."):
            del sys.modules[imported]
    return found


def _settings(section: str, options: Any) -> Iterator[str]:
    rows = [
        (f"`{section}.{one.name}`", _code(_shown(one.default)), f"{_text(one.meaning)} {_allowed(one.allowed)}")
        for one in describe(options)
    ]
    yield from _table(("key", "default", "meaning"), rows)


def _allowed(allowed: str) -> str:
    """Return a range, or the words that a setting takes, in brackets; nothing for what is true or false."""
    if not allowed or allowed == "true | false":
        return ""
    known = ", ".join(_code(word or '""') for word in allowed.split(" | "))
    return f"({known if ' | ' in allowed else allowed})"


def _shown(default: Any) -> str:
    return '""' if default == "" else str(default)


def _first_line(options: Any) -> str:
    return str(options.__doc__).strip().partition("\n")[0]


def _paragraphs(doc: str) -> Iterator[str]:
    """Yield the paragraphs of a docstring; one that is a command line becomes a block of code."""
    for paragraph in doc.strip().split("\n\n"):
        if paragraph.startswith("hlr-jax "):
            yield from ("```sh", re.sub(" {4,}(?=--)", r" \\\n    ", paragraph), "```", "")
        else:
            yield from (_text(paragraph), "")


def _text(text: str) -> str:
    """Return plain text for Markdown: flags, and what stands in backquotes, are code."""
    parts = re.split(r"(``.*?``|`.*?`|(?<![\w-])--\w+(?:\.\w+)*(?:=\S*[^\s.,;:)\]])?)", text)
    plain = [re.sub(r"([\\*_<>\[\]|])", r"\\\1", part) for part in parts[::2]]
    code = [part if part.startswith("`") else f"`{part}`" for part in parts[1::2]]
    return "".join(piece for pair in zip(plain, [*code, ""], strict=True) for piece in pair)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(title: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(title) + " |"
    yield "| " + " | ".join("---" for _ in title) + " |"
    for row in rows:
        cells = [re.sub(r"(?<!\\)\|", r"\\|", " ".join(cell.split())) for cell in row]
        yield "| " + " | ".join(cells) + " |"
    yield ""


def _write(path: Path, text: str) -> None:
    """Write a file, unless it holds the text already: the site is built anew only where something changed."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
