"""The formulas of docs/results/scaling.md: what a step of training reads and writes, and the memory of a device."""

from dataclasses import dataclass
from typing import Any

from ahead_of_time.shapes import Size
from ahead_of_time.targets import Target

from hlr_jax import Model

_FLOAT = _INT = 4


@dataclass(frozen=True)
class Step:
    """The letters of a step of training by triplets.

    Attributes:
      model: what is trained.
      size: U, I and the interactions.
      batch_size: B.
      negatives: n.
      lazy: whether Adam moves the rows of the batch alone.
      target: its devices, d x m of them.
    """

    model: Model
    size: Size
    batch_size: int
    negatives: int
    lazy: bool
    target: Target

    @property
    def _dim(self) -> int:
        return int(dict(self.model.options)["embed_dim"])

    @property
    def _rows(self) -> int:
        """R, the rows that a triplet meets."""
        n, model = self.negatives, self.model
        return 2 + n + model.history.size + (1 + n) * model.item_users.size

    @property
    def _weights(self) -> int:
        """The entries of the weights [h, N] of a triplet's pairs."""
        context = self.model.history.size + self.model.item_users.size
        return (1 + self.negatives) * context * dict(self.model.options).get("num_memories", 0)

    @property
    def touched(self) -> int:
        """The rows that Adam moves on all devices."""
        everything = self.size.users + self.size.items
        return min(everything, self._rows * self.batch_size) if self.lazy else everything

    def roofline_s(self) -> float:
        """Return the seconds of a step at the peaks of the chip, nothing overlapped."""
        chip, (data, model), row = self.target.chip, self.target.mesh, _FLOAT * self._dim
        share = self.batch_size / data
        gathered = self._rows - 2 - self.negatives
        per_triplet = 3 * row * self._rows + 5 * row * gathered + 10 * _FLOAT * self._weights
        memory = share * per_triplet + 8 * row * self.touched / model
        flops = 3 * (1 + self.negatives) * self.model.flops[0] * share
        if self.lazy:
            wire = 2 * ((model - 1) / model + (data - 1) / data) * row * self.touched
        else:
            wire = 3 * (model - 1) / model * row * self._rows * share
            wire += 2 * (data - 1) / data * row * self.touched / model
        return memory / chip.bandwidth + flops / chip.flops + wire / chip.link

    def state_bytes(self) -> float:
        """Return the bytes of parameters and moments on a device."""
        return state_bytes(self.size, self._dim, self.target, 3)

    def temporary_bytes(self) -> float:
        """Return the bytes of the gradient, of rows with their gradients, and of weights with theirs, on a device.

        Of rows and weights there are at most three arrays at a time: themselves, their gradients, and one in between.
        Lazy Adam also takes rows and moments out of the tables.
        """
        data, model = self.target.mesh
        row = _FLOAT * self._dim
        gradient = 4 * row * self.touched if self.lazy else row * self.touched / model
        return gradient + 3 * self.batch_size / data * (row * self._rows + _FLOAT * self._weights)


def state_bytes(size: Size, dim: int, target: Target, copies: int) -> float:
    """Return the bytes of as many copies of the tables on a device."""
    return copies * _FLOAT * dim * (size.users + size.items) / target.mesh[1]


def interaction_bytes(size: Size, model: Model, batch: str) -> int:
    """Return the bytes of interactions, which stand on every device."""
    columns = 1 + (batch == "triplets") + bool(model.item_users.size)
    offsets = size.users + 1 + (size.items + 1) * bool(model.item_users.size)
    return _INT * (columns * size.interactions + offsets + (size.users if batch == "users" else 0))


def facts(step: Step) -> dict[str, Any]:
    """Return the formulas' part of a record."""
    seconds = step.roofline_s()
    return {
        "roofline_step_s": seconds, "roofline_triplets_per_s": step.batch_size / seconds,
        "formula_state_bytes": int(step.state_bytes()), "formula_temporary_bytes": int(step.temporary_bytes()),
    }  # fmt: skip
