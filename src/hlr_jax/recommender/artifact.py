"""Saves a recommender as a folder: parameters, settings, ids, titles and interactions, without checkpoints.

recommender.json              format, settings, seeds, metrics, and the hash of every other file
parameters/SEED.safetensors   the arrays of each seed; for a blend, LABEL/NAME of each part
dataset/                      ids, titles and interactions, as in a workdir
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from hlr_jax.array_files import write_arrays
from hlr_jax.blended_systems import Blend
from hlr_jax.blends.description import described, from_description
from hlr_jax.data.serialization import read_stored, store_dataset
from hlr_jax.errors import InputError
from hlr_jax.evaluation.results import METRICS, Metrics
from hlr_jax.experiment import RunParts, settings_of
from hlr_jax.files import check_hash, sha256
from hlr_jax.folders import replacing_folder
from hlr_jax.json_files import read_json, write_json
from hlr_jax.loading import LoadedRun, portable
from hlr_jax.models.base import Model
from hlr_jax.sharding import unpadded
from hlr_jax.systems import System
from hlr_jax.training.run_progress import PROGRESS, RunProgress
from hlr_jax.workdir import DATASET

MANIFEST = "recommender.json"
_FORMAT = 1
_KIND = "hlr_jax recommender"
_SCHEMA = {
    "settings": {"model": {"name": str}}, "seeds": [PROGRESS], "metrics": {"*": METRICS}, "files": {"*": str},
}  # fmt: skip
_AGAIN = "save the recommender again"


class Saved(NamedTuple):
    """The contents of such a folder.

    Attributes:
      run: parameters of each seed, model, data and options.
      settings: the config that they were trained with.
      metrics: the measured metrics, by split.
    """

    run: LoadedRun
    settings: dict[str, Any]
    metrics: dict[str, Metrics]


def check_named(settings: dict[str, Any]) -> None:
    """Check that settings name the model, so that a folder can store it.

    Raises:
      InputError: the model was not made by name.
    """
    if "name" not in settings.get("model", {}):
        raise InputError(
            "a model without a registered name can't be saved: make it with create_model, and register a model of your "
            "own with register_model first"
        )


def write(folder: Path, saved: Saved) -> Path:
    """Write a folder, whole or not at all; an older recommender there is replaced.

    Raises:
      InputError: the folder holds something else, or the model was not made by name.
    """
    check_named(saved.settings)
    model, dataset = saved.run.parts.model, saved.run.parts.dataset
    settings = saved.settings
    if isinstance(model, Blend):
        settings = settings | {"model": {"name": model.name, "parts": described(model)}}
    elif not isinstance(model, Model):  # fitting a scorer has selected among the values of its settings
        settings = settings | {"model": {"name": model.name, **dict(model.options)}}
    with replacing_folder(folder, "recommender") as temporary:
        (temporary / "parameters").mkdir()
        for seed, params in zip(saved.run.seeds, saved.run.params, strict=True):
            held = _flat(model, params, (dataset.num_users, dataset.num_items))
            arrays = {name: np.asarray(array) for name, array in held.items()}
            write_arrays(temporary / "parameters" / f"{seed}.safetensors", arrays)
        store_dataset(temporary / DATASET, dataset)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        manifest = {
            "kind": _KIND, "format": _FORMAT, "hlr_jax": version("hlr_jax"), "settings": settings,
            "seeds": [progress.to_json() for progress in saved.run.progress],
            "metrics": {split: metrics.to_json() for split, metrics in saved.metrics.items()},
            "files": {path.relative_to(temporary).as_posix(): sha256(path) for path in files},
        }  # fmt: skip
        write_json(temporary / MANIFEST, manifest)
    return folder


def _flat(model: System, params: dict[str, Any], sizes: tuple[int, int]) -> dict[str, Any]:
    """Return arrays by name, without padding; arrays of a blend's parts are named ``label/name``."""
    if isinstance(model, Blend):
        own = {label: _flat(part.system, params[label], sizes) for label, part in model.parts.items()}
        return {f"{label}/{name}": array for label, arrays in own.items() for name, array in arrays.items()}
    return unpadded(params, *sizes) if isinstance(model, Model) else params


def _nested(model: System, arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters from ``_flat`` arrays; those of models are on JAX's default device."""
    if isinstance(model, Blend):
        names = [(name, *name.split("/", 1)) for name in arrays]
        return {
            label: _nested(part.system, {name: arrays[whole] for whole, of, name in names if of == label})
            for label, part in model.parts.items()
        }
    return {name: jnp.asarray(array) for name, array in arrays.items()} if isinstance(model, Model) else arrays


def read(folder: Path) -> Saved:
    """Return what ``write`` wrote, with the parameters on one device.

    Raises:
      InputError: a file is damaged or missing, or a later version of hlr_jax wrote the folder.
    """
    manifest = _manifest(folder)
    for name, expected in manifest["files"].items():
        check_hash(folder / name, expected, _AGAIN)
    settings = manifest["settings"]
    progress = [RunProgress.from_json(fields) for fields in manifest["seeds"]]
    metrics = {split: Metrics.from_json(record) for split, record in manifest["metrics"].items()}
    arrays = [load_file(folder / "parameters" / f"{each.run.seed}.safetensors") for each in progress]
    config = portable(settings)
    given = from_description(config["model"]["parts"]) if config["model"].get("name") == Blend.name else None
    model, train, evaluation = settings_of(config, given)
    dataset = read_stored(folder / DATASET, check=False)
    parts = RunParts(dataset, model, train, evaluation, None, settings.get("seed", 0))
    return Saved(LoadedRun(parts, [_nested(model, each) for each in arrays], progress), settings, metrics)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    about = read_json(path, {"kind": str, "format": int, "hlr_jax": str}, _AGAIN)
    if about["kind"] != _KIND:
        raise InputError(f"{path} is not an {_KIND}")
    if about["format"] > _FORMAT:
        raise InputError(
            f"{path} has format {about['format']}, but this version of hlr_jax reads formats up to {_FORMAT}; install "
            f"hlr_jax {about['hlr_jax']} or later"
        )
    return read_json(path, _SCHEMA, _AGAIN)
