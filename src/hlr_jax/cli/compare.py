"""Compare runs on the same data: metrics side by side, and how much better the best run is.

hlr-jax compare --workdir=runs/hlr,runs/ease [--metric=ndcg]

The table shows the mean difference between the best run and each other run, with its own interval at 95 %. The p-value
is of a paired t-test over users and seeds, adjusted for the number of runs (Holm). With several seeds per run the test
accounts for the variation between seeds. See docs/guides/significance.md.
"""

from pathlib import Path

from absl import flags

from hlr_jax.errors import InputError
from hlr_jax.evaluation.names import TEST, TESTED
from hlr_jax.files import short_names

_WORKDIR = flags.DEFINE_list("workdir", None, "folders of the runs, two or more", required=True)
_METRIC = flags.DEFINE_enum("metric", "ndcg", list(TESTED), "metric to compare by")


def main() -> None:
    """Run the command."""
    folders = list(dict.fromkeys(Path(folder).resolve() for folder in _WORKDIR.value))
    if len(folders) < 2:
        raise InputError("--workdir needs two different folders or more")
    from hlr_jax.cli.support.tables import print_differences, print_metrics
    from hlr_jax.evaluation.comparison import (
        check_comparable,
        one_seed_note,
        paired_values,
        read_result,
        with_one_seed,
    )
    from hlr_jax.evaluation.significance import best_against_rest

    results = {name: read_result(folder) for name, folder in zip(short_names(folders), folders, strict=True)}
    check_comparable({("", shown): result for shown, result in results.items()})
    print_metrics({shown: result.metrics for shown, result in results.items()})
    row = TESTED[_METRIC.value]
    best, differences = best_against_rest(paired_values(results, row, "seeds"))
    metric, k = results[best].metric(row), results[best].k
    print(f"{metric}@{k}: best is {best}. Its lead over each other run, by a {TEST}:")
    print_differences(differences)
    if note := one_seed_note(with_one_seed(results, "seeds")):
        print(note)
