"""Prints frames as tables, or writes them to files."""

from pathlib import Path

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from hlr_jax import errors, files
from hlr_jax.spreadsheets import cells
from hlr_jax.terminal import as_markup

_SUFFIXES = (".parquet", ".csv", ".jsonl")


def print_frame(frame: pl.DataFrame) -> None:
    """Print all rows of a frame; floats have four decimal places."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name, dtype in frame.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left")
    for row in frame.iter_rows():
        table.add_row(*(f"{value:.4f}" if isinstance(value, float) else as_markup(value) for value in row))
    Console(emoji=False).print(table)


def check_suffix(path: Path) -> None:
    """Check that ``write_frame`` can write the file, before computing its content.

    Raises:
      InputError: the suffix is unknown; names the known ones.
    """
    errors.pick(path.suffix, _SUFFIXES, f"kind of file for --output={path}:")


def write_frame(frame: pl.DataFrame, path: Path, *, escape_formulas: bool = False) -> None:
    """Write a frame as Parquet, CSV or JSON lines by the suffix, completely or not at all.

    ``escape_formulas`` applies to CSV; see ``spreadsheets.cells``.

    Raises:
      InputError: the suffix is unknown.
    """
    check_suffix(path)
    with files.atomic_file(path) as temporary:
        if path.suffix == ".parquet":
            frame.write_parquet(temporary)
        elif path.suffix == ".csv":
            cells(frame.lazy(), path, escape_formulas=escape_formulas, log=print).collect().write_csv(temporary)
        else:
            frame.write_ndjson(temporary)
