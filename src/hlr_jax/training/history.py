"""The records of a training, one for each epoch and run: ``metrics.jsonl``."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hlr_jax.distributed import is_process_zero
from hlr_jax.files import atomic_file
from hlr_jax.training.options import Run

Record = dict[str, Any]
"""An epoch of a run: ``epoch``, the run's settings, its losses and metrics, ``best_epoch``, times."""

Logger = Callable[[Record], object]
"""Is called with each record as it comes: TensorBoard, a tracker of experiments, a list."""


class History:
    """Records in the order of epochs, which the first process gives to loggers and writes to a file."""

    def __init__(self, path: Path | None = None, loggers: Sequence[Logger] = ()):
        """Begin without any; ``path`` None: nothing is written."""
        self.records: list[Record] = []
        self._path = path if is_process_zero() else None
        self._loggers = loggers if is_process_zero() else ()

    def resume(self, epoch: int) -> None:
        """Read the records up to ``epoch``, and drop from the file what a killed run wrote after its checkpoint."""
        if self._path is None or not self._path.exists():
            return
        for line in self._path.read_text().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                break  # a line cut off by a kill is the last one
            if record["epoch"] <= epoch:
                self.records.append(record)
        with atomic_file(self._path) as temporary:
            temporary.write_text(_lines(self.records))
        self._log(self.records)

    def add(self, records: Sequence[Record]) -> None:
        """Add the records of an epoch."""
        self.records.extend(records)
        self._log(records)
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(_lines(records))

    def of_run(self, run: Run) -> list[Record]:
        """Return the records of one run."""
        return [record for record in self.records if run._asdict().items() <= record.items()]

    def _log(self, records: Sequence[Record]) -> None:
        for logger in self._loggers:
            for record in records:
                logger(record)


def _lines(records: Sequence[Record]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)
