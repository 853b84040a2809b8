"""Flags of a run in several processes, each of which starts the same command."""

from absl import flags

from hlr_jax.errors import InputError

_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "run as one of several processes; SLURM, Open MPI, Kubernetes or --coordinator_address find the others",
)
_ADDRESS = flags.DEFINE_string("coordinator_address", None, "HOST:PORT of process 0")
_COUNT = flags.DEFINE_integer("num_processes", None, "number of processes")
_ID = flags.DEFINE_integer("process_id", None, "number of this process, from 0")
_TIMEOUT = flags.DEFINE_integer("connect_timeout", 300, "seconds to wait for the other processes")


def connect_processes() -> None:
    """Join the other processes if the flags require it. Call it before any other use of JAX.

    Raises:
      InputError: see ``distributed.connect``; a flag about the others, without one that asks for them.
    """
    from hlr_jax import distributed

    if not _DISTRIBUTED.value and _ADDRESS.value is None:
        for flag in (_COUNT, _ID, _TIMEOUT):
            if flag.present:
                raise InputError(f"--{flag.name} is for several processes: pass --distributed too, or leave it out")
    else:
        distributed.connect(_ADDRESS.value, _COUNT.value, _ID.value, timeout=_TIMEOUT.value)
