"""Identifies the run behind a measurement: results of another run than the one in a folder now are not read."""

from pathlib import Path
from typing import Any

from hlr_jax.errors import Damaged, InputError, OtherRunError
from hlr_jax.files import sha256, sha256_of
from hlr_jax.json_files import read_json
from hlr_jax.workdir import read_config, settings_that_matter


def parameters_hash(folder: Path) -> str:
    """Return an identifier of the final parameters of a run.

    Args:
      folder: a workdir, also of a blend, or a saved recommender, whose manifest has the hash of every file.

    Raises:
      InputError: the training has not ended, so there are none.
      Damaged: the record of the result is damaged.
    """
    saved = folder / "recommender.json"
    if saved.is_file():
        return sha256(saved)
    own, of_parts = hash_of(folder / "result"), {path: hash_of(path) for path in folder.glob("parts/*/result")}
    if own is None:
        raise InputError(
            f"{folder} has no result: no training has ended there, and it is not a saved recommender with "
            f"{saved.name}: train first, or resume the training"
        )
    return sha256_of([own, {path.parent.name: part for path, part in of_parts.items()}])


def hash_of(folder: Path) -> str | None:
    """Return an identifier of the result of a training; None: no training has ended there.

    It is a hash of the records, which hold the hash of every array, so no array is read.

    Args:
      folder: ``result`` of a workdir, also of a scorer or a blend.

    Raises:
      Damaged: a record is damaged.
    """
    paths = [*folder.glob("*.json"), *(place / "record.json" for place in folder.glob("[0-9]*"))]
    again = f"delete {folder} and run the command that trained it again"
    records = {path.relative_to(folder).as_posix(): read_json(path, {}, again) for path in paths}
    return sha256_of(records) if records else None


def maker_of(folder: Path, config: dict[str, Any] | None = None) -> str:
    """Return an identifier of the run in a folder: a hash of its parameters and of the settings that matter.

    Measurements of a run store it. The hash of the parameters covers the data, because the record of the parameters has
    the data's fingerprint.

    Args:
      folder: the workdir.
      config: its settings; None: those in ``config.json``.

    Raises:
      InputError: there is no run, or its training has not ended.
    """
    parameters = parameters_hash(folder)
    config = read_config(folder) if config is None else config
    return sha256_of([settings_that_matter(config), parameters])[:16]


def check_maker(path: Path, made_by: str, folder: Path) -> None:
    """Check that a file was measured of the run that is in a folder now.

    Args:
      path: the file.
      made_by: the ``maker_of`` stored in it.
      folder: the workdir.

    Raises:
      OtherRunError: it was measured of another run, or there is none.
      Damaged: a record of the run is damaged.
    """
    try:
        now = maker_of(folder)
    except Damaged:
        raise
    except InputError as problem:
        raise OtherRunError(str(problem)) from None
    if made_by != now:
        raise OtherRunError(
            f"{path} is not of the run that is in {folder} now: run hlr-jax evaluate --workdir={folder} again"
        )
