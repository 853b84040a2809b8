"""Where a training starts: at random, from factors that are solved for, or from another run (``train.start``)."""

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
"""(data set, S runs, what takes a line for people) -> the parameters [S, ...] before the first epoch."""


def check_start(options: TrainOptions, model: Model, workdir: str | Path | None) -> bool:
    """Check that a training can start as ``train.start`` says; return whether it needs what that names.

    Raises:
      InputError: several processes, a model that can't start so, or no run that has ended in the folder.
    """
    if options.start == RANDOM:
        return False
    if jax.process_count() > 1:
        raise InputError(f"train.start={options.start} makes whole tables: begin in one process")
    if options.start == ALS:
        check_als(model)
        return True
    return check_origin(Path(options.start), model, workdir)


def start_of(options: TrainOptions, model: Model, workdir: str | Path | None) -> tuple[Start | None, dict[str, Any]]:
    """Return what a training starts from, None for random parameters, and what of it belongs to its identity.

    Where ``check_start`` finds that the other run is gone and not needed, nothing of it is compared.

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
