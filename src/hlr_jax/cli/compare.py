"""Compare runs on the same data: metrics side by side, and by how much the best is better, tested over users.

hlr-jax compare --workdir=runs/hlr,runs/ease [--metric=ndcg] [--test=t|bootstrap]

A run of several seeds counts with each user's mean over them. Shown is the mean over users of the best run's difference
from each other one; its interval at 95 %, of that difference alone: Student's, or of a bootstrap over users with
--test=bootstrap; and the p-value, adjusted for the number of runs (Holm).
"""

from pathlib import Path

from absl import flags

from hlr_jax.errors import InputError
from hlr_jax.evaluation.names import TESTED, TESTS
from hlr_jax.files import short_names

_WORKDIR = flags.DEFINE_list("workdir", None, "folders of the runs, two or more", required=True)
_METRIC = flags.DEFINE_enum("metric", "ndcg", list(TESTED), "what the runs are compared by")
_TEST = flags.DEFINE_enum("test", "t", list(TESTS), "paired test over users")


def main() -> None:
    """Run the command."""
    folders = list(dict.fromkeys(Path(folder).resolve() for folder in _WORKDIR.value))
    if len(folders) < 2:
        raise InputError("--workdir needs two different folders or more")
    from hlr_jax.cli.support.tables import print_differences, print_metrics
    from hlr_jax.evaluation.comparison import check_comparable, paired_values, read_result
    from hlr_jax.evaluation.significance import best_against_rest

    results = {name: read_result(folder) for name, folder in zip(short_names(folders), folders, strict=True)}
    check_comparable({("", shown): result for shown, result in results.items()})
    print_metrics({shown: result.metrics for shown, result in results.items()})
    row = TESTED[_METRIC.value]
    best, differences = best_against_rest(paired_values(results, row, "seeds"), _TEST.value)
    metric, k = results[best].metric(row), results[best].k
    print(f"{metric}@{k}: best is {best}. Its mean difference over users from each other run ({TESTS[_TEST.value]}):")
    print_differences(differences)
