"""List the file formats, and the settings for reading files.

hlr-jax formats
"""

import textwrap
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hlr_jax.data.options import READING_SETTINGS, DataOptions
from hlr_jax.data.reading.formats import COMPRESSIONS, FORMATS, SUFFIXES, Format
from hlr_jax.settings import describe


def main() -> None:
    """Show each format with its layout, and the settings for reading files."""
    table = Table(*TITLE, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows():
        table.add_row(*map(escape, row))
    console = Console(highlight=False)
    console.print(table)
    packed = ", ".join(f"log.csv{ending}" for ending in COMPRESSIONS)
    print(f"Files may be compressed ({packed}: one file an archive). Several files may be given:\n{_WAYS}\n")
    for setting in (setting for setting in describe(DataOptions) if setting.name in READING_SETTINGS):
        allowed = f" [{setting.allowed}]" if setting.allowed else ""
        text = f"dataset.{setting.name}={setting.default}{allowed}: {setting.meaning.replace('``', '')}"
        print(textwrap.fill(text, 116, subsequent_indent="    "))


TITLE = ("dataset.format", "extensions", "layout", "user, item, rating, timestamp")


def rows() -> Iterator[tuple[str, ...]]:
    """Yield a row for each format: its name, its file extensions, its layout and its columns."""
    for name, layout in FORMATS.items():
        endings = " ".join(ending for ending, meant in SUFFIXES.items() if meant == name)
        yield name, endings, _layout(layout), _columns(layout)


_WAYS = "a folder of part files, a list of files, a pattern with dataset.glob=true."


def _layout(layout: Format) -> str:
    """Return a short description of a file."""
    if layout.kind == "adjacency":
        return "a line a user: " + ("number of items, items" if layout.counted else "user, items")
    if layout.kind != "delimited":
        return {"parquet": "Parquet", "ndjson": "a JSON object a line"}[layout.kind]
    divided = {"\t": "tab", ",": "comma"}.get(layout.separator, layout.separator)
    return f"{divided}, {'header' if layout.header else 'no header'}"


def _columns(layout: Format) -> str:
    return (
        ", ".join(name for role, name in layout.columns.items() if role != "split")
        if layout.kind != "adjacency"
        else ""
    )
