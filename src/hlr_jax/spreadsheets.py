"""CSV files that spreadsheets open: a cell that begins as a formula does is computed there, whoever wrote it.

Source: OWASP, CSV Injection. A ``'`` before such a cell makes it text.
"""

from collections.abc import Callable
from pathlib import Path

import polars as pl

_FORMULA = r"^[=+\-@\t\r]"


def cells(frame: pl.LazyFrame, path: Path, *, escape_formulas: bool, log: Callable[[str], None]) -> pl.LazyFrame:
    """Return a frame as it is written as CSV.

    Args:
      frame: texts in it may be of anybody.
      path: of the file, for the warning.
      escape_formulas: put ``'`` before texts that begin with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return.
      log: is told how many rows have such texts, where they are written as they are.

    Example:
      >>> frame = pl.LazyFrame({"title": ["=1+1", "Jaws"]})
      >>> cells(frame, Path("a.csv"), escape_formulas=True, log=print).collect()["title"].to_list()
      ["'=1+1", 'Jaws']
    """
    texts = {name: pl.col(name) for name, dtype in frame.collect_schema().items() if dtype == pl.String}
    found = {name: text.str.contains(_FORMULA) for name, text in texts.items()}
    if not texts:
        return frame
    if escape_formulas:
        return frame.with_columns(
            pl.when(found[name]).then(pl.concat_str(pl.lit("'"), text)).otherwise(text).alias(name)
            for name, text in texts.items()
        )
    if count := frame.select(pl.any_horizontal(*found.values()).sum()).collect().item():
        log(
            f"warning: {path}: {count:,} rows have texts that a spreadsheet takes for formulas; --escape_formulas puts "
            "' before these"
        )
    return frame
