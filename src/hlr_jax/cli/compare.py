"""Compare trained runs on the same data: metrics side by side, and paired tests over users.

hlr-jax compare --workdir=runs/hlr,runs/cml [--metric=ndcg] [--test=t|bootstrap]

A run of several seeds counts with each user's mean over them.
"""

import os
from pathlib import Path

from absl import flags

from hlr_jax import InputError
from hlr_jax.cli.support.tables import print_metrics
from hlr_jax.evaluation import comparison, significance

_WORKDIR = flags.DEFINE_list("workdir", None, "folders of the runs, two or more", required=True)
_METRIC = flags.DEFINE_enum("metric", "ndcg", list(comparison.TESTED), "what the runs are compared by")
_TEST = flags.DEFINE_enum("test", "t", significance.TESTS, "paired test over users")


def main() -> None:
    """Run the command."""
    folders = dict.fromkeys(Path(folder).resolve() for folder in _WORKDIR.value)
    if len(folders) < 2:
        raise InputError("--workdir needs two different folders or more")
    # What tells them apart is short enough for a table.
    common = Path(os.path.commonpath(folders))
    results = {str(folder.relative_to(common)): comparison.read_result(folder) for folder in folders}
    comparison.check_comparable({("", shown): result for shown, result in results.items()})
    print_metrics({shown: result.metrics for shown, result in results.items()})
    row = comparison.TESTED[_METRIC.value]
    best, p_values = significance.best_against_rest(comparison.paired_values(results, row, "seeds"), _TEST.value)
    print(f"{results[best].metric(row)}: best is {best}. Holm-adjusted p of its difference, over users:")
    for shown, p in p_values.items():
        print(f"  {shown}: {p:.2g}")
