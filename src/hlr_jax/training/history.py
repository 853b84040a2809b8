"""The records of a training, one for each epoch and run: ``metrics.jsonl``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hlr_jax.distributed import is_process_zero
from hlr_jax.files import atomic_file
from hlr_jax.json_files import json_lines, read_json_lines
from hlr_jax.system_errors import translated
from hlr_jax.training.options import Run
from hlr_jax.training.run_progress import RunProgress

_SCHEMA = {"epoch": int, "seed": int, "seconds": float, "best_epoch": int | None}

Record = dict[str, Any]
"""An epoch of a run, a line of ``metrics.jsonl``.

| key | meaning |
| --- | --- |
| ``epoch`` | from 1; 0 is the start of training, unless that is random |
| ``run`` | the run's name among those trained at once: ``seed-0``, or ``seed-0-temperature-0.2`` |
| ``seed``, ``learning_rate``, ``margin``, ``temperature`` | its settings; the runs share all others |
| ``train_loss`` | mean over the training interactions; not of epoch 0 |
| ``valid_loss`` | mean over the validation interactions, if there are any and the model has a loss |
| ``valid_ndcg@10``, for example | the metric that ``eval.monitor`` names, if it is a metric |
| ``memory_entropy`` | of the weights of the memories, mean over pairs and neighbors; 1 is uniform |
| ``neighbor_entropy`` | of the weights of a history's items, mean over pairs with two or more; 1 is uniform |
| ``memory_distance`` | mean distance of two memories |
| ``best_epoch`` | the best one so far |
| ``seconds`` | of the epoch with its validation, all runs together; epoch 0: of making and measuring the start |
| ``positives_per_s`` | training interactions per second, of all runs together, without validation; not of epoch 0 |

Models with two memories or more have the entropies and the distance. They are measured on 256 training interactions
that are the same at every epoch (``training.attention``). An epoch of a scorer is one value of its settings, which
replace those of a run; it has no losses.
"""

ATTENTION = ("memory_entropy", "neighbor_entropy", "memory_distance")
"""The keys of a record that describe attentions."""

Logger = Callable[[Record], object]
"""Called with the record of each epoch of each run, as soon as the epoch ends; the return value is ignored.

A resumed training first calls it with the records of earlier epochs. With several processes, only the first one calls
it. An exception in it ends the training; the checkpoint of the epoch before stays. ``list.append`` is a logger, and so
is ``TensorBoardLogger``; docs/guides/logging.md has one for MLflow.
"""


class History:
    """Records in the order of epochs; the first process passes them to loggers and writes them to a file."""

    def __init__(self, path: Path | None = None, loggers: Sequence[Logger] = ()):
        """Begin empty; with ``path`` None, nothing is written."""
        self.records: list[Record] = []
        self._path = path if is_process_zero() else None
        self._loggers = loggers if is_process_zero() else ()

    def resume(self, progress: Sequence[RunProgress], say: Callable[[str], None] = print) -> None:
        """Read the records up to the progress of the runs; drop damaged ones and those after the last checkpoint.

        Warns about missing epochs.
        """
        if self._path is None:
            return
        self.records = [
            record
            for record in read_epochs(self._path)
            if any(_is_of(record, state.run) and record["epoch"] <= state.epoch for state in progress)
        ]
        if lost := missing_epochs(self.records, progress):
            say(f"warning: {lost_line(self._path, lost)}: curves lack them, and training continues unchanged")
        if self.records or self._path.exists():
            with atomic_file(self._path) as temporary:
                temporary.write_text(json_lines(self.records), encoding="utf-8")
        self._log(self.records)

    def add(self, records: Sequence[Record]) -> None:
        """Add the records of an epoch."""
        self.records.extend(records)
        self._log(records)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with translated(self._path), self._path.open("a", encoding="utf-8") as file:
                file.write(json_lines(records))

    def of_run(self, run: Run) -> list[Record]:
        """Return the records of one run."""
        return [record for record in self.records if run._asdict().items() <= record.items()]

    def _log(self, records: Sequence[Record]) -> None:
        for logger in self._loggers:
            for record in records:
                logger(record)


def read_epochs(path: Path) -> list[Record]:
    """Return the records of a file without damaged ones; none if there is no file."""
    try:
        return [record for record in read_json_lines(path, _SCHEMA) if record is not None]
    except FileNotFoundError:
        return []


def _is_of(record: Record, run: Run) -> bool:
    """Return whether a record belongs to a run; a record of a scorer has only the run's seed."""
    return all(record.get(name, value) == value for name, value in run._asdict().items())


def missing_epochs(records: Sequence[Record], progress: Sequence[RunProgress]) -> list[int]:
    """Return the epochs, from 1, that are missing from the records up to the progress of each run."""
    lost: set[int] = set()
    for state in progress:
        own = {record["epoch"] for record in records if _is_of(record, state.run)}
        lost |= set(range(1, state.epoch + 1)) - own
    return sorted(lost)


def lost_line(path: Path, epochs: Sequence[int]) -> str:
    """Return a line about epochs that are missing from a file."""
    shown = ", ".join(map(str, epochs[:10])) + (", ..." if len(epochs) > 10 else "")
    which = f"epoch {shown} is" if len(epochs) == 1 else f"epochs {shown} are"
    return f"{path}: {which} missing or damaged"
