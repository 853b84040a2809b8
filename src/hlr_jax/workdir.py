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

DATASET = "dataset"  # folder with the run's copy of its data
AUTO = "auto.json"  # record of a run of ``auto``, whose config is written at its end
_CONFIG: Schema = {f"{section}?": {"*": object} for section in ("dataset", "model", "train", "eval")}
_CONFIG |= {"mesh?": {"*": int}, "seed?": int}
_ENVIRONMENT = {"python": str, "packages": {"*": str}, "devices": [str], "data": str, "summary": str}
_STARTED = ("checkpoints/[0-9]*", "result/*", "trials/*.json", AUTO)  # files of a run that has made progress
_OF_A_START = (  # files of a run without progress, or whose checkpoints are gone
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
    """Lock a folder for a block; with several processes of one run, the first locks it for all.

    Args:
      folder: None: nothing is locked.
      kind: see ``folders.claim``; None: a folder of any kind that exists.

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
    """Write the settings of a run to its folder, which this process has locked, or check that they agree.

    A run without a finished epoch is replaced: its files are deleted, including results of an earlier run.

    Raises:
      InputError: the folder has a run with other settings; names them.
    """
    if any(found for pattern in _STARTED for found in folder.glob(pattern)):
        check_settings(folder, config)
    else:
        folders.clear(folder, _OF_A_START)
    write_json(folder / "config.json", config)


def settings_that_matter(config: dict[str, Any]) -> dict[str, Any]:
    """Return the flat settings that identify a run; a resumed run may change devices and the number of epochs."""
    flat = flatten(as_stored(config))
    return {name: value for name, value in flat.items() if not name.startswith(_MAY_CHANGE)}


def check_settings(folder: Path, config: dict[str, Any]) -> None:
    """Check that the run in a folder has the settings of ``config``.

    Raises:
      InputError: it has other settings, which are named; or there is no run.
    """
    check_same(folder, read_config(folder), config)


def check_same(folder: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    """Check that the settings of a folder equal the requested ones.

    Raises:
      InputError: they differ; names the settings.
    """
    there, here = settings_that_matter(there), settings_that_matter(here)
    # The model comes first: between two models many other settings differ.
    names = sorted(there | here, key=lambda name: (name != "model.name", name))
    differing = [name for name in names if there.get(name) != here.get(name)]
    if differing:
        shown = [f"{name} is {there.get(name)!r} there and {here.get(name)!r} here" for name in differing[:_SHOWN]]
        shown += [f"{len(differing) - _SHOWN} more differ"] * (len(differing) > _SHOWN)
        raise InputError(
            f"{folder} holds a run with other settings: {'; '.join(shown)}; pass another --workdir or delete it"
        )


def read_config(folder: Path) -> dict[str, Any]:
    """Return the settings of the run in a folder.

    Raises:
      InputError: there is no run.
    """
    again = "delete the workdir and train again"
    if not (folder / folders.MARKER).exists():  # not made by hlr_jax
        again = f"{folder} has no {folders.MARKER}, so it is not a workdir; pass another"
    return read_json(folder / "config.json", _CONFIG, again, _no_config(folder))


def _no_config(folder: Path) -> str:
    """Return the message for a folder without ``config.json``."""
    if (folder / AUTO).exists():
        return f"{folder} has an unfinished run of auto: repeat the call that started it to resume it"
    if (folder / "checkpoints").is_dir() and not (folder / "env.json").exists():
        return (
            f"{folder} holds checkpoints of train_model or train_seeds, but neither settings nor data: repeat the call "
            "to resume it; hlr_jax.fit(dataset, model, workdir=...) stores a complete run"
        )
    return f"{folder} is not a workdir: it has no config.json; train first"


def read_environment(folder: Path, log: Log) -> dict[str, Any] | None:
    """Return the contents of ``env.json``; None, with a log line, if the file is missing or damaged.

    The file is for information only; loading a run does not need it.
    """
    try:
        return read_json(folder / "env.json", _ENVIRONMENT, "the environment of the run is unknown")
    except Damaged as problem:
        log(f"warning: {problem}")
        return None


def check_data(folder: Path, dataset: Dataset, log: Log) -> dict[str, Any] | None:
    """Check that the run in a folder has this data, and return the contents of ``env.json``.

    If that file is damaged, the workdir's own copy of the data is compared.

    Raises:
      InputError: the run in the folder has other data under the same settings.
    """
    there = read_environment(folder, log)
    known = stored_fingerprint(folder / DATASET) if there is None else there["data"]
    if known not in (None, dataset.fingerprint):
        was = "" if there is None else f": {there['summary']}"
        raise InputError(
            f"{folder} holds a run on other data: the source or its preparation has changed; pass another --workdir "
            f"({known[:16]} there{was}; {dataset.fingerprint[:16]} here: {dataset.summary()})"
        )
    return there


def record_environment(folder: Path, dataset: Dataset, log: Log = print) -> None:
    """Write ``env.json`` when a run starts (versions, devices, data); when it resumes, check the data.

    A damaged file is written again. This is safe, since checkpoints and trials also contain the identity of their data.

    Raises:
      InputError: the run in the folder has other data under the same settings.
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
