"""Train a run a little further on its interactions and new ones.

hlr-jax update --workdir=runs/monday --data=tuesday.parquet --output=runs/tuesday [--num_epochs=4]

The new run starts from the old one's parameters; users and items of the new rows are folded in. The new rows join the
training interactions; validation and test stay as they were. The flag --data takes a file, a folder of part files, or
several files separated by commas, with the columns that the run was trained with.

Rerunning the command resumes it.

--mesh_data=4 --mesh_model=2 uses eight devices of this process.
"""

from pathlib import Path

from absl import flags

import hlr_jax
from hlr_jax.cli.support.launch import show_devices
from hlr_jax.cli.support.meshes import mesh_options
from hlr_jax.cli.support.tables import chosen_by_validation, print_metrics
from hlr_jax.training.options import UPDATE_EPOCHS

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_ROWS = flags.DEFINE_list("data", None, "file of new rows, or several", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "folder of the new run", required=True)
_EPOCHS = flags.DEFINE_integer("num_epochs", UPDATE_EPOCHS, "passes over all interactions")
_QUIET = flags.DEFINE_bool("quiet", False, "show no progress")


def main() -> None:
    """Run the command."""
    from hlr_jax.workdir import read_config

    before = read_config(Path(_WORKDIR.value)).get("train", {})
    show_devices(int(before.get("num_seeds", 1)), mesh_options())
    done = hlr_jax.update(
        _WORKDIR.value, _ROWS.value, _OUTPUT.value, num_epochs=_EPOCHS.value, mesh=mesh_options(), quiet=_QUIET.value
    )
    name = done.parts.model.name
    if done.metrics:
        print_metrics({f"{name}, {split}": metrics for split, metrics in done.metrics.items()})
    print(f"{chosen_by_validation(done)}; everything is in {_OUTPUT.value}")
