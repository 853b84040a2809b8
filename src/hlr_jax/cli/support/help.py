"""Prints ``hlr-jax COMMAND --help``: the command and its flags; with ``--config``, all settings too."""

import textwrap
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict

from hlr_jax.data.options import DataOptions
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.mesh import MeshOptions
from hlr_jax.settings import describe
from hlr_jax.systems import options_of
from hlr_jax.training.options import TrainOptions

_WIDTH = 26
_LINE = 116


def command_help(module: ModuleType) -> str:
    """Return the help of a command: its docstring, its flags and, with ``--config``, its settings."""
    lines = [str(module.__doc__).strip(), "", "Flags:", *_flags()]
    config = flags.FLAGS["config"].value if "config" in flags.FLAGS else None
    if isinstance(config, ConfigDict):
        lines += _settings(config.to_dict())
    elif "config" in flags.FLAGS:
        lines += ["", "With --config=NAME, --help also shows the settings of that recipe."]
    return "\n".join(lines)


class CommandFlag(NamedTuple):
    """A flag: ``--name`` or ``--name=...``, its meaning, and its default, empty if it has none."""

    usage: str
    meaning: str
    default: str


def command_flags() -> Iterator[CommandFlag]:
    """Yield this package's currently defined flags by name, without absl's own."""
    of_module = flags.FLAGS.flags_by_module_dict()
    found = {flag.name: flag for name, those in of_module.items() if str(name).startswith("hlr_jax") for flag in those}
    for name, flag in sorted(found.items()):
        default = "" if flag.default in (None, False, []) or name == "config" else str(flag.default_as_str)
        choices = getattr(flag.parser, "enum_values", None)
        known = f": {', '.join(choices)}" if choices else ""
        yield CommandFlag(f"--{name}" if flag.boolean else f"--{name}=...", f"{flag.help}{known}", default)


def _flags() -> Iterator[str]:
    for flag in command_flags():
        yield _entry(flag.usage, f"{flag.meaning} ({flag.default})" if flag.default else flag.meaning)


def _settings(config: dict[str, Any]) -> Iterator[str]:
    """Yield every key of a config with its value, its allowed values, and its meaning."""
    name = config.get("model", {}).get("name")
    parts: dict[str, Callable[..., Any]] = {
        "dataset": DataOptions, "train": TrainOptions, "eval": EvalOptions, "mesh": MeshOptions,
    }  # fmt: skip
    if name:
        parts["model"] = options_of(name)
    for section, values in config.items():
        if not isinstance(values, dict):
            yield from ("", _entry(f"--config.{section}={values}", ""))
            continue
        if not values:  # a scorer has no settings of train
            continue
        known = {setting.name: setting for setting in describe(parts[section])} if section in parts else {}
        yield from ("", f"Settings of {section}:")
        for key in [*(name for name in known if name in values), *(key for key in values if key not in known)]:
            setting, value = known.get(key), values[key]
            allowed = f" ({setting.allowed})" if setting and setting.allowed else ""
            yield _entry(
                f"--config.{section}.{key}={value}", (setting.meaning if setting else "").replace("``", "") + allowed
            )


def _entry(left: str, right: str) -> str:
    """Return a flag and its text, on the same line or, for a long flag, below it."""
    left, indent = f"  {left}", " " * (_WIDTH + 1)
    lines = textwrap.wrap(right, _LINE - len(indent), break_on_hyphens=False) or [""]
    if len(left) > _WIDTH:
        return "\n".join([left, *(indent + line for line in lines if line)])
    return "\n".join([f"{left:<{_WIDTH}} {lines[0]}".rstrip(), *(indent + line for line in lines[1:])])
