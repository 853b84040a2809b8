"""Reads columns of interactions of any type: ids, ratings as float64, seconds since 1970, and splits.

Files and frames share this code, so the same rows give the same data set.
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

_SHOWN = 8  # the most names of unread columns in a note


class Table(NamedTuple):
    """A source whose columns are known.

    Attributes:
      rows: lazy; the columns are named by their roles. Without a threshold, the range of ratings is checked and the
        ratings are dropped.
      names: role -> name of the column in the source.
      where: name of the source in messages.
      place: number of a row, counted from 0 -> its name in messages.
      is_text: whether it comes from a text file, where a column of whole numbers is read as numbers.
      header: role -> name, where the header line may be repeated within the file.
      num_rows: number of rows; None: not counted yet.
      notes: decisions about the source so far, for the log.
      unread: names of the columns that are not read.
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
    """The rows of a source.

    Attributes:
      rows: the requested columns, by role.
      report: how many rows the source has, and how many were left out so far.
      form: how the timestamps are written; None where no timestamps were requested.
    """

    rows: pl.DataFrame
    report: ReadingReport
    form: TimestampForm | None = None


def find_columns(present: dict[str, str], wanted: dict[str, str], where: str) -> dict[str, str]:
    """Return role -> column of the table.

    Args:
      present: name in the source -> column of the table.
      wanted: role -> name in the source.
      where: name of the table in messages.

    Raises:
      InputError: columns are missing; names them all.
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
    """Read columns of a table; with a threshold, keep only the rows whose rating is at least the threshold.

    Rows below the threshold are never held in memory. Integer ids and whole floating-point numbers become Int64, or
    UInt64 where an id needs it. All other ids become text. Text files have no types, so there a column of whole
    numbers is read as numbers. Elsewhere a text of digits stays a text.

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
        # Rows with a missing or NaN rating are kept so that the check below reports them.
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
        notes=_decisions(table, notes, span),
    )
    return Reading(_fitted(frame), report, form)


def _decisions(table: Table, notes: tuple[str, ...], span: str) -> tuple[str, ...]:
    """Return one line with all decisions about the source, or none; ``span`` is the range of unread ratings."""
    named = {role: name for role, name in table.names.items() if name != role and role != "rating"}
    renamed = ", ".join(f"{role} is {column_name(name)}" for role, name in named.items())
    unread = [f'"{name}"' for name in table.unread]
    if span:
        unread.insert(0, f'"{table.names["rating"]}"{span}')
    more = "not read: " + ", ".join(unread[:_SHOWN]) + (", ..." if unread[_SHOWN:] else "")
    said = [*table.notes, *filter(None, [renamed]), *notes, *([more] if unread else [])]
    return (f"{Path(table.where).name}: {'; '.join(said)}",) if said else ()


def _form_of(rows: pl.LazyFrame, table: Table, rules: Rules) -> TimestampForm | None:
    """Return the form of the timestamps; None without timestamps, or for a type that can't be read."""
    if "timestamp" not in table.names:
        return None
    return find_form(rows.select("timestamp"), rules.timestamp_format, table.where, table.names["timestamp"])


def _without_headers(table: Table) -> pl.LazyFrame:
    """Return the columns by role, without repeated header lines."""
    rows = table.rows.select(list(table.names))
    return rows if table.header is None else rows.filter(~_repeats_header(table))


def _repeats_header(table: Table) -> pl.Expr:
    """Return an expression that is true for repeated header lines."""
    if table.header is None:
        return pl.first().is_null() & False  # false for every row
    names = [(role, name) for role, name in table.header.items() if role in ("user", "item")]
    return pl.all_horizontal((pl.col(role).str.strip_chars() == name).fill_null(False) for role, name in names)


def _range_of(table: Table, low: float | None, high: float | None) -> str:
    """Return the range of ratings that are not read, for the log.

    Raises:
      InputError: a rating is 0 or negative, so it may not mean an interaction.
    """
    if low is None or high is None:
        return " (no numbers)"
    if low <= 0:
        column = column_name(table.names["rating"])
        raise InputError(
            f"{table.where}: {column} ranges from {low:g} to {high:g}, and without a threshold every "
            f"row is an interaction; pass dataset.threshold={low:g} to keep all rows, or a higher one"
        )
    return f" ({low:g} to {high:g})"


def _with_clean_ids(frame: pl.DataFrame, table: Table, rules: Rules) -> tuple[pl.DataFrame, int, tuple[str, ...]]:
    """Return the rows with clean ids, how many rows without ids were dropped, and notes.

    Raises:
      InputError: an invalid id, or a missing one where that is an error.
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
    if lacking:  # the remaining rows alone decide the type of the ids
        frame, more, again = _with_clean_ids(raw.filter(~lacks), table, rules)
        return frame, lacking + more, again
    return frame, 0, tuple(notes)


def _only_missing(table: Table) -> bool:
    """Return whether all numbers in columns of ids are whole, so that a null can only be a missing id."""
    rows = _without_headers(table)
    schema = rows.collect_schema()
    floats = [pl.col(role) for role in ("user", "item") if role in schema and schema[role].is_float()]
    bad = [(column.is_not_null() & ~column.is_nan() & ~is_whole(column)).any() for column in floats]
    return not bad or not any(rows.select(bad).collect().row(0))


def _first(table: Table, is_it: pl.Expr) -> int:
    """Return the number of the first row for which an expression of the columns is true; 0 if there is none."""
    found = table.rows.select(is_it.fill_null(False).arg_true().first()).collect().item()
    return 0 if found is None else int(found)


def _bad_row(table: Table, rules: Rules, lacking: int = 0) -> InputError:
    """Return the error for the first row that can't be read, except rows that are left out anyway."""
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
        moments = moments.set(left_out, 0.0)  # rows that are left out are not bad rows
        _, problem = form.problem(raw["timestamp"], moments, table.place)
        return InputError(f"{table.where}: {table.place(at)}: {column_name(table.names['timestamp'])} {problem}")
    return InputError(f"{table.where}: {table.place(at)} can't be read")


def _unreadable(raw: pl.DataFrame, made: pl.DataFrame, table: Table, rules: Rules) -> pl.Series:
    """Return which rows have an id, a rating or a split that can't be read."""
    bad = pl.repeat(False, raw.height, eager=True)
    for role in made.columns:
        if role in ("user", "item"):
            unusable = clean_ids(made[role], rules.missing_words, text_may_be_number=table.is_text).ids.is_null()
            if rules.missing_ids == "drop":  # then a missing id is not an error
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
    """Return the parts of one source as one; ids are text where any part has text."""
    frames = [part.rows for part in parts]
    for role in ("user", "item"):
        if len({frame.schema[role] for frame in frames}) > 1:
            frames = [frame.with_columns(pl.col(role).cast(pl.String)) for frame in frames]
    form = agreed(part.form for part in parts)
    return Reading(pl.concat(frames), reduce(ReadingReport.joined, (part.report for part in parts)), form)
