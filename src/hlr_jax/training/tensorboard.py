"""A logger that writes event files for TensorBoard."""

import importlib.util
import time
import weakref
from pathlib import Path
from typing import Any

from hlr_jax import folders
from hlr_jax.errors import InputError, missing_extra
from hlr_jax.training.history import ATTENTION, Record


class TensorBoardLogger:
    """Writes the records of a training into ``WORKDIR/tensorboard``, a folder for each run, by its name.

    The first record begins the files anew, because a resumed training repeats its earlier records to its loggers.
    Records are in the files after a second.

    Example:
      >>> logger = hlr_jax.TensorBoardLogger("runs/mine")
      >>> fitted = hlr_jax.train_model(data, model, options, loggers=[logger], quiet=True)
      >>> from pathlib import Path
      >>> sorted(path.name for path in Path("runs/mine/tensorboard").iterdir() if path.is_dir())
      ['seed-0']
    """

    def __init__(self, workdir: str | Path):
        """Set the workdir to write in.

        Raises:
          InputError: the extra ``tb`` is not installed.
        """
        if importlib.util.find_spec("tensorboardX") is None:
            raise InputError(f"event files need tensorboardX; {missing_extra('tb')}")
        self._folder = Path(workdir) / "tensorboard"
        self._writers: dict[str, Any] = {}
        weakref.finalize(self, _close, self._writers)

    def __call__(self, record: Record) -> None:
        """Write one epoch of one run before returning, so that a killed training keeps all its epochs."""
        # A ``SummaryWriter`` passes events to a thread, and its ``flush`` does not wait for that thread.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        if not self._writers:
            with folders.claim(self._folder, "events"):
                for old in self._folder.glob("seed-*/events.out.tfevents.*"):
                    old.unlink()
        name = record.get("run", f"seed-{record['seed']}")  # version 0.1 wrote no names
        if name not in self._writers:
            (self._folder / name).mkdir(parents=True, exist_ok=True)
            self._writers[name] = EventsWriter(str(self._folder / name / "events"))
        for field, value in record.items():
            if field.startswith(("train_", "valid_")) or field in ("positives_per_s", *ATTENTION):
                # Tags must not contain @.
                summary = scalar(field.replace("@", "_at_"), value)
                self._writers[name].write_event(Event(wall_time=time.time(), step=record["epoch"], summary=summary))
        self._writers[name].flush()


def _close(writers: dict[str, Any]) -> None:
    for writer in writers.values():
        writer.close()
