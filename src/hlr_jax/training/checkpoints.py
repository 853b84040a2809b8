"""Checkpoints of a run: one, always whole, holding everything that the next epoch depends on."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from jax.sharding import Mesh

from hlr_jax.errors import InputError
from hlr_jax.sharding import placed_shapes
from hlr_jax.training.learners import Learned
from hlr_jax.types import Params


class RunState(NamedTuple):
    """S runs that are trained at once, after some epoch.

    Attributes:
      learned: parameters and optimiser state [S, ...] after ``epoch``.
      best_params: the parameters [S, ...] of each run's best epoch, the result so far.
      best_epoch: of each run; 0 before the first.
      best_value: the validation figure of each run's best epoch; None before the first.
      failed: of each run, why it ended before the last epoch with a loss that is not finite; empty if it did not.
      epoch: epochs done.
    """

    learned: Learned
    best_params: Params
    best_epoch: list[int]
    best_value: list[float | None]
    failed: list[str]
    epoch: int = 0

    @property
    def progress(self) -> "Progress":
        """The same without arrays."""
        return Progress(self.epoch, self.best_epoch, self.best_value, self.failed)


class Progress(NamedTuple):
    """How far S runs are: what ``RunState`` holds beside arrays."""

    epoch: int
    best_epoch: list[int]
    best_value: list[float | None]
    failed: list[str]


class Checkpoints:
    """The checkpoint folder of one run; a new checkpoint is whole before the old one goes.

    A run that is killed at any moment leaves the last whole one, from which resuming repeats the same bits.
    """

    def __init__(self, folder: Path, identity: str):
        """Open or create ``folder`` for the run with this ``identity``; another's checkpoint is not read."""
        self._identity = identity
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        self._folder = folder
        # Named, so that the shapes of a checkpoint can be read before any of it has been written or read here.
        handlers = {"state": ocp.StandardCheckpointHandler(), "progress": ocp.JsonCheckpointHandler()}
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options, item_handlers=handlers)

    def save(self, state: RunState) -> None:
        """Write the state of an epoch; does nothing if it is there already."""
        if state.epoch in self._manager.all_steps():
            return
        arrays = {"learned": state.learned, "best_params": state.best_params}
        progress = {"identity": self._identity, **state.progress._asdict()}
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(arrays), progress=ocp.args.JsonSave(progress))
        self._manager.save(state.epoch, args=arguments)
        self._manager.wait_until_finished()

    def latest(self) -> int | None:
        """Return the epoch of the checkpoint, or None."""
        return self._manager.latest_step()

    def restore(self, learned: Learned) -> RunState:
        """Read the checkpoint into arrays with the shapes and shardings of ``learned``, whatever devices wrote it.

        Raises:
          InputError: there is none, or it can't be read.
        """
        found = self._read(jax.tree.map(_abstract, {"learned": learned, "best_params": learned.result}))
        progress = _progress(found)
        return RunState(found["state"]["learned"], found["state"]["best_params"], **progress._asdict())

    def progress(self) -> Progress:
        """Read how far the runs are, and no array.

        Raises:
          InputError: there is no checkpoint, or it can't be read.
        """
        return _progress(self._read(None))

    def restore_best(self, mesh: Mesh | None = None) -> tuple[Params, list[int], list[float | None]]:
        """Read each run's parameters of its best epoch [S, ...], these epochs and their validation figures [S].

        Onto one device or a mesh.

        It does not matter what the run was trained on. Tables may end in rows of padding.

        Raises:
          InputError: there is none, or it can't be read.
        """
        there = self._manager.item_metadata(self._latest())["state"]
        found = self._read(placed_shapes(there, mesh))
        progress = _progress(found)
        return found["state"]["best_params"], progress.best_epoch, progress.best_value

    def _latest(self) -> int:
        epoch = self.latest()
        if epoch is None:
            raise InputError(f"{self._folder}: no checkpoint; train first")
        return epoch

    def _read(self, wanted: Any) -> Any:
        epoch = self._latest()
        # Not strict: tables end in rows of padding, as many as the mesh needs, which are cut off or added.
        state = {} if wanted is None else {"state": ocp.args.StandardRestore(wanted, strict=False)}
        arguments = ocp.args.Composite(**state, progress=ocp.args.JsonRestore())
        try:
            found: Any = self._manager.restore(epoch, args=arguments)
        except (ValueError, OSError, KeyError) as problem:
            place, reason = self._folder / str(epoch), str(problem).splitlines()[0]
            raise InputError(f"{place}: unreadable checkpoint ({reason}); delete the workdir") from None
        if found["progress"]["identity"] != self._identity:
            raise InputError(
                f"{self._folder} holds a run of another model, seed, data or training; pass another workdir"
            )
        return found

    def close(self) -> None:
        """Let go of the folder."""
        self._manager.close()


def _progress(found: Any) -> Progress:
    progress = {"failed": [""] * len(found["progress"]["best_epoch"])} | found["progress"]
    progress.pop("identity")
    return Progress(**progress)


def _abstract(array: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=getattr(array, "sharding", None))
