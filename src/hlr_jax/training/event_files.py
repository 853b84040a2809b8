"""The figures of a run's epochs as event files, which TensorBoard shows.

They are made from ``metrics.jsonl``, whatever writes it: the loop knows nothing of them, and a run that is done can be
given them too.
"""

import contextlib
import importlib.util
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hlr_jax.errors import InputError

_SECONDS = 2.0  # between two looks at the file


class EventFiles:
    """The event files of a workdir, ``tensorboard/seed-0``, ``tensorboard/seed-1``, ..., one folder for each seed.

    Of a seed with several temperatures each has its own, ``tensorboard/seed-0-temperature-0.2``.
    """

    def __init__(self, workdir: Path):
        """Look after a workdir; nothing is written before ``update``.

        Raises:
          InputError: the extra ``tb`` is not installed.
        """
        if importlib.util.find_spec("tensorboardX") is None:
            raise InputError("event files need tensorboardX; install the extra: pip install 'hlr_jax[tb]'")
        self._metrics, self._folder = workdir / "metrics.jsonl", workdir / "tensorboard"
        self._written: list[dict[str, Any]] | None = None
        self._writers: dict[str, Any] = {}

    def update(self) -> None:
        """Write the epochs that are new in ``metrics.jsonl``.

        The first time, and where a continued run has taken lines back, files are begun anew, so that no epoch stands
        twice in them; its points then carry the time of this call.
        """
        records = self._records()
        if self._written is None or self._written != records[: len(self._written)]:
            self._begin()
        assert self._written is not None
        several = len({record.get("temperature") for record in records}) > 1
        for record in records[len(self._written) :]:
            self._write(record, several)
        self._written = records
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _records(self) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []
        if self._metrics.exists():
            for line in self._metrics.read_text().splitlines():
                with contextlib.suppress(ValueError):  # a line that is being written, or was cut off
                    records.append(json.loads(line))
        return records

    def _begin(self) -> None:
        self.close()
        for old in self._folder.glob("seed-*/events.out.tfevents.*"):
            old.unlink()
        self._written = []

    def _write(self, record: dict[str, Any], several: bool) -> None:
        from tensorboardX import SummaryWriter

        name_of_run = f"seed-{record['seed']}" + f"-temperature-{record.get('temperature')}" * several
        if name_of_run not in self._writers:
            self._writers[name_of_run] = SummaryWriter(str(self._folder / name_of_run))
        for name, value in record.items():
            if name.startswith(("train_", "valid_")) or name == "triplets_per_s":
                # No tag may have an @.
                self._writers[name_of_run].add_scalar(name.replace("@", "_at_"), value, record["epoch"])


@contextlib.contextmanager
def event_files(workdir: Path) -> Iterator[None]:
    """Keep the event files of a workdir up to date while the block trains there.

    Raises:
      InputError: the extra ``tb`` is not installed.
    """
    files, done = EventFiles(workdir), threading.Event()

    def follow() -> None:
        while not done.wait(_SECONDS):
            files.update()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        files.update()
        files.close()
