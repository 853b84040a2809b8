"""Evaluate a trained run once more, perhaps with other settings of the section `eval`.

With other settings the figures are only printed: the files of the run keep to its own config.

python experiments/evaluate.py --workdir=runs/hlr [--k=20] [--num_cohorts=5] [--mesh_data=4 --mesh_model=2]

A run may be evaluated on other devices than it was trained on, and in several processes (--distributed).
"""

from pathlib import Path

from absl import flags
from launch import launch
from processes import connect_processes
from tables import print_metrics

from hlr_jax import load_run
from hlr_jax.distributed import is_first
from hlr_jax.experiment import evaluate_run

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_K = flags.DEFINE_integer("k", None, "length of the lists, if another than the run's")
_COHORTS = flags.DEFINE_integer("num_cohorts", None, "disjoint random groups of users, for a standard deviation")
_BUDGET = flags.DEFINE_integer("memory_budget", None, "MiB for a tile of users")
_DATA = flags.DEFINE_integer("mesh_data", 1, "groups of devices that divide the users")
_MODEL = flags.DEFINE_integer("mesh_model", 1, "devices of a group, which divide the rows of the tables")


def main() -> None:
    """Run the command."""
    chosen = {"k": _K.value, "num_cohorts": _COHORTS.value, "memory_budget": _BUDGET.value}
    other = {name: value for name, value in chosen.items() if value is not None}
    connect_processes()
    mesh = {"data": _DATA.value, "model": _MODEL.value}
    run = load_run(_WORKDIR.value, eval_options=other, mesh=mesh)
    _, figures = evaluate_run(run.parts, run.params, run.best_epochs, None if other else Path(_WORKDIR.value))
    if is_first():
        print_metrics({f"{run.parts.model.name}, {split}": found for split, found in figures.items()})


if __name__ == "__main__":
    launch(main)
