"""The settings of each system of Table 2 on each data set; ``experiments/table2.py`` reads them.

A file like this one is passed as --configs=FILE.py. It sets everything but the data, the seed and the number of seeds.
"""

import importlib.util
from importlib import import_module

from ml_collections import ConfigDict


def get_config(choice: str = "hlr,ml-100k") -> ConfigDict:
    """Return the settings for ``SYSTEM,DATA``."""
    system, _, _ = choice.partition(",")
    if importlib.util.find_spec(f"configs.{system}") is None:
        raise ValueError(f'there is no config "{choice}"')
    return import_module(f"configs.{system}").get_config("split")
