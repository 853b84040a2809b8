"""Times data preparation: a ratings file to splits, and synthetic data. Each runs once, since nothing compiles."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from benchmarks.machine import peak_mib

import hlr_jax


def bench_prepare(rows: int) -> dict[str, Any]:
    """Time a ratings.csv like MovieLens 20M's to prepared splits; generating the file is not timed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.csv"
        data = hlr_jax.synthetic_world(max(rows // 144, 50), 27_000 if rows > 10**6 else 500, rows // 2)
        rng = np.random.default_rng(0)
        once = np.stack([data.pairs.user, data.pairs.item])
        twice = np.tile(once, 2)  # the second copy gets other users: 2 x rows / 2 rows in all
        twice[0, rows // 2 :] += data.pairs.user.max() + 1
        frame = {"userId": twice[0], "movieId": twice[1], "rating": rng.integers(1, 11, twice.shape[1]) / 2}
        frame["timestamp"] = rng.integers(8 * 10**8, 15 * 10**8, twice.shape[1])
        pl.DataFrame(frame).write_csv(path)
        del data, once, twice, frame
        before, start = peak_mib(), time.perf_counter()
        dataset = hlr_jax.load_dataset(
            path=str(path), format="movielens-csv", threshold=4.0, k_core=10, cache=False, log=lambda _: None
        )
        seconds = time.perf_counter() - start
    return {
        "what": "prepare", "rows": rows, "seconds": seconds, "rows_per_s": rows / seconds,
        "interactions": len(dataset.train), "peak_mib_before": before,
    }  # fmt: skip


def bench_synthetic(users: int = 129_757, items: int = 11_508, interactions: int = 9_900_000) -> dict[str, Any]:
    """Time generating synthetic data, by default of the paper's MovieLens size."""
    start = time.perf_counter()
    data = hlr_jax.synthetic_world(users, items, interactions)
    seconds, rows = time.perf_counter() - start, len(data.pairs)
    return {"what": "planted", "rows": rows, "seconds": seconds, "rows_per_s": rows / seconds}
