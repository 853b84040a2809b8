"""Cleans ids: strips blanks at both ends, finds words for missing ids, reads whole numbers with a decimal point.

Each rule reads the distinct ids instead of the rows, because there are far fewer of them.
"""

from typing import NamedTuple

import polars as pl

from hlr_jax.data.ids import stripped

MISSING_WORDS = ("NULL", "null", "nan", "NaN", "NaT", "<NA>", "None", r"\N")
"""How programs write a missing id."""
AMONG_NUMBERS = ("NA", "N/A")
"""How some programs write a missing number. In a column of texts, NA may mean Namibia."""
EXACT = 2**53
"""Float64 holds every whole number up to this one exactly."""

_WHOLE = r"^(0|-?[1-9][0-9]{0,18})$"  # ids that are the same text after a round trip through a number; not "007"
_DECIMAL = r"^-?(0|[1-9][0-9]*)\.0+$"
_ROUNDED = r"^-?[0-9](\.[0-9]+)?[eE]\+?[0-9]+$"  # as spreadsheets and float columns write large numbers


class CleanIds(NamedTuple):
    """A column of ids.

    Attributes:
      ids: Int64, UInt64 or text; null where an id is missing.
      note: a remark for the log; may be empty.
      bad: an invalid id and what is wrong with it; None if all are valid.
    """

    ids: pl.Series
    note: str = ""
    bad: tuple[str, str] | None = None


def clean_ids(ids: pl.Series, missing_words: tuple[str, ...], *, text_may_be_number: bool) -> CleanIds:
    """Return ids without blanks at both ends, with null for missing ones.

    Args:
      ids: integers, which are returned unchanged, or texts.
      missing_words: texts that mean a missing id.
      text_may_be_number: whether a column of whole numbers becomes Int64. True for text files, which have no types.

    Example:
      >>> clean_ids(pl.Series(["1", " 2", "NULL", "3.0"]), MISSING_WORDS, text_may_be_number=True).ids.to_list()
      [1, 2, None, 3]
    """
    if ids.dtype != pl.String:
        return CleanIds(ids)
    raw = ids.unique().drop_nulls()
    clean = stripped(raw)
    missing = (clean == "") | clean.is_in(list(missing_words))
    meant, note, is_number = clean.filter(~missing), "", False
    if text_may_be_number and len(meant):
        decimal = meant.str.contains(_DECIMAL)
        odd = meant.filter(~(meant.str.contains(_WHOLE) | decimal))
        if 0 < len(odd) < len(meant) and odd.is_in(list(AMONG_NUMBERS)).all():
            return clean_ids(ids, (*missing_words, *AMONG_NUMBERS), text_may_be_number=True)
        rounded = odd.filter(odd.str.contains(_ROUNDED))
        if len(rounded) and len(rounded) == len(odd) < len(meant):
            return CleanIds(ids, bad=(rounded[0], "is a rounded number; write ids as whole numbers"))
        if not len(odd):
            clean = clean.str.replace(r"\.0+$", "")
            numbers = clean.filter(~missing).cast(pl.Int64, strict=False)
            beyond = meant.filter(decimal & (numbers.is_null() | (numbers.abs() > EXACT)))
            if len(beyond):
                return CleanIds(ids, bad=(beyond[0], "is a floating-point number beyond 2^53; write whole numbers"))
            is_number = not numbers.null_count()
        elif 0 < len(odd) <= len(meant) // 10:
            note = f'are read as texts, because "{odd.sort()[0]}" is among the numbers'
    changed = (clean != raw) | missing
    if changed.any():
        meaning = clean.set(missing, None).filter(changed)
        ids = ids.replace(raw.filter(changed), meaning)
    return CleanIds(ids.cast(pl.Int64) if is_number else ids, note)
