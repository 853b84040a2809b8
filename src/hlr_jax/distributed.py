"""Several processes that run one program on one mesh.

Each runs the same lines on the same settings; JAX's own coordinator makes them known to each other. What is decided
must be decided alike by all, so a mistake that one of them meets ends them all, and only the first writes and speaks.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import jax
import numpy as np
from jax.experimental import multihost_utils

from hlr_jax.errors import InputError, OtherProcessError

T = TypeVar("T")

_LONGEST_MESSAGE = 2000  # bytes of an error that other processes hear of


def connect(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout: int = 300,
) -> None:
    """Join the other processes of this run; before anything else that JAX does.

    Args:
      coordinator_address: ``host:port`` where process 0 can be reached; None: as SLURM, Open MPI or Kubernetes has it.
      num_processes: how many there are; None: likewise.
      process_id: which one this is, from 0; None: likewise.
      timeout: seconds to wait for the others.

    Raises:
      InputError: a setting is missing or out of range, or the others can't be reached.
    """
    if coordinator_address and not coordinator_address.rpartition(":")[2].isdecimal():
        raise InputError(f'coordinator_address must be HOST:PORT, got "{coordinator_address}"')
    if num_processes is not None and num_processes < 1:
        raise InputError(f"num_processes must be at least 1, got {num_processes}")
    if process_id is not None and not 0 <= process_id < (num_processes or process_id + 1):
        raise InputError(f"process_id must be in 0..num_processes-1, got {process_id} of {num_processes}")
    try:
        jax.distributed.initialize(
            coordinator_address, num_processes, process_id, initialization_timeout=timeout, shutdown_timeout_seconds=60
        )
    except (ValueError, TypeError):
        raise InputError(
            "no SLURM, Open MPI or Kubernetes job was found around this process; pass --coordinator_address=HOST:PORT, "
            "--num_processes and --process_id"
        ) from None
    except RuntimeError as problem:
        raise InputError(f"the processes did not find each other: {str(problem).splitlines()[0]}") from None


def is_process_zero() -> bool:
    """Return whether this process is the one that writes and speaks; the only process is."""
    return jax.process_index() == 0


def log_on_process_zero(log: Callable[[str], None]) -> Callable[[str], None]:
    """Return ``log`` in the first process, and silence in the others."""
    return log if is_process_zero() else lambda _: None


def on_all_processes(function: Callable[[], T]) -> T:
    """Run a function in every process and return what it returns; if one of them meets a mistake, all end.

    Raises:
      InputError: in the first of the processes whose function raised it.
      OtherProcessError: in the others, with the same message.
    """
    if jax.process_count() == 1:
        return function()
    result, mistake = None, ""
    try:
        result = function()
    except InputError as problem:
        mistake = str(problem)
    except OSError as problem:
        mistake = f"{problem.filename}: {problem.strerror}"
    mine = np.frombuffer(mistake.encode()[:_LONGEST_MESSAGE].ljust(_LONGEST_MESSAGE, b"\0"), np.uint8)
    everyone = multihost_utils.process_allgather(mine).reshape(jax.process_count(), -1)
    for index, message in enumerate(everyone):
        if message.any():
            error = InputError if index == jax.process_index() else OtherProcessError
            raise error(message.tobytes().rstrip(b"\0").decode(errors="replace"))
    return cast(T, result)
