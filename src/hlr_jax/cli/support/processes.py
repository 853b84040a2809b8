"""The flags of a run in several processes, which each start the same command."""

from absl import flags

from hlr_jax.errors import InputError

_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "run as one of several processes, found through SLURM, Open MPI, Kubernetes or these flags:"
)
_ADDRESS = flags.DEFINE_string("coordinator_address", None, "HOST:PORT where process 0 can be reached")
_COUNT = flags.DEFINE_integer("num_processes", None, "how many there are")
_ID = flags.DEFINE_integer("process_id", None, "which one this is, from 0")
_TIMEOUT = flags.DEFINE_integer("connect_timeout", 300, "seconds to wait for the others")


def connect_processes() -> None:
    """Join the other processes if the flags ask for it; before anything else that JAX does.

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
