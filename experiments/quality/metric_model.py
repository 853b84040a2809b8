"""A metric model from random points or from the factors of MF-ALS: a point for each epoch.

The seconds include its own evaluation on validation, which stops the training. Test is of the best epoch.
"""

from pathlib import Path

from quality.settings import config_of
from quality.stopwatch import Stopwatch, print_point

import hlr_jax
from hlr_jax.cli.support.guard import guarded
from hlr_jax.experiment import RunResult
from hlr_jax.training.history import Logger


def main(watch: Stopwatch, path: str, model: str, start: str, embed_dim: int = 128) -> None:
    """Train, and print the points at the end."""
    seconds: list[float] = []
    done = guarded(lambda: _trained(path, model, start, embed_dim, lambda _: seconds.append(watch.seconds)))
    (fit,), test = done.fits, done.metrics["test"].value("ndcg")
    for record, after in zip(fit.history, seconds, strict=True):
        print_point(after, record["valid_ndcg@10"], test if record["epoch"] == fit.best_epoch else None)


def _trained(path: str, model: str, start: str, embed_dim: int, logger: Logger) -> RunResult:
    config = config_of(Path(path).stem, model, start, embed_dim)
    dataset = hlr_jax.load_dataset(path, split="given", cache=False, log=lambda line: None)
    return hlr_jax.run(config, None, dataset=dataset, loggers=[logger], quiet=True, log=lambda line: None)
