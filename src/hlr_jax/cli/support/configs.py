"""The flag ``--config``: a recipe by name or your own file, and the flags that override its keys."""

import re
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from hlr_jax.configs import recipes
from hlr_jax.configs.unread import check_read
from hlr_jax.errors import InputError, unknown_key
from hlr_jax.settings import SECTIONS

_HELP = "a recipe as NAME:DATA (hlr-jax list recipes), or FILE.py:ARGUMENT with a function get_config(ARGUMENT)"
_OF_A_FILE = (Exception, SystemExit)  # a user's own file may raise anything
_LONGEST = 200  # characters of its message
_FLAG = re.compile(r"--?config(=|$)")
_OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]*)")


def define_config() -> flags.FlagHolder[Any]:
    """Define ``--config``, and a flag ``--config.KEY`` for each key that the command line overrides.

    Raises:
      InputError: the recipe or file does not exist, the file has an error, or a key is unknown.
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
    """Check that each key that the command line overrides has an effect. Call it once flags are parsed.

    Raises:
      InputError: see ``unread.check_read``.
    """
    if "config" in flags.FLAGS and isinstance(flags.FLAGS["config"].value, ConfigDict):
        check_read(flags.FLAGS["config"].value.to_dict(), overrides())


def overrides() -> dict[str, Any]:
    """Return the keys that the command line overrides, dotted, with their values."""
    return dict(config_flags.get_override_values(flags.FLAGS["config"]))


def given() -> str | None:
    """Return the last ``--config`` of the command line; None if there is none."""
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
    """Return the function ``get_config`` of a user's file.

    Raises:
      InputError: the file does not exist, fails to run, or lacks the function.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such config file; hlr-jax list recipes shows the recipes")
    try:
        names = runpy.run_path(path)
    except _OF_A_FILE as problem:
        raise _raised(path, problem) from None
    if not callable(names.get("get_config")):
        raise InputError(f"{path} has no function get_config")
    return names["get_config"]


def call(get_config: Callable[..., Any], path: str, *arguments: str) -> ConfigDict:
    """Return what ``get_config`` of a file returns.

    Raises:
      InputError: it raises an error, or does not return a ConfigDict.
    """
    try:
        config = get_config(*arguments)
    except InputError as problem:
        raise InputError(f"{path}: {problem}") from None
    except _OF_A_FILE as problem:
        raise _raised(path, problem) from None
    if not isinstance(config, ConfigDict):
        raise InputError(f"{path}: get_config must return a ConfigDict, not {type(config).__name__}")
    for name in SECTIONS:
        if name in config and not isinstance(config[name], ConfigDict):
            raise InputError(f"{path}: {name} must be a ConfigDict of settings, not {type(config[name]).__name__}")
    if not isinstance(config.get("model", {}).get("name", ""), str):
        raise InputError(f"{path}: model.name must be text, not {type(config.model.name).__name__}")
    return config


def _raised(path: str, problem: BaseException) -> InputError:
    """Return the error for an exception in a user's file, with the last line of that file in its traceback."""
    if isinstance(problem, SyntaxError):
        line, text = problem.lineno, problem.msg
    else:
        steps = traceback.extract_tb(problem.__traceback__)
        line = next((step.lineno for step in reversed(steps) if step.filename == path), None)
        text = " ".join(str(problem).split())[:_LONGEST]
    place = path if line is None else f"{path}, line {line}"
    return InputError(f"{place}: {type(problem).__name__}{f': {text}' if text else ''}")


def _check_key(config: ConfigDict, dotted: str) -> None:
    section: Any = config
    for depth, name in enumerate(names := dotted.split(".")):
        if not isinstance(section, ConfigDict) or name not in section:
            raise unknown_key(".".join(names[:depth]), name, section if isinstance(section, ConfigDict) else ())
        section = section[name]
