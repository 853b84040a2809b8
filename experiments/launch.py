"""What every command line here shares: flags in, one line out when something is wrong."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import jax
from absl import app, flags
from absl import logging as absl_logging

from hlr_jax import InputError, distributed, sharding

USAGE_STATUS = 2


def launch(main: Callable[[], None]) -> None:
    """Run ``main`` under absl. A mistake of the user ends in one line on stderr and exit status 2."""
    # Libraries log what only their developers read; a run's own lines go to stdout.
    absl_logging.set_verbosity(absl_logging.ERROR)
    logging.getLogger("jax").setLevel(logging.ERROR)
    try:
        app.run(lambda _: main(), flags_parser=_parse)
    except distributed.OtherProcessError:
        sys.exit(USAGE_STATUS)  # the process that met the mistake tells of it
    except InputError as problem:
        _fail(str(problem))
    except OSError as problem:  # a full disk, a missing permission, a path that is none
        if problem.filename is None:
            raise
        _fail(f"{problem.filename}: {problem.strerror}")
    except KeyboardInterrupt:
        _fail("interrupted; the same command continues from the last checkpoint", status=130)


def _parse(arguments: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(arguments)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as problem:
        # ConfigDict's own errors name the nearest key of the config, behind a quoted copy of the wrong one.
        message = str(problem.args[0] if problem.args else problem)
        _fail(" ".join(message.split()).replace("' Did you mean", "' is no key of the config. Did you mean"))
    if rest[1:]:
        _fail(f'unexpected argument "{rest[1]}"; settings are passed as --config.section.key=value')
    return rest


def _fail(message: str, status: int = USAGE_STATUS) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)


def runs_of(config: dict[str, Any]) -> int:
    """Return how many models a config trains at once: each temperature of each seed."""
    train = config.get("train", {})
    return int(train.get("num_seeds", 1)) * max(1, len(train.get("temperatures", ())))


def devices_for_seeds(count: int) -> None:
    """Make JAX see the cores of the CPU as devices, so that ``count`` models use them all; before any computation.

    A number of devices that the environment asks for stays.
    """
    given = "JAX_NUM_CPU_DEVICES" in os.environ or "device_count" in os.environ.get("XLA_FLAGS", "")
    cores = sharding.available_cores()
    if count > 1 and not given:
        jax.config.update("jax_num_cpu_devices", min(count, cores))


def describe_devices() -> str:
    """Return the devices in words."""
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})"


def plain(config: Any) -> dict[str, Any]:
    """Return a ConfigDict as plain nested dicts.

    Raises:
      InputError: the config file could not be loaded.
    """
    try:
        return config.to_dict()
    except OSError as problem:
        raise InputError(f"--config: {str(problem).strip().splitlines()[-1].strip()}") from None
