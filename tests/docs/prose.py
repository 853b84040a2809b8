"""Finds long sentences in pages and docstrings. ``python tests/docs/prose.py [FILE ...]`` lists them.

A sentence ends with ``.``, ``!`` or ``?``, and with its paragraph, its entry of a list or its heading. Inline code is
one word, and a link counts as its text. Tables, blocks of code, examples and command lines are not prose.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 35  # words

_FENCE = re.compile(r"\s*(```|~~~)")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.|:)\s+")
_SECTION = re.compile(r"(?:Args|Arguments|Attributes|Example|Examples|Raises|Returns|Yields):$")
_ENTRY = re.compile(r"\s{2,}\w+(?:, \w+)*: ")
_ABBREVIATION = re.compile(r"(?:^|[\s(])(?:al|eq|e\.g|i\.e|cf|vs|Fig|No)\.$")
_END = re.compile(r"[.!?][\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9§])")


class Sentence(NamedTuple):
    """A sentence, the line of its paragraph, and its number of words."""

    line: int
    text: str
    words: int


def sentences(lines: list[str], first: int = 1) -> Iterator[Sentence]:
    """Yield the sentences of Markdown, or of a docstring, whose first line has the number ``first``."""
    for line, paragraph in _paragraphs(lines, first):
        for text in _split(_plain(paragraph)):
            yield Sentence(line, text, sum(any(map(str.isalnum, word)) for word in text.split()))


def of_page(path: Path) -> list[Sentence]:
    """Return the sentences of a page in Markdown."""
    return list(sentences(path.read_text(encoding="utf-8").splitlines()))


def of_module(path: Path) -> list[Sentence]:
    """Return the sentences of all docstrings of a module."""
    found: list[Sentence] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            text := ast.get_docstring(node)
        ):
            found += sentences(_without_examples(text).splitlines(), node.body[0].lineno)
    return found


def of(path: Path) -> list[Sentence]:
    """Return the sentences of a page or of a module."""
    return of_page(path) if path.suffix == ".md" else of_module(path)


def long_sentences(path: Path) -> list[Sentence]:
    """Return the sentences of a page or a module that have more than ``LONGEST`` words."""
    return [sentence for sentence in of(path) if sentence.words > LONGEST]


def all_files() -> list[Path]:
    """Return README and other pages at the root, the pages of the site, and the modules of the package."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    built = [ROOT / "docs" / name for name in ("_build", "_generated", "notebooks")]
    return sorted(
        path
        for path in [*pages, *(ROOT / "src").rglob("*.py")]
        if not any(path.is_relative_to(folder) for folder in built)
    )


def _paragraphs(lines: list[str], first: int) -> Iterator[tuple[int, str]]:
    """Yield paragraphs, entries of lists and headings as one line each; no tables, code or directives."""
    kept: list[str] = []
    start, fence, after_blank, in_list = first, "", True, False
    for number, line in enumerate([*lines, ""], first):
        if mark := _FENCE.match(line):
            fence = "" if fence and mark[1] == fence else fence or mark[1]
        stripped = line.strip()
        code = bool(fence or mark) or stripped.startswith(("|", ":::", "<!--", "hlr-jax "))
        code = code or (after_blank and not in_list and not kept and line.startswith("    "))
        begins = bool(_ITEM.match(line) or _ENTRY.match(line) or _SECTION.match(stripped) or stripped.startswith("#"))
        if kept and (not stripped or code or begins):
            yield start, " ".join(kept)
            kept = []
        if stripped and not code and not _SECTION.match(stripped) and not re.fullmatch(r":[\w-]+:.*", stripped):
            start = number if not kept else start
            kept.append(_ITEM.sub("", line).strip().lstrip("#> "))
            if stripped.startswith("#"):
                yield start, kept.pop()
        in_list = bool(_ITEM.match(line)) or (in_list and (not stripped or line.startswith(" ")))
        after_blank = not stripped or (code and after_blank)


def _plain(text: str) -> str:
    """Return a paragraph with inline code, formulas and images as one word each, and links as their texts."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"``.+?``|`[^`]+`", "Code", text)  # with a capital, as it may begin a sentence
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"[*_]{2}", "", text)


def _split(text: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(text):
        if not _ABBREVIATION.search(text[start : end.start() + 1]):
            yield text[start : end.end()].strip()
            start = end.end()
    if rest := text[start:].strip():
        yield rest


def _without_examples(docstring: str) -> str:
    """Return a docstring with blank lines for its examples, each with its output."""
    lines, example = [], False
    for line in docstring.splitlines():
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        lines.append("" if example else line)
    return "\n".join(lines)


def main(names: list[str]) -> None:
    """List the long sentences of files, or of all."""
    count = 0
    for path in [Path(name).resolve() for name in names] or all_files():
        for sentence in long_sentences(path):
            count += 1
            print(f"{path.relative_to(ROOT)}:{sentence.line}: {sentence.words} words: {sentence.text}")
    print(f"{count} sentences of more than {LONGEST} words")


if __name__ == "__main__":
    main(sys.argv[1:])
