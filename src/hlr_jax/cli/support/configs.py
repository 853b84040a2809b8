"""The flag ``--config``: a recipe by name or a file of one's own, and the flags that override its keys."""

import re
import runpy
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from hlr_jax.configs import recipes
from hlr_jax.configs.unread import check_read
from hlr_jax.errors import InputError, unknown_key

_HELP = "a recipe as NAME:DATA (hlr-jax list recipes), or FILE.py:ARGUMENT with a function get_config(ARGUMENT)"
_FLAG = re.compile(r"--?config(=|$)")
_OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]*)")


def define_config() -> flags.FlagHolder[Any]:
    """Define ``--config``, and a flag ``--config.KEY`` for each key that the command line overrides.

    Raises:
      InputError: no such recipe or file, an error in the file, or an unknown key.
    """
    choice = given()
    if choice is None:
        return flags.DEFINE_string("config", None, _HELP, required=True)
    config, words = load(choice), without_config(sys.argv)
    for word in words:
        if match := _OVERRIDE.match(word):
            _check_key(config, match[1])
    return config_flags.DEFINE_config_dict("config", config, _HELP, sys_argv=words)


def check_given() -> None:
    """Check that something reads each key that the command line overrides; once flags are parsed.

    Raises:
      InputError: see ``unread.check_read``.
    """
    if "config" in flags.FLAGS and isinstance(flags.FLAGS["config"].value, ConfigDict):
        check_read(flags.FLAGS["config"].value.to_dict(), overrides())


def overrides() -> dict[str, Any]:
    """Return the keys that the command line overrides, dotted, with their values."""
    return dict(config_flags.get_override_values(flags.FLAGS["config"]))


def given() -> str | None:
    """Return what the command line gives as ``--config``, the last time; None: nothing."""
    choice = None
    for index, word in enumerate(sys.argv):
        if _FLAG.match(word):
            choice = word.partition("=")[2] if "=" in word else "".join(sys.argv[index + 1 : index + 2])
    return choice


def without_config(words: Sequence[str]) -> list[str]:
    """Return a command line without ``--config``, whose value has been read."""
    kept, skipping = [], False
    for word in words:
        if not skipping and not _FLAG.match(word):
            kept.append(word)
        skipping = not skipping and bool(_FLAG.match(word)) and "=" not in word
    return kept


def load(choice: str) -> ConfigDict:
    """Return the settings of ``NAME:DATA`` or ``FILE.py:ARGUMENT``.

    Raises:
      InputError: see ``define_config``.
    """
    name, _, argument = choice.partition(":")
    if not (name.endswith(".py") or "/" in name):
        return recipes.get_config(choice)
    return call(get_config_of(name), name, *([argument] if argument else []))


def get_config_of(path: str) -> Callable[..., Any]:
    """Return the function ``get_config`` of a person's file.

    Raises:
      InputError: no such file, none that Python runs, or none with that function.
    """
    try:
        names = runpy.run_path(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of settings; hlr-jax list recipes shows what has a name") from None
    except Exception as problem:  # whatever a person's own file may raise
        raise InputError(f"{path}: {type(problem).__name__}: {problem}") from None
    if "get_config" not in names:
        raise InputError(f"{path} has no function get_config")
    return names["get_config"]


def call(get_config: Callable[..., Any], path: str, *arguments: str) -> ConfigDict:
    """Return what ``get_config`` of a file returns.

    Raises:
      InputError: it raises something, or returns no ConfigDict.
    """
    try:
        config = get_config(*arguments)
    except Exception as problem:  # likewise
        raise InputError(f"{path}: get_config{arguments}: {' '.join(str(problem).split())}") from None
    if not isinstance(config, ConfigDict):
        raise InputError(f"{path}: get_config must return a ConfigDict, not {type(config).__name__}")
    return config


def _check_key(config: ConfigDict, dotted: str) -> None:
    section: Any = config
    for depth, name in enumerate(names := dotted.split(".")):
        if not isinstance(section, ConfigDict) or name not in section:
            raise unknown_key(".".join(names[:depth]), name, section if isinstance(section, ConfigDict) else ())
        section = section[name]
