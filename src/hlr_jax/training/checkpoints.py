"""A checkpoint folder: arrays and a record of a training or of its result, always complete.

    N/record.json            identity, progress, the shape of each array, and the SHA-256 of each piece of it
    N/arrays-P.safetensors   the pieces that process P wrote: a whole array, or the rows on its devices

Each piece is hashed before it is written, and the hash is compared when it is read.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from hlr_jax.distributed import is_process_zero, on_all_processes
from hlr_jax.errors import InputError
from hlr_jax.json_files import read_json, write_json
from hlr_jax.system_errors import translated
from hlr_jax.training.pieces import LEAF, Pieces, leaves_of, nested, write_pieces
from hlr_jax.training.run_progress import PROGRESS

_RECORD = "record.json"
_SCHEMA = {
    "identity": {"*": str | None},
    "record": {"epoch": int, "runs": [PROGRESS]},
    "leaves": [LEAF],
    "pieces": {"*": {"*": str}},
}


class Checkpoints:
    """The checkpoint folder of a training; an old checkpoint is deleted only after a new one is complete.

    A training that is killed at any moment leaves its last complete checkpoint. Resuming from it repeats the same bits.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], keep: int = 2):
        """Open ``folder`` for the training with this ``identity``; a checkpoint of another training is not read.

        Fields that the identity lacks are not compared, and stay as they are there. The last ``keep`` checkpoints stay.
        """
        self._folder, self._identity, self._keep = folder, identity, keep

    def epochs(self) -> list[int]:
        """Return the epochs of the checkpoints in increasing order."""
        return sorted(int(path.name) for path in self._folder.glob("*") if path.name.isdecimal())

    def latest(self) -> int | None:
        """Return the epoch of the last checkpoint, or None."""
        return max(self.epochs(), default=None)

    def save(self, epoch: int, arrays: Any, record: dict[str, Any]) -> None:
        """Write the arrays and the record of an epoch; does nothing if the checkpoint exists.

        Every process writes the pieces on its devices.

        Raises:
          OSError: it can't be written; earlier checkpoints stay.
        """
        if epoch in self.epochs():
            return
        temporary, leaves = self._folder / f".{epoch}.tmp", leaves_of(arrays)
        needed = sum(array.nbytes for array in jax.tree.leaves(arrays))
        on_all_processes(lambda: _begin(temporary) if is_process_zero() else None)
        try:
            with translated(self._folder / str(epoch), needed):
                pieces = on_all_processes(lambda: write_pieces(temporary, leaves))
                about = {"identity": self._identity, "record": record, "leaves": [leaf.to_json() for leaf in leaves]}
                on_all_processes(lambda: self._finish(temporary, epoch, about, pieces) if is_process_zero() else None)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def _finish(self, temporary: Path, epoch: int, about: dict[str, Any], own: dict[str, dict[str, str]]) -> None:
        """Move the checkpoint to its place, and delete those that are not kept."""
        pieces = own if jax.process_count() == 1 else Pieces.hashes_in(temporary)
        write_json(temporary / _RECORD, about | {"pieces": pieces})
        temporary.rename(self._folder / str(epoch))
        for old in self.epochs()[: -self._keep]:
            shutil.rmtree(self._folder / str(old))

    def record(self) -> dict[str, Any]:
        """Return the record of the last checkpoint.

        Raises:
          InputError: the checkpoint is damaged.
        """
        return self._read()["record"]

    def shapes(self) -> Any:
        """Return the shapes of the arrays. Tables may end with rows of padding.

        Raises:
          InputError: the checkpoint is damaged.
        """
        return nested(self._read()["leaves"])

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]]:
        """Read arrays with the shapes and shardings of ``like``, whatever devices wrote them, and the record.

        Tables end with rows of padding, as many as the mesh needs; they are cut off or added.

        Raises:
          InputError: it is damaged, or another training wrote it.
        """
        there = self._read()
        self._check_identity(there["identity"])
        pieces = Pieces(self._folder / str(self.latest()), there["leaves"], there["pieces"])
        with self._told():
            return pieces.arrays(like), there["record"]

    def _read(self) -> dict[str, Any]:
        path = self._folder / str(self.latest()) / _RECORD
        return read_json(path, _SCHEMA, self._again())

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Add what to do to the error for damaged arrays."""
        try:
            yield
        except InputError as problem:
            raise InputError(f"{problem}; {self._again()}") from None

    def _again(self) -> str:
        """Return what to do about a damaged last checkpoint."""
        *before, last = self.epochs()
        if before:
            return f"delete {self._folder / str(last)}, and training continues from checkpoint {before[-1]}"
        return f"delete {self._folder} and run the command that trained it again"

    def _check_identity(self, there: dict[str, Any]) -> None:
        here = self._identity
        differing = [name for name in here if there.get(name) != here[name]]
        self._identity = there | here
        if not differing:
            return
        if there.get("jax") and here.get("jax") and there["jax"] != here["jax"]:
            raise InputError(
                f"{self._folder} holds a model without options that JAX {there['jax']} trained, and this is JAX "
                f"{here['jax']}: whether it is the same model is unknown; pass another workdir"
            )
        if differing == ["start"]:
            raise InputError(
                f"{self._folder} holds a run that started from other parameters: train.start differs, or "
                "that run was trained further; pass another workdir"
            )
        raise InputError(f"{self._folder} holds a run of another model, seed, data or training; pass another workdir")


def _begin(temporary: Path) -> None:
    """Create the folder, and delete one left by a killed process."""
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
