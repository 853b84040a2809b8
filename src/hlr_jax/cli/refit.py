"""Train again with the settings that validation chose, on validation interactions too, before the test.

hlr-jax refit --workdir=runs/hlr --output=runs/hlr-refit [--train_splits=train+valid+test]

With train+valid the new run is evaluated on test. With train+valid+test, for a model to serve, nothing is left to
evaluate on. Rerunning the command resumes it. Every command that reads a workdir reads the new one too.

--mesh_data=4 --mesh_model=2 uses eight devices, which may be those of several processes (--distributed).
"""

from pathlib import Path

from absl import flags

import hlr_jax
from hlr_jax.cli.support.launch import show_devices
from hlr_jax.cli.support.meshes import mesh_options
from hlr_jax.cli.support.processes import connect_processes
from hlr_jax.cli.support.tables import print_metrics
from hlr_jax.data.dataset import TRAIN_SPLITS

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "folder of the new run", required=True)
_TRAIN_ON = flags.DEFINE_enum("train_splits", TRAIN_SPLITS[1], TRAIN_SPLITS[1:], "splits to train on")
_QUIET = flags.DEFINE_bool("quiet", False, "show no progress")


def main() -> None:
    """Run the command."""
    from hlr_jax import distributed
    from hlr_jax.workdir import read_config

    connect_processes()
    before = read_config(Path(_WORKDIR.value)).get("train", {})
    show_devices(int(before.get("num_seeds", 1)), mesh_options())
    done = hlr_jax.refit(
        _WORKDIR.value, _OUTPUT.value, train_splits=_TRAIN_ON.value, mesh=mesh_options(), quiet=_QUIET.value
    )
    if not distributed.is_process_zero():
        return
    train = done.parts.train
    if done.metrics:
        print_metrics({f"{done.parts.model.name}, {split}": metrics for split, metrics in done.metrics.items()})
    at = f" at temperature {train.temperature:g}" if len(before.get("temperatures", ())) > 1 else ""
    length = f"{train.num_epochs} epochs{at}" if before else "fitted with the settings that validation chose"
    print(f"{length}; everything is in {_OUTPUT.value}")
