"""Several processes that run one program on one mesh.

Each runs the same lines on the same settings; JAX's own coordinator makes them known to each other. What is decided
must be decided alike by all, so a mistake that one of them meets ends them all, and only the first writes and speaks.
"""

import socket
import time
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
      timeout: seconds to wait for the others, 1 or more.

    Raises:
      InputError: a setting is missing or out of range, or the others can't be reached.
    """
    host, _, port = (coordinator_address or "").rpartition(":")
    if coordinator_address is not None and not (host and port.isdecimal() and 0 < int(port) < 2**16):
        raise InputError(
            f'coordinator_address must be HOST:PORT with a port from 1 to 65535, got "{coordinator_address}"'
        )
    if timeout < 1:
        raise InputError(f"the timeout must be at least 1 s, got {timeout}")
    if num_processes is not None and num_processes < 1:
        raise InputError(f"num_processes must be at least 1, got {num_processes}")
    if process_id is not None and not 0 <= process_id < (num_processes or process_id + 1):
        raise InputError(f"process_id must be in 0..num_processes-1, got {process_id} of {num_processes}")
    if coordinator_address and process_id:
        _wait_for(host, int(port), timeout)
    # Else SIGTERM is taken for a notice that somebody else heeds: nothing would end the process.
    jax.config.update("jax_enable_preemption_service", False)
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


def _wait_for(host: str, port: int, timeout: int) -> None:
    """Wait until process 0 listens: where it does not, JAX would end this process with pages of its own state.

    Raises:
      InputError: it does not within ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            with socket.create_connection((host.strip("[]"), port), timeout):
                return
        except OSError as problem:
            if time.monotonic() > end:
                raise InputError(
                    f"coordinator_address: no process answers at {host}:{port} within {timeout} s "
                    f"({problem.strerror}); start process 0 there, or pass a longer timeout"
                ) from None
            time.sleep(0.2)


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
