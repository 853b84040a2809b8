"""The identity of a training, and the results of one that has ended."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import InputError
from hlr_jax.files import sha256_of
from hlr_jax.json_files import read_json
from hlr_jax.models.base import Model
from hlr_jax.models.identity import model_identity
from hlr_jax.sharding import placed_shapes, split_seeds
from hlr_jax.training.checkpoints import Checkpoints
from hlr_jax.training.history import lost_line, missing_epochs, read_epochs
from hlr_jax.training.options import LENGTH, TrainOptions
from hlr_jax.training.run_progress import PROGRESS, RunProgress
from hlr_jax.types import Params

RESULT = "result"  # the folder of a workdir with the result of training


def run_identity(dataset: Dataset, model: Model, options: TrainOptions, seed: int) -> dict[str, Any]:
    """Return what a run's epochs depend on: a hash, and the version of JAX where the model depends on it.

    The number of epochs to train or keep is not part of it. The start of training is: ``start.Origin`` adds its hash,
    since the parameters behind a path may change.
    """
    training = {name: value for name, value in asdict(options).items() if name not in (*LENGTH, "start")}
    model_id = model_identity(model)
    version = model_id.pop("jax") if isinstance(model_id, dict) else None
    return {"run": sha256_of([dataset.fingerprint, model_id, training, seed]), "jax": version}


def check_ended(folder: Path) -> None:
    """Check that the training in a workdir has ended.

    Raises:
      InputError: it has not.
    """
    if not any(path.name.isdecimal() for path in (folder / RESULT).glob("*")):
        raise InputError(
            f"{folder}: its training has not ended; continue it by the command that started it, or end it there: "
            "the same command with a smaller --config.train.num_epochs"
        )


def progress_of(folder: Path) -> list[RunProgress]:
    """Return the runs of an ended training from its workdir, without the parameters.

    Raises:
      InputError: it has not ended, or the record is damaged.
    """
    for path in (folder / RESULT).glob("*.json"):  # of a scorer or a blend
        record = read_json(path, {"progress": PROGRESS}, f"delete {folder} and train again")
        return [RunProgress.from_json(record["progress"])]
    check_ended(folder)
    return list(map(RunProgress.from_json, Checkpoints(folder / RESULT, {}).record()["runs"]))


def load_result(
    folder: Path, identity: dict[str, Any], mesh: Mesh | None = None
) -> tuple[list[Params], list[RunProgress]]:
    """Return each seed's parameters, onto one device or a mesh, and its run, of an ended training.

    Raises:
      InputError: the training has not ended, or the result is of another one.
    """
    check_ended(folder)
    result = Checkpoints(folder / RESULT, identity)
    arrays, record = result.restore(placed_shapes(result.shapes(), mesh))
    return split_seeds(arrays["params"]), list(map(RunProgress.from_json, record["runs"]))


def train_seconds(folder: Path) -> float:
    """Return the seconds that training and validation of the run in a workdir took, from ``metrics.jsonl``.

    Raises:
      InputError: an epoch is missing there, or the training has not ended.
    """
    path, progress = folder / "metrics.jsonl", progress_of(folder)
    records = read_epochs(path)
    if lost := missing_epochs(records, progress):
        raise InputError(f"{lost_line(path, lost)}, so the training time is unknown; train again")
    return sum({record["epoch"]: record["seconds"] for record in records}.values())
