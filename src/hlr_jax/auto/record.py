"""``auto.json``: the settings of a run of ``auto``, and its finished steps."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hlr_jax.json_files import read_json, write_json
from hlr_jax.workdir import AUTO, check_same

_SCHEMA = {"settings": {"*": object}, "steps": [{"step": str, "found": object, "seconds": float}]}


@dataclass
class Record:
    """Steps in order, each with its name, its result (None: it was skipped) and its seconds.

    Attributes:
      folder: the workdir; None: nothing is written.
      settings: of the run.
      steps: finished steps.
    """

    folder: Path | None
    settings: dict[str, Any]
    steps: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path | None, settings: dict[str, Any]) -> "Record":
        """Return the record of a workdir that this process has locked; a new one if there is none.

        Raises:
          InputError: the folder holds a run with other settings; or the record is damaged.
        """
        record = cls(folder, settings)
        if folder is None:
            return record
        path = folder / AUTO
        if not path.exists():
            record._write()
            return record
        there = read_json(path, _SCHEMA, "pass another --workdir")
        record.steps = there["steps"]
        check_same(folder, there["settings"], settings)
        return record

    def step(self, name: str) -> dict[str, Any] | None:
        """Return the step of a name; None: it is not finished."""
        return next((step for step in self.steps if step["step"] == name), None)

    def add(self, name: str, found: dict[str, Any] | None, seconds: float) -> dict[str, Any]:
        """Record a step, and return it."""
        step = {"step": name, "found": found, "seconds": round(seconds, 3)}
        self.steps.append(step)
        self._write()
        return step

    def _write(self) -> None:
        if self.folder is not None:
            write_json(self.folder / AUTO, {"settings": self.settings, "steps": self.steps})
