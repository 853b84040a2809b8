"""CSV files for spreadsheets, which run a cell that begins like a formula, whoever wrote it.

Source: OWASP, CSV Injection. A ``'`` before such a cell makes it text.
"""

from collections.abc import Callable
from pathlib import Path

import polars as pl

_FORMULA = r"^[=+\-@\t\r]"


def cells(frame: pl.LazyFrame, path: Path, *, escape_formulas: bool, log: Callable[[str], None]) -> pl.LazyFrame:
    """Return a frame as written to CSV.

    Args:
      frame: its texts may come from anyone.
      path: of the file, for the warning.
      escape_formulas: put ``'`` before texts that begin with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return.
      log: receives how many rows have such texts, if they are written unchanged.

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
            f"warning: {path}: {count:,} rows have texts that a spreadsheet runs as formulas; --escape_formulas puts "
            "' before them"
        )
    return frame
