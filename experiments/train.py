"""Train a model and evaluate its best epoch.

python experiments/train.py --config=experiments/configs/hlr.py:ml-100k --workdir=runs/hlr [--config.train.margin=0.5]

The same command on an existing workdir continues it.
"""

from absl import flags
from launch import describe_devices, launch, plain
from ml_collections import config_flags
from tables import print_metrics

from hlr_jax import run

_CONFIG = config_flags.DEFINE_config_file("config", None, "FILE.py:data set", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_QUIET = flags.DEFINE_bool("quiet", False, "show no progress")
flags.mark_flag_as_required("config")


def main() -> None:
    """Run the command."""
    print(f"devices: {describe_devices()}", flush=True)
    done = run(plain(_CONFIG.value), _WORKDIR.value, quiet=_QUIET.value)
    name = done.parts.model.name
    print_metrics({f"{name}, {split}": found.metrics for split, found in done.evaluations.items()})
    print(f"best epoch {done.fit.best_epoch}; everything is in {_WORKDIR.value}")


if __name__ == "__main__":
    launch(main)
