"""What ``hlr-jax COMMAND --help`` prints: the command and its flags; with ``--config``, every setting too."""

from collections.abc import Iterator
from types import ModuleType

from absl import flags

_WIDTH = 26


def command_help(module: ModuleType) -> str:
    """Return the help of a command: its docstring, and the flags that it and what it shares define."""
    lines = [str(module.__doc__).strip(), "", "Flags:", *_flags()]
    return "\n".join(lines)


def _flags() -> Iterator[str]:
    """Yield a line for each flag of this package; absl's own are not for people."""
    of_module = flags.FLAGS.flags_by_module_dict()
    found = {flag.name: flag for name, those in of_module.items() if str(name).startswith("hlr_jax") for flag in those}
    for name, flag in sorted(found.items()):
        if name.startswith("config."):
            continue
        default = "" if flag.default in (None, False, []) or name == "config" else f" ({flag.default_as_str})"
        choices = getattr(flag.parser, "enum_values", None)
        known = f": {', '.join(choices)}" if choices else ""
        left = f"  --{name}" if flag.boolean else f"  --{name}=..."
        yield f"{left:<{_WIDTH}} {flag.help}{known}{default}"
