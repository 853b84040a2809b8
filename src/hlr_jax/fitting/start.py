"""The start of a training (``train.start``): random, the factors of MF-ALS, or another run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import InputError
from hlr_jax.fitting.als_start import als_params, check_als
from hlr_jax.fitting.warm_start import check_origin, read_origin, warm_params
from hlr_jax.models.base import Model
from hlr_jax.training.options import ALS, RANDOM, Run, TrainOptions
from hlr_jax.types import Params

Start = Callable[[Dataset, Sequence[Run], Callable[[str], None]], Params]
"""(data set, S runs, receiver of log lines) -> the parameters [S, ...] before the first epoch."""


def check_start(options: TrainOptions, model: Model, workdir: str | Path | None) -> bool:
    """Check that a training can start as ``train.start`` requires; return whether it needs that start.

    Raises:
      InputError: several processes, a model that cannot start this way, or no finished run in the folder.
    """
    if options.start == RANDOM:
        return False
    if jax.process_count() > 1:
        raise InputError(f"train.start={options.start} needs whole tables: start in one process")
    if options.start == ALS:
        check_als(model)
        return True
    return check_origin(Path(options.start), model, workdir)


def start_of(options: TrainOptions, model: Model, workdir: str | Path | None) -> tuple[Start | None, dict[str, Any]]:
    """Return the start of a training (None: random parameters), and what it adds to the training's identity.

    If ``check_start`` finds that the other run is gone and not needed, it is not compared.

    Raises:
      InputError: see ``check_start``; or the other run is damaged.
    """
    needed = check_start(options, model, workdir)
    if options.start == ALS:
        return lambda dataset, runs, log: als_params(model, dataset, options, runs, log), {"start": ALS}
    if not needed:
        return None, {"start": RANDOM} if options.start == RANDOM else {}
    origin = read_origin(Path(options.start))
    return lambda dataset, runs, log: warm_params(origin, model, dataset, runs, log), {"start": origin.digest}
