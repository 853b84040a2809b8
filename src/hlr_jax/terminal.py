"""Ids and titles on a terminal: what is in them changes neither its state nor the lines beside them."""

import re

# Control letters with the escape of ANSI's sequences, ends of lines, marks that turn the direction, half surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_LONG_WORD = re.compile(r"(\S{80})\S{200,}(\S{20})")


def shown(text: object) -> str:
    r"""Return a text with its control letters, ends of lines among them, as a person can read them.

    Example:
      >>> shown("Jaws\x1b[2J\n2")
      'Jaws\\x1b[2J\\n2'
    """
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def shortened(text: object, most: int) -> str:
    """Return the same, with dots for what exceeds so many letters.

    Example:
      >>> shortened("Smoke Signals", 8)
      'Smoke...'
    """
    whole = shown(text)
    return whole if len(whole) <= most else f"{whole[: most - 3]}..."


def with_short_words(text: str) -> str:
    """Return a text in which a word that is longer than any name of a file is shortened in its middle.

    Example:
      >>> with_short_words(f"{'x' * 999}: no such file")[70:]
      'xxxxxxxxxx...xxxxxxxxxxxxxxxxxxx: no such file'
    """
    return _LONG_WORD.sub(r"\1...\2", text)


def as_markup(text: object) -> str:
    """Return the same for Rich, to which ``[`` is a letter like others."""
    from rich.markup import escape  # not needed to tell of a mistake

    return escape(shown(text))
