"""Arrays in safetensors files. This module alone turns errors of that library into errors with a path."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hlr_jax.errors import Damaged


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """Write arrays, and named texts as metadata.

    Raises:
      OSError: the file can't be written; has number, reason and path.
    """
    try:
        save_file({name: _contiguous(array) for name, array in arrays.items()}, path, metadata=metadata)
    except SafetensorError as problem:
        number = re.search(r"os error (\d+)", str(problem))
        reason = os.strerror(int(number[1])) if number else str(problem).splitlines()[0]
        raise OSError(int(number[1]) if number else None, reason, str(path)) from None


def read_array(path: Path, name: str) -> np.ndarray:
    """Return one of the arrays of a file of ``write_arrays``.

    Raises:
      Damaged: the file is missing, can't be read, or lacks the array.
    """
    try:
        with safe_open(path, framework="np") as file:
            return file.get_tensor(name)
    except FileNotFoundError:
        raise Damaged(f"{path}: no such file") from None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        raise Damaged(f"{path}: damaged, it is not what was written") from None


def read_metadata(path: Path) -> dict[str, str]:
    """Return the texts of a file that ``write_arrays`` has just written."""
    with safe_open(path, framework="np") as file:
        return dict(file.metadata())


def _contiguous(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array) if array.ndim else array
