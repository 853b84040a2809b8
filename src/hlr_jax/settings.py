"""Settings that say what they are: dataclasses whose fields carry their range or known words, and a sentence each.

Checks, command lines and help read the same fields. Nothing here needs JAX, so that a command can tell of them first.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

from hlr_jax.errors import check_range, pick


def number(default: Any, lowest: float, highest: float) -> Any:
    """Return a field for a number from ``lowest`` to ``highest``; for whole ones where both bounds are ``int``.

    A field whose default is None may be None; one whose default is a tuple holds several numbers.
    """
    return dataclasses.field(default=default, metadata={"range": (lowest, highest)})


def word(default: str, known: Iterable[str]) -> Any:
    """Return a field for one of the ``known`` words; names that are registered later are known too."""
    return dataclasses.field(default=default, metadata={"known": known})


def words(default: tuple[str, ...], known: Iterable[str]) -> Any:
    """Return a field for several of the ``known`` words."""
    return dataclasses.field(default=default, metadata={"known": known})


class Settings:
    """A frozen dataclass of settings: one section of a config. Checks each field where it is made.

    Raises:
      InputError: a value out of range, or a word that is not known, by its name in the config.
    """

    section: ClassVar[str]

    def __post_init__(self) -> None:
        """Check every field on its own."""
        fields: Any = self
        for field in dataclasses.fields(fields):
            value = getattr(self, field.name)
            if "known" in field.metadata:
                for entry in value if isinstance(value, tuple | list) else (value,):
                    pick(entry, field.metadata["known"], f"{self.section}.{field.name}")
            elif "range" in field.metadata and value is not None:
                for entry in value if isinstance(value, tuple | list) else (value,):
                    check_range(self.section, **{field.name: (entry, *field.metadata["range"])})


class Setting(NamedTuple):
    """A setting for people: its name and default, what it may be, and its sentence."""

    name: str
    default: Any
    allowed: str
    meaning: str


def describe(part: Callable[..., Any]) -> list[Setting]:
    """Return the settings of a dataclass, or of a function that takes them by keyword, from its own docstring.

    Example:
      >>> from hlr_jax.training.options import TrainOptions
      >>> describe(TrainOptions)[0].allowed
      '1 to 1,000,000'
    """
    metadata = {}
    if dataclasses.is_dataclass(part):
        metadata = {field.name: field.metadata for field in dataclasses.fields(part)}
    meanings = _meanings(part)
    return [
        Setting(name, parameter.default, _allowed(metadata.get(name, {}), parameter), meanings.get(name, ""))
        for name, parameter in inspect.signature(part).parameters.items()
    ]


def _allowed(metadata: Any, parameter: inspect.Parameter) -> str:
    if "known" in metadata:
        return " | ".join(metadata["known"])
    if "range" in metadata:
        return " to ".join(f"{bound:,}" if isinstance(bound, int) else f"{bound:g}" for bound in metadata["range"])
    return "true | false" if isinstance(parameter.default, bool) else ""


def _meanings(part: Any) -> dict[str, str]:
    """Return the sentences of ``Attributes:`` and ``Args:`` in a docstring, also those of the classes it builds on."""
    meanings: dict[str, str] = {}
    for owner in reversed(inspect.getmro(part) if inspect.isclass(part) else [part]):
        text = inspect.cleandoc(owner.__dict__.get("__doc__") or "" if inspect.isclass(owner) else owner.__doc__ or "")
        for block in re.findall(r"^(?:Attributes|Args):\n((?:  .*\n?|\n)+)", text, re.MULTILINE):
            for name, meaning in re.findall(r"^  (\w+): ((?:.*\n?)(?:^    .*\n?)*)", block, re.MULTILINE):
                meanings[name] = " ".join(meaning.split())
    return meanings
