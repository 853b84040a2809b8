"""Which files a path, a list, a folder or a pattern stands for."""

import glob
from collections.abc import Sequence
from pathlib import Path

from hlr_jax.errors import InputError
from hlr_jax.files import expanded

Paths = str | Path | Sequence[str | Path]


def check_paths(paths: object, name: str = "dataset.path") -> None:
    """Check that a source, which is called so, is a path or a list of them.

    Raises:
      InputError: it is something else, or an empty list.
    """
    listed = paths if isinstance(paths, list | tuple) else [paths]
    if not all(isinstance(path, str | Path) for path in listed):
        raise InputError(
            f"{name} takes a path or a list of paths, not {described(paths)}; for data in memory there are "
            "Dataset.from_frame, from_csr and from_arrays"
        )
    if not listed:
        raise InputError(f"{name} is an empty list; pass a file")


def find_files(paths: Paths, is_pattern: bool = False) -> list[Path]:
    """Return the files of a source, sorted.

    Args:
      paths: a file, a folder of part files, a pattern, or a list of these. Of a folder, files whose name, or a folder's
        on the way there, starts with ``.`` or ``_`` are no parts (``_SUCCESS``, say).
      is_pattern: whether paths are patterns; a path is none otherwise.

    Raises:
      InputError: no such file, an empty folder, or a pattern that nothing matches.
    """
    found: list[Path] = []
    for path in [paths] if isinstance(paths, str | Path) else paths:
        found += _matching(str(path)) if is_pattern else _parts(expanded(path))
    return sorted(set(found))


def described(value: object) -> str:
    """Return the type of a value, for people; of a list, also that of its first entry which is no path."""
    if isinstance(value, list | tuple) and value:
        other = next((entry for entry in value if not isinstance(entry, str | Path)), value[0])
        return f"a {type(value).__name__} of {type(other).__name__}"
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _matching(pattern: str) -> list[Path]:
    files = [path for path in map(Path, glob.glob(str(expanded(pattern)), recursive=True)) if path.is_file()]
    if not files:
        raise InputError(f"{pattern}: no file matches; check dataset.path")
    return files


def _parts(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        pattern = ", or pass dataset.glob=true if it is a pattern" if glob.has_magic(str(path)) else ""
        raise InputError(f"{path}: no such file; check dataset.path{pattern}")
    files = [file for file in path.rglob("*") if file.is_file()]
    parts = [file for file in files if not any(name[0] in "._" for name in file.relative_to(path).parts)]
    if not parts:
        raise InputError(f"{path}: a folder without files; check dataset.path")
    return parts


def name_of(paths: Paths, files: list[Path]) -> str:
    """Return what to call the data of these files: after the folder, or the only file, that ``paths`` is, or the folder
    of the first.
    """
    if isinstance(paths, str | Path) and (folder := expanded(paths)).is_dir():
        return folder.resolve().name
    return files[0].stem if len(files) == 1 else files[0].resolve().parent.name


def place_of(paths: Paths, files: list[Path]) -> str:
    """Return what to call the source in a message."""
    if len(files) == 1:
        return str(files[0])
    return str(paths) if isinstance(paths, str | Path) else f"{files[0]} and {len(files) - 1} more files"
