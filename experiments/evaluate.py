"""Evaluate a trained run once more, perhaps with other settings of the section `eval`.

With other settings the figures are only printed: the files of the run keep to its own config.

python experiments/evaluate.py --workdir=runs/hlr [--k=20] [--num_cohorts=5]
"""

from pathlib import Path

from absl import flags
from launch import launch
from tables import print_metrics

from hlr_jax import load_run
from hlr_jax.experiment import evaluate_run

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_K = flags.DEFINE_integer("k", None, "length of the lists, if another than the run's")
_COHORTS = flags.DEFINE_integer("num_cohorts", None, "disjoint random groups of users, for a standard deviation")
_BUDGET = flags.DEFINE_integer("memory_budget", None, "MiB for a tile of users")


def main() -> None:
    """Run the command."""
    chosen = {"k": _K.value, "num_cohorts": _COHORTS.value, "memory_budget": _BUDGET.value}
    other = {name: value for name, value in chosen.items() if value is not None}
    run = load_run(_WORKDIR.value, eval_options=other)
    _, figures = evaluate_run(run.parts, run.params, run.best_epochs, None if other else Path(_WORKDIR.value))
    print_metrics({f"{run.parts.model.name}, {split}": found for split, found in figures.items()})


if __name__ == "__main__":
    launch(main)
