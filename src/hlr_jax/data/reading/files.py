"""Files of interactions to rows; and any table of a file as texts."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from hlr_jax.data.columns import Reading, Table, find_columns, read_columns
from hlr_jax.data.options import DataOptions
from hlr_jax.data.reading.adjacency import read_adjacency
from hlr_jax.data.reading.delimited import scan_records
from hlr_jax.data.reading.dialect import find_dialect
from hlr_jax.data.reading.formats import COMPRESSIONS, Format, resolve_format
from hlr_jax.data.reading.json_lines import scan_objects
from hlr_jax.data.reading.plain_text import PlainText, plain_text, unpacked
from hlr_jax.errors import InputError


def read_interactions(path: Path, options: DataOptions) -> Reading:
    """Read the columns that the options need; with a threshold, only the rows whose rating reaches it.

    ``columns.read_columns`` says what becomes of types. Blank lines are passed over. What is read of a text is what
    Python's csv and json read of it; what looks misread is refused.

    Raises:
      InputError: a missing file or column, an empty file, an unreadable row, an empty id or rating, a rating or
        timestamp that is no number; names the file and the line (or row) or column.

    Example:
      >>> path = Path("log.csv")
      >>> _ = path.write_text("user;item\\nann;7\\nbob;7\\n")
      >>> read_interactions(path, DataOptions()).rows.rows()
      [('ann', 7), ('bob', 7)]
    """
    check_readable(path)
    layout = resolve_format(path, options)
    for role in options.roles:
        if role not in layout.columns and role not in options.column_order:
            raise InputError(f'{path}: this format has no column for "{role}"')
    with _table(path, layout, options, options.roles) as table:
        return read_columns(table, options.rules)


def read_texts(path: Path, names: tuple[str, ...]) -> pl.DataFrame:
    """Return columns of a table as texts; empty ones are null.

    Raises:
      InputError: see ``read_interactions``.
    """
    check_readable(path)
    options = DataOptions()
    layout = replace(resolve_format(path, options), columns={name: name for name in names})
    with _table(path, layout, options, names) as table:
        return table.rows.select(pl.col(names).cast(pl.String, strict=False)).collect()


def check_readable(path: Path) -> None:
    """Check that there is something to read.

    Raises:
      InputError: no such file, a folder, or an empty file.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; pass a file")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")


@contextlib.contextmanager
def _table(path: Path, layout: Format, options: DataOptions, roles: tuple[str, ...]) -> Iterator[Table]:
    """Yield the columns of a file, as long as its temporary copies are there.

    Raises:
      InputError: a column is not there, or the file is not of its kind.
    """
    where, wanted = str(path), {role: layout.columns.get(role, role) for role in roles}
    looked_at = {role: name for role, name in layout.columns.items() if role == "rating" and role not in wanted}
    try:
        if layout.kind == "parquet":
            packed = path.suffix.lower() in COMPRESSIONS
            table = pl.read_parquet(b"".join(unpacked(path))).lazy() if packed else pl.scan_parquet(path, glob=False)
            yield _parquet_table(table, wanted, looked_at, where)
            return
        with plain_text(path, options.encoding) as text:
            yield _text_table(text, layout, options, wanted, looked_at, where)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        raise InputError(f"{path}: damaged or cut off: it does not read as {layout.kind}") from None


def _parquet_table(table: pl.LazyFrame, wanted: dict[str, str], looked_at: dict[str, str], where: str) -> Table:
    present = table.collect_schema().names()
    names = find_columns({name: name for name in present}, wanted, where)
    names |= {role: name for role, name in looked_at.items() if name in present}
    rows = table.select(pl.col(name).alias(role) for role, name in names.items())
    return Table(rows, names, where, lambda row: f"row {row + 1}", unread=_rest(present, names))


def _text_table(
    text: PlainText, layout: Format, options: DataOptions, wanted: dict[str, str], looked_at: dict[str, str],
    where: str,
) -> Table:  # fmt: skip
    if layout.kind == "adjacency":
        records = read_adjacency(text.path, layout.counted, where)
        return Table(records.rows, wanted, where, records.place, is_text=True, notes=text.notes)
    if layout.kind == "ndjson":
        records, present = scan_objects(text.path, wanted, looked_at, where)
        names = wanted | {role: name for role, name in looked_at.items() if name in present}
        unread = _rest(present, names)
        return Table(records.rows, names, where, records.place, is_text=True, notes=text.notes, unread=unread)
    dialect = find_dialect(text.path, layout, options, wanted, where)
    records = scan_records(text.path, dialect, where, lines_may_be_quoted=options.quotes == "yes")
    header, repeated = dialect.header, records.may_repeat_header
    names = {role: header[place] if header else f"column {place + 1}" for role, place in dialect.places.items()}
    return Table(
        records.rows, names, where, records.place, is_text=True, num_rows=records.num_rows,
        header=names if header and repeated else None,
        notes=(*text.notes, *dialect.notes), unread=_rest(header, names),
    )  # fmt: skip


def _rest(present: Iterable[str], names: dict[str, str]) -> tuple[str, ...]:
    return tuple(name for name in present if name not in names.values())
