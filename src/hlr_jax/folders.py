"""Folders that the package writes. Each has a marker, ``.hlr_jax.json``; others are refused and left unchanged.

    {"kind": "run", "hlr_jax": "0.1.0", "holds": ["config.json", "dataset", ...], "of": {}, "check": "..."}

``holds`` names what the package writes there: nothing else is ever deleted. ``of`` is the request that a folder belongs
to, if it has one.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hlr_jax.errors import InputError
from hlr_jax.files import atomic_folder
from hlr_jax.json_files import as_stored, read_json, write_json
from hlr_jax.locks import LOCK, Lock

MARKER = ".hlr_jax.json"
# Ignored files: temporary ones of ``files`` that a killed process left, and those of Python and file managers.
_NOBODYS = re.compile(r"\..*\.[0-9a-f]{8}\.tmp(\.old)?|__pycache__|\.DS_Store")

_OF_A_RUN = (
    "config.json", "env.json", "dataset", "checkpoints", "metrics.jsonl", "result", "eval", "parts", "auto.json",
    "tensorboard", "strong_generalization",
)  # fmt: skip
_OF_A_SWEEP = (
    "config.json", "env.json", "trials", "packs", "leaderboard.parquet", "history.parquet", "leaderboard.png",
)  # fmt: skip
_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "run": ("run", _OF_A_RUN),
    "auto": ("run of auto", _OF_A_RUN),
    "blend": ("blend", _OF_A_RUN),
    "sweep": ("sweep", _OF_A_SWEEP),
    "runs": ("folder of several runs", ("table2.md", "table2.csv", "table2.tex")),
    "table": ("table of runs", ("table2.md", "table2.csv", "table2.tex")),
    "parts": ("folder of unfinished lists", ("[0-9]*.parquet",)),
    "events": ("folder of event files", ("*/events.out.tfevents.*",)),
    "export": ("export", ()),
    "recommender": ("saved recommender", ()),
    "keys": ("folder of keys", ()),
}
"""The name of each kind of folder, and its files; empty for kinds written at once, whose markers list them."""


def as_folder(folder: str | Path) -> Path:
    """Return the path of a folder.

    Raises:
      InputError: its name is empty, which would be the current folder, or is not a path.
    """
    if not isinstance(folder, str | Path):
        raise InputError(f"a folder must be a path, not {type(folder).__name__}; pass one such as runs/mine")
    if not str(folder).strip():
        raise InputError("the name of a folder is empty; pass a folder, such as runs/mine")
    return Path(folder)


def check(folder: Path, kind: str) -> None:
    """Check that a folder is absent, empty, or one of this kind, and that no other process holds it.

    Raises:
      InputError: it is something else, or another process holds it.
    """
    _check(folder, kind)
    if (folder / LOCK).exists():
        Lock(folder).release()


def claim(folder: Path, kind: str, of: Mapping[str, Any] | None = None) -> Lock:
    """Make a folder one of this kind, or check that it is, and hold it against other processes.

    Args:
      folder: absent, empty, or one of this kind.
      kind: a key of those known here, such as ``run`` or ``sweep``.
      of: the request that the folder belongs to, JSON-like.

    Returns:
      The lock, held during a block, or for as long as the object lives.

    Raises:
      InputError: it is something else, belongs to another request, or another process holds it.
    """
    _check(folder, kind)
    folder.mkdir(parents=True, exist_ok=True)
    lock = Lock(folder)
    try:
        marker = _check(folder, kind)  # again: no other process can change it now
        asked = as_stored(of or {})
        if marker is None or not any(_contents(folder)):
            write_json(folder / MARKER, _marker(kind, _KINDS[kind][1], asked))
        elif differing := [name for name in sorted(marker["of"] | asked) if marker["of"].get(name) != asked.get(name)]:
            raise InputError(
                f"{folder} is a {_KINDS[kind][0]} of another command, which differs in {', '.join(differing)}; delete "
                "it or pass another output"
            )
    except BaseException:
        lock.release()
        raise
    return lock


def adopt(folder: Path, kind: str, names: Iterable[str]) -> None:
    """Give a folder without a marker the marker of a kind, if it holds nothing but these names.

    Raises:
      InputError: it holds something else, or is of another kind.
    """
    if (folder / MARKER).exists() or not {path.name for path in _contents(folder)} <= set(names):
        _check(folder, kind)
    else:
        write_json(folder / MARKER, _marker(kind, _KINDS[kind][1], {}))


def hold(folder: Path) -> Lock:
    """Hold a folder of any kind against other processes.

    Raises:
      InputError: it has no marker, or another process holds it.
    """
    _of_ours(folder)
    return Lock(folder)


def remove(folder: Path) -> None:
    """Delete what a folder holds by its marker, and the folder itself if nothing else is in it.

    Raises:
      InputError: the folder has no marker.
    """
    holds = _of_ours(folder)["holds"]
    if not any(_strangers(folder, holds)):
        shutil.rmtree(folder)
        return
    for file in _files(folder):
        if _is_held(file.relative_to(folder).as_posix(), holds):
            file.unlink()


def clear(folder: Path, names: Iterable[str]) -> None:
    """Delete the named files and folders that are in a folder and listed in its marker.

    Raises:
      InputError: the folder has no marker.
    """
    holds = _of_ours(folder)["holds"]
    for path in (folder / name for name in names if _is_held(name, holds)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path, kind: str) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``path`` if the block succeeds.

    Args:
      path: absent, an empty folder, or an older folder of the same kind with nothing added.
      kind: see ``claim``.

    Raises:
      InputError: something else is there.
    """
    marker = _check(path, kind)
    if marker and (added := sorted(_strangers(path, marker["holds"]))):
        raise InputError(f"{path} would be replaced, and holds {added[0]}, which hlr-jax did not write; move it away")
    with Lock(path) if marker else contextlib.nullcontext(), atomic_folder(path) as temporary:
        yield temporary
        written = [file.relative_to(temporary).as_posix() for file in _files(temporary)]
        write_json(temporary / MARKER, _marker(kind, _KINDS[kind][1] or sorted(written), {}))
        old = temporary.with_name(f"{temporary.name}.old")
        if path.exists():
            os.replace(path, old)
    if old.exists():
        shutil.rmtree(old)


def _marker(kind: str, holds: Iterable[str], of: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "hlr_jax": version("hlr_jax"), "holds": list(holds), "of": of}


def _check(folder: Path, kind: str) -> dict[str, Any] | None:
    """Return the marker of a folder of this kind; None: it is absent or empty.

    Raises:
      InputError: it is something else.
    """
    what = _KINDS[kind][0]
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise InputError(f"{there} is a file; pass another folder for the {what}")
    if not folder.exists() or not any(_contents(folder)):
        return None
    marker = _read(folder)
    if marker is None:
        raise InputError(f"{folder} is not an hlr-jax {what}: it has no {MARKER}; pass another folder")
    if marker["kind"] != kind:
        other = _KINDS[marker["kind"]][0]
        raise InputError(f"{folder} is not an hlr-jax {what}: it is a {other}; pass another folder")
    return marker


def _read(folder: Path) -> dict[str, Any] | None:
    """Return the marker of a folder, None if there is none.

    Raises:
      InputError: it is damaged, or of a version with other kinds.
    """
    path, again = folder / MARKER, "nothing is written there; pass another folder"
    if not path.exists():
        return None
    marker = read_json(path, {"kind": str, "holds": [str], "of": {"*": object}}, again)
    if marker["kind"] not in _KINDS:
        raise InputError(f"{path}: of another version, with other kinds of folders; {again}")
    return marker


def _of_ours(folder: Path) -> dict[str, Any]:
    """Return the marker of a folder.

    Raises:
      InputError: it has none.
    """
    marker = _read(folder)
    if marker is None:
        raise InputError(f"{folder} has no {MARKER}: hlr-jax changes only folders that it made")
    return marker


def _contents(folder: Path) -> Iterator[Path]:
    """Yield the contents of a folder, without ignored files and the marker."""
    for path in sorted(folder.iterdir()):
        if path.name not in (MARKER, LOCK) and not _NOBODYS.fullmatch(path.name):
            yield path


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and below it, without ignored files and the marker."""
    for path in _contents(folder):
        yield from (_files(path) if path.is_dir() and not path.is_symlink() else [path])


def _is_held(inside: str, holds: Iterable[str]) -> bool:
    """Return whether the marker names a path in a folder, or a folder above that path."""
    steps = inside.split("/")
    ways = ["/".join(steps[:count]) for count in range(1, len(steps) + 1)]
    return any(
        way == name or (fnmatchcase(way, name) and way.count("/") == name.count("/")) for way in ways for name in holds
    )


def _strangers(folder: Path, holds: Iterable[str]) -> Iterator[str]:
    """Yield the paths of files that the marker does not name."""
    for file in _files(folder):
        inside = file.relative_to(folder).as_posix()
        if not _is_held(inside, holds):
            yield inside
