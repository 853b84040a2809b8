"""Describes the machine: its device, memory and rate of matrix products."""

import functools
import platform
import resource
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hlr_jax import sharding

_STATUS, _CPUS = Path("/proc/self/status"), Path("/proc/cpuinfo")


def peak_mib() -> float:
    """Return the process's peak of resident memory so far, MiB.

    Reads the kernel's count for this address space, since ``ru_maxrss`` of a process starts at its parent's.
    """
    if _STATUS.is_file():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def device_peak_mib() -> float | None:
    """Return the peak of the first device's own memory, MiB; None if it has none of its own (a CPU)."""
    statistics = jax.devices()[0].memory_stats() or {}
    peak = statistics.get("peak_bytes_in_use")
    return None if peak is None else peak / 2**20


@functools.cache
def environment() -> dict[str, Any]:
    """Return the device and the versions, for every record."""
    names = [line for line in _CPUS.read_text().splitlines() if "model name" in line] if _CPUS.is_file() else []
    devices = jax.devices()
    return {
        "device": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        "cpu": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": sharding.available_cores(),
        "python": platform.python_version(),
    } | {package: version(package) for package in ("hlr_jax", "jax", "jaxlib", "numpy")}


class Gemm(NamedTuple):
    """A float32 product [m, k] x [k, n]: ``work`` computes it, ``flops`` is its arithmetic, ``shape`` m, k, n."""

    work: Callable[[], jax.Array]
    flops: float
    shape: tuple[int, int, int]


@functools.cache
def gemm(m: int, k: int, n: int) -> Gemm:
    """Return a jitted ``jnp.dot`` whose time gives the machine's rate at a size; 2 m k n operations.

    Small products are repeated in one call, so that the overhead of the call does not count.
    """
    times = max(1, round(1e9 / (2 * m * k * n)))
    left, right = (jax.random.normal(jax.random.key(seed), shape) for seed, shape in enumerate(((m, k), (k, n))))

    @jax.jit
    def work(left: jax.Array, right: jax.Array) -> jax.Array:
        # Each product depends on the one before it, or the compiler would keep only one.
        def again(_: int, carry: jax.Array) -> jax.Array:
            return jnp.dot(left + carry[0, 0] * 1e-30, right)

        return jax.lax.fori_loop(0, times, again, jnp.zeros((m, n), jnp.float32))

    return Gemm(lambda: work(left, right), 2.0 * m * k * n * times, (m, k, n))
