"""A recommender as a folder: parameters, settings, ids, titles and interactions, apart from checkpoints.

recommender.json              format, settings, seeds, metrics, and the hash of every other file
parameters/SEED.safetensors   the arrays of each seed
dataset/                      ids, titles and interactions, as in a workdir
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hlr_jax.data.serialization import read_stored, store_dataset
from hlr_jax.ensembles import ensemble_of
from hlr_jax.errors import InputError
from hlr_jax.evaluation.results import Metrics
from hlr_jax.experiment import RunParts, settings_of
from hlr_jax.files import replacing_folder, sha256
from hlr_jax.models.base import Model
from hlr_jax.runs import LoadedRun, portable
from hlr_jax.sharding import unpadded
from hlr_jax.systems import require_model
from hlr_jax.training.run_progress import RunProgress
from hlr_jax.workdir import DATASET

MANIFEST = "recommender.json"
_FORMAT = 1
_KIND = "hlr_jax recommender"


class Saved(NamedTuple):
    """What is in such a folder.

    Attributes:
      run: parameters of each seed, model, data and options.
      settings: the config that they were trained with.
      metrics: by split, those that were measured.
      ensemble: how many seeds each set of parameters is made of.
    """

    run: LoadedRun
    settings: dict[str, Any]
    metrics: dict[str, Metrics]
    ensemble: int


def check_named(settings: dict[str, Any]) -> None:
    """Check that settings say how the model is made, so that a folder can hold it.

    Raises:
      InputError: it was made by hand.
    """
    if "name" not in settings.get("model", {}):
        raise InputError(
            "a model that was made by hand can't be kept in a folder: make it by create_model, and one of your own by "
            "register_model before"
        )


def write(folder: Path, saved: Saved) -> Path:
    """Write a folder, whole or not at all; an older one of this kind is replaced.

    Raises:
      InputError: something else is there, or the model was made by hand.
    """
    check_named(saved.settings)
    model, dataset = saved.run.parts.model, saved.run.parts.dataset
    # A scorer has chosen among the values of its settings.
    chosen = {} if isinstance(model, Model) else {"model": {"name": model.name, **dict(model.options)}}
    with replacing_folder(folder, lambda path: (path / MANIFEST).is_file(), "saved recommender") as temporary:
        (temporary / "parameters").mkdir()
        for seed, params in zip(saved.run.seeds, saved.run.params, strict=True):
            held = unpadded(params, dataset.num_users, dataset.num_items) if isinstance(model, Model) else params
            arrays = {name: np.ascontiguousarray(array) for name, array in held.items()}
            save_file(arrays, temporary / "parameters" / f"{seed}.safetensors")
        store_dataset(temporary / DATASET, dataset)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        manifest = {
            "kind": _KIND, "format": _FORMAT, "hlr_jax": version("hlr_jax"), "settings": saved.settings | chosen,
            "ensemble": saved.ensemble, "seeds": [progress.to_json() for progress in saved.run.progress],
            "metrics": {split: metrics.to_json() for split, metrics in saved.metrics.items()},
            "files": {path.relative_to(temporary).as_posix(): sha256(path) for path in files},
        }  # fmt: skip
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return folder


def read(folder: Path) -> Saved:
    """Return what ``write`` wrote, parameters on one device.

    Raises:
      InputError: a file is damaged or missing, or a later version wrote the folder.
    """
    manifest = _manifest(folder)
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file() or sha256(path) != expected:
            what = "damaged" if path.is_file() else "missing"
            raise InputError(f"{path} is {what}: save the recommender again")
    try:
        settings, ensemble = manifest["settings"], int(manifest["ensemble"])
        progress = [RunProgress.from_json(fields) for fields in manifest["seeds"]]
        metrics = {split: Metrics.from_json(record) for split, record in manifest["metrics"].items()}
        arrays = [load_file(folder / "parameters" / f"{each.run.seed}.safetensors") for each in progress]
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as problem:
        raise InputError(f"{folder / MANIFEST} is damaged ({problem}): save the recommender again") from None
    model, train, evaluation = settings_of(portable(settings))
    if ensemble > 1:
        model = ensemble_of(require_model(model, "an ensemble"), ensemble)
    dataset = read_stored(folder / DATASET, check=False)
    parts = RunParts(dataset, model, train, evaluation, None, settings.get("seed", 0))
    params: list[dict[str, Any]] = arrays
    if isinstance(model, Model):
        params = [{name: jnp.asarray(array) for name, array in each.items()} for each in arrays]
    return Saved(LoadedRun(parts, params, progress), settings, metrics, ensemble)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        kind, number, files = manifest["kind"], int(manifest["format"]), dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} is damaged: save the recommender again") from None
    if kind != _KIND or not files:
        raise InputError(f"{path} is no {_KIND}")
    if number > _FORMAT:
        raise InputError(
            f"{path} has format {number}, and this version of hlr_jax reads formats up to {_FORMAT}: install "
            f"hlr_jax {manifest.get('hlr_jax')} or later"
        )
    return manifest
