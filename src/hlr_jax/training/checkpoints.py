"""Arrays and a JSON record in one folder: one checkpoint, always whole, of a training or of its result."""

import glob
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from hlr_jax.errors import InputError
from hlr_jax.system_errors import translated
from hlr_jax.training.options import RANDOM


class Checkpoints:
    """The checkpoint folder of a training; a new checkpoint is whole before the old one goes.

    A training that is killed at any moment leaves the last whole one, from which resuming repeats the same bits.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]):
        """Open or create ``folder`` for the training with this ``identity``; another's checkpoint is not read.

        What an identity does not name is not compared, and stays as it is there.

        Raises:
          InputError: the path can't be given to Orbax; see ``_without_pattern``.
        """
        self._folder, self._identity, self._links = folder, identity, ExitStack()
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        # Named, so that the shapes of a checkpoint can be read before any of it has been written or read here.
        handlers = {"state": ocp.StandardCheckpointHandler(), "record": ocp.JsonCheckpointHandler()}
        place = _without_pattern(folder.absolute(), self._links)
        self._manager = ocp.CheckpointManager(place, options=options, item_handlers=handlers)

    def __enter__(self) -> "Checkpoints":
        """Open the folder for a block."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Let go of the folder."""
        self._manager.close()
        self._links.close()

    def save(self, epoch: int, arrays: Any, record: dict[str, Any]) -> None:
        """Write the arrays and the record of an epoch; does nothing if it is there already.

        Raises:
          OSError: it can't be written; the checkpoint before stays.
        """
        if epoch in self._manager.all_steps():
            return
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(arrays), record=ocp.args.JsonSave({"identity": self._identity, **record})
        )
        needed = sum(array.nbytes for array in jax.tree.leaves(arrays))
        with translated(self._folder / str(epoch), needed):
            self._manager.save(epoch, args=arguments)
            self._manager.wait_until_finished()

    def latest(self) -> int | None:
        """Return the epoch of the checkpoint, or None."""
        return self._manager.latest_step()

    def shapes(self) -> Any:
        """Return the shapes of the arrays. Tables may end in rows of padding."""
        return self._manager.item_metadata(self.latest())["state"]

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]]:
        """Read arrays with the shapes and shardings of ``like``, whatever devices wrote them, and the record.

        Raises:
          InputError: it can't be read, or another training wrote it.
        """
        record: dict[str, Any] = self._restored(record=ocp.args.JsonRestore())["record"]
        self._check_identity(record.pop("identity"))
        shapes = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None)), like
        )
        # Not strict: tables end in rows of padding, as many as the mesh needs, which are cut off or added.
        return self._restored(state=ocp.args.StandardRestore(shapes, strict=False))["state"], record

    def _restored(self, **arguments: Any) -> Any:
        epoch = self.latest()
        try:
            return self._manager.restore(epoch, args=ocp.args.Composite(**arguments))
        except (ValueError, OSError, KeyError) as problem:
            place, reason = self._folder / str(epoch), str(problem).splitlines()[0]
            raise InputError(f"{place}: unreadable checkpoint ({reason}); delete the workdir") from None

    def _check_identity(self, there: dict[str, Any]) -> None:
        here, there = self._identity, {"start": RANDOM} | there  # of an earlier version, which knew no other start
        differing = [name for name in here if there.get(name) != here[name]]
        self._identity = there | here
        if not differing:
            return
        if there.get("jax") and here.get("jax") and there["jax"] != here["jax"]:
            raise InputError(
                f"{self._folder} holds a model without options that JAX {there['jax']} trained, and this is JAX "
                f"{here['jax']}: whether it is the same model can't be told; pass another workdir"
            )
        if differing == ["start"]:
            raise InputError(
                f"{self._folder} holds a run that started from other parameters: train.start is another one, or "
                "that run has been trained on since; pass another workdir"
            )
        raise InputError(f"{self._folder} holds a run of another model, seed, data or training; pass another workdir")


def _without_pattern(folder: Path, links: ExitStack) -> Path:
    """Return a path to a folder that holds no pattern: Orbax takes each path for one, and ``a*b`` for ``axb`` too.

    Where the folder's own path holds ``*``, ``?`` or ``[``, it is a link in a temporary folder, until ``links`` close.

    Raises:
      InputError: the temporary folder's path holds one too.
    """
    if not glob.has_magic(str(folder)):
        return folder
    if glob.has_magic(tempfile.gettempdir()):
        raise InputError(f"{folder}: checkpoints can't be kept under a path with *, ? or [; pass another workdir")
    aside = links.enter_context(tempfile.TemporaryDirectory(prefix="hlr_jax-"))
    folder.mkdir(parents=True, exist_ok=True)
    link = Path(aside) / folder.name
    link.symlink_to(folder, target_is_directory=True)
    return link
