"""The accelerators that programs are compiled for, as their makers describe them, without any of them present."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hlr_jax import InputError

# A GpuTargetConfigProto: what the compiler has to know of a GPU.
_H100 = Path(__file__).with_name("h100_target.txt")


@dataclass(frozen=True)
class Chip:
    """A device.

    Attributes:
      platform: ``tpu`` or ``cuda``.
      memory: bytes.
      bandwidth: of the memory, bytes/s.
      flops: float operations/s of its matrix products, in the precision that they have by default.
      link: to other devices, bytes/s in one direction.
      clock: of a TPU, cycles/s, by which the compiler's estimates are turned into seconds.
    """

    platform: str
    memory: float
    bandwidth: float
    flops: float
    link: float
    clock: float = 0.0


H100 = Chip("cuda", 80e9, 3.35e12, 67e12, 450e9)
V5E = Chip("tpu", 16e9, 819e9, 197e12, 200e9, 1.5e9)
V5P = Chip("tpu", 95e9, 2.765e12, 459e12, 600e9, 1.75e9)


@dataclass(frozen=True)
class Target:
    """Devices of one kind.

    Attributes:
      chip: each of them.
      topology: their name for the compiler.
      mesh: ``data`` x ``model``.
    """

    chip: Chip
    topology: str
    mesh: tuple[int, int] = (1, 1)


TARGETS = {
    "h100x1": Target(H100, "1x1x1"),
    "h100x8": Target(H100, "1x1x8", (2, 4)),
    "v5e-1": Target(V5E, "v5e:1x1"),
    "v5e-2x4": Target(V5E, "v5e:2x4", (2, 4)),
    "v5e-16x16": Target(V5E, "v5e:16x16", (4, 64)),
    "v5p-4x4x4": Target(V5P, "v5p:4x4x4", (8, 8)),
}

_EXTRAS = {"tpu": ("libtpu", "tpu-aot"), "cuda": ("jax_plugins.xla_cuda12", "cuda-aot")}


def check_extra(target: Target) -> None:
    """Check that the compiler of a target is installed.

    Raises:
      InputError: it is not.
    """
    module, extra = _EXTRAS[target.chip.platform]
    if not _is_installed(module):
        raise InputError(f"{target.topology}: its compiler is not installed; run pip install 'hlr_jax[{extra}]'")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False


def described_devices(target: Target) -> list[Any]:
    """Return the devices of a target; programs are compiled for them, and nothing runs on them.

    From here on the package takes the backend to be the target's: it chooses other loops and tiles on a CPU.

    Raises:
      InputError: the compiler of the target is not installed.
    """
    check_extra(target)
    from jax.experimental import topologies

    given: dict[str, Any] = {"platform": target.chip.platform}
    if target.chip.platform == "tpu":
        given |= {"topology_name": target.topology}
        if target.topology.endswith(":1x1"):
            given |= {"chips_per_host_bounds": [1, 1, 1]}
    else:
        given |= {"topology_name": "h100", "topology": target.topology, "target_config": _H100.read_text()}
    backend = "gpu" if target.chip.platform == "cuda" else target.chip.platform
    jax.default_backend = lambda: backend
    return list(topologies.get_topology_desc(**given).devices)


def mesh_of_devices(target: Target, devices: list[Any]) -> Mesh | None:
    """Return the mesh of a target, as ``sharding.create_mesh`` makes it of devices that are present."""
    if len(devices) == 1:
        return None
    kinds = (jax.sharding.AxisType.Auto,) * 2
    return Mesh(np.array(devices).reshape(target.mesh), ("data", "model"), axis_types=kinds)
