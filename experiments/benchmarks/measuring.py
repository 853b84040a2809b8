"""Times the first call, compilation and later calls; comparisons run in turn."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from benchmarks.machine import Gemm

# JAX's own clock for the parts of a first call other than tracing and running.
_COMPILING = ("/jax/core/compile/jaxpr_to_mlir_module_duration", "/jax/core/compile/backend_compile_duration")
_AT_LEAST = 3
_compiled = [0.0]


def _listen(event: str, duration_secs: float, **_: Any) -> None:
    if event in _COMPILING:
        _compiled[0] += duration_secs


jax.monitoring.register_event_duration_secs_listener(_listen)


class Timing(NamedTuple):
    """Seconds: of the first call, of lowering and compiling within it, and of each later call."""

    first_s: float
    compile_s: float
    runs_s: list[float]

    @property
    def steady_s(self) -> float:
        """The median of the calls after the first."""
        return float(np.median(self.runs_s))

    def fields(self) -> dict[str, Any]:
        """Return the fields of a record for times."""
        return {
            "steady_s": self.steady_s,
            "compile_s": self.compile_s,
            "first_s": self.first_s,
            "runs_s": [round(seconds, 6) for seconds in self.runs_s],
        }


def _once(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - start


def time_in_turn(works: Mapping[str, Callable[[], Any]], repeats: int, seconds: float = 0.0) -> dict[str, Timing]:
    """Time several works on a machine whose speed varies: each once, and then round after round.

    Args:
      works: by name.
      repeats: rounds after the first.
      seconds: stop after this many, if there were three rounds; 0: never.

    Returns:
      A timing for each name. Entry i of every ``runs_s`` is of the same round, so that their ratio is of one moment.
    """
    first, compiling = {}, {}
    for name, work in works.items():
        before = _compiled[0]
        first[name] = _once(work)
        compiling[name] = _compiled[0] - before
    runs: dict[str, list[float]] = {name: [] for name in works}
    start = time.perf_counter()
    for done in range(repeats):
        if seconds and done >= min(repeats, _AT_LEAST) and time.perf_counter() - start > seconds:
            break
        for name, work in works.items():
            runs[name].append(_once(work))
    return {name: Timing(first[name], compiling[name], runs[name]) for name in works}


def ratio(above: Timing, below: Timing) -> dict[str, float]:
    """Return the median over the rounds of one work's time over another's, and the least and the most."""
    ratios = np.array(above.runs_s) / np.array(below.runs_s)
    return {"ratio": float(np.median(ratios)), "ratio_low": float(ratios.min()), "ratio_high": float(ratios.max())}


def speed_fields(flops: float, timing: Timing, product: Gemm, of_product: Timing) -> dict[str, Any]:
    """Return the arithmetic rate of a work, and its ratio to that of a matrix product timed in turn with it.

    Args:
      flops: operations of one call of the work.
      timing: time of the work.
      product: the matrix product.
      of_product: its timing.
    """
    shares = (flops / np.array(timing.runs_s)) / (product.flops / np.array(of_product.runs_s))
    return {
        "gflops_per_s": flops / timing.steady_s / 1e9,
        "gemm_gflops_per_s": product.flops / of_product.steady_s / 1e9,
        "gemm_shape": list(product.shape),
        "of_gemm": float(np.median(shares)),
    }
