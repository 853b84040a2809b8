"""Other processes: a command timed in turn with our work, and this benchmark itself in a fresh process."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
from benchmarks.measuring import Timing, ratio
from benchmarks.settings import Settings

from hlr_jax import InputError


class Beside:
    """A shell command. Each call runs it, and keeps the rate that it prints, where a pattern is given."""

    def __init__(self, command: str, pattern: str) -> None:
        """Take the command, and a regular expression or an empty string.

        Raises:
          InputError: no regular expression, or none with a group.
        """
        try:
            self.pattern = re.compile(pattern) if pattern else None
        except re.error as problem:
            raise InputError(f'--beside_pattern: "{pattern}" is no regular expression: {problem}') from None
        if self.pattern is not None and not self.pattern.groups:
            raise InputError(f'--beside_pattern: "{pattern}" needs a group around the rate, as in "([0-9.]+) s"')
        self.command, self.rates = command, list[float]()

    @staticmethod
    def of(settings: Settings) -> Optional["Beside"]:
        """Return the command of the settings, if they have one."""
        return Beside(settings.beside, settings.beside_pattern) if settings.beside else None

    def __call__(self) -> None:
        """Run the command.

        Raises:
          InputError: it fails, or prints no rate.
        """
        done = subprocess.run(self.command, shell=True, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
            raise InputError(f"--beside: the command ended with status {done.returncode}: {last[0]}")
        if self.pattern is None:
            return
        if not (matches := self.pattern.findall(done.stdout + done.stderr)):
            raise InputError(f'--beside_pattern: "{self.pattern.pattern}" matches nothing of what the command prints')
        rate = matches[-1] if isinstance(matches[-1], str) else matches[-1][0]
        try:
            self.rates.append(float(rate.replace(",", "")))
        except ValueError:
            raise InputError(f'--beside_pattern: "{rate}" is no number') from None


def beside_fields(
    beside: Beside, timings: Mapping[str, Timing], ours: str, rate: float | None = None
) -> dict[str, Any]:
    """Return what a record says of the command.

    Args:
      beside: the command, after its runs; the first warms up and does not count.
      timings: of the same rounds, the command's under ``beside``.
      ours: the name of our work among them.
      rate: ours, in the unit of the command's own: units per second.
    """
    fields: dict[str, Any] = {"beside": beside.command, "beside_s": timings["beside"].steady_s}
    if beside.pattern is None:
        # Above 1: the command takes longer.
        times = ratio(timings["beside"], timings[ours])
        return fields | {f"beside_time_{name}": value for name, value in times.items()}
    theirs = float(np.median(beside.rates[1:]))
    fields |= {"beside_rate": theirs, "beside_pattern": beside.pattern.pattern}
    return fields if rate is None else fields | {"rate_over_beside": rate / theirs}


def in_fresh_process(arguments: Sequence[str], variables: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Run this command line again with other arguments and return its records.

    Args:
      arguments: put behind those of this process, so that they win.
      variables: of the environment.

    Raises:
      InputError: it fails; the message is the child's own.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "records.jsonl"
        extra = [*arguments, "--child", f"--output={output}", "--plots="]
        done = subprocess.run(
            [sys.executable, *sys.argv, *extra],
            env=os.environ | dict(variables or {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
            raise InputError(f"{' '.join(arguments)}: {last[0].removeprefix('error: ')}")
        return [json.loads(line) for line in output.read_text().splitlines()]
