"""ALS of the package ``implicit``, to stand beside MF-ALS: it prints the iterations per second of its median iteration.

S=$SPLITS/movielens-1m.parquet
python experiments/benchmark.py --what=train --models=mf_als --split_file=$S --repeats=15 \
    --model=embed_dim=128,confidence=10.0,regularization=100.0 \
    --beside="python experiments/benchmarks/implicit_als.py $S 128 10 100" --beside_pattern='([0-9.]+) iterations/s'

Both take three steps of conjugate gradients for each row, in float32. It runs as many threads as there are cores.
"""

import importlib
import os
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the package asks: it has threads of its own

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix


def main(path: str, factors: str, confidence: str, regularization: str, iterations: str = "16") -> None:
    """Time the iterations on the training rows of a file with the columns ``user``, ``item`` and ``split``."""
    train = pl.read_parquet(path).filter(pl.col("split") == "train")
    row, column = (train[name].rank("dense").to_numpy().astype(np.int64) - 1 for name in ("user", "item"))
    met = csr_matrix((np.full(len(row), float(confidence), np.float32), (row, column)))
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    package = importlib.import_module("implicit.cpu.als")  # it has no types
    model = package.AlternatingLeastSquares(
        int(factors), float(regularization), alpha=1.0, iterations=int(iterations), num_threads=threads, random_state=0
    )
    ends: list[float] = []
    model.fit(met, show_progress=False, callback=lambda *_: ends.append(time.perf_counter()))
    print(f"{1 / np.median(np.diff(ends)):.3f} iterations/s with {threads} threads")


if __name__ == "__main__":
    main(*sys.argv[1:])
