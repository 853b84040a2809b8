"""The flag ``--histories``, and flags for the settings that control how the file is read."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from hlr_jax.data.options import READING_SETTINGS, DataOptions
from hlr_jax.errors import InputError
from hlr_jax.settings import describe

if TYPE_CHECKING:
    import polars as pl

_READING = ("format", "user_column", "item_column", "rating_column", *READING_SETTINGS)
_HISTORIES = flags.DEFINE_string("histories", None, "log of user and item: new users to fold in")
_OF_FILE = {
    setting.name: flags.DEFINE_string(setting.name, None, f"for --histories: {setting.meaning.replace('``', '')}")
    for setting in describe(DataOptions)
    if setting.name in _READING
} | {"threshold": flags.DEFINE_float("threshold", None, "for --histories: the lowest rating that counts")}


def histories_path() -> Path | None:
    """Return the file of ``--histories``, if it is given.

    Raises:
      InputError: it is not given, but a flag for reading it is.
    """
    for name, flag in _OF_FILE.items():
        if flag.value is not None and _HISTORIES.value is None:
            raise InputError(f"--{name} applies to --histories: leave it out, or pass --histories=FILE too")
    return None if _HISTORIES.value is None else Path(_HISTORIES.value)


def read_histories(path: Path) -> "pl.DataFrame":
    """Return the columns ``user`` and ``item`` of the file, read as the flags set.

    Raises:
      InputError: see ``inputs.read_histories``; its message names flags instead of settings.
    """
    from hlr_jax.serving import inputs

    given = {name: flag.value for name, flag in _OF_FILE.items() if flag.value is not None}
    try:
        return inputs.read_histories(path, **given)
    except InputError as problem:
        message = str(problem).replace("dataset.path", "--histories")
        raise InputError(re.sub(r"\bdataset\.(\w+)", r"--\1", message)) from None
