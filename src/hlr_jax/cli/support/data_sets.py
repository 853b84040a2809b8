"""The flag --data of commands that take several data sets, from the registry or from your own files."""

import re
from collections.abc import Sequence

from hlr_jax.data.sources import named_dataset
from hlr_jax.data.synthetic import SYNTHETIC_PREFIX
from hlr_jax.errors import InputError
from hlr_jax.files import expanded


def data_sets_of(entries: Sequence[str]) -> dict[str, str]:
    """Return the file of each data set; empty for one from the registry.

    Raises:
      InputError: a name is invalid, repeated, or not in the registry, or a file does not exist.
    """
    data_sets: dict[str, str] = {}
    for entry in entries:
        name, given, path = entry.partition("=")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise InputError(
                f'--data: "{name}" in "{entry}" is not a name: use letters, digits, ".", "_" and "-", as in NAME=FILE'
            )
        if name in data_sets:
            raise InputError(f'--data has "{name}" twice; give each data set a name of its own')
        if given and not expanded(path).is_file():
            raise InputError(f'{path or "--data"}: no such file; check "{entry}" of --data')
        if not given and not name.startswith(SYNTHETIC_PREFIX):
            named_dataset(name)
        data_sets[name] = path
    return data_sets
