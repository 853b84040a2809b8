"""The one exception for mistakes in what a user gave: files, settings, names."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in the input, told in one line: what is wrong, where, and what to do.

    Command lines print the message and exit with status 2; a traceback means a defect of this package instead.
    """


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``' (did you mean "x"?)'`` for the known word nearest to ``word``, or the list of all known words."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1)
    return f' (did you mean "{close[0]}"?)' if close else f" (known: {', '.join(words)})"


def pick(word: str, known: Iterable[str], what: str) -> str:
    """Return ``word`` if it is known.

    Raises:
      UserError: names ``what`` and the nearest known word.
    """
    words = tuple(known)
    if word not in words:
        raise UserError(f'unknown {what} "{word}"{nearest(word, words)}')
    return word
