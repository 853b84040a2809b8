"""Ids and titles on a terminal: their content changes neither its state nor the surrounding lines."""

import re

# Control characters with the escape of ANSI sequences, line ends, marks of text direction, half surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_LONG_WORD = re.compile(r"(\S{80})\S{200,}(\S{20})")


def shown(text: object) -> str:
    r"""Return a text with its control characters and line ends escaped, so that they are readable.

    Example:
      >>> shown("Jaws\x1b[2J\n2")
      'Jaws\\x1b[2J\\n2'
    """
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def shortened(text: object, most: int) -> str:
    """Return ``shown`` of a text, with dots for what exceeds ``most`` characters.

    Example:
      >>> shortened("Smoke Signals", 8)
      'Smoke...'
    """
    whole = shown(text)
    return whole if len(whole) <= most else f"{whole[: most - 3]}..."


def with_short_words(text: str) -> str:
    """Return a text in which words longer than any file name are shortened in the middle.

    Example:
      >>> with_short_words(f"{'x' * 999}: no such file")[70:]
      'xxxxxxxxxx...xxxxxxxxxxxxxxxxxxx: no such file'
    """
    return _LONG_WORD.sub(r"\1...\2", text)


def as_markup(text: object) -> str:
    """Return ``shown`` of a text for Rich, with ``[`` as a plain character."""
    from rich.markup import escape  # not needed to report a mistake

    return escape(shown(text))
