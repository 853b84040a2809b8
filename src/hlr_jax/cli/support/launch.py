"""Runs a command: parses its flags, and reports errors in one line."""

import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from absl import app, flags
from absl import logging as absl_logging

from hlr_jax.cli.support import configs
from hlr_jax.cli.support.compiled import keep_compiled
from hlr_jax.cli.support.guard import fail, guarded
from hlr_jax.errors import InputError

_PATHS = ("workdir", "workdirs", "output", "data", "histories", "categories", "grid_file", "configs")


def launch(main: Callable[..., None]) -> None:
    """Run ``main`` under absl, with the arguments that are not flags.

    A user mistake ends the process with one line on stderr and exit status 2.
    """
    # Hides log lines of libraries; a run's own lines go to stdout.
    absl_logging.set_verbosity(absl_logging.ERROR)
    logging.getLogger("jax").setLevel(logging.ERROR)
    words = configs.without_config(sys.argv)

    def run(rest: list[str]) -> None:
        keep_compiled()
        main(*_arguments(main, rest[1:]))

    guarded(lambda: app.run(run, argv=words, flags_parser=_parse))


def _arguments(main: Callable[..., None], words: list[str]) -> list[str]:
    """Return the arguments that are not flags, if ``main`` takes that many."""
    taken = list(inspect.signature(main).parameters)
    if len(words) > len(taken):
        stray = words[len(taken)]
        raise InputError(f'unexpected argument "{stray}"; settings are passed as --config.section.key=value')
    if len(words) < len(taken):
        raise InputError(f"{taken[len(words)].upper()} is missing; {sys.argv[0]} --help shows the usage")
    return words


def _parse(arguments: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(arguments)
        configs.check_given()
        _check_paths()
    except InputError:
        raise
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as problem:
        message = " ".join(str(problem.args[0] if problem.args else problem).split())
        if missing := re.findall(r"flag --(\w+)=None: Flag --\w+ must have a value", message):
            message = f"--{' and --'.join(missing)} must be given; {sys.argv[0]} --help shows the flags"
        fail(message)
    return rest


def _check_paths() -> None:
    """Check that no path is empty, which would mean the current folder."""
    for name in _PATHS:
        if name not in flags.FLAGS or not flags.FLAGS[name].present:
            continue
        given: list[str] | str = flags.FLAGS[name].value or ""
        paths = given if isinstance(given, list) else [given]
        if not paths or not all(path.strip() for path in paths):
            raise InputError(f"--{name} is empty; pass a path")


def runs_of(config: dict[str, Any]) -> int:
    """Return how many models a config trains at once: one for each temperature of each seed."""
    train = config.get("train", {})
    return int(train.get("num_seeds", 1)) * max(1, len(train.get("temperatures", ())))


def devices_for_seeds(count: int) -> None:
    """Make JAX use the cores of the CPU as devices, so that ``count`` models use them all.

    Call it before any computation. A number of devices that the environment sets is kept.
    """
    import jax

    from hlr_jax import sharding

    given = "JAX_NUM_CPU_DEVICES" in os.environ or "device_count" in os.environ.get("XLA_FLAGS", "")
    cores = sharding.available_cores()
    if count > 1 and not given:
        jax.config.update("jax_num_cpu_devices", min(count, cores))


def show_devices(count: int, mesh: Mapping[str, int] | None = None) -> None:
    """Print which devices train ``count`` models: without a mesh, all cores of a CPU; see ``devices_for_seeds``."""
    import jax

    from hlr_jax import distributed

    if set((mesh or {}).values()) <= {1}:
        devices_for_seeds(count)
    if distributed.is_process_zero():
        devices = jax.devices()
        print(f"devices: {len(devices)} x {devices[0].device_kind} ({devices[0].platform})", flush=True)
