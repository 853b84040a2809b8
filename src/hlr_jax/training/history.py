"""The records of a training, one for each epoch and run: ``metrics.jsonl``."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hlr_jax.files import atomic_file
from hlr_jax.training.options import Run

Record = dict[str, Any]
"""An epoch of a run: ``epoch``, the run's settings, its losses and metrics, ``best_epoch``, times."""

Logger = Callable[[Record], object]
"""Is called with each record as it comes: TensorBoard, a tracker of experiments, a list."""


def of_run(records: Sequence[Record], run: Run) -> list[Record]:
    """Return the records of one run."""
    return [record for record in records if run._asdict().items() <= record.items()]


def append_records(path: Path, records: Sequence[Record]) -> None:
    """Add records to the file."""
    with path.open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def read_records(path: Path, epoch: int) -> list[Record]:
    """Return the records up to ``epoch``, and drop from the file what a killed run wrote after its checkpoint."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            break  # a line cut off by a kill is the last one
        if record["epoch"] <= epoch:
            records.append(record)
    with atomic_file(path) as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in records))
    return records
