"""Finds how much memory is available."""

import os
from pathlib import Path

_MACHINE = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def available_memory() -> int | None:
    """Return the bytes that this process may still allocate on the machine and in its control group; None: unknown."""
    left = []
    try:
        lines = dict(line.split(":", 1) for line in _MACHINE.read_text().splitlines())
        left.append(1024 * int(lines["MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):  # not Linux
        if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
            left.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:
        most, taken = (int(path.read_text()) for path in _GROUP)
        left.append(most - taken)
    except (OSError, ValueError):  # no control group, or no limit
        pass
    return min(left, default=None)
