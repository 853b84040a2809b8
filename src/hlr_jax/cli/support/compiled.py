"""Keeps compiled programs for later commands in JAX's persistent compilation cache."""

import hashlib
import os
import platform
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

from absl import flags

from hlr_jax.errors import InputError
from hlr_jax.files import user_cache_folder

_KEEP = flags.DEFINE_bool(
    "compilation_cache", True, "keep compiled programs in the user's cache folder for later commands"
)
MAX_BYTES = 1 << 30
"""Size limit of the cache: a command first deletes the least recently used programs beyond it."""


def keep_compiled() -> None:
    """Turn on JAX's persistent compilation cache, unless ``--nocompilation_cache`` or the environment turns it off.

    ``JAX_COMPILATION_CACHE_DIR`` chooses another folder. Without a writable folder nothing is kept.
    """
    # JAX warns about each program that it can't read or write, and compiles it again.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    if not _KEEP.value:
        _set("jax_enable_compilation_cache", "false", False)
        return
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    try:
        folder = user_cache_folder() / "compiled" / _machine()
        # Private: whoever can write here can run code as this user.
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_room(folder.parent, MAX_BYTES)
    except (InputError, OSError):
        return
    _set("jax_compilation_cache_dir", str(folder), str(folder))
    _set("jax_persistent_cache_min_compile_time_secs", "0", 0.0)
    # For some CPUs the loader logs each rejected program as an error; the program is compiled again.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _set(name: str, text: str, value: object) -> None:
    """Set an option of JAX, whether or not it has been imported, unless the environment sets it."""
    if name.upper() in os.environ:
        return
    os.environ[name.upper()] = text
    if (jax := sys.modules.get("jax")) is not None:
        jax.config.update(name, value)


def _machine() -> str:
    """Return a name for this kind of machine: a program for one CPU may crash the process on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return hashlib.sha256(f"{platform.machine()} {features} {version('jaxlib')}".encode()).hexdigest()[:16]


def _make_room(folder: Path, most: int) -> None:
    """Delete the least recently used files below a folder until the others have at most ``most`` bytes in total."""
    found = [(file.stat(), file) for file in folder.rglob("*-cache")]
    found.sort(key=lambda entry: max(entry[0].st_atime, entry[0].st_mtime))
    excess = sum(stat.st_size for stat, _ in found) - most
    for stat, file in found:
        if excess <= 0:
            return
        file.unlink(missing_ok=True)
        excess -= stat.st_size
