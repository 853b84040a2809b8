"""Train what a run has chosen on validation once more, on validation interactions too: the last step before test.

python experiments/refit.py --workdir=runs/hlr --output=runs/hlr-refit [--train_on=train+valid+test]

With train+valid the new run is measured on test; with train+valid+test, a model to serve, nothing is left to measure.
The same command continues it. All that reads a workdir reads the new one too.
"""

from pathlib import Path

from absl import flags
from launch import describe_devices, devices_for_seeds, launch
from tables import print_metrics

from hlr_jax import refit
from hlr_jax.data.interactions import TRAIN_ON
from hlr_jax.workdir import read_config

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "folder of the new run", required=True)
_TRAIN_ON = flags.DEFINE_enum("train_on", TRAIN_ON[1], TRAIN_ON[1:], "splits that are trained on")
_QUIET = flags.DEFINE_bool("quiet", False, "show no progress")


def main() -> None:
    """Run the command."""
    config = read_config(Path(_WORKDIR.value))
    if config.get("mesh", {}) in ({}, {"data": 1, "model": 1}):
        devices_for_seeds(int(config.get("train", {}).get("num_seeds", 1)))
    print(f"devices: {describe_devices()}", flush=True)
    done = refit(_WORKDIR.value, _OUTPUT.value, train_on=_TRAIN_ON.value, quiet=_QUIET.value)
    train = done.parts.train
    if done.figures:
        print_metrics({f"{done.parts.model.name}, {split}": figures for split, figures in done.figures.items()})
    print(f"{train.num_epochs} epochs at temperature {train.temperature:g}; everything is in {_OUTPUT.value}")


if __name__ == "__main__":
    launch(main)
