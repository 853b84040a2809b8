"""ALS of the package ``implicit``: a point for each iteration, and on stderr the rate of its median iteration.

Like MF-ALS of hlr_jax it takes three steps of conjugate gradients for each row, in float32. It runs one thread per
core. ``every=0`` evaluates no point, to measure only the rate.
"""

import importlib
import sys

import numpy as np
from quality.stopwatch import Curve, Stopwatch, cores, product, read_split

# They have no types.
als, threadpoolctl = (importlib.import_module(name) for name in ("implicit.cpu.als", "threadpoolctl"))


def main(
    watch: Stopwatch, path: str, factors: int, confidence: float, regularization: float, iterations: int = 16,
    every: int = 1,
) -> None:  # fmt: skip
    """Train, and evaluate every few iterations."""
    split = read_split(path)
    curve, threads, ends = Curve(watch, split), cores(), list[float]()

    def ended(*_: object) -> None:
        ends.append(watch.seconds)
        if every and len(ends) % every == 0:
            curve.point(product(model.user_factors, model.item_factors))

    with threadpoolctl.threadpool_limits(1, "blas"):  # as the package requires: it has its own threads
        model = als.AlternatingLeastSquares(
            factors, regularization, alpha=1.0, iterations=iterations, num_threads=threads, random_state=0
        )
        model.fit(confidence * split.train, show_progress=False, callback=ended)
    print(f"{1 / np.median(np.diff(ends)):.3f} iterations/s with {threads} threads", file=sys.stderr)
