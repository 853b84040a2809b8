"""Compare trained runs on the same data: figures side by side, and paired tests over users.

python experiments/compare.py --workdirs=runs/hlr,runs/cml [--metric=ndcg] [--test=t|bootstrap]

A run of several seeds counts with each user's mean over them.
"""

from pathlib import Path

from absl import flags
from launch import launch
from tables import print_metrics

from hlr_jax import UserError
from hlr_jax.evaluation.comparison import POPULARITY, ROWS, check_comparable, paired_values, read_result
from hlr_jax.evaluation.significance import TESTS, best_against_rest

_ROWS = {row.lower(): row for row in ROWS if row != POPULARITY}
_WORKDIRS = flags.DEFINE_list("workdirs", None, "folders of the runs, two or more", required=True)
_METRIC = flags.DEFINE_enum("metric", "ndcg", list(_ROWS), "what the runs are compared by")
_TEST = flags.DEFINE_enum("test", "t", TESTS, "paired test over users")


def main() -> None:
    """Run the command."""
    if len(set(_WORKDIRS.value)) < 2:
        raise UserError("--workdirs needs two different folders or more")
    results = {folder: read_result(Path(folder)) for folder in _WORKDIRS.value}
    check_comparable({("", folder): result for folder, result in results.items()})
    print_metrics({Path(folder).name: result.summary for folder, result in results.items()})
    best, p_values = best_against_rest(paired_values(results, _ROWS[_METRIC.value], "seeds"), _TEST.value)
    print(f"{_METRIC.value}: best is {Path(best).name}. Holm-adjusted p of its difference, over users:")
    for folder, p in p_values.items():
        print(f"  {Path(folder).name}: {p:.2g}")


if __name__ == "__main__":
    launch(main)
