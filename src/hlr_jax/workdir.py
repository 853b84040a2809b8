"""The folder of a run: ``config.json``, ``env.json``, ``dataset/``, ``checkpoints/``, ``metrics.jsonl``, ``eval/``."""

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hlr_jax import folders
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.serialization import stored_fingerprint
from hlr_jax.errors import Damaged, InputError
from hlr_jax.json_files import Schema, as_stored, read_json, write_json

Log = Callable[[str], None]

DATASET = "dataset"  # the folder with the run's own copy of its data
AUTO = "auto.json"  # the record of a run of ``auto``, which has a config once it has ended
_CONFIG: Schema = {f"{section}?": {"*": object} for section in ("dataset", "model", "train", "eval")}
_CONFIG |= {"mesh?": {"*": int}, "seed?": int}
_ENVIRONMENT = {"python": str, "packages": {"*": str}, "devices": [str], "data": str, "summary": str}
_STARTED = ("checkpoints/[0-9]*", "result/*", "trials/*.json", AUTO)  # what any kind of run leaves that did something
_OF_A_START = (  # what a run that did nothing yet, or whose checkpoints are gone, leaves behind
    "env.json", DATASET, "metrics.jsonl", "eval", "tensorboard", "strong_generalization", "leaderboard.parquet",
    "leaderboard.png", "history.parquet",
)  # fmt: skip
_SHOWN = 3  # settings that differ, of a message
_MAY_CHANGE = ("mesh.", "train.num_epochs", "train.patience", "train.checkpoint_every")
_PACKAGES = ("hlr_jax", "jax", "jaxlib", "flax", "optax", "safetensors", "numpy", "polars")


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level: ``{"train": {"margin": 1}}`` -> ``{"train.margin": 1}``."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


@contextmanager
def held_by_all(folder: Path | None, kind: str | None = "run") -> Iterator[None]:
    """Hold a folder for a block; of several processes of one run, the first holds it for all.

    Args:
      folder: None: nothing is held.
      kind: see ``folders.claim``; None: a folder of any kind that is there.

    Raises:
      InputError: see ``folders.claim`` and ``folders.hold``.
    """
    from hlr_jax.distributed import is_process_zero, on_all_processes

    def take() -> folders.Lock | None:
        if folder is None or not is_process_zero():
            return None
        return folders.hold(folder) if kind is None else folders.claim(folder, kind)

    with (None if folder is None else on_all_processes(take)) or nullcontext():
        yield


def begin(folder: Path, config: dict[str, Any]) -> None:
    """Write the settings of a run to its folder, which this process holds, or check that it has them.

    A run that never ended an epoch binds nobody: what it has left is deleted, results of an earlier one too.

    Raises:
      InputError: the folder has a run with other settings, which are named.
    """
    if any(found for pattern in _STARTED for found in folder.glob(pattern)):
        check_settings(folder, config)
    else:
        folders.clear(folder, _OF_A_START)
    write_json(folder / "config.json", config)


def settings_that_matter(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings, flat, that a run keeps: it may go on on other devices, and for more epochs or fewer."""
    flat = flatten(as_stored(config))
    return {name: value for name, value in flat.items() if not name.startswith(_MAY_CHANGE)}


def check_settings(folder: Path, config: dict[str, Any]) -> None:
    """Check that the run in a folder has the settings of ``config``.

    Raises:
      InputError: it has others, which are named; or there is no run.
    """
    check_same(folder, read_config(folder), config)


def check_same(folder: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    """Check that the settings of a folder are those that are asked for.

    Raises:
      InputError: they differ, and where.
    """
    there, here = settings_that_matter(there), settings_that_matter(here)
    differing = [name for name in sorted(there | here) if there.get(name) != here.get(name)]
    if differing:
        shown = [f"{name} is {there.get(name)!r} there and {here.get(name)!r} here" for name in differing[:_SHOWN]]
        shown += [f"{len(differing) - _SHOWN} more differ"] * (len(differing) > _SHOWN)
        raise InputError(
            f"{folder} holds a run with other settings: {'; '.join(shown)}; pass another --workdir or delete it"
        )


def read_config(folder: Path) -> dict[str, Any]:
    """Return the settings of the run in a folder.

    Raises:
      InputError: there is none.
    """
    again = "delete the workdir and train again"
    if not (folder / folders.MARKER).exists():  # somebody's own
        again = f"{folder} has no {folders.MARKER}, so it is no workdir; pass another"
    return read_json(folder / "config.json", _CONFIG, again, _no_config(folder))


def _no_config(folder: Path) -> str:
    """Return what to say of a folder without ``config.json``."""
    if (folder / AUTO).exists():
        return f"{folder} has an unfinished run of auto: the call that started it continues it"
    if (folder / "checkpoints").is_dir() and not (folder / "env.json").exists():
        return (
            f"{folder} holds checkpoints of train_model or train_seeds, but neither settings nor data: continue it "
            "by the same call; hlr_jax.fit(dataset, model, workdir=...) keeps a whole run"
        )
    return f"{folder} is no workdir: it has no config.json; train first"


def read_environment(folder: Path, log: Log) -> dict[str, Any] | None:
    """Return what a run was made with, from ``env.json``; None, with a line for people, if it is missing or damaged.

    It is information: what a run has learned is known without it.
    """
    try:
        return read_json(folder / "env.json", _ENVIRONMENT, "what the run was made with can't be told")
    except Damaged as problem:
        log(f"warning: {problem}")
        return None


def check_data(folder: Path, dataset: Dataset, log: Log) -> dict[str, Any] | None:
    """Check that the run in a folder has this data, and return what ``env.json`` holds.

    Where that is damaged, the workdir's own copy of the data tells.

    Raises:
      InputError: the folder's run saw other data under the same settings.
    """
    there = read_environment(folder, log)
    known = stored_fingerprint(folder / DATASET) if there is None else there["data"]
    if known not in (None, dataset.fingerprint):
        was = "" if there is None else f": {there['summary']}"
        raise InputError(
            f"{folder} holds a run on other data: its source has changed, or what the settings make of it; pass "
            f"another --workdir ({known[:16]} there{was}; {dataset.fingerprint[:16]} here: {dataset.summary()})"
        )
    return there


def record_environment(folder: Path, dataset: Dataset, log: Log = print) -> None:
    """Write ``env.json`` where a run starts (versions, devices, data); where it goes on, check the data.

    Where the file is damaged it is written anew: checkpoints and trials are bound to their data, too.

    Raises:
      InputError: the folder's run saw other data under the same settings.
    """
    import jax

    path = folder / "env.json"
    if path.exists() and check_data(folder, dataset, log) is not None:
        return
    environment = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in _PACKAGES},
        "devices": [f"{device.platform} {device.device_kind}" for device in jax.devices()],
        "data": dataset.fingerprint,
        "protocol": dataset.protocol._asdict() | {"hash": dataset.protocol.hash},
        "summary": dataset.summary(),
    }
    write_json(path, environment)
