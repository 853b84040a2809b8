"""The exceptions for mistakes in the input: files, settings, names."""

import difflib
import inspect
import numbers
import sys
from collections.abc import Callable, Iterable
from typing import Any

from hlr_jax.terminal import shortened, shown, with_short_words

MAX_SEED = 2**32 - 1  # the largest seed of both NumPy and JAX
_LONGEST = 80  # characters of a wrong value in a message
_LONGEST_LIST = 160  # characters of the list of known words


class InputError(ValueError):
    """A mistake in the input, in one line: what is wrong, where, and what to do.

    Commands print the message and exit with status 2; a traceback means a defect of this package. Words of the message
    that are longer than any name are shortened, because a user may have passed the content of a file.

    Example:
      >>> try:
      ...     hlr_jax.TrainOptions(num_epochs=-1)
      ... except hlr_jax.InputError as problem:
      ...     print(problem)
      train.num_epochs must be at least 0, got -1
    """

    def __init__(self, message: object = ""):
        """Create the error with a message."""
        super().__init__(with_short_words(str(message)))


class Damaged(InputError):
    """A file is missing, or its content has changed. A reader that can do without it warns and continues."""


class OtherProcessError(InputError):
    """A mistake that another process has found and reported."""


class OtherRunError(InputError):
    """Results of another run than the one in the folder now."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``' (did you mean "x"?)'`` for the known word nearest to ``word``, or the list of all known words."""
    words = sorted(known)
    close = difflib.get_close_matches(word[:_LONGEST], words, n=1)
    return (
        f' (did you mean "{shown(close[0])}"?)' if close else f" (known: {shortened(', '.join(words), _LONGEST_LIST)})"
    )


def pick(word: str, known: Iterable[str], what: str) -> str:
    """Return ``word`` if it is known.

    Raises:
      InputError: it is unknown, or not a text; names ``what`` and the nearest known word.
    """
    words = tuple(known)
    if not isinstance(word, str) or word not in words:
        raise InputError(f'unknown {what} "{shortened(word, _LONGEST)}"{nearest(str(word), words)}')
    return word


def unknown_key(section: str, key: str, known: Iterable[str]) -> InputError:
    """Return the error for an unknown key of a section of settings; an empty section is the whole config."""
    words, dotted = list(known), f"{section}.{key}" if section else key
    close = difflib.get_close_matches(key, words, n=1)
    hint = f" (did you mean {section + '.' if section else ''}{close[0]}?)" if close else ""
    has = f"has {shortened(', '.join(words), _LONGEST_LIST)}" if words else "has no keys"
    return InputError(f"unknown setting {dotted}{hint}; {section or 'the config'} {has}")


def missing_extra(extra: str) -> str:
    """Return the command that installs an extra of this package for the running interpreter."""
    return f"install the extra: {sys.executable} -m pip install 'hlr_jax[{extra}]'"


def check_options(part: Callable[..., Any], options: Iterable[str], section: str) -> None:
    """Check that ``part`` accepts every option as a keyword.

    Raises:
      InputError: names the section, the option, the nearest one and all others.
    """
    known = [name for name in inspect.signature(part).parameters if name != "log"]
    for option in options:
        if option not in known:
            raise unknown_key(section, option, known)


def check_type(name: str, value: object, kind: type) -> None:
    """Check that a value is text (``str``), or true or false (``bool``).

    Raises:
      InputError: it is not; names it.
    """
    if not isinstance(value, kind):
        wanted = "true or false" if kind is bool else "text"
        raise InputError(f"{name} must be {wanted}, got {shortened(repr(value), _LONGEST)}")


def check_range(section: str, **values: tuple[float, float, float]) -> None:
    """Check options given as ``name=(value, lowest, highest)``; whole numbers where both bounds are ``int``.

    Raises:
      InputError: names the section and option, the value and the range.
    """
    for name, (value, lowest, highest) in values.items():
        whole = isinstance(lowest, int) and isinstance(highest, int)
        if isinstance(value, bool) or not isinstance(value, numbers.Integral if whole else numbers.Real):
            raise InputError(
                f"{section}.{name} must be a {'whole ' if whole else ''}number, got {shortened(repr(value), _LONGEST)}"
            )
        if not value >= lowest:  # NaN too
            raise InputError(f"{section}.{name} must be at least {lowest}, got {value}")
        if value > highest:
            raise InputError(f"{section}.{name} must be at most {highest}, got {value}")


def check_seed(name: str, seed: int) -> None:
    """Check that a seed fits the generators of both NumPy and JAX.

    Raises:
      InputError: names it and the range.
    """
    section, _, option = name.rpartition(".")
    check_range(section or "config", **{option: (seed, 0, MAX_SEED)})
