"""Train one config with several seeds; print each run's test figures, their mean and standard deviation.

python experiments/repeat.py --config=experiments/configs/hlr.py:ml-100k --workdir=runs/repeat --seeds=1,2,3

Each seed has its own workdir, WORKDIR/seed-S, so that a stopped command goes on where it was.
"""

from pathlib import Path

import numpy as np
from absl import flags
from launch import describe_devices, launch, plain
from ml_collections import config_flags
from tables import print_metrics

from hlr_jax import UserError, run
from hlr_jax.files import write_json

_CONFIG = config_flags.DEFINE_config_file("config", None, "FILE.py:data set", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the runs", required=True)
_SEEDS = flags.DEFINE_list("seeds", ["1", "2", "3"], "seeds of the runs")
flags.mark_flag_as_required("config")


def main() -> None:
    """Run the command."""
    print(f"devices: {describe_devices()}", flush=True)
    if not all(seed.isdigit() for seed in _SEEDS.value):
        raise UserError(f"--seeds must be whole numbers, got {','.join(_SEEDS.value)}")
    rows, best_epochs = {}, {}
    for seed in map(int, _SEEDS.value):
        done = run(plain(_CONFIG.value) | {"seed": seed}, Path(_WORKDIR.value) / f"seed-{seed}", quiet=True)
        if "test" not in done.evaluations:
            raise UserError("this data has no test interactions")
        name = f"{done.parts.model.name}, seed {seed}"
        rows[name], best_epochs[name] = done.evaluations["test"].metrics, done.fit.best_epoch
        print(f"{name}: best epoch {done.fit.best_epoch} of {len(done.fit.history)}", flush=True)
    figures = {key: [metrics[key] for metrics in rows.values()] for key in next(iter(rows.values())) if "@" in key}
    summary = {"mean": {key: float(np.mean(values)) for key, values in figures.items()}}
    if len(rows) > 1:
        summary["std"] = {key: float(np.std(values, ddof=1)) for key, values in figures.items()}
    print_metrics(rows | summary)
    write_json(Path(_WORKDIR.value) / "summary.json", {"best_epochs": best_epochs, **summary})


if __name__ == "__main__":
    launch(main)
