"""The columns of interactions, whatever their types: ids, ratings as float64, seconds since 1970, and splits.

Files and frames are both read here, so that the same rows mean the same data set.
"""

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import polars as pl

from hlr_jax.data.clean_ids import clean_ids
from hlr_jax.data.report import ReadingReport
from hlr_jax.data.timestamps import TimestampForm, agreed, find_form
from hlr_jax.data.values import Rules, bad_value, column_name, is_whole, normalized
from hlr_jax.errors import InputError, nearest
from hlr_jax.terminal import shortened

_SHOWN = 8  # names of columns that are not read


class Table(NamedTuple):
    """A source whose columns are known.

    Attributes:
      rows: not yet read; the columns are called by their roles. A rating that no threshold asks for is looked at, and
        not kept.
      names: role -> what people call the column.
      where: what the source is called.
      place: what to call a row, counted from 0.
      is_text: whether it comes from a text file, so that a column of whole numbers is one of numbers.
      header: role -> name, where a line of a file may name the columns once more.
      num_rows: how many there are; None: not counted yet.
      notes: what was decided about it so far.
      unread: names of the columns that nobody reads.
    """

    rows: pl.LazyFrame
    names: dict[str, str]
    where: str
    place: Callable[[int], str]
    is_text: bool = False
    header: dict[str, str] | None = None
    num_rows: int | None = None
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


class Reading(NamedTuple):
    """What was read of a source.

    Attributes:
      rows: the columns that were asked for, by role.
      report: how many rows the source has, and how many were left out so far.
      form: how the timestamps are written; None where none were asked for.
    """

    rows: pl.DataFrame
    report: ReadingReport
    form: TimestampForm | None = None


def find_columns(present: dict[str, str], wanted: dict[str, str], where: str) -> dict[str, str]:
    """Return role -> column of the table.

    Args:
      present: the table's columns by the names that people give them.
      wanted: role -> such a name.
      where: what the table is called.

    Raises:
      InputError: columns are not there; names them all.
    """
    missing = {role: name for role, name in wanted.items() if name not in present}
    if missing:
        names = " and ".join(f'"{name}"' for name in missing.values())
        hint = nearest(next(iter(missing.values())), present)
        if len(missing) > 1 or len(hint) > 80:
            hint = f" (it has: {shortened(', '.join(present), 80)})"
        several = "s" * (len(missing) > 1)
        raise InputError(
            f"{where}: no column{several} {names}{hint}; pass the name{several} of the {' and '.join(missing)} "
            f"column{several}"
        )
    return {role: present[name] for role, name in wanted.items()}


def read_columns(table: Table, rules: Rules) -> Reading:
    """Read columns of a table; with a threshold, keep only the rows whose rating reaches it.

    Rows below the threshold never fill the memory. Ids become Int64 (UInt64 where one needs it) or text: integers and
    whole floating-point numbers the first, all else the second. Of text files a column of whole numbers is one of
    numbers; elsewhere a text stays a text, also one of digits.

    Raises:
      InputError: a column of a type that can't be read, or an empty or unreadable value; names the first row.
      PolarsError: the table itself can't be read.
    """
    everything, rows = table.rows.select(list(table.names)), _without_headers(table)
    form = _form_of(rows, table, rules)
    made = normalized(rows, table.names, rules, form, table.where)
    looked_at = "rating" in table.names and rules.threshold is None
    kept = made
    if rules.threshold is not None:
        # A missing rating and NaN stay: they are errors to report, not rows to drop or keep.
        rating = pl.col("rating")
        kept = made.filter((rating >= rules.threshold) | ~rating.is_finite().fill_null(False))
    elif looked_at:
        kept = made.drop("rating")
    seen = made.select(low=pl.col("rating").min(), high=pl.col("rating").max()) if looked_at else made.select()
    counts = everything.select(rows=pl.len(), repeated=_repeats_header(table).sum())
    if table.num_rows is not None and table.header is None:
        counts = pl.LazyFrame({"rows": [table.num_rows], "repeated": [0]})
    frame, counted, ratings = pl.collect_all([kept, counts, seen], engine="streaming")
    span = _range_of(table, *ratings.row(0)) if looked_at else ""
    frame, lacking, notes = _with_clean_ids(frame, table, rules)
    if form is not None:
        settled, form = form.settled(frame["timestamp"])
        frame = frame.with_columns(settled)
    if sum(frame.null_count().row(0)) or ("rating" in frame.columns and not frame["rating"].is_finite().all()):
        raise _bad_row(table, rules)
    total, headers = counted.row(0)
    report = ReadingReport(
        total,
        repeated_headers=headers,
        below_threshold=total - headers - lacking - frame.height,
        without_ids=lacking,
        threshold=rules.threshold,
        notes=_said(table, notes, span),
    )
    return Reading(_fitted(frame), report, form)


def _said(table: Table, notes: tuple[str, ...], span: str) -> tuple[str, ...]:
    """Return the line about what was decided, if anything was; ``span`` is that of ratings that are not read."""
    named = {role: name for role, name in table.names.items() if name != role and role != "rating"}
    renamed = ", ".join(f"{role} is {column_name(name)}" for role, name in named.items())
    unread = [f'"{name}"' for name in table.unread]
    if span:
        unread.insert(0, f'"{table.names["rating"]}"{span}')
    more = "not read: " + ", ".join(unread[:_SHOWN]) + (", ..." if unread[_SHOWN:] else "")
    said = [*table.notes, *filter(None, [renamed]), *notes, *([more] if unread else [])]
    return (f"{Path(table.where).name}: {'; '.join(said)}",) if said else ()


def _form_of(rows: pl.LazyFrame, table: Table, rules: Rules) -> TimestampForm | None:
    """Return the form of the timestamps, if there are some, of a type that can be read."""
    if "timestamp" not in table.names:
        return None
    return find_form(rows.select("timestamp"), rules.timestamp_format, table.where, table.names["timestamp"])


def _without_headers(table: Table) -> pl.LazyFrame:
    """Return the columns by role, without lines that name the columns once more."""
    rows = table.rows.select(list(table.names))
    return rows if table.header is None else rows.filter(~_repeats_header(table))


def _repeats_header(table: Table) -> pl.Expr:
    """Return what tells the lines that name the columns once more."""
    if table.header is None:
        return pl.first().is_null() & False  # of as many rows as there are
    names = [(role, name) for role, name in table.header.items() if role in ("user", "item")]
    return pl.all_horizontal((pl.col(role).str.strip_chars() == name).fill_null(False) for role, name in names)


def _range_of(table: Table, low: float | None, high: float | None) -> str:
    """Return what to say of ratings that nobody asked for.

    Raises:
      InputError: some of them may stand for no interaction, or a bad one.
    """
    if low is None or high is None:
        return " (no number)"
    if low <= 0:
        column = column_name(table.names["rating"])
        raise InputError(
            f"{table.where}: {column} holds {low:g} to {high:g}, and without a threshold each "
            f"row is an interaction; pass dataset.threshold={low:g} for all rows, or a higher one"
        )
    return f" ({low:g} to {high:g})"


def _with_clean_ids(frame: pl.DataFrame, table: Table, rules: Rules) -> tuple[pl.DataFrame, int, tuple[str, ...]]:
    """Return the rows with the ids as they are meant, how many rows without ids were dropped, and notes.

    Raises:
      InputError: an id that can't be one, or a missing one where that is an error.
    """
    notes, raw = [], frame
    sides = [role for role in ("user", "item") if role in frame.columns]
    for role in sides:
        cleaned = clean_ids(frame[role], rules.missing_words, text_may_be_number=table.is_text)
        if cleaned.bad is not None:
            value, problem = cleaned.bad
            row = _first(table, pl.col(role).cast(pl.String).str.strip_chars() == value)
            raise InputError(f"{table.where}: {table.place(row)}: {column_name(table.names[role])} {problem}: {value}")
        notes += [f"ids in {column_name(table.names[role])} {cleaned.note}"] * bool(cleaned.note)
        frame = frame.with_columns(cleaned.ids.alias(role))
    lacks = reduce(lambda left, right: left | right, (frame[role].is_null() for role in sides))
    lacking = int(lacks.sum())
    if lacking and (rules.missing_ids == "error" or not _only_missing(table)):
        raise _bad_row(table, rules, lacking)
    if lacking:  # what is left alone says of which type the ids are
        frame, more, again = _with_clean_ids(raw.filter(~lacks), table, rules)
        return frame, lacking + more, again
    return frame, 0, tuple(notes)


def _only_missing(table: Table) -> bool:
    """Return whether all numbers in columns of ids are whole, so that a null is a missing id and no other."""
    rows = _without_headers(table)
    schema = rows.collect_schema()
    floats = [pl.col(role) for role in ("user", "item") if role in schema and schema[role].is_float()]
    bad = [(column.is_not_null() & ~column.is_nan() & ~is_whole(column)).any() for column in floats]
    return not bad or not any(rows.select(bad).collect().row(0))


def _first(table: Table, is_it: pl.Expr) -> int:
    """Return the place of the first row for which an expression of the columns holds; 0 if it does for none."""
    found = table.rows.select(is_it.fill_null(False).arg_true().first()).collect().item()
    return 0 if found is None else int(found)


def _bad_row(table: Table, rules: Rules, lacking: int = 0) -> InputError:
    """Return the error for the first row that can't be read, among those that nothing leaves out."""
    lazy, repeated = table.rows.select(list(table.names)), _repeats_header(table)
    raw, form = lazy.collect(), _form_of(_without_headers(table), table, rules)
    made = normalized(raw.lazy(), table.names, rules, form, table.where).collect()
    left_out = raw.select(repeated.alias("repeated")).to_series()
    if rules.threshold is not None:
        left_out |= (made["rating"] < rules.threshold).fill_null(False)
    unreadable, moments = _unreadable(raw, made, table, rules), None
    if form is not None:
        moments, form = form.settled(made["timestamp"].set(left_out, None))
        unreadable |= moments.is_null()
    at = (unreadable & ~left_out).arg_max() or 0
    row = raw.row(at, named=True)
    for role, name in table.names.items():
        if problem := bad_value(role, row[role], rules):
            count = f" ({lacking:,} rows lack an id)" if lacking > 1 and role in ("user", "item") else ""
            return InputError(f"{table.where}: {table.place(at)}: {column_name(name)} {problem}{count}")
    if form is not None and moments is not None and moments[at] is None:
        moments = moments.set(left_out, 0.0)  # what is left out is no bad row
        _, problem = form.problem(raw["timestamp"], moments, table.place)
        return InputError(f"{table.where}: {table.place(at)}: {column_name(table.names['timestamp'])} {problem}")
    return InputError(f"{table.where}: {table.place(at)} can't be read")


def _unreadable(raw: pl.DataFrame, made: pl.DataFrame, table: Table, rules: Rules) -> pl.Series:
    """Return which rows have an id, a rating or a split that can't be read."""
    bad = pl.repeat(False, raw.height, eager=True)
    for role in made.columns:
        if role in ("user", "item"):
            unusable = clean_ids(made[role], rules.missing_words, text_may_be_number=table.is_text).ids.is_null()
            if rules.missing_ids == "drop":  # then what is missing is no error
                unusable &= raw[role].cast(pl.Float64, strict=False).is_not_nan().fill_null(False)
            bad |= unusable
        elif role == "split":
            bad |= made[role].is_null()
        elif role == "rating" and rules.threshold is not None:
            bad |= ~made[role].is_finite().fill_null(False)
    return bad


def _fitted(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with UInt64 ids as Int64 where all fit."""
    wide = [role for role in ("user", "item") if role in frame.columns and frame.schema[role] == pl.UInt64]
    narrow = [frame[role].cast(pl.Int64, strict=False) for role in wide]
    return frame.with_columns(ids for ids in narrow if not ids.null_count())


def joined(parts: list[Reading]) -> Reading:
    """Return parts of one source as one; ids are text where some part has text."""
    frames = [part.rows for part in parts]
    for role in ("user", "item"):
        if len({frame.schema[role] for frame in frames}) > 1:
            frames = [frame.with_columns(pl.col(role).cast(pl.String)) for frame in frames]
    form = agreed(part.form for part in parts)
    return Reading(pl.concat(frames), reduce(ReadingReport.joined, (part.report for part in parts)), form)
