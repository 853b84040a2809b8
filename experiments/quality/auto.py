"""``auto``: one point, its result. The seconds include its own evaluation, which chooses the settings.

A budget stops its searches; 0 is no limit. Several budgets make its curve.
"""

import tempfile
from pathlib import Path

from quality.stopwatch import Stopwatch, print_point

import hlr_jax
from hlr_jax.auto.run import AutoResult, run_auto
from hlr_jax.cli.support.guard import guarded
from hlr_jax.configs.recipes import get_config


def main(watch: Stopwatch, path: str, budget: float = 0.0) -> None:
    """Run it in a new workdir until it has a result."""
    with tempfile.TemporaryDirectory() as folder:
        found = guarded(lambda: _found(path, budget, Path(folder) / "auto"))
        seconds = watch.seconds
    valid, test = (found.metrics[part].value("ndcg") for part in ("valid", "test"))
    print_point(seconds, valid, test)


def _found(path: str, budget: float, workdir: Path) -> AutoResult:
    config = get_config("auto:split").to_dict()
    config["dataset"]["path"], config["model"]["time_budget"] = path, budget
    dataset = hlr_jax.load_dataset(**config["dataset"], cache=False, log=lambda line: None)
    return run_auto(config, workdir, dataset=dataset, quiet=True, log=lambda line: None)
