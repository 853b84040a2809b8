"""Other processes: commands, timed in turn with our work, and this benchmark itself in a new process."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.measuring import Timing, ratio
from benchmarks.settings import Settings

from hlr_jax import InputError

_LABELED = re.compile(r"(\w[\w ,.()+-]*): (.+)", re.DOTALL)


def labeled(given: str) -> tuple[str, str]:
    """Return the label and the command of ``LABEL: COMMAND``; a command alone is its own label."""
    match = _LABELED.fullmatch(given)
    return (match[1], match[2]) if match else (given, given)


def done_by(command: str, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a shell command, with environment variables, and return its output.

    Raises:
      InputError: it fails.
    """
    environment = os.environ | dict(variables or {})
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise InputError(f"--beside: {command}: ended with status {done.returncode}: {last[0]}")
    return done


class Beside:
    """A shell command. Each call runs it, and keeps the rate that it prints, if a pattern is given."""

    def __init__(self, given: str, pattern: str) -> None:
        """Take ``LABEL: COMMAND`` or a command, and a regular expression or an empty string.

        Raises:
          InputError: no regular expression, or none with a group.
        """
        try:
            self.pattern = re.compile(pattern) if pattern else None
        except re.error as problem:
            raise InputError(f'--beside_pattern: "{pattern}" is no regular expression: {problem}') from None
        if self.pattern is not None and not self.pattern.groups:
            raise InputError(f'--beside_pattern: "{pattern}" needs a group around the rate, as in "([0-9.]+) s"')
        (self.label, self.command), self.rates = labeled(given), list[float]()

    @staticmethod
    def of(settings: Settings) -> dict[str, "Beside"]:
        """Return the commands of the settings as works, by name."""
        return {
            f"beside {index}": Beside(given, settings.beside_pattern) for index, given in enumerate(settings.beside)
        }

    def __call__(self) -> None:
        """Run the command.

        Raises:
          InputError: it fails, or prints no rate.
        """
        done = done_by(self.command)
        if self.pattern is None:
            return
        if not (matches := self.pattern.findall(done.stdout + done.stderr)):
            raise InputError(f'--beside_pattern: "{self.pattern.pattern}" matches nothing of what the command prints')
        rate = matches[-1] if isinstance(matches[-1], str) else matches[-1][0]
        try:
            self.rates.append(float(rate.replace(",", "")))
        except ValueError:
            raise InputError(f'--beside_pattern: "{rate}" is no number') from None

    def fields(self, own: Timing, ours: Timing, rate: float) -> dict[str, Any]:
        """Return the fields of a record for the command, after its runs; the first warms up and is not counted.

        Args:
          own: the timing of the command.
          ours: of our work, in the same rounds.
          rate: ours, in the unit of the command's own: units per second.
        """
        fields: dict[str, Any] = {"label": self.label, "command": self.command, "beside_s": own.steady_s}
        if self.pattern is None:
            # Above 1: the command takes longer.
            return fields | {f"beside_time_{name}": value for name, value in ratio(own, ours).items()}
        theirs = float(np.median(self.rates[1:]))
        return fields | {
            "beside_rate": theirs, "beside_pattern": self.pattern.pattern, "rate_over_beside": rate / theirs,
        }  # fmt: skip


def beside_fields(
    besides: Mapping[str, Beside], timings: Mapping[str, Timing], ours: str, rate: float
) -> dict[str, Any]:
    """Return the fields of a record for the commands that ran in turn with the work ``ours``; empty without any."""
    fields = [beside.fields(timings[name], timings[ours], rate) for name, beside in besides.items()]
    return {"beside": fields} if fields else {}


def in_fresh_process(arguments: Sequence[str], variables: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Run this command line again with other arguments and return its records.

    Args:
      arguments: added after those of this process, so that they override them.
      variables: environment variables.

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
