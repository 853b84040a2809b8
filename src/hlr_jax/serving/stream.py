"""Writes the recommendations of any number of users to one file, in bounded memory; a stopped command can be resumed.

Recommendations are made for a chunk of users at a time. Each chunk is a Parquet file in a folder next to the output. At
the end the chunks are streamed into the output file, which is renamed into place once complete.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hlr_jax import folders
from hlr_jax.errors import InputError
from hlr_jax.files import atomic_file
from hlr_jax.serving.lists import Lister
from hlr_jax.spreadsheets import cells

SUFFIXES = (".parquet", ".csv", ".jsonl")
CHUNK = 2048  # users of a part: a multiple of the tile size, and a few seconds of work


def check_output(path: Path) -> None:
    """Raise ``InputError`` if a path has an unknown file extension, or is a folder."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: unknown file extension; it must be one of {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise InputError(f"{path} is a folder; pass a file")


def write_lists(
    path: Path,
    lister: Lister,
    users: tuple[pl.Series, np.ndarray],
    request: dict[str, Any],
    *,
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] = lambda done, total: None,
    escape_formulas: bool = False,
    log: Callable[[str], None] = print,
) -> int:
    """Write the recommendations of users, in their order, and return the number of rows.

    Args:
      path: ``.parquet``, ``.csv`` (columns of lists become text, separated by ``|``) or ``.jsonl``.
      lister: makes the recommendations.
      users: ids and rows of the users, from ``wanted_users``.
      request: everything the result depends on, JSON-like. Parts that a stopped call left are reused if theirs is
        equal.
      chunk: users per part.
      progress: receives (users done, total), starting with what is already done.
      escape_formulas: for CSV; see ``spreadsheets.cells``.
      log: receives log lines.

    Raises:
      InputError: see ``check_output``; the folder holds parts of another request, or another process is writing them.
    """
    check_output(path)
    folder = path.with_name(f"{path.name}.parts")
    with folders.claim(folder, "parts", request | {"users_of_a_part": chunk}):
        parts = _write_parts(folder, lister, users, chunk, progress)
        rows = sum(pl.scan_parquet(part, glob=False).select(pl.len()).collect().item() for part in parts)
        _merge(parts, path, request, escape_formulas, log)
        folders.remove(folder)
    return rows


def _write_parts(
    folder: Path,
    lister: Lister,
    users: tuple[pl.Series, np.ndarray],
    chunk: int,
    progress: Callable[[int, int], None],
) -> list[Path]:
    """Make the parts that are missing in a folder, and return all parts."""
    ids, places = users
    count, parts = len(places), []
    for start in range(0, max(count, 1), chunk):
        part = folder / f"{start // chunk:06}.parquet"
        progress(min(start, count), count)
        if not part.is_file():
            # The last chunk is padded, so that all chunks share one compiled program.
            size = min(chunk, count - start)
            some = np.arange(start, start + chunk if count > chunk else count).clip(max=max(count - 1, 0))
            with atomic_file(part) as temporary:
                lister.lists(ids.gather(some), places[some], size).write_parquet(temporary)
        parts.append(part)
    progress(count, count)
    return parts


def _merge(
    parts: list[Path], path: Path, request: dict[str, Any], escape_formulas: bool, log: Callable[[str], None]
) -> None:
    """Stream the parts into one file, in order; a Parquet file also stores the request and its run."""
    frame = pl.scan_parquet(parts, glob=False)
    packed = sum(part.stat().st_size for part in parts)
    with atomic_file(path, packed if path.suffix == ".parquet" else None) as temporary:
        if path.suffix == ".parquet":
            frame.sink_parquet(temporary, row_group_size=2**17, metadata={"hlr_jax": json.dumps(request)})
        elif path.suffix == ".jsonl":
            frame.sink_ndjson(temporary)
        else:
            nested = [name for name, dtype in frame.collect_schema().items() if isinstance(dtype, pl.List)]
            texts = pl.col(nested).cast(pl.List(pl.String)).list.join("|")
            cells(frame.with_columns(texts), path, escape_formulas=escape_formulas, log=log).sink_csv(temporary)
