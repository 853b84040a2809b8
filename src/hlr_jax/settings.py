"""Settings that say what they are: dataclasses whose fields carry their range or known words, and a sentence each.

Checks, command lines and help read the same fields. Nothing here needs JAX, so that a command can tell of them first.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np

from hlr_jax.errors import InputError, check_range, check_type, pick

SECTIONS = ("dataset", "model", "train", "eval", "mesh")
"""The sections of a config; ``seed`` stands beside them."""


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
        """Check every field on its own; what NumPy holds becomes Python's, which JSON can hold."""
        fields: Any = self
        for field in dataclasses.fields(fields):
            value = getattr(self, field.name)
            if field.metadata or isinstance(value, np.generic):  # others may hold arrays
                value = _as_python(value)
                object.__setattr__(self, field.name, value)
            if value is None and field.default is None:
                continue
            is_list = isinstance(field.default, tuple) and isinstance(value, tuple | list)
            for entry in value if is_list else (value,):
                self._check(field, entry)

    def _check(self, field: dataclasses.Field[Any], value: Any) -> None:
        """Check a value, or each one of a field that holds several."""
        name = f"{self.section}.{field.name}"
        if "known" in field.metadata:
            pick(value, field.metadata["known"], name)
        elif "range" in field.metadata:
            check_range(self.section, **{field.name: (value, *field.metadata["range"])})
        elif field.type in (bool, str):
            check_type(name, value, field.type)


def plain(config: Any) -> dict[str, Any]:
    """Return a config as JSON can hold it: dicts, lists, texts, numbers, truth values and None.

    Args:
      config: sections by name. A section may be a dict, a ``ConfigDict`` or a ``Settings`` object, and a value a scalar
        or array of NumPy or JAX, or a path.

    Raises:
      InputError: anything else; names the key.

    Example:
      >>> plain({"seed": np.int64(3), "dataset": {"path": Path("log.csv")}})
      {'seed': 3, 'dataset': {'path': 'log.csv'}}
    """
    try:
        values = _plain(config, "the config")
    except RecursionError:
        raise InputError("the config is nested too deeply; it has sections, and these have settings") from None
    if not isinstance(values, dict):
        raise InputError(f"the config is a dict of sections, not {type(config).__name__}")
    return values


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, Settings):
        value = dataclasses.asdict(cast(Any, value))
    elif hasattr(value, "to_dict") and hasattr(value, "items"):  # a ConfigDict
        value = dict(value.items())
    if isinstance(value, Mapping):
        prefix = "" if name == "the config" else f"{name}."
        return {str(key): _plain(entry, f"{prefix}{key}") for key, entry in value.items()}
    if isinstance(value, Path):
        return str(value)
    value = _as_python(value)
    if type(value) in (list, tuple):
        return type(value)(_plain(entry, name) for entry in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(
        f"{name} is a {type(value).__name__}; settings are texts, numbers and lists of them (a model or a data set is "
        "passed beside the config, as model=... or dataset=...)"
    )


def _as_python(value: Any) -> Any:
    """Return scalars and arrays of NumPy and JAX as numbers and lists, and lists of scalars likewise."""
    if type(value) in (list, tuple):
        return type(value)(map(_as_python, value))
    is_array = isinstance(value, np.generic) or (hasattr(value, "__array__") and hasattr(value, "devices"))
    return value.tolist() if is_array or isinstance(value, np.ndarray) else value


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
      '0 to 1,000,000'
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
